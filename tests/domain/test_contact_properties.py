"""What holds of every decision on a contact, whatever is known of the refund and in whatever order it was recorded."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain.contact import Action, Why, exhausted, next_contact, query_allowed_at
from refold.engine.domain.events import (
    EVIDENCE,
    ContactFailed,
    EvidenceMismatched,
    Recorded,
    RefundRequested,
    SubmissionStarted,
)
from refold.engine.domain.evidence import AbsenceRule, Hold, Trust
from refold.engine.domain.message import Channel
from refold.engine.domain.refund import Resolution, fold
from refold.engine.domain.signals import BIT, OUTCOME_BITS, Signal, State

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=150)
PENDING, SUCCESS, REJECTED, CLOSED = (
    BIT[signal] for signal in (Signal.PENDING, Signal.SUCCESS, Signal.REJECTED, Signal.CLOSED)
)
RESOLVED = Resolution(State.FAILED, 0, "ann", "looked")
SEND, LOOK_UP = Action.SEND, Action.LOOK_UP

# ---- properties


SECONDS = st.integers(-10, 3000)


MAYBE = st.none() | SECONDS
CAPABILITIES = st.fixed_dictionaries(
    {
        "lookup_by_own_reference": st.booleans(),
        "key_retention_s": st.none() | st.integers(1, 3000),
        "absence": st.none() | st.builds(AbsenceRule, st.integers(1, 3), st.integers(0, 120)),
        "post_timeout_s": st.integers(1, 90),
        "poll_interval_s": st.integers(1, 90),
    }
)
REFUNDS = st.fixed_dictionaries(
    {
        "attempts": st.lists(st.tuples(SECONDS, st.booleans()), max_size=3),
        "denied": st.lists(SECONDS, max_size=6),
        "mask": st.just(0) | st.integers(0, 127),
        "resolution": st.none() | st.none() | st.just(RESOLVED),
        "unsent": st.integers(0, 3),
        "unsent_at": MAYBE,
        "answered_at": MAYBE,
        "refused_at": MAYBE,
        "pending_at": MAYBE,
        "polls": st.integers(0, 4),
        "polled_at": MAYBE,
        "not_before": MAYBE,
        "doubted_at": MAYBE,
        "confirmed_at": MAYBE,
        "unproven": st.booleans(),
        "unrecognised": st.booleans(),
        "exhausted": st.booleans(),
    }
)


def denied_enough(found, can, now):
    """Say in other words when the gateway has denied it often enough to send it again."""
    last = max(attempt.time for attempt in found.attempts if attempt.left)
    if can.key_retention_s is not None:
        first = min(attempt.time for attempt in found.attempts if attempt.left)
        safe_until = first + timedelta(seconds=can.key_retention_s - can.post_timeout_s - 60)
        if now >= safe_until:
            last = max(last, safe_until)
    since = sorted(time for _, time in found.absent if time > last)
    return len(since) >= can.absence.answers and since[-1] - since[0] >= timedelta(
        seconds=can.absence.apart_s
    )


@settings(PROFILE, max_examples=600)
@given(changes=REFUNDS, can=CAPABILITIES, now=SECONDS)
def test_nothing_is_sent_that_may_be_at_the_gateway(refund, caps, at, changes, can, now):
    found, can = refund(**changes), caps(**can)
    decided = next_contact(found, can, at(now))
    if decided is None or decided.action is not Action.SEND:
        return
    assert found.mask == 0
    assert found.resolution is None
    if any(attempt.left for attempt in found.attempts):
        assert not found.exhausted
        if can.lookup_by_own_reference:
            assert can.absence is not None
            assert denied_enough(found, can, at(now))
        else:
            first = min(attempt.time for attempt in found.attempts if attempt.left)
            assert at(now) + timedelta(seconds=can.post_timeout_s + 60) < first + timedelta(
                seconds=can.key_retention_s
            )
    else:
        assert found.answered_at is None
        assert not found.unrecognised


@settings(PROFILE, max_examples=600)
@given(changes=REFUNDS, can=CAPABILITIES, now=SECONDS)
def test_nothing_is_due_before_the_gateway_allows_it(refund, caps, at, changes, can, now):
    found, can = refund(**changes), caps(**can)
    decided = next_contact(found, can, at(now))
    if decided is None:
        return
    if found.not_before is not None:
        assert decided.due_at >= found.not_before
    if found.sent:
        assert decided.due_at >= found.submitted_at + timedelta(seconds=can.post_timeout_s)
    if decided.action is Action.LOOK_UP:
        assert decided.due_at >= query_allowed_at(found, can)


@PROFILE
@given(changes=REFUNDS, can=CAPABILITIES, now=SECONDS)
def test_what_was_decided_is_left_alone_and_what_has_an_outcome_is_only_asked_about(
    refund, caps, at, changes, can, now
):
    found, can = refund(**changes), caps(**can)
    decided = next_contact(found, can, at(now))
    if found.resolution is not None:
        assert decided is None
    elif found.mask & OUTCOME_BITS:
        assert decided is None or (decided.action, decided.why in {Why.RECHECK, Why.HELD}) == (LOOK_UP, True)
    elif found.mask == 0 and can.lookup_by_own_reference:
        assert decided is not None


# ---- the order of recording


def event_pool(at):
    """Return events with their times, in seconds, as several readers of one gateway could record them."""

    def said(signal, channel, **more):
        return EVIDENCE[signal](channel=channel, code="x", trust=Trust.UNVERIFIED, **more)

    reference = {"digest": "a" * 64, "size": 1, "masked": False}
    sent = SubmissionStarted(idempotency_key="r-1", signed_at=at(1), nonce="n", target="/", message=reference)
    return [
        (1, sent),
        (20, ContactFailed(phase="submit", failure="timeout", request="a" * 64)),
        (100, said(Signal.NOT_FOUND, Channel.POLL)),
        (170, said(Signal.NOT_FOUND, Channel.POLL)),
        (150, ContactFailed(phase="poll", failure="timeout")),
        (120, said(Signal.UNCERTAIN, Channel.POLL, retry_after_s=300)),
        (130, said(Signal.UNCERTAIN, Channel.POLL, retry_after_s=10)),
        (140, said(Signal.UNCERTAIN, Channel.API_RESPONSE)),
        (30, said(Signal.PENDING, Channel.API_RESPONSE)),
        (60, said(Signal.PENDING, Channel.WEBHOOK)),
        (40, said(Signal.REJECTED, Channel.API_RESPONSE, hold=Hold.UNTIL_QUERY)),
        (180, said(Signal.REJECTED, Channel.POLL)),
        (190, said(Signal.FAILED, Channel.WEBHOOK)),
        (90, said(Signal.FAILED, Channel.POLL)),
        (50, said(Signal.UNRECOGNISED, Channel.WEBHOOK)),
        (70, EvidenceMismatched(claimed=Signal.SUCCESS, fields=())),
    ]


def folded(events, at):
    asked = RefundRequested(gateway="g", refund_id="r-1", payment_id="p-1", amount_minor=100, currency="HKD")
    rows = enumerate([(0, asked), *events], 1)
    return fold(Recorded(number, number, at(seconds), event) for number, (seconds, event) in rows)


@PROFILE
@given(data=st.data(), can=CAPABILITIES, now=st.integers(0, 3000))
def test_the_order_of_recording_changes_no_decision(caps, at, data, can, now):
    pool, can = event_pool(at), caps(**can)
    chosen = data.draw(st.lists(st.sampled_from(range(len(pool))), unique=True))
    one = folded([pool[n] for n in chosen], at)
    other = folded([pool[n] for n in data.draw(st.permutations(chosen))], at)
    assert next_contact(one, can, at(now)) == next_contact(other, can, at(now))
    assert exhausted(one, can, at(now)) == exhausted(other, can, at(now))
    assert query_allowed_at(one, can) == query_allowed_at(other, can)


@pytest.mark.parametrize("chosen", [(10, 11), (12, 13), (10, 11, 12, 13)])
def test_an_outcome_that_is_told_twice_is_asked_about_again_by_its_first_time(caps, at, chosen):
    pool = event_pool(at)
    one, other = folded([pool[n] for n in chosen], at), folded([pool[n] for n in reversed(chosen)], at)
    assert next_contact(one, caps(), at(200)) == next_contact(other, caps(), at(200))
