"""An amount that cannot be read in a currency that was not asked for is a mismatch, not merely unrecognised."""

import pytest

from refold.engine import Outcome, State

EVO = {"evonet", "evocloud"}
CHANNELS = ["api_response", "poll", "webhook"]


@pytest.fixture
def said(wire):
    """Return the message in which a gateway says something of 100.00 in a currency, which JPY does not have."""

    def say(gateway, channel, currency="JPY", *, value="100.00", word="success", at_s=1):
        body = wire.answer(gateway, "r-1", word, number="g-1")
        if gateway in EVO:
            body["refund"]["transAmount"] = {"currency": currency, "value": value}
            body["eventCode"] = "Refund"
        elif gateway == "easylink":
            cents = value.replace(".", "") if value[0].isdigit() else value
            body["data"] |= {"currency": currency, "refundAmount": cents}
            body = body["data"] if channel == "webhook" else body
        else:
            body["transaction"] = {"currency": currency, "amount": value}
        return wire.message(body, http_status=None if channel == "webhook" else 200, at_s=at_s)

    return say


def in_order(answer_first, *steps):
    for step in reversed(steps) if answer_first else steps:
        last = step()
    return last


CASES = [
    *((gateway, channel) for gateway in ("evonet", "evocloud", "easylink") for channel in CHANNELS),
    *(("bbmsl", channel) for channel in CHANNELS[:2]),
]


@pytest.mark.parametrize("answer_first", [False, True])
@pytest.mark.parametrize(("gateway", "channel"), CASES)
def test_success_in_a_currency_of_another_exponent_is_a_mismatch(
    engine, ask, hkd, said, gateway, channel, answer_first
):
    in_order(
        answer_first,
        lambda: ask(engine, gateway=gateway, amount=hkd(10000)),
        lambda: engine.record(gateway, channel, said(gateway, channel), refund_id="r-1"),
    )
    view = engine.refund("r-1")
    assert (view.state, view.attention) == (State.RECEIVED, ("mismatch",))
    assert view.gateway_refund_id is None
    found = engine.history("r-1")[-2:]
    assert [entry.type for entry in found] == ["evidence.pending", "evidence.mismatched"]
    assert [entry.data["claimed"] for entry in found] == ["success", "success"]
    assert found[1].data["fields"] == [{"field": "currency", "expected": "HKD", "seen": "JPY"}]
    assert not list(engine.inbox())
    assert engine.replay().agrees


@pytest.mark.parametrize("answer_first", [False, True])
@pytest.mark.parametrize("gateway", ["evonet", "evocloud", "easylink"])
@pytest.mark.parametrize("currency", ["HKD", "hkd", "HKX"])
def test_an_amount_that_cannot_be_read_in_the_currency_asked_for_or_in_none_stays_unrecognised(
    engine, ask, hkd, said, gateway, currency, answer_first
):
    message = said(gateway, "poll", currency, value="1oo.00" if currency != "HKX" else "100.00")
    in_order(
        answer_first,
        lambda: ask(engine, gateway=gateway, amount=hkd(10000)),
        lambda: engine.record(gateway, "poll", message, refund_id="r-1"),
    )
    view = engine.refund("r-1")
    assert (view.state, view.attention) == (State.CREATED, ("unrecognised",))
    assert "claimed" not in engine.history("r-1")[-1].data


@pytest.mark.parametrize("gateway", ["evonet", "evocloud", "easylink"])
def test_a_currency_written_small_is_the_same_currency(engine, ask, hkd, said, gateway):
    ask(engine, gateway=gateway, amount=hkd(10000))
    receipt = engine.record(gateway, "poll", said(gateway, "poll", "hkd"))
    assert (receipt.state, receipt.attention) == (State.SUCCESS, ())
    assert engine.refund("r-1").gateway_refund_id == "g-1"


@pytest.mark.parametrize("gateway", ["evonet", "evocloud", "easylink"])
def test_webhooks_that_claim_different_things_beside_the_same_odd_field_are_two(
    engine, ask, hkd, said, gateway
):
    ask(engine, gateway=gateway, amount=hkd(10000))
    for word, outcome in [
        ("success", Outcome.RECORDED),
        ("failed", Outcome.RECORDED),
        ("success", Outcome.DUPLICATE),
    ]:
        assert engine.record(gateway, "webhook", said(gateway, "webhook", word=word)).outcome is outcome
