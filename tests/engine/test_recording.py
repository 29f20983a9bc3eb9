"""What gateways say and what it makes of a refund: unknown outcomes, late changes, amounts, and broken adapters."""

import json

import pytest
from structlog.testing import capture_logs

from refold.adapters import Easylink
from refold.engine import Message, Money, Outcome, State
from refold.engine.domain.evidence import Trust
from refold.engine.errors import InvalidInput, InvalidSignature, UnreadableMessage


@pytest.fixture
def sent(engine, wire):
    """Send r-1 over 60.00 HKD at a gateway, as the log of a payment service has it."""

    def send(gateway="evonet", refund_id="r-1", **more):
        return engine.record(gateway, "request", wire.request(gateway, refund_id, **more))

    return send


# ---- unknown outcomes


def test_a_refund_that_was_sent_and_not_answered_is_in_doubt_and_stays_created(engine, sent, hkd):
    """CASES 1, 2: nothing but the intent is in the log."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    receipt = sent()
    assert (receipt.state, receipt.attention) == (State.CREATED, ("in_doubt",))
    assert engine.payment("evonet", "p-1").reserved_minor == 6000


def test_a_retry_is_recorded_under_the_same_idempotency_key(engine, sent):
    """CASES 3."""
    sent()
    sent(at_s=60)
    keys = [entry.data.get("idempotency_key") for entry in engine.history("r-1")]
    assert keys == [None, "r-1", "r-1"]


UNKNOWN = {
    "502 with HTML": ("<html>Bad Gateway</html>", 502),
    "503 with JSON": ('{"result": {"code": "S0000"}}', 503),
    "200 with HTML": ("<html>login</html>", 200),
    "half a body": ('{"result": {"code": "S0', 200),
    "429": ("slow down", 429),
    "empty": ("", 200),
}


@pytest.mark.parametrize(("body", "status"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_an_answer_that_tells_no_outcome_leaves_the_refund_in_doubt_with_the_raw_body(
    engine, wire, sent, body, status
):
    """CASES 10, C2."""
    sent()
    message = wire.message(body, http_status=status, at_s=30)
    receipt = engine.record("evonet", "api_response", message, refund_id="r-1")
    assert (receipt.state, receipt.attention) == (State.CREATED, ("in_doubt",))
    entry = engine.history("r-1")[-1]
    assert (entry.type, entry.data["http_status"]) == ("evidence.uncertain", status)
    assert engine.store.body(entry.data["message"]["digest"]).content == body.encode()


def test_a_success_webhook_after_a_timeout_is_success_and_one_refund_counted(engine, wire, sent, hkd):
    """CASES 6."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    sent()
    engine.record("evonet", "api_response", wire.message("", http_status=504), refund_id="r-1")
    reply = engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success", amount=hkd(6000)))
    assert (reply.status, reply.result, reply.refund_id) == (200, "accepted", "r-1")
    assert (engine.refund("r-1").state, engine.refund("r-1").attention) == (State.SUCCESS, ())
    payment = engine.payment("evonet", "p-1")
    assert (payment.refunds, payment.refunded_minor) == (1, 6000)


def test_the_intent_found_in_the_log_after_a_crash_needs_a_look_up(open_at, wire, tmp_path):
    """CASES 12: the process died between the gateway's success and our commit."""
    url = f"sqlite:///{tmp_path / 'crash.db'}"
    before = open_at(url)
    before.record("evonet", "request", wire.request("evonet", "r-1"))
    before.close()
    engine = open_at(url)
    assert [view.refund_id for view in engine.find(attention="in_doubt")] == ["r-1"]
    again = engine.record("evonet", "request", wire.request("evonet", "r-1"))
    assert again.outcome is Outcome.DUPLICATE
    assert engine.record("evonet", "poll", wire.says("evonet", "r-1", "success")).state is State.SUCCESS


