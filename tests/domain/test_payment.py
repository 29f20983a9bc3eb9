"""The payment: what was captured, which refunds reserve parts of it, and the guard (cases 30, 31, 32, C8)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain.events import DurabilityChosen, PaymentRegistered, Recorded, RefundReserved
from refold.engine.domain.money import Money
from refold.engine.domain.payment import decide_register, decide_reserve, evolve, fold
from refold.engine.errors import InvalidAmount, InvalidIdentifier, OverRefund, PaymentConflict

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=100)
PAID = PaymentRegistered(gateway="evonet", payment_id="p-1", captured_minor=10_000, currency="HKD")


def reserving(refund_id, amount_minor, currency="HKD"):
    return RefundReserved(
        gateway="evonet", payment_id="p-1", refund_id=refund_id, amount_minor=amount_minor, currency=currency
    )


@pytest.fixture
def folded(story):
    def fold_events(*events):
        return fold(Recorded(n, n, story().now, event) for n, event in enumerate(events, start=1))

    return fold_events


def test_a_payment_is_what_was_captured_and_the_refunds_in_the_order_they_came(folded):
    payment = folded(PAID, reserving("r-2", 60), reserving("r-1", 40))
    assert (payment.gateway, payment.payment_id, payment.captured) == ("evonet", "p-1", Money(10_000, "HKD"))
    assert list(payment.refunds.items()) == [("r-2", 60), ("r-1", 40)]
    assert payment.version == 3
    assert folded() is None


def test_a_refund_may_come_before_its_payment_is_registered(folded):
    assert folded(reserving("r-1", 60)).captured is None
    payment = folded(reserving("r-1", 60), PAID)
    assert (payment.captured.minor, payment.refunds) == (10_000, {"r-1": 60})


def test_the_last_registration_in_an_old_log_counts(folded):
    assert folded(PAID, PAID.model_copy(update={"captured_minor": 4_000})).captured.minor == 4_000


def test_an_event_of_another_stream_changes_no_payment(folded, story):
    other = Recorded(9, 9, story().now, DurabilityChosen(mode="relaxed"))
    assert evolve(None, other) is None
    assert evolve(folded(PAID), other) == folded(PAID)


def test_a_payment_is_registered_once(folded):
    assert decide_register(None, PAID) == [PAID]
    assert decide_register(folded(reserving("r-1", 60)), PAID) == [PAID]
    assert decide_register(folded(PAID), PAID) == []


@pytest.mark.parametrize(
    ("changed", "given"),
    [({"captured_minor": 9_999}, "99.99 HKD"), ({"currency": "JPY"}, "10000 JPY")],
    ids=["another amount", "another currency"],
)
def test_a_payment_registered_otherwise_is_refused(folded, changed, given):
    with pytest.raises(PaymentConflict, match=f"payment 'p-1' is registered as 100.00 HKD, given {given}"):
        decide_register(folded(PAID), PAID.model_copy(update=changed))


def test_a_payment_has_an_id_and_a_currency():
    with pytest.raises(InvalidIdentifier, match="payment_id"):
        decide_register(None, PAID.model_copy(update={"payment_id": "p 1"}))
    with pytest.raises(InvalidAmount, match="ISO 4217"):
        decide_register(None, PAID.model_copy(update={"currency": "hkd"}))


@pytest.mark.parametrize(
    ("captured", "taken", "asked", "available"),
    [
        pytest.param(100, 0, 100, None, id="all of it"),
        pytest.param(100, 0, 101, 100, id="one more than all"),
        pytest.param(100, 60, 40, None, id="the rest"),
        pytest.param(100, 60, 41, 40, id="one more than the rest"),
        pytest.param(100, 60, 60, 40, id="the second of two 60s on 100"),
        pytest.param(100, 100, 1, 0, id="nothing left"),
        pytest.param(40, 0, 60, 40, id="60 of a partial capture of 40"),
        pytest.param(100, 120, 1, 0, id="more is out than was captured"),
    ],
)
def test_a_refund_takes_at_most_what_is_left(folded, captured, taken, asked, available):
    payment = folded(PAID.model_copy(update={"captured_minor": captured}))
    event = reserving("r-1", asked)
    if available is None:
        assert decide_reserve(payment, event, taken) == [event]
        return
    with pytest.raises(
        OverRefund, match=f"refund of {asked} on payment 'p-1' refused: {available} left"
    ) as caught:
        decide_reserve(payment, event, taken)
    found = caught.value
    assert (found.requested, found.available, found.currency) == (asked, available, "HKD")


def test_a_refund_that_left_already_is_a_fact_and_not_refused(folded):
    event = reserving("r-1", 10_001)
    assert decide_reserve(folded(PAID), event, 10_000, guard=False) == [event]


def test_without_a_registered_payment_there_is_no_guard(folded):
    event = reserving("r-1", 10_001)
    assert decide_reserve(None, event, 0) == [event]
    assert decide_reserve(folded(reserving("r-2", 1)), event, 1) == [event]


def test_a_refund_in_another_currency_is_refused(folded):
    with pytest.raises(InvalidAmount, match="the payment is in HKD"):
        decide_reserve(folded(PAID), reserving("r-1", 1, "USD"), 0)


@PROFILE
@given(st.integers(1, 1000), st.lists(st.integers(1, 400), max_size=12))
def test_whatever_is_asked_no_more_than_was_captured_is_taken(story, captured, amounts):
    payment = fold([Recorded(1, 1, story().now, PAID.model_copy(update={"captured_minor": captured}))])
    for index, amount in enumerate(amounts):
        taken = sum(payment.refunds.values())
        event = reserving(f"r-{index}", amount)
        if amount > captured - taken:
            with pytest.raises(OverRefund):
                decide_reserve(payment, event, taken)
            continue
        for decided in decide_reserve(payment, event, taken):
            payment = evolve(payment, Recorded(index + 2, index + 2, story().now, decided))
    assert sum(payment.refunds.values()) <= captured
