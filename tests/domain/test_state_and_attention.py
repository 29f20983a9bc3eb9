"""State and attention of every mask, before and after every decision, against the design's own words."""

from dataclasses import replace
from itertools import combinations, product

import pytest

from refold.engine.domain.attention import Attention
from refold.engine.domain.events import MessageRef, SubmissionStarted
from refold.engine.domain.evidence import Hold
from refold.engine.domain.message import Channel
from refold.engine.domain.refund import (
    Attempt,
    Resolution,
    decide_exhausted,
    decide_overdue,
    decide_resolution,
)
from refold.engine.domain.signals import State, state_of

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

DECISIONS = ("success", "failed", "closed")
FLAGS = {
    "mismatch": "mismatched",
    "unrecognised": "unrecognised",
    "overdue": "overdue",
    "polling_exhausted": "exhausted",
}
SENT = SubmissionStarted(idempotency_key="r-1", message=MessageRef(digest="00", size=2))


def sent(refund):
    return Attempt(time=refund.requested_at, digest="00", signed_at=None, nonce=None)


@pytest.mark.parametrize(
    ("seen", "state", "attention"),
    [
        (set(), "created", set()),
        ({"rejected"}, "failed", set()),
        ({"pending"}, "received", set()),
        ({"closed"}, "closed", set()),
        ({"rejected", "pending"}, "received", {"contradicted"}),
        ({"rejected", "success"}, "success", {"contradicted"}),
        ({"pending", "success"}, "success", set()),
        ({"pending", "closed"}, "closed", set()),
        ({"closed", "success"}, "success", {"contradicted"}),
        ({"closed", "failed"}, "failed", {"contradicted"}),
        ({"failed", "success"}, "success", {"conflict"}),
        ({"success", "reversed"}, "failed", {"contradicted"}),
        ({"failed", "reversed"}, "failed", set()),
        ({"failed", "recovered"}, "success", {"contradicted"}),
        ({"success", "recovered"}, "success", set()),
        ({"reversed", "recovered"}, "success", {"conflict"}),
        ({"failed", "success", "reversed"}, "failed", {"contradicted"}),
        ({"success", "reversed", "recovered"}, "success", {"conflict", "contradicted"}),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else value,
)
def test_evidence_adds_up_to(story, oracle, shown, seen, state, attention):
    """Written out by hand: what the enumerations below compare must itself be right."""
    told = story()
    for signal in seen:
        told.evidence(signal)
    assert shown(told.refund) == (state, attention)
    assert (oracle.state(seen), oracle.attention(seen)) == (state, attention)


def test_state_and_attention_of_every_mask_are_as_designed(story, oracle, shown, mask_of):
    refund = story().refund
    for seen, submitted in product(oracle.sets, (False, True)):
        found = replace(refund, mask=mask_of(seen), attempts=(sent(refund),) if submitted else ())
        assert shown(found) == (oracle.state(seen), oracle.attention(seen, submitted=submitted)), seen


@pytest.mark.parametrize("outcome", DECISIONS)
def test_state_and_attention_of_every_mask_after_every_decision_are_as_designed(
    story, oracle, shown, mask_of, outcome
):
    refund = story().refund
    refund = replace(refund, attempts=(sent(refund),))
    for seen, known in product(oracle.sets, oracle.sets):
        decided = (outcome, known)
        decision = Resolution(State(outcome), mask_of(known), "ann", "because")
        found = replace(refund, mask=mask_of(seen), resolution=decision)
        assert shown(found) == (outcome, oracle.attention(seen, decided)), (seen, known)


def test_what_was_raised_since_the_last_decision_is_shown_beside_every_mask(story, oracle, shown, mask_of):
    refund = story().refund
    subsets = [raised for size in range(5) for raised in combinations(FLAGS, size)]
    every_signal = frozenset(oracle.level)
    decisions = [
        None,
        *((outcome, known) for outcome in DECISIONS for known in (frozenset(), every_signal)),
    ]
    for seen, raised, decided in product(oracle.sets, subsets, decisions):
        found = replace(refund, mask=mask_of(seen), **{FLAGS[name]: True for name in raised})
        if decided is not None:
            decision = Resolution(State(decided[0]), mask_of(decided[1]), "ann", "because")
            found = replace(found, resolution=decision)
        assert shown(found)[1] == oracle.attention(seen, decided, raised=raised)


@pytest.mark.parametrize("outcome", DECISIONS)
def test_a_new_outcome_after_a_decision_raises_conflict_again_and_old_news_does_not(
    story, oracle, shown, outcome
):
    for known, signal in product(oracle.sets, oracle.level):
        told = story()
        for earlier in known:
            told.evidence(earlier)
        told.append(*decide_resolution(told.refund, State(outcome), "ann", "because"))
        assert shown(told.refund) == (outcome, set())
        told.evidence(signal)
        news = signal in oracle.outcomes and signal not in known
        assert shown(told.refund) == (outcome, {"conflict"} if news else set())
        told.append(*decide_resolution(told.refund, State(outcome), "ann", "still so"))
        assert shown(told.refund) == (outcome, set())


def test_a_decision_clears_what_was_raised_before_it_and_not_what_is_raised_after(story, shown):
    told = story().append(SENT)
    assert shown(told.refund) == ("created", {"in_doubt"})
    told.evidence("unrecognised")
    told.evidence("pending", amount_minor=1)
    told.append(*decide_overdue(told.refund, told.now.replace(year=2030), told.now))
    told.append(*decide_exhausted(told.refund, 9))
    assert shown(told.refund) == ("received", {"mismatch", "unrecognised", "overdue", "polling_exhausted"})
    told.append(*decide_resolution(told.refund, State.SUCCESS, "ann", "seen on the statement"))
    assert shown(told.refund) == ("success", set())
    told.evidence("unrecognised")
    told.evidence("pending", amount_minor=1)
    assert shown(told.refund) == ("success", {"mismatch", "unrecognised"})


def test_in_doubt_is_raised_from_the_intent_until_the_gateway_says_anything_that_counts(story, shown):
    told = story()
    assert shown(told.refund) == ("created", set())
    told.append(SENT)
    for silence in ("uncertain", "not_found"):
        told.evidence(silence, Channel.POLL)
        assert shown(told.refund) == ("created", {"in_doubt"})
    told.evidence("pending", Channel.POLL)
    assert shown(told.refund) == ("received", set())


def test_overdue_and_exhausted_are_raised_once_and_end_with_an_outcome(story, shown):
    told = story().append(SENT)
    told.evidence("pending")
    assert decide_overdue(told.refund, told.now, told.now) == []
    told.append(*decide_overdue(told.refund, told.now.replace(year=2030), told.now))
    told.append(*decide_exhausted(told.refund, 9))
    assert shown(told.refund) == ("received", {"overdue", "polling_exhausted"})
    assert decide_overdue(told.refund, told.now.replace(year=2031), told.now) == []
    assert decide_exhausted(told.refund, 10) == []
    told.evidence("success")
    assert shown(told.refund) == ("success", set())


@pytest.mark.parametrize("signal", ["rejected", "closed", "failed", "success", "reversed", "recovered"])
def test_a_refund_with_an_outcome_is_neither_overdue_nor_exhausted(story, signal):
    told = story().append(SENT)
    told.evidence(signal)
    assert decide_overdue(told.refund, told.now.replace(year=2030), told.now) == []
    assert decide_exhausted(told.refund, 9) == []


def test_time_never_moves_a_state(story):
    told = story().append(SENT)
    told.append(*decide_overdue(told.refund, told.now.replace(year=2030), told.now))
    told.append(*decide_exhausted(told.refund, 9))
    assert told.refund.state is State.CREATED
    assert told.refund.reserved


def test_closed_that_may_hide_a_refund_is_overdue_until_reconciled_and_not_what_comes_after(story, shown):
    told = story()
    told.evidence("closed", Channel.POLL, hold=Hold.UNTIL_RECONCILED)
    assert shown(told.refund) == ("closed", {"overdue"})
    told.evidence("failed", Channel.POLL)
    assert shown(told.refund) == ("failed", {"contradicted"})


def test_every_attention_of_a_refund_can_be_raised_and_over_refunded_is_the_payments(oracle):
    raised = set().union(*(oracle.attention(seen, submitted=True, raised=FLAGS) for seen in oracle.sets))
    assert raised == set(Attention) - {Attention.OVER_REFUNDED}


def test_a_state_read_from_a_wrong_table_is_found(oracle, mask_of, monkeypatch):
    monkeypatch.setitem(oracle.level, "reversed", (4, "failed"))
    assert any(state_of(mask_of(seen)) != oracle.state(seen) for seen in oracle.sets)
