"""Payments and refunds come into being: idempotence, conflicts, and the guard against refunding too much."""

import threading
from functools import partial

import pytest

from refold.engine import Money, Outcome, State
from refold.engine.errors import (
    InvalidAmount,
    OverRefund,
    PaymentConflict,
    PaymentNotFound,
    RefundConflict,
    UnknownGateway,
    UnreadableMessage,
)

# ---- payments


def test_registering_a_payment_shows_what_was_captured(engine, hkd):
    view = engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    assert view.to_json() == {
        "gateway": "evonet",
        "payment_id": "p-1",
        "currency": "HKD",
        "captured_minor": 10000,
        "reserved_minor": 0,
        "refunded_minor": 0,
        "left_minor": 10000,
        "refunds": 0,
        "attention": [],
    }


def test_registering_the_same_payment_again_appends_nothing(engine, hkd):
    for _ in range(3):
        engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    assert engine.store.head() == 1


@pytest.mark.parametrize("given", [Money(10001, "HKD"), Money(10000, "USD")], ids=["amount", "currency"])
def test_a_payment_is_registered_once(engine, hkd, given):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    with pytest.raises(PaymentConflict, match=r"100\.00 HKD"):
        engine.register_payment(gateway="evonet", payment_id="p-1", captured=given)


def test_the_same_payment_number_at_two_gateways_is_two_payments(engine, hkd):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    engine.register_payment(gateway="easylink", payment_id="p-1", captured=hkd(500))
    assert [view.captured_minor for view in engine.payments()] == [500, 10000]


def test_a_payment_that_nobody_named_is_not_found(engine):
    with pytest.raises(PaymentNotFound, match="p-1"):
        engine.payment("evonet", "p-1")


# ---- requests


def test_a_request_is_in_the_log_before_anything_is_sent(engine, ask, types):
    view = ask(engine, reason="damaged", requested_by="ann")
    assert (view.state, view.attention, view.events) == (State.CREATED, (), 1)
    assert types(engine) == ["refund.requested"]


def test_the_same_request_again_changes_nothing(engine, ask, log):
    """CASES A1, as the engine keeps it: the refund id is the idempotency key."""
    first = ask(engine)
    before = log(engine)
    assert ask(engine) == first
    assert log(engine) == before


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({"amount": Money(6001, "HKD")}, [("amount", "60.00 HKD", "60.01 HKD")]),
        ({"amount": Money(6000, "USD")}, [("amount", "60.00 HKD", "60.00 USD")]),
        ({"payment": "p-2"}, [("payment_id", "p-1", "p-2")]),
        ({"gateway": "easylink"}, [("gateway", "evonet", "easylink")]),
        (
            {"amount": Money(1, "HKD"), "payment": "p-2"},
            [("amount", "60.00 HKD", "0.01 HKD"), ("payment_id", "p-1", "p-2")],
        ),
    ],
    ids=["amount", "currency", "payment", "gateway", "two fields"],
)
def test_a_refund_id_used_for_something_else_names_every_difference(engine, ask, log, changes, differences):
    """CASES A2."""
    ask(engine)
    before = log(engine)
    with pytest.raises(RefundConflict) as caught:
        ask(engine, **changes)
    assert list(caught.value.differences) == differences
    assert log(engine) == before


def test_an_unknown_gateway_is_refused_with_those_that_are_configured(engine, ask):
    with pytest.raises(UnknownGateway, match="bbmsl, easylink, evocloud, evonet"):
        ask(engine, gateway="paypal")


def test_two_equal_partial_refunds_of_one_payment_are_two_refunds(engine, ask, hkd):
    """CASES 18."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    ask(engine, "r-1", amount=hkd(4000))
    ask(engine, "r-2", amount=hkd(4000))
    assert engine.payment("evonet", "p-1").refunds == 2
    assert engine.payment("evonet", "p-1").reserved_minor == 8000


# ---- the guard


def test_a_refund_above_what_is_left_is_refused_and_nothing_is_stored(engine, ask, hkd, log):
    """CASES C8."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    ask(engine, "r-1")
    before = log(engine)
    with pytest.raises(OverRefund) as caught:
        ask(engine, "r-2")
    assert (caught.value.requested, caught.value.available, caught.value.currency) == (6000, 4000, "HKD")
    assert log(engine) == before


