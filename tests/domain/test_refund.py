"""Evidence held against the request: mismatches, holds, and what stays reserved (cases 1, 6, 24, 27, 29, 31, 35)."""

import pytest

from refold.engine.domain.events import (
    EvidenceMismatched,
    MessageRef,
    Mismatch,
    RefundRequested,
    SubmissionStarted,
)
from refold.engine.domain.evidence import Evidence, Hold, Trust, Verification
from refold.engine.domain.message import Channel
from refold.engine.domain.proof import Arrival, decide_evidence
from refold.engine.domain.refund import decide_request, decide_resolution
from refold.engine.domain.signals import Signal, State
from refold.engine.errors import InvalidIdentifier, RefundConflict

SENT = SubmissionStarted(idempotency_key="r-1", message=MessageRef(digest="00", size=2))

# ---- a message that names something else than was asked (cases 35, B21, C16)

MISMATCHES = [
    pytest.param({"amount_minor": 9_999}, "amount_minor", "10000", "9999", id="amount"),
    pytest.param({"amount_minor": 10_001}, "amount_minor", "10000", "10001", id="more"),
    pytest.param({"currency": "USD"}, "currency", "HKD", "USD", id="currency"),
    pytest.param({"account": "M2"}, "account", "M1", "M2", id="account"),
    pytest.param({"refund_id": "r-2"}, "refund_id", "r-1", "r-2", id="refund"),
    pytest.param({"refund_id": "R-1"}, "refund_id", "r-1", "R-1", id="refund in capitals"),
]


@pytest.mark.parametrize(("said", "field", "expected", "seen"), MISMATCHES)
def test_success_of_something_else_proves_at_most_that_it_is_pending(
    story, shown, said, field, expected, seen
):
    told = story(account="M1")
    recorded, mismatched = told.evidence("success", **said)
    assert (recorded.wire, recorded.claimed) == ("evidence.pending", Signal.SUCCESS)
    fields = (Mismatch(field=field, expected=expected, seen=seen),)
    assert mismatched == EvidenceMismatched(claimed=Signal.SUCCESS, fields=fields)
    assert shown(told.refund) == ("received", {"mismatch"})
    assert told.refund.reserved


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"amount_minor": 10_000},
        {"currency": "HKD"},
        {"account": "M1"},
        {"refund_id": "r-1"},
        {"payment_id": "p-9"},
        {"gateway_refund_id": "g-1"},
        {"amount_minor": 10_000, "currency": "HKD", "account": "M1", "refund_id": "r-1", "payment_id": "p-1"},
    ],
    ids=lambda said: "+".join(said) or "nothing",
)
def test_what_is_not_said_or_is_as_asked_is_no_mismatch(story, shown, said):
    told = story(account="M1")
    assert [event.wire for event in told.evidence("success", **said)] == ["evidence.success"]
    assert shown(told.refund) == ("success", set())


def test_an_account_is_not_compared_where_none_was_asked_for(story, shown):
    told = story()
    told.evidence("success", account="M2")
    assert shown(told.refund) == ("success", set())


def test_every_field_that_differs_is_named(story):
    told = story(account="M1")
    said = {"amount_minor": 1, "currency": "JPY", "account": "M2", "refund_id": "r-2"}
    _, mismatched = told.evidence("success", **said)
    assert [mismatch.field for mismatch in mismatched.fields] == [*said]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("rejected", "uncertain"),
        ("pending", "pending"),
        ("closed", "pending"),
        ("failed", "pending"),
        ("success", "pending"),
        ("reversed", "pending"),
        ("recovered", "pending"),
        ("uncertain", "uncertain"),
        ("not_found", "not_found"),
        ("unrecognised", "unrecognised"),
    ],
)
def test_of_a_mismatching_signal_is_left(story, said, left):
    recorded, mismatched = story().evidence(said, amount_minor=1)
    assert (recorded.signal, recorded.claimed, mismatched.claimed) == (left, said, said)


def test_a_mismatching_message_holds_nothing_back_and_confirms_nothing(story):
    told = story()
    told.evidence("rejected", Channel.API_RESPONSE, hold=Hold.UNTIL_QUERY)
    told.evidence("failed", Channel.POLL, refund_id="r-2")
    told.evidence("closed", Channel.POLL, refund_id="r-2", hold=Hold.UNTIL_RECONCILED)
    assert told.refund.hold is Hold.UNTIL_QUERY


def test_a_mismatching_message_teaches_no_reference(story):
    told = story(payment_id=None)
    told.evidence("success", amount_minor=1, gateway_refund_id="g-9", payment_id="p-9")
    assert (told.refund.gateway_refund_id, told.refund.payment_id) == (None, None)
    told.evidence("success", gateway_refund_id="g-1", payment_id="p-1")
    assert (told.refund.gateway_refund_id, told.refund.payment_id) == ("g-1", "p-1")