def test_twice_not_found_after_an_answered_submission_is_a_rejection_that_cites_the_answers(
    engine, wire, sent
):
    sent()
    engine.record("evonet", "api_response", wire.message({"result": {"code": "C0009"}}), refund_id="r-1")
    not_there = {"result": {"code": "C0004"}}
    first = engine.record("evonet", "poll", wire.message(not_there, at_s=45), refund_id="r-1")
    assert first.state is State.CREATED
    second = engine.record("evonet", "poll", wire.message(not_there, at_s=105), refund_id="r-1")
    assert second.state is State.FAILED
    history = engine.history("r-1")
    cited = [entry.position for entry in history if entry.version in history[-1].data["cites"]]
    assert cited == [first.position, second.position]


# ---- order


def test_an_older_pending_after_success_is_recorded_and_changes_nothing(engine, wire, sent):
    """CASES 17."""
    sent()
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", at_s=60))
    late = engine.record("evonet", "api_response", wire.says("evonet", "r-1", "pending", at_s=5))
    assert (late.outcome, late.state, late.attention) == (Outcome.RECORDED, State.SUCCESS, ())
    assert engine.history("r-1")[-1].type == "evidence.pending"


# ---- late changes


def test_a_failure_days_after_success_gives_the_amount_back_and_calls_a_person(
    open_engine, wire, reversing, ask, hkd
):
    """CASES 24, 25: the reversal is an event of its own, and the hook hears of it once."""
    moves = []
    engine = open_engine(gateways=[reversing], on_move=lambda *move: moves.append(move))
    engine.register_payment(gateway="reversing", payment_id="p-1", captured=hkd(6000))
    ask(engine, gateway="reversing")
    engine.record("reversing", "poll", wire.message({"signal": "success"}))
    late = wire.message({"signal": "reversed"}, at_s=5 * 86400)
    receipt = engine.record("reversing", "poll", late)
    assert (receipt.state, receipt.attention) == (State.FAILED, ("contradicted",))
    assert engine.history("r-1")[-1].type == "evidence.reversed"
    assert engine.payment("reversing", "p-1").reserved_minor == 0
    engine.record("reversing", "poll", late)
    assert moves == [
        ("r-1", State.CREATED, State.SUCCESS),
        ("r-1", State.SUCCESS, State.FAILED),
    ]


def test_a_recovered_refund_is_success_again_and_takes_its_amount_again(open_engine, wire, reversing, ask):
    engine = open_engine(gateways=[reversing])
    ask(engine, gateway="reversing")
    for at_s, signal in enumerate(("failed", "recovered")):
        engine.record("reversing", "poll", wire.message({"signal": signal}, at_s=at_s))
    assert engine.refund("r-1").state is State.SUCCESS
    assert engine.payment("reversing", "p-1").reserved_minor == 6000


def test_success_and_failure_without_order_is_success_with_a_conflict_for_a_person(engine, wire, sent):
    """CASES 27, C14: never refund twice while nobody has decided."""
    sent()
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "failed"))
    assert (engine.refund("r-1").state, engine.refund("r-1").attention) == (State.SUCCESS, ("conflict",))
    assert engine.payment("evonet", "p-1").reserved_minor == 6000
    assert [entry.type for entry in engine.history("r-1")][-2:] == ["evidence.success", "evidence.failed"]


# ---- amounts and names


MISMATCHES = {
    "amount": ({"amount": Money(1000, "HKD")}, "amount_minor is 1000, asked was 6000"),
    "currency": ({"amount": Money(6000, "USD")}, "currency is USD, asked was HKD"),
}


@pytest.mark.parametrize(("changes", "sentence"), MISMATCHES.values(), ids=MISMATCHES.keys())
@pytest.mark.parametrize("gateway", ["evonet", "evocloud", "easylink", "bbmsl"])
def test_an_answer_about_other_money_is_at_most_received(engine, wire, sent, gateway, changes, sentence):
    """CASES 35, B21."""
    refund_id = "p-1" if gateway == "bbmsl" else "r-1"
    sent(gateway)
    receipt = engine.record(gateway, "api_response", wire.says(gateway, refund_id, "success", **changes))
    assert (receipt.state, receipt.attention) == (State.RECEIVED, ("mismatch",))
    assert engine.history(refund_id)[-1].says == sentence