def test_a_refund_above_a_partial_capture_is_refused(engine, ask, hkd):
    """CASES 32: 40 of 100 were captured, 60 are asked for."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(4000))
    with pytest.raises(OverRefund) as caught:
        ask(engine)
    assert caught.value.available == 4000


def test_all_of_a_payment_can_be_refunded_to_the_last_cent(engine, ask, hkd):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(6001))
    ask(engine, "r-1")
    ask(engine, "r-2", amount=hkd(1))
    with pytest.raises(OverRefund):
        ask(engine, "r-3", amount=hkd(1))


def test_a_refund_in_another_currency_than_its_payment_is_refused(engine, ask, hkd):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    with pytest.raises(InvalidAmount, match="the payment is in HKD"):
        ask(engine, amount=Money(1, "USD"))


def test_beside_a_refund_in_another_currency_nobody_can_tell_what_is_left(engine, ask, hkd, log):
    """Cents of one are not cents of the other: what it holds is neither 50.00 HKD nor nothing."""
    ask(engine, "r-1", amount=Money(5000, "USD"))
    assert engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000)).left_minor is None
    before = log(engine)
    assert [view.over_refunded for view in engine.payments()] == [True, False], "a person must look"
    with pytest.raises(
        OverRefund, match=r"r-1 of the same payment holds 50\.00 USD.*a person must look"
    ) as caught:
        ask(engine, "r-2", amount=hkd(1))
    assert (caught.value.available, caught.value.currency) == (0, "HKD")
    assert log(engine) == before
    engine.resolve("r-1", "closed", actor="bob", reason="never sent")
    assert engine.payment("evonet", "p-1").left_minor == 10000
    ask(engine, "r-2", amount=hkd(10000))


def test_what_is_left_is_shown_as_the_guard_reckons_it(engine, ask, hkd):
    ask(engine, "r-1")
    assert engine.payment("evonet", "p-1").left_minor is None, "it is not registered yet"
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    ask(engine, "r-2", amount=Money(5000, "USD"), payment="p-2")
    engine.register_payment(gateway="evonet", payment_id="p-3", captured=hkd(100))
    engine.register_payment(gateway="easylink", payment_id="p-2", captured=hkd(100))
    shown = {(view.gateway, view.payment_id): view.left_minor for view in engine.payments()}
    expected = {("easylink", "p-2"): 100, ("evonet", "p-1"): 4000, ("evonet", "p-2"): None}
    assert shown == expected | {("evonet", "p-3"): 100}
    ask(engine, "r-3", amount=hkd(4000))
    assert engine.payment("evonet", "p-1").left_minor == 0


def test_refunds_asked_for_before_the_payment_was_registered_count(engine, ask, hkd):
    ask(engine, "r-1")
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    with pytest.raises(OverRefund) as caught:
        ask(engine, "r-2")
    assert caught.value.available == 4000


def test_what_was_refunded_beyond_a_payment_registered_later_is_shown(engine, ask, hkd):
    ask(engine, "r-1")
    ask(engine, "r-2")
    view = engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    assert view.over_refunded
    assert view.to_json()["attention"] == ["over_refunded"]
    assert list(engine.payments(over_refunded=True)) == [view]


def test_a_request_that_has_already_left_is_recorded_even_beyond_the_payment(engine, ask, wire, hkd):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    ask(engine, "r-1")
    receipt = engine.record("evonet", "request", wire.request("evonet", "r-2"))
    assert receipt.outcome is Outcome.RECORDED
    assert engine.payment("evonet", "p-1").reserved_minor == 12000
    assert engine.payment("evonet", "p-1").over_refunded


def test_a_failed_refund_gives_its_amount_back(engine, ask, wire, hkd):
    """CASES 31."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    ask(engine, "r-1")
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "failed"))
    assert engine.payment("evonet", "p-1").reserved_minor == 0
    assert ask(engine, "r-2", amount=hkd(10000)).state is State.CREATED


