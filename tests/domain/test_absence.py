"""When `not found` means that there is no such refund: twice, a minute apart, after an answered submission."""

from itertools import permutations

import pytest

from refold.engine.domain.events import ContactFailed, EvidenceRejected, MessageRef, SubmissionStarted
from refold.engine.domain.evidence import AbsenceRule
from refold.engine.domain.message import Channel
from refold.engine.domain.signals import Signal

TWICE = AbsenceRule(answers=2, apart_s=60)
SENT = SubmissionStarted(idempotency_key="r-1", message=MessageRef(digest="00", size=2))
POST, POLL, HOOK, REPORT = Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK, Channel.REPORT


def submitted(story, *, answered=True):
    """Return a story after a submission, answered or not."""
    told = story().append(SENT)
    if answered:
        told.evidence("uncertain", POST)
    return told


def not_found(told, *, after_s, rule=TWICE, channel=POLL, **said):
    """Let a query find nothing; return what was concluded beside the answer itself."""
    return told.evidence("not_found", channel, after_s=after_s, absence=rule, **said)[1:]


def test_two_answers_a_minute_apart_after_an_answered_submission_are_a_rejection(story, shown):
    told = submitted(story)
    assert not_found(told, after_s=0) == []
    first = told.refund.version
    (concluded,) = not_found(told, after_s=60)
    assert isinstance(concluded, EvidenceRejected)
    assert (concluded.cites, concluded.code, concluded.channel) == ((first, first + 1), "not_found x2", POLL)
    assert shown(told.refund) == ("failed", set())
    assert not told.refund.reserved


@pytest.mark.parametrize("apart_s", [0, 1, 59])
def test_two_answers_less_than_a_minute_apart_are_none(story, shown, apart_s):
    told = submitted(story)
    not_found(told, after_s=0)
    assert not_found(told, after_s=apart_s) == []
    assert shown(told.refund) == ("created", {"in_doubt"})


def test_the_minute_runs_from_the_first_of_several_answers_and_all_of_them_are_cited(story):
    told = submitted(story)
    cited = []
    for after_s in (0, 20, 20):
        assert not_found(told, after_s=after_s) == []
        cited.append(told.refund.version)
    (concluded,) = not_found(told, after_s=20)
    assert (concluded.cites, concluded.code) == ((*cited, cited[-1] + 1), "not_found x4")


def test_it_is_concluded_once(story):
    told = submitted(story)
    not_found(told, after_s=0)
    assert not_found(told, after_s=60)
    assert not_found(told, after_s=600) == []


def test_without_a_rule_absence_proves_nothing_however_often(story, shown):
    told = submitted(story)
    for _ in range(10):
        assert not_found(told, after_s=3600, rule=None) == []
    assert shown(told.refund) == ("created", {"in_doubt"})


def test_a_submission_without_an_answer_may_still_arrive(story, shown):
    told = submitted(story, answered=False)
    told.append(ContactFailed(phase="submit", failure="timeout"))
    for _ in range(5):
        assert not_found(told, after_s=3600) == []
    assert shown(told.refund) == ("created", {"in_doubt"})


def test_a_page_of_a_proxy_is_no_answer_to_the_submission(story):
    told = submitted(story, answered=False)
    told.evidence("uncertain", POST, answered=False)
    not_found(told, after_s=0)
    assert not_found(told, after_s=60) == []


def test_the_answer_to_another_refunds_submission_is_none_to_ours(story):
    told = submitted(story, answered=False)
    told.evidence("pending", POST, refund_id="r-2")
    not_found(told, after_s=0)
    assert not_found(told, after_s=60) == []


def test_an_answer_that_comes_between_the_queries_counts(story):
    told = submitted(story, answered=False)
    not_found(told, after_s=0)
    told.evidence("uncertain", POST)
    assert not_found(told, after_s=60)


def test_a_new_submission_starts_all_over(story):
    told = submitted(story)
    not_found(told, after_s=0)
    told.seconds += 1
    told.append(SENT)
    assert not_found(told, after_s=600) == []
    told.evidence("uncertain", POST)
    assert not_found(told, after_s=59) == []
    assert not_found(told, after_s=1)


def test_the_answer_to_an_earlier_submission_is_none_to_the_last(story):
    told = submitted(story)
    told.seconds += 10
    told.append(SENT)
    assert not_found(told, after_s=10) == []
    assert not_found(told, after_s=600) == []


@pytest.mark.parametrize("channel", [POST, HOOK, REPORT])
def test_only_queries_count(story, channel):
    told = submitted(story)
    not_found(told, after_s=0, channel=channel)
    assert not_found(told, after_s=600, channel=channel) == []
    assert not_found(told, after_s=600) == []
    assert told.refund.absent == ((told.refund.version, told.now),)


def test_a_query_about_another_refund_does_not_count(story):
    told = submitted(story)
    not_found(told, after_s=0, refund_id="r-2")
    assert not_found(told, after_s=600) == []
    told = submitted(story)
    not_found(told, after_s=0)
    (mismatched,) = not_found(told, after_s=600, refund_id="r-2")
    assert mismatched.wire == "evidence.mismatched"


def test_answers_whose_clock_runs_backwards_conclude_nothing(story):
    told = submitted(story)
    not_found(told, after_s=0)
    assert not_found(told, after_s=-3600) == []


@pytest.mark.parametrize(("answers", "apart_s", "polls"), [(1, 0, 1), (2, 0, 2), (3, 60, 3), (3, 0, 3)])
def test_other_rules_count_by_their_own_numbers(story, answers, apart_s, polls):
    told = submitted(story)
    rule = AbsenceRule(answers=answers, apart_s=apart_s)
    found = [bool(not_found(told, after_s=60 * bool(index), rule=rule)) for index in range(polls)]
    assert found == [False] * (polls - 1) + [True]


def test_a_refund_that_was_rejected_already_is_not_rejected_again_by_absence(story):
    told = submitted(story)
    told.evidence("rejected", POST)
    not_found(told, after_s=0)
    assert not_found(told, after_s=60) == []


def test_absence_after_the_gateway_held_the_refund_calls_a_person_and_moves_nothing(story, shown):
    told = submitted(story)
    told.evidence("pending", POST)
    not_found(told, after_s=0)
    assert [event.signal for event in not_found(told, after_s=60)] == [Signal.REJECTED]
    assert shown(told.refund) == ("received", {"contradicted"})
    assert told.refund.reserved


def test_a_late_success_overturns_what_was_concluded_from_absence(story, shown):
    told = submitted(story)
    not_found(told, after_s=0)
    not_found(told, after_s=60)
    told.evidence("success", HOOK)
    assert shown(told.refund) == ("success", {"contradicted"})


def test_the_order_in_which_the_answers_are_recorded_does_not_matter(story, shown):
    """Three messages with their own times, in every order, from the same submission on."""
    facts = (("uncertain", POST, 10), ("not_found", POLL, 70), ("not_found", POLL, 140))
    for order in permutations(facts):
        told = story().append(SENT)
        for signal, channel, at_s in order:
            told.seconds = at_s
            told.evidence(signal, channel, absence=TWICE)
        assert shown(told.refund) == ("failed", set()), order