def test_another_gateway_refund_id_calls_a_person_and_caps_nothing(story, shown):
    told = story()
    told.evidence("pending", gateway_refund_id="g-1")
    recorded, mismatched = told.evidence("success", gateway_refund_id="g-2")
    assert (recorded.wire, recorded.claimed) == ("evidence.success", None)
    assert mismatched.fields == (Mismatch(field="gateway_refund_id", expected="g-1", seen="g-2"),)
    assert shown(told.refund) == ("success", {"mismatch"})
    assert told.refund.gateway_refund_id == "g-1"


def test_a_gateway_without_refund_reference_is_matched_by_the_payment(story, shown):
    told = story()
    told.evidence("success", by_reference=False, refund_id="p-1", payment_id="p-1")
    assert shown(told.refund) == ("success", set())
    other = story()
    _, mismatched = other.evidence("success", by_reference=False, payment_id="p-2")
    assert mismatched.fields == (Mismatch(field="payment_id", expected="p-1", seen="p-2"),)
    assert shown(other.refund) == ("received", {"mismatch"})


def test_a_payment_that_was_not_asked_for_is_learned_and_a_second_one_calls_a_person(story, shown):
    told = story(payment_id=None)
    told.evidence("pending", by_reference=False, payment_id="p-1")
    told.evidence("success", by_reference=False, payment_id="p-2")
    assert (told.refund.payment_id, shown(told.refund)) == ("p-1", ("success", {"mismatch"}))


def test_evidence_keeps_what_was_said_and_how_it_came(story):
    reference = MessageRef(digest="ab", size=9, masked=True)
    arrival = Arrival(
        channel=Channel.POLL,
        time=story().now,
        verification=Verification(Trust.VERIFIED, "main"),
        message=reference,
        http_status=200,
        adopted_from="key",
        recorded_at=story().now,
    )
    said = Evidence(
        signal=Signal.PENDING,
        code="state=1",
        amount_minor=10_000,
        currency="HKD",
        gateway_time=story().now,
        detail="in progress",
        answered=False,
    )
    (event,) = decide_evidence(story().refund, said, arrival)
    assert (event.code, event.amount_minor, event.currency, event.detail) == (
        "state=1",
        10_000,
        "HKD",
        "in progress",
    )
    assert (event.trust, event.key_id, event.message, event.http_status) == (
        "verified",
        "main",
        reference,
        200,
    )
    assert (event.adopted_from, event.recorded_at, event.unanswered) == ("key", story().now, True)


# ---- what stays reserved (cases 24, 27, 29, 31)


@pytest.mark.parametrize(
    ("signals", "reserved"),
    [
        ("", True),
        ("pending", True),
        ("success", True),
        ("rejected", False),
        ("failed", False),
        ("closed", False),
        ("success reversed", False),
        ("failed recovered", True),
        ("failed success", True),
        ("reversed recovered", True),
        ("rejected pending", True),
        ("uncertain not_found unrecognised", True),
    ],
)
def test_an_amount_is_released_where_the_refund_is_known_to_have_failed_or_closed(story, signals, reserved):
    told = story().append(SENT)
    for signal in signals.split():
        told.evidence(signal)
    assert told.refund.reserved is reserved


REJECTED, CLOSED = ("rejected", Hold.UNTIL_QUERY), ("closed", Hold.UNTIL_RECONCILED)
POST, POLL, HOOK, REPORT = Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK, Channel.REPORT


@pytest.mark.parametrize(
    ("first", "then", "held"),
    [
        pytest.param(REJECTED, [], True, id="rejected alone"),
        pytest.param(REJECTED, [("not_found", POLL)], False, id="rejected, a poll finds nothing"),
        pytest.param(REJECTED, [("rejected", POLL)], False, id="rejected, a poll says so too"),
        pytest.param(REJECTED, [("failed", POLL)], False, id="rejected, a poll says failed"),
        pytest.param(REJECTED, [("not_found", REPORT)], False, id="rejected, a report finds nothing"),
        pytest.param(REJECTED, [("uncertain", POLL)], True, id="rejected, a poll cannot tell"),
        pytest.param(REJECTED, [("unrecognised", POLL)], True, id="rejected, a poll is not understood"),
        pytest.param(REJECTED, [("failed", HOOK)], True, id="rejected, a webhook is no query"),
        pytest.param(REJECTED, [("rejected", POST)], True, id="rejected twice is no query"),
        pytest.param(CLOSED, [], True, id="closed alone"),
        pytest.param(CLOSED, [("closed", POLL)], True, id="closed, a poll says so too"),
        pytest.param(CLOSED, [("not_found", POLL)], True, id="closed, a poll finds nothing"),
        pytest.param(CLOSED, [("closed", REPORT)], False, id="closed, a report says so"),
        pytest.param(CLOSED, [("not_found", REPORT)], False, id="closed, a report has no such refund"),
        pytest.param(CLOSED, [("uncertain", REPORT)], True, id="closed, a report cannot tell"),
    ],
)
def test_a_held_amount_is_released_by_what_confirms_it(story, first, then, held):
    told = story()
    told.evidence(first[0], POST, hold=first[1])
    for signal, channel in then:
        told.evidence(signal, channel, after_s=1)
    assert told.refund.held is held
    assert told.refund.reserved is held