@pytest.mark.parametrize("body", ["<html>502 Bad Gateway</html>", '{"result": {'], ids=["HTML", "half"])
def test_a_refund_in_doubt_keeps_its_amount(engine, wire, ask, hkd, body):
    """CASES 31."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    engine.record("evonet", "request", wire.request("evonet", "r-1"))
    engine.record("evonet", "api_response", wire.message(body, http_status=502), refund_id="r-1")
    assert engine.refund("r-1").attention == ("in_doubt",)
    with pytest.raises(OverRefund):
        ask(engine, "r-2")


def test_a_closed_refund_gives_its_amount_back(engine, ask, hkd):
    """CASES 29, by a person's decision; a gateway's own closing at easylink waits for reconciliation."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(6000))
    ask(engine, "r-1")
    engine.resolve("r-1", "closed", actor="bob", reason="never sent")
    assert engine.payment("evonet", "p-1").reserved_minor == 0
    ask(engine, "r-2")


def test_a_refund_closed_by_easylink_keeps_its_amount_until_a_person_says_so(engine, ask, wire, hkd):
    """CASES 29: its state 4 can hide a real refund."""
    engine.register_payment(gateway="easylink", payment_id="p-1", captured=hkd(6000))
    ask(engine, "r-1", gateway="easylink")
    engine.record("easylink", "poll", wire.says("easylink", "r-1", "closed"))
    assert engine.refund("r-1").state is State.CLOSED
    with pytest.raises(OverRefund):
        ask(engine, "r-2", gateway="easylink")
    engine.resolve("r-1", "closed", actor="bob", reason="not on the statement")
    ask(engine, "r-2", gateway="easylink")


# ---- one refund a payment


def test_bbmsl_takes_one_refund_a_payment_registered_or_not(engine, ask):
    ask(engine, "r-1", gateway="bbmsl")
    with pytest.raises(OverRefund) as caught:
        ask(engine, "r-2", gateway="bbmsl")
    assert caught.value.available == 0


def test_bbmsl_takes_another_refund_once_the_first_is_known_to_have_failed(engine, ask, wire):
    ask(engine, "r-1", gateway="bbmsl")
    refused = wire.message({"responseCode": "1234", "message": "no", "order": {"merchantReference": "p-1"}})
    assert engine.record("bbmsl", "api_response", refused).state is State.FAILED
    with pytest.raises(OverRefund):  # until one query has confirmed it
        ask(engine, "r-2", gateway="bbmsl")
    engine.record("bbmsl", "poll", wire.says("bbmsl", None, "not_found", at_s=60))
    ask(engine, "r-2", gateway="bbmsl")


def test_bbmsl_answers_find_the_refund_by_its_order_whatever_its_number(engine, ask, wire, hkd):
    ask(engine, "our-number", gateway="bbmsl", payment="s22tring")
    answer = wire.says("bbmsl", None, "success", payment="s22tring", amount=hkd(6000))
    receipt = engine.record("bbmsl", "api_response", answer)
    assert (receipt.refund_id, receipt.state, receipt.attention) == ("our-number", State.SUCCESS, ())


# ---- requests that leave things out


def test_a_request_without_amount_asks_for_the_whole_registered_payment(engine, wire, hkd):
    engine.register_payment(gateway="evocloud", payment_id="p-1", captured=hkd(7619))
    sent = wire.message({"merchantTransInfo": {"merchantTransID": "r-1"}})
    engine.record("evocloud", "request", sent, payment_id="p-1")
    assert engine.refund("r-1").amount == hkd(7619)