def test_an_answer_for_another_refund_proves_nothing_about_this_one(engine, wire, sent):
    """CASES C16: the answers of two refunds were mixed up."""
    sent()
    mixed = wire.says("evonet", "r-2", "success")
    receipt = engine.record("evonet", "api_response", mixed, refund_id="r-1")
    assert (receipt.state, receipt.attention) == (State.RECEIVED, ("mismatch",))
    assert engine.history("r-1")[-1].says == "refund_id is r-2, asked was r-1"


def test_a_notification_of_another_account_is_a_mismatch_and_answered_200(open_engine, wire, hkd):
    """CASES B21, C16."""
    engine = open_engine()
    request = {"payOrderId": "p-1", "mchRefundNo": "r-1", "refundAmount": 6000, "currency": "HKD"}
    engine.record("easylink", "request", wire.message(request | {"mchNo": "M1"}))
    fields = {"mchRefundNo": "r-1", "state": "2", "mchNo": "M2", "refundAmount": "6000", "currency": "HKD"}
    reply = engine.receive_webhook("easylink", *wire.sign_easylink(fields))
    assert reply.status == 200
    assert (engine.refund("r-1").state, engine.refund("r-1").attention) == (State.RECEIVED, ("mismatch",))
    assert engine.history("r-1")[-1].says == "account is M2, asked was M1"


EXPONENTS = {
    "JPY has no minor unit": (Money(100, "JPY"), "100"),
    "KWD has three digits": (Money(100500, "KWD"), "100.500"),
    "CLF has four": (Money(12345, "CLF"), "1.2345"),
    "HKD has two": (Money(10050, "HKD"), "100.50"),
}


@pytest.mark.parametrize(("money", "major"), EXPONENTS.values(), ids=EXPONENTS.keys())
def test_amounts_cross_an_adapter_in_minor_units_of_their_currency(engine, wire, money, major):
    """CASES 34, C10."""
    engine.record("evonet", "request", wire.request("evonet", "r-1", amount=money))
    assert engine.refund("r-1").amount == money
    receipt = engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", amount=money))
    assert (receipt.state, receipt.attention) == (State.SUCCESS, ())
    assert f"{major} {money.currency}" in engine.history("r-1")[-1].says


@pytest.mark.parametrize("value", ["1.5", "100.001", "1e2", "-1", "1_0", " 1", "0", "٣"])
def test_an_amount_that_would_have_to_be_rounded_or_guessed_is_refused(engine, wire, value):
    """CASES C9, C10."""
    currency = "JPY" if value == "1.5" else "HKD"
    body = {"merchantTransInfo": {"merchantTransID": "r-1"}}
    body["transAmount"] = {"currency": currency, "value": value}
    with pytest.raises(UnreadableMessage, match="amount"):
        engine.record("evonet", "request", wire.message(body))
    assert engine.store.head() == 0


@pytest.mark.parametrize("minor", [10.0, "10", True, 0, -1, 2**63], ids=repr)
def test_money_is_a_whole_number_of_minor_units(minor):
    """CASES C9."""
    with pytest.raises(InvalidInput):
        Money(minor, "HKD")


# ---- the same message twice


@pytest.mark.parametrize("channel", ["api_response", "poll", "webhook", "report"])
def test_a_message_recorded_twice_is_one_event(engine, wire, sent, log, channel):
    """CASES 15."""
    sent()
    body = wire.answer("evonet", "r-1", "success", eventCode="Refund")
    message = wire.message(body)
    first = engine.record("evonet", channel, message)
    before = log(engine)
    second = engine.record("evonet", channel, message)
    assert (first.outcome, second.outcome) == (Outcome.RECORDED, Outcome.DUPLICATE)
    assert (second.position, second.state) == (first.position, first.state)
    assert log(engine) == before