@pytest.mark.parametrize(("signal", "hold"), [REJECTED, CLOSED])
def test_an_earlier_poll_confirms_nothing_that_was_said_later(story, signal, hold):
    told = story()
    told.evidence("not_found", POLL)
    told.evidence(signal, POST, hold=hold)
    assert told.refund.reserved


def test_an_earlier_report_that_no_money_moved_confirms_a_later_close(story):
    told = story()
    told.evidence("not_found", REPORT)
    told.evidence("closed", POLL, hold=Hold.UNTIL_RECONCILED)
    assert not told.refund.reserved


def test_a_report_holds_nothing_back_as_it_is_the_reconciliation(story):
    told = story()
    told.evidence("closed", REPORT, hold=Hold.UNTIL_RECONCILED)
    assert (told.refund.hold, told.refund.reserved) == (Hold.NONE, False)


@pytest.mark.parametrize(
    "order", [(REJECTED, CLOSED), (CLOSED, REJECTED)], ids=["rejected first", "closed first"]
)
def test_the_longer_of_two_holds_counts_and_a_query_ends_the_shorter_only(story, order):
    told = story()
    for signal, hold in order:
        told.evidence(signal, POST, hold=hold)
    told.evidence("not_found", POLL)
    assert (told.refund.hold, told.refund.held) == (Hold.UNTIL_RECONCILED, True)


@pytest.mark.parametrize(("signal", "hold"), [REJECTED, CLOSED])
@pytest.mark.parametrize(("outcome", "reserved"), [("failed", False), ("closed", False), ("success", True)])
def test_a_persons_decision_ends_every_hold(story, signal, hold, outcome, reserved):
    told = story()
    told.evidence(signal, POST, hold=hold)
    told.append(*decide_resolution(told.refund, State(outcome), "ann", "seen on the statement"))
    assert told.refund.reserved is reserved


def test_a_success_after_a_person_said_failed_reserves_the_amount_again(story):
    told = story()
    told.append(*decide_resolution(told.refund, State.FAILED, "ann", "the gateway's support says so"))
    assert not told.refund.reserved
    told.evidence("success")
    assert told.refund.reserved


# ---- opening (cases 18, C12)

ASKED = {
    "gateway": "evonet",
    "refund_id": "r-1",
    "payment_id": "p-1",
    "amount_minor": 10_000,
    "currency": "HKD",
}


def test_a_refund_is_opened_once_and_the_same_request_again_is_nothing_new(story):
    asked = RefundRequested(**ASKED)
    assert decide_request(None, asked) == [asked]
    assert decide_request(story().refund, asked) == []
    assert decide_request(story().refund, asked.model_copy(update={"reason": "told again"})) == []
    assert decide_request(story(payment_id=None).refund, asked) == []
    assert decide_request(story().refund, asked.model_copy(update={"payment_id": None})) == []


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"gateway": "evocloud"}, ("gateway", "evonet", "evocloud")),
        ({"amount_minor": 9_999}, ("amount", "100.00 HKD", "99.99 HKD")),
        ({"currency": "USD"}, ("amount", "100.00 HKD", "100.00 USD")),
        ({"payment_id": "p-2"}, ("payment_id", "p-1", "p-2")),
    ],
)
def test_the_same_refund_id_with_other_content_is_refused(story, changed, difference):
    with pytest.raises(RefundConflict) as caught:
        decide_request(story().refund, RefundRequested(**ASKED | changed))
    assert caught.value.differences == (difference,)
    assert " is ".join(difference[:2]) in str(caught.value)


@pytest.mark.parametrize("field", ["refund_id", "payment_id"])
@pytest.mark.parametrize("value", ["", "a b", "caf\u00e9", "x" * 129, "r\u200b1", "r\n"])
def test_a_refund_is_not_opened_under_an_id_that_is_none(field, value):
    with pytest.raises(InvalidIdentifier, match=field):
        decide_request(None, RefundRequested(**ASKED | {field: value}))


def test_what_holds_an_amount_depends_on_the_times_of_messages_not_on_the_order_of_the_log(story):
    facts = (("rejected", POST, Hold.UNTIL_QUERY, 10), ("not_found", POLL, Hold.NONE, 70))
    for order in (facts, facts[::-1]):
        told = story()
        for signal, channel, hold, at_s in order:
            told.seconds = at_s
            told.evidence(signal, channel, hold=hold)
        assert not told.refund.reserved, order