@pytest.mark.parametrize("payment_id", [None, "p-1"], ids=["no payment", "a payment nobody registered"])
def test_a_request_without_amount_and_payment_cannot_be_used(engine, wire, payment_id):
    sent = wire.message({"merchantTransInfo": {"merchantTransID": "r-1"}})
    with pytest.raises(UnreadableMessage, match="register the payment first"):
        engine.record("evocloud", "request", sent, payment_id=payment_id)


def test_a_request_for_another_refund_than_the_caller_says_is_refused(engine, wire):
    with pytest.raises(UnreadableMessage, match="it asks for refund r-1, not r-9"):
        engine.record("evonet", "request", wire.request("evonet", "r-1"), refund_id="r-9")


def test_a_bbmsl_request_takes_the_refund_id_of_the_caller(engine, wire):
    engine.record("bbmsl", "request", wire.request("bbmsl", None, payment="s22"), refund_id="r-9")
    assert engine.refund("r-9").payment_id == "s22"


def test_a_second_request_line_is_a_retry_of_the_same_refund(engine, wire, types):
    engine.record("evonet", "request", wire.request("evonet", "r-1"))
    engine.record("evonet", "request", wire.request("evonet", "r-1", at_s=60))
    assert types(engine) == ["refund.requested"] + ["refund.submission_started"] * 2
    assert engine.payment("evonet", "p-1").refunds == 1


def test_the_same_request_line_again_is_a_duplicate(engine, wire, log):
    sent = wire.request("evonet", "r-1")
    assert engine.record("evonet", "request", sent).outcome is Outcome.RECORDED
    before = log(engine)
    assert engine.record("evonet", "request", sent).outcome is Outcome.DUPLICATE
    assert log(engine) == before


def test_a_payment_named_only_by_the_answer_is_reserved_then(engine, wire, ask, hkd):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    engine.record("evonet", "request", wire.request("evonet", "r-1", payment=None))
    assert engine.payment("evonet", "p-1").reserved_minor == 0
    engine.record("evonet", "api_response", wire.says("evonet", "r-1", "pending"))
    assert engine.payment("evonet", "p-1").reserved_minor == 6000
    with pytest.raises(OverRefund):
        ask(engine, "r-2")


def test_a_payment_named_only_by_an_adopted_answer_is_reserved_too(engine, wire, ask, hkd):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    engine.record("evonet", "api_response", wire.says("evonet", "r-1", "pending"))
    engine.record("evonet", "request", wire.request("evonet", "r-1", payment=None))
    assert engine.refund("r-1").payment_id == "p-1"
    with pytest.raises(OverRefund):
        ask(engine, "r-2")


# ---- at the same moment


def in_parallel(*calls):
    """Run the calls at once; return what each returned or raised."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index, call):
        barrier.wait()
        try:
            results[index] = call()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[index] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_two_concurrent_refunds_of_60_on_100_exactly_one_is_accepted(engine, ask, hkd):
    """CASES 30."""
    for number in range(25):
        payment = f"p-{number}"
        engine.register_payment(gateway="evonet", payment_id=payment, captured=hkd(10000))
        results = in_parallel(
            partial(ask, engine, f"{payment}-a", payment=payment),
            partial(ask, engine, f"{payment}-b", payment=payment),
        )
        assert sorted(type(result).__name__ for result in results) == ["OverRefund", "RefundView"]
        assert engine.payment("evonet", payment).reserved_minor == 6000
    assert engine.replay().agrees


def test_the_same_request_from_many_threads_opens_one_refund(engine, ask):
    results = in_parallel(*[lambda: ask(engine) for _ in range(8)])
    assert [result.events for result in results] == [1] * 8
    assert engine.payment("evonet", "p-1").refunds == 1


def test_the_same_request_from_two_engines_on_one_file_opens_one_refund(open_at, ask, tmp_path):
    engines = [open_at(f"sqlite:///{tmp_path / 'shared.db'}") for _ in range(2)]
    for number in range(10):
        calls = [partial(ask, each, f"r-{number}") for each in engines]
        results = in_parallel(*calls)
        assert results[0] == results[1]
    assert engines[0].payment("evonet", "p-1").refunds == 10
