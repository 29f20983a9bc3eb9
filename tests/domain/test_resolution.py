"""A person's decision: by whom, why, over which evidence, and never by who asked for the refund (case 39)."""

import pytest

from refold.engine.domain.events import RefundResolved
from refold.engine.domain.refund import decide_resolution
from refold.engine.domain.signals import BIT, Signal, State
from refold.engine.errors import InvalidIdentifier, InvalidText, SelfApproval

WHY = "seen on the bank statement of 21 November"


def decide(told, outcome="success", actor="ben", reason=WHY):
    events = decide_resolution(told.refund, State(outcome), actor, reason)
    told.append(*events)
    return events


@pytest.mark.parametrize("outcome", ["success", "failed", "closed"])
def test_a_decision_says_who_why_and_over_which_evidence(story, outcome):
    told = story(requested_by="ann")
    told.evidence("failed")
    told.evidence("success")
    (event,) = decide(told, outcome)
    seen = BIT[Signal.FAILED] | BIT[Signal.SUCCESS]
    assert event == RefundResolved(outcome=outcome, actor="ben", reason=WHY, seen_mask=seen)
    assert told.refund.state == outcome
    assert told.refund.resolution.actor == "ben"


def test_who_asked_for_the_refund_may_not_decide_it(story):
    told = story(requested_by="ann")
    with pytest.raises(
        SelfApproval, match="'ann' asked for this refund and may not decide it: another person must"
    ):
        decide(told, actor="ann")
    assert decide(told, actor="ben")


def test_where_nobody_is_known_to_have_asked_anybody_may_decide(story):
    assert decide(story(), actor="ann")


def test_names_are_told_apart_by_case_and_look_alikes_are_no_names(story):
    told = story(requested_by="ann")
    assert decide(told, actor="Ann")
    with pytest.raises(InvalidIdentifier, match="actor"):
        decide(told, actor="\u0430nn")


@pytest.mark.parametrize("actor", ["", " ", "ann b", "ann\u200b", "x" * 129])
def test_a_decision_needs_a_person(story, actor):
    with pytest.raises(InvalidIdentifier, match="actor"):
        decide(story(), actor=actor)


@pytest.mark.parametrize("reason", ["", " ", "\n\t", "\u200b\u202e", "x" * 501, "\ud800", None, 1])
def test_a_decision_needs_a_reason(story, reason):
    with pytest.raises(InvalidText, match="reason"):
        decide(story(), reason=reason)


@pytest.mark.parametrize("outcome", ["created", "received"])
def test_a_decision_is_for_an_outcome(story, outcome):
    with pytest.raises(InvalidText, match=f"{outcome} is no outcome; use success, failed or closed"):
        decide(story(), outcome)


def test_a_word_that_is_no_state_is_refused_as_an_outcome(story):
    with pytest.raises(InvalidText, match="refunded is no outcome"):
        decide_resolution(story().refund, "refunded", "ben", WHY)


def test_the_same_decision_over_the_same_evidence_is_nothing_new(story):
    told = story()
    told.evidence("failed")
    assert decide(told, "failed")
    assert decide(told, "failed") == []
    assert decide(told, "failed", actor="cat", reason="another way to say it") == []
    assert told.refund.version == 3


def test_another_decision_over_the_same_evidence_is(story):
    told = story()
    decide(told, "failed")
    assert decide(told, "success")
    assert told.refund.state == "success"
    assert decide(told, "failed")
    assert told.refund.state == "failed"


@pytest.mark.parametrize("signal", ["success", "pending"])
def test_the_same_decision_over_new_evidence_is(story, signal):
    told = story()
    decide(told, "failed")
    told.evidence(signal)
    (event,) = decide(told, "failed")
    assert event.seen_mask == BIT[Signal(signal)]
    assert told.refund.attention == frozenset()


def test_the_same_decision_answers_what_was_raised_since(story):
    told = story()
    decide(told, "failed")
    told.evidence("unrecognised")
    assert told.refund.attention == {"unrecognised"}
    assert decide(told, "failed")
    assert told.refund.attention == frozenset()
    assert decide(told, "failed") == []


def test_a_contradicting_gateway_after_a_decision_is_shown_and_changes_nothing(story, shown):
    told = story()
    told.evidence("failed")
    decide(told, "failed")
    told.evidence("success")
    assert shown(told.refund) == ("failed", {"conflict"})


def test_a_reason_is_kept_in_one_normal_form(story):
    (event,) = decide(story(), reason="cafe\u0301")
    assert event.reason == "caf\u00e9"
