"""A BBMSL order has two names, and its answer finds the refund by either, whichever came first."""

import pytest

from refold.adapters import Bbmsl
from refold.engine import Outcome, State

BY_NUMBER = '{"merchantId":"3000001","orderId":1076,"amount":10}'
BY_TEXT = '{"merchantId":"3000001","orderId":"1076","amount":10}'
BY_REFERENCE = '{"merchantId":"3000001","merchantReference":"s22","amount":10}'
BOTH = {"id": "1076", "merchantReference": "s22"}
FOUND = [
    # the request, its refund, the order as the answer names it
    (BY_NUMBER, "1076", BOTH),
    (BY_NUMBER, "1076", BOTH | {"id": 1076}),
    (BY_TEXT, "1076", BOTH),
    (BY_NUMBER, "1076", {"id": "1076"}),
    (BY_TEXT, "1076", {"id": 1076}),
    (BY_REFERENCE, "s22", BOTH),
    (BY_REFERENCE, "s22", {"merchantReference": "s22"}),
]


@pytest.fixture
def asked(wire):
    """Return the message of a request."""
    return lambda text: wire.message({"request": text, "signature": ""})


@pytest.fixture
def answered(wire):
    """Return the message of an answer that says: refunded."""

    def answer(order, *, at_s=1):
        body = {"responseCode": "0000", "message": "SUCCESS", "order": order | {"status": "REFUNDED"}}
        return wire.message(body, http_status=200, at_s=at_s)

    return answer


@pytest.fixture
def record_both(engine, asked, answered):
    """Record a request and its answer, in either order, each for the refund named beside it."""

    def record(request_text, order, *, answer_first, asks_for=None, answers_for=None):
        steps = [
            lambda: engine.record("bbmsl", "request", asked(request_text), refund_id=asks_for),
            lambda: engine.record("bbmsl", "api_response", answered(order), refund_id=answers_for),
        ]
        for step in reversed(steps) if answer_first else steps:
            step()

    return record


@pytest.mark.parametrize("refund_id", [None, "r-9"])
@pytest.mark.parametrize(("request_text", "name", "order"), FOUND)
@pytest.mark.parametrize("answer_first", [False, True])
def test_the_answer_finds_the_refund_of_its_order(
    engine, record_both, answered, request_text, name, order, answer_first, refund_id
):
    record_both(request_text, order, answer_first=answer_first, asks_for=refund_id)
    view = engine.refund(refund_id or name)
    assert (view.state, view.attention, view.payment_id) == (State.SUCCESS, (), name)
    assert not list(engine.inbox())
    assert engine.record("bbmsl", "api_response", answered(order)).outcome is Outcome.DUPLICATE
    assert engine.replay().agrees


@pytest.mark.parametrize(("request_text", "name", "order"), FOUND)
@pytest.mark.parametrize("answer_first", [False, True])
def test_an_answer_for_a_stated_refund_is_no_mismatch_under_either_name(
    engine, record_both, request_text, name, order, answer_first
):
    record_both(request_text, order, answer_first=answer_first, asks_for="r-9", answers_for="r-9")
    view = engine.refund("r-9")
    assert (view.state, view.attention, view.payment_id) == (State.SUCCESS, (), name)


@pytest.mark.parametrize(
    ("request_text", "order"),
    [
        (BY_NUMBER, {"id": "1077", "merchantReference": "s23"}),
        (BY_NUMBER, {"merchantReference": "s22"}),
        (BY_REFERENCE, {"id": "1076", "merchantReference": "s23"}),
        (BY_REFERENCE, {"merchantReference": "s23"}),
    ],
)
@pytest.mark.parametrize("answer_first", [False, True])
def test_another_order_is_a_mismatch(engine, record_both, request_text, order, answer_first):
    record_both(request_text, order, answer_first=answer_first, asks_for="r-9", answers_for="r-9")
    view = engine.refund("r-9")
    assert (view.state, view.attention) == (State.RECEIVED, ("mismatch",))


@pytest.mark.parametrize("answer_first", [False, True])
def test_another_order_without_a_stated_refund_is_not_taken_for_ours(engine, record_both, answer_first):
    record_both(BY_NUMBER, {"id": "1077", "merchantReference": "s23"}, answer_first=answer_first)
    assert engine.refund("1076").state is State.CREATED
    (row,) = engine.inbox()
    assert (row["payment_id"], row["payment_alias"]) == ("s23", "1077")


def test_a_number_alone_is_not_compared_with_a_reference(engine, asked, answered):
    """They are names of two kinds: that they differ says nothing."""
    engine.record("bbmsl", "request", asked(BY_REFERENCE), refund_id="r-9")
    receipt = engine.record("bbmsl", "api_response", answered({"id": "1076"}), refund_id="r-9")
    assert (receipt.state, receipt.attention) == (State.SUCCESS, ())


def test_the_payment_registered_under_one_name_does_not_hide_the_refund_of_the_other(
    engine, asked, answered, hkd
):
    engine.register_payment(gateway="bbmsl", payment_id="s22", captured=hkd(5000))
    engine.record("bbmsl", "request", asked(BY_NUMBER))
    assert engine.record("bbmsl", "api_response", answered(BOTH)).refund_id == "1076"


@pytest.mark.parametrize("request_text", [BY_NUMBER, BY_REFERENCE])
def test_an_adapter_that_names_orders_by_number_finds_the_refund_by_reference_too(
    open_engine, asked, answered, request_text
):
    engine = open_engine(gateways=[Bbmsl(reference="orderId")])
    engine.record("bbmsl", "request", asked(request_text))
    assert engine.record("bbmsl", "api_response", answered(BOTH)).state is State.SUCCESS


def test_a_refund_requested_by_number_while_its_answer_is_kept_gets_the_answer(
    engine, asked, answered, monkeypatch
):
    real, left = type(engine.store).append, [lambda: engine.record("bbmsl", "request", asked(BY_NUMBER))]

    def append(self, *writes, **more):
        if left and writes[0].stream == "inbox-bbmsl":
            left.pop()()
        return real(self, *writes, **more)

    monkeypatch.setattr(type(engine.store), "append", append)
    receipt = engine.record("bbmsl", "api_response", answered(BOTH))
    assert (receipt.refund_id, receipt.state) == ("1076", State.SUCCESS)
    assert not list(engine.inbox())
