"""History: a refund's events as a timeline, with the state and the attention after each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ..domain.events import (
    ContactFailed,
    EvidenceMismatched,
    EvidenceRecorded,
    OutcomeOverdue,
    PollingExhausted,
    RefundRequested,
    RefundResolved,
    SubmissionStarted,
)
from ..domain.message import Channel
from ..domain.money import Money, major_text
from ..domain.refund import evolve, fold
from ..domain.wire import time_text
from ..errors import InvalidAmount, RefundNotFound
from ..service.journal import decoded, folded, refund_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..domain.events import Event, Recorded
    from ..domain.refund import Refund
    from ..domain.signals import State
    from ..ports import EventStore


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One event of a refund.

    Attributes:
        time: when the fact reached us.
        channel: how it reached us; None for what refold itself noted.
        says: one line for people.
        state: of the refund after it.
        attention: of the refund after it, sorted.
        data: the event's own fields.
    """

    position: int
    version: int
    time: datetime
    type: str
    channel: str | None
    says: str
    state: State
    attention: tuple[str, ...]
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "position": self.position,
            "version": self.version,
            "time": time_text(self.time),
            "type": self.type,
            "channel": self.channel,
            "says": self.says,
            "state": str(self.state),
            "attention": list(self.attention),
            "data": self.data,
        }


def history(store: EventStore, refund_id: str) -> Iterator[HistoryEntry]:
    """Yield a refund's timeline in the order of the log.

    Raises:
        RefundNotFound: before the first entry.
    """
    refund: Refund | None = None
    stream = refund_stream(refund_id)
    for recorded in decoded(store.read_stream(stream)):
        refund = folded(stream, partial(evolve, refund, recorded))
        yield HistoryEntry(
            position=recorded.position,
            version=recorded.version,
            time=recorded.time,
            type=recorded.event.wire,
            channel=_channel(recorded.event),
            says=_says(recorded.event, refund),
            state=refund.state,
            attention=tuple(sorted(map(str, refund.attention))),
            data=recorded.event.model_dump(mode="json", exclude_none=True),
        )
    if refund is None:
        raise RefundNotFound(refund_id)


def refund_as_of(store: EventStore, refund_id: str, as_of: int | datetime | None = None) -> Refund:
    """Fold a refund from the events up to a position, or from those that had reached us at a moment.

    Raises:
        RefundNotFound: it was not in the log then.
    """
    stream = refund_stream(refund_id)
    known = _known(decoded(store.read_stream(stream)), as_of)
    refund = folded(stream, lambda: fold(known))
    if refund is None:
        raise RefundNotFound(refund_id)
    return refund


def _known(recorded: Iterator[Recorded], as_of: int | datetime | None) -> Iterator[Recorded]:
    """Return the events that were known then; those known at a moment are numbered again, for some may be left out."""
    if as_of is None:
        return recorded
    if isinstance(as_of, datetime):
        return _reached_by(recorded, as_of)
    return _up_to(recorded, as_of)


def _up_to(recorded: Iterator[Recorded], position: int) -> Iterator[Recorded]:
    for each in recorded:
        if each.position <= position:
            yield each
        if each.position >= position:  # what comes later is not looked at: it may be damaged
            return


def _reached_by(recorded: Iterator[Recorded], moment: datetime) -> Iterator[Recorded]:
    version = 0
    for each in recorded:
        if each.time <= moment:
            version += 1
            yield each._replace(version=version)
        elif not version:  # the request itself had not reached us; what it adopted may have
            return


def _channel(event: Event) -> str | None:
    if isinstance(event, EvidenceRecorded):
        return str(event.channel)
    if isinstance(event, RefundResolved):
        return str(Channel.OPERATOR)
    return str(Channel.REQUEST) if isinstance(event, SubmissionStarted) else None


def _says(event: Event, refund: Refund) -> str:
    """Return the event as one line for people."""
    for model, sentence in _SENTENCES:
        if isinstance(event, model):
            return sentence(event, refund)
    return event.wire


def _requested(event: RefundRequested, refund: Refund) -> str:
    payment = f" of payment {event.payment_id}" if event.payment_id else ""
    by = f" by {event.requested_by}" if event.requested_by else ""
    return f"{Money(event.amount_minor, event.currency)}{payment} at {refund.gateway} asked for{by}"


def _evidence(event: EvidenceRecorded, refund: Refund) -> str:
    words = [event.code]
    if event.amount_minor is not None:
        words.append(_amount(event.amount_minor, event.currency, refund))
    if event.claimed is not None:
        words.append(f"claims {event.claimed}, counts as {event.signal}")
    if event.detail:
        words.append(f'"{event.detail}"')
    if event.cites:
        words.append("concluded from its events " + ", ".join(map(str, event.cites)))
    if event.adopted_from:
        words.append("arrived before the request")
    words.append(str(event.trust))
    return ", ".join(words)


def _amount(minor: int, currency: str | None, refund: Refund) -> str:
    try:
        return f"{major_text(minor, currency or refund.amount.currency)} {currency or ''}".rstrip()
    except InvalidAmount:  # the list of currencies changes, the log does not
        return f"{minor} minor units of {currency}"


def _mismatched(event: EvidenceMismatched, _: Refund) -> str:
    return "; ".join(f"{each.field} is {each.seen}, asked was {each.expected}" for each in event.fields)


def _resolved(event: RefundResolved, _: Refund) -> str:
    return f"{event.actor} decided {event.outcome}: {event.reason}"


def _submitted(event: SubmissionStarted, _: Refund) -> str:
    return f"sent under key {event.idempotency_key}, {event.message.size} bytes"


def _contact(event: ContactFailed, _: Refund) -> str:
    return f"{event.phase} failed: {event.failure} {event.detail or ''}".rstrip()


_SENTENCES: tuple[tuple[type[Event], Callable[[Any, Refund], str]], ...] = (
    (RefundRequested, _requested),
    (SubmissionStarted, _submitted),
    (EvidenceRecorded, _evidence),
    (EvidenceMismatched, _mismatched),
    (RefundResolved, _resolved),
    (ContactFailed, _contact),
    (PollingExhausted, lambda event, _: f"{event.polls} queries brought no outcome"),
    (OutcomeOverdue, lambda event, _: f"no outcome by {time_text(event.due_at)}"),
)