def test_a_duplicate_says_what_the_refund_is_now(engine, wire, sent):
    sent()
    pending = wire.says("evonet", "r-1", "pending")
    engine.record("evonet", "api_response", pending)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", at_s=60))
    again = engine.record("evonet", "api_response", pending)
    assert (again.outcome, again.state) == (Outcome.DUPLICATE, State.SUCCESS)


def test_two_polls_that_say_the_same_are_two_facts(engine, wire, sent, types):
    sent()
    for at_s in (45, 90):
        engine.record("evonet", "poll", wire.says("evonet", "r-1", "pending", at_s=at_s))
    assert types(engine).count("evidence.pending") == 2


# ---- signatures


def test_without_a_key_evidence_is_marked_unverified(open_engine, wire):
    engine = open_engine(gateways=[Easylink()])
    engine.record("easylink", "request", wire.request("easylink", "r-1"))
    engine.record("easylink", "poll", wire.says("easylink", "r-1", "success"))
    assert engine.history("r-1")[-1].data["trust"] == Trust.UNVERIFIED
    assert engine.history("r-1")[-1].says.endswith("unverified")


def test_a_wrong_signature_stores_nothing(engine, wire, sent):
    """CASES 21."""
    sent("easylink")
    head = engine.store.head()
    body = wire.answer("easylink", "r-1", "success", sign="0" * 32)
    with pytest.raises(InvalidSignature):
        engine.record("easylink", "poll", wire.message(body))
    assert engine.store.head() == head


# ---- what a caller may pass


def test_a_message_that_names_no_refund_needs_the_refund_id(engine, wire):
    with pytest.raises(UnreadableMessage, match="say which with refund_id"):
        engine.record("evonet", "poll", wire.message("<html>"))


def test_a_message_is_matched_by_the_gateways_number_where_it_names_no_other(engine, wire, sent):
    sent("easylink")
    engine.record("easylink", "api_response", wire.says("easylink", "r-1", "pending", number="G-1"))
    body = wire.answer("easylink", "r-1", "success", number="G-1")
    del body["data"]["mchRefundNo"]
    receipt = engine.record("easylink", "poll", wire.message(body, at_s=60))
    assert (receipt.refund_id, receipt.state) == ("r-1", State.SUCCESS)


def test_a_person_speaks_through_resolve_and_not_through_a_message(engine, wire):
    with pytest.raises(InvalidInput, match="channel operator carries no evidence"):
        engine.record("evonet", "operator", wire.message({}))


def test_the_log_says_when_a_late_fact_was_written(engine, clock, wire, sent):
    sent()
    old = wire.says("evonet", "r-1", "pending", at_s=-3600)
    engine.record("evonet", "poll", old)
    entry = engine.history("r-1")[-1]
    assert entry.time == old.received_at
    assert entry.data["recorded_at"] == clock.now.isoformat().replace("+00:00", "Z")


def test_every_log_line_names_refund_gateway_channel_and_position(engine, wire, sent):
    with capture_logs() as logs:
        sent()
        engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
        engine.record("evonet", "poll", wire.says("evonet", "r-2", "success"))
        engine.resolve("r-1", "success", actor="bob", reason="seen")
    assert [line["event"] for line in logs] == ["refund.recorded"] * 2 + [
        "message.orphaned",
        "refund.recorded",
    ]
    for line in logs:
        assert {"refund_id", "gateway", "channel", "position"} <= line.keys()


def test_a_message_keeps_its_exact_bytes(engine, wire, sent):
    sent()
    raw = json.dumps(wire.answer("evonet", "r-1", "pending"), indent=3).encode() + b"\n\n"
    engine.record("evonet", "poll", Message(body=raw, received_at=wire.clock.now))
    digest = engine.history("r-1")[-1].data["message"]["digest"]
    assert engine.store.body(digest).content == raw
