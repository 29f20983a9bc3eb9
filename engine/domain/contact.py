"""Contact: what to do about a refund next at its gateway, and when. Pure; the worker, `submit` and `poll` obey it.

The rules, each of which keeps a refund from being paid twice:

1. What may have been sent and has no answer is looked up, never sent again on the strength of silence.
2. It is sent again only under the same key, after the gateway has said several times that it does not know it.
3. Once the key may have been forgotten, only answers given after that count for rule 2.
4. Where no look-up can say "not there", it stays in doubt: a person decides.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from .evidence import Hold
from .schedule import backoff_s, seconds_between, spread
from .signals import State

if TYPE_CHECKING:
    from datetime import datetime

    from .capabilities import Capabilities
    from .refund import Refund
    from .schedule import Schedule

MARGIN_S: Final = 60
"""Seconds before the gateway forgets a key in which nothing is sent under it any more: clocks differ."""
_FIRST_BACKOFF_S: Final = 5
_MOST_BACKOFF_S: Final = 3600
_LONGEST_REST_S: Final = 86_400
"""As long as a gateway can ask to be left alone."""


class Why(StrEnum):
    """Why a gateway is to be contacted."""

    UNSENT = "unsent"
    """it was asked for, and it is certain that no byte has left"""
    IN_DOUBT = "in_doubt"
    """it may have been sent, and nothing yet says that the gateway has it"""
    PENDING = "pending"
    """the gateway has it, and no outcome yet"""
    HELD = "held"
    """it was refused, and its amount stays reserved until a query has confirmed that"""
    RECHECK = "recheck"
    """it has an outcome, which may have changed since"""


class Action(StrEnum):
    """What to do."""

    SEND = "send"
    LOOK_UP = "look_up"


class Contact(NamedTuple):
    """What to do next, and when.

    Attributes:
        due_at: not before; a gateway's own limits are in it.
        since: since when the question has stood; schedules go by its age.
        misdated: a clock or a message was wrong; `due_at` is then the longest wait from now, whenever it is asked.
    """

    action: Action
    why: Why
    due_at: datetime
    since: datetime
    misdated: bool = False


def next_contact(refund: Refund, capabilities: Capabilities, now: datetime) -> Contact | None:
    """Return what to do next about a refund; None where it is settled, or where only a person can help.

    However wrong a clock was, or the date of a message: nothing is put off for longer than its schedule ever waits.

    Args:
        refund: as the log tells it.
        capabilities: the gateway's.
        now: the present; with it, whether a key may have been forgotten.
    """
    found = _planned(refund, capabilities, now)
    if found is None:
        return None
    latest = now + timedelta(seconds=_longest_wait_s(found.why, refund, capabilities, now))
    return found if found.due_at <= latest else found._replace(due_at=latest, misdated=True)


def _planned(refund: Refund, capabilities: Capabilities, now: datetime) -> Contact | None:
    why = why_contact(refund)
    if why is None:
        return None
    if why is Why.UNSENT:
        return Contact(Action.SEND, why, _allowed(refund, _after_failures(refund)), refund.requested_at)
    since = _since(refund, why)
    if why is Why.IN_DOUBT and not refund.exhausted and may_send_again(refund, capabilities, now):
        return Contact(Action.SEND, why, _allowed(refund, _next_submission(refund, capabilities)), since)
    if not capabilities.lookup_by_own_reference:
        return None
    if why is Why.RECHECK:
        due_at = _next_recheck(refund, capabilities)
        return None if due_at is None else Contact(Action.LOOK_UP, why, _allowed(refund, due_at), since)
    schedule = capabilities.pending if why is Why.PENDING else capabilities.in_doubt
    return Contact(
        Action.LOOK_UP, why, _allowed(refund, _next_query(refund, capabilities, schedule, since)), since
    )


def why_contact(refund: Refund) -> Why | None:
    """Return why the gateway is to be contacted about a refund; None where a person has decided."""
    if refund.resolution is not None:
        return None
    if refund.state is State.CREATED:
        # What speaks of a refund that we know of no submission of, was sent by somebody.
        heard = refund.answered_at is not None or refund.spoken_of or refund.unrecognised
        return Why.IN_DOUBT if refund.submitted or heard else Why.UNSENT
    if refund.state is State.RECEIVED:
        return Why.PENDING
    return Why.HELD if refund.state is State.FAILED and refund.hold is Hold.UNTIL_QUERY else Why.RECHECK


def may_send_again(refund: Refund, capabilities: Capabilities, now: datetime) -> bool:
    """Tell whether what may have been sent already may be sent again, under the same key."""
    if not refund.sent:
        return False
    safe_until = _key_safe_until(refund, capabilities)
    key_is_safe = safe_until is not None and now < safe_until
    if not capabilities.lookup_by_own_reference:
        return key_is_safe
    if capabilities.absence is None:
        return False
    since = max(attempt.time for attempt in refund.sent)
    if not key_is_safe and safe_until is not None:
        since = max(since, safe_until)
    denied = [time for _, time in refund.absent if since < time <= now]
    return (
        len(denied) >= capabilities.absence.answers
        and seconds_between(min(denied), max(denied)) >= capabilities.absence.apart_s
    )


def exhausted(refund: Refund, capabilities: Capabilities, now: datetime) -> bool:
    """Tell whether the schedule of queries has come to its end without an outcome."""
    why = why_contact(refund)
    if why not in {Why.IN_DOUBT, Why.PENDING} or not refund.polls:
        return False
    schedule = capabilities.pending if why is Why.PENDING else capabilities.in_doubt
    return seconds_between(_since(refund, why), now) >= schedule.exhausted_s


def query_allowed_at(refund: Refund, capabilities: Capabilities) -> datetime:
    """Return from when on the gateway may be asked about a refund, whatever its schedule says."""
    settled = _settled_at(refund, capabilities)
    if refund.polled_at is not None:
        settled = max(settled, refund.polled_at + timedelta(seconds=capabilities.poll_interval_s))
    return _allowed(refund, settled)


def _longest_wait_s(why: Why, refund: Refund, capabilities: Capabilities, now: datetime) -> int:
    """Return the seconds that a contact for that reason can be away at most."""
    schedule = capabilities.pending if why is Why.PENDING else capabilities.in_doubt
    waits = [capabilities.post_timeout_s, capabilities.poll_interval_s, _MOST_BACKOFF_S]
    if why is Why.RECHECK:
        waits += capabilities.recheck_s
    if why is not Why.UNSENT:
        waits += [schedule.afterwards_s, *(stage.every_s for stage in schedule.stages)]
    if refund.not_before is not None and refund.not_before > now:
        waits.append(_LONGEST_REST_S)
    # A tenth more than the longest, as every wait may be spread.
    return max(waits) * 11 // 10


# ---- moments


def _since(refund: Refund, why: Why) -> datetime:
    if why is Why.RECHECK and refund.settled_at is not None:
        return refund.settled_at
    if why is Why.PENDING and refund.pending_at is not None:
        return refund.pending_at
    if why is Why.HELD:
        doubts = [time for time in (refund.doubted_at, refund.refused_at) if time is not None]
        return max(doubts, default=refund.requested_at)
    return min((attempt.time for attempt in refund.sent), default=refund.requested_at)


def _settled_at(refund: Refund, capabilities: Capabilities) -> datetime:
    """Return when the answer to the last submission is no longer waited for."""
    last = refund.submitted_at
    return refund.requested_at if last is None else last + timedelta(seconds=capabilities.post_timeout_s)


def _next_submission(refund: Refund, capabilities: Capabilities) -> datetime:
    sent = len(refund.sent)
    settled = _settled_at(refund, capabilities) + spread(_backoff_s(sent), refund.refund_id, sent)
    return max(settled, _after_failures(refund))


def _next_query(refund: Refund, capabilities: Capabilities, schedule: Schedule, since: datetime) -> datetime:
    first = _settled_at(refund, capabilities)
    heard = max(time for time in (refund.polled_at, since) if time is not None)
    if refund.polled_at is None and heard <= first:
        return first
    wait_s = max(schedule.wait_s(seconds_between(since, heard)), capabilities.poll_interval_s)
    return max(first, heard + spread(wait_s, refund.refund_id, refund.polls))


def _next_recheck(refund: Refund, capabilities: Capabilities) -> datetime | None:
    since = _since(refund, Why.RECHECK)
    for age_s in capabilities.recheck_s:
        due_at = since + spread(age_s, refund.refund_id, age_s)
        if refund.heard_at is not None and refund.heard_at >= due_at:
            continue
        tried_for_s = seconds_between(due_at, refund.polled_at or due_at)
        if tried_for_s >= capabilities.in_doubt.exhausted_s:
            continue
        if refund.polled_at is not None and refund.polled_at >= due_at:  # it was asked, and told nothing
            wait_s = max(capabilities.in_doubt.wait_s(tried_for_s), capabilities.poll_interval_s)
            due_at = refund.polled_at + spread(wait_s, refund.refund_id, refund.polls)
        return max(due_at, query_allowed_at(refund, capabilities))
    return None


def _after_failures(refund: Refund) -> datetime:
    if refund.unsent_at is None:
        return refund.requested_at
    return refund.unsent_at + spread(_backoff_s(refund.unsent), refund.refund_id, refund.unsent)


def _backoff_s(failures: int) -> int:
    return backoff_s(failures, first_s=_FIRST_BACKOFF_S, most_s=_MOST_BACKOFF_S)


def _allowed(refund: Refund, due_at: datetime) -> datetime:
    return due_at if refund.not_before is None else max(due_at, refund.not_before)


def _key_safe_until(refund: Refund, capabilities: Capabilities) -> datetime | None:
    """Return until when a submission under the key is known to be recognised; None where that is unknown."""
    if capabilities.key_retention_s is None:
        return None
    first = min(attempt.time for attempt in refund.sent)
    return first + timedelta(seconds=capabilities.key_retention_s - capabilities.post_timeout_s - MARGIN_S)
