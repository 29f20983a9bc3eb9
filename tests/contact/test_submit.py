"""Submitting: what is durable before a byte leaves, what is not sent at all, and what comes back. Case numbers are those of the cases."""

import json

import pytest

from refold.adapters import Evonet
from refold.engine import Message, Money, State
from refold.engine.errors import (
    InvalidInput,
    InvalidSetting,
    OverRefund,
    RefundNotFound,
    StoreFull,
    TooSoon,
    VersionConflict,
)
from refold.engine.ports import Answer
from refold.engine.testing.scripted_transport import TIMEOUT

HOUR = 3600


def said(status, refund_id="r-1", **changes):
    """Return Evonet's answer with that status of the refund."""
    refund = {"merchantTransInfo": {"merchantTransID": refund_id}, "status": status} | changes
    return Answer(
        200, {}, json.dumps({"result": {"code": "S0000", "message": ""}, "refund": refund}).encode()
    )


def refused(code, http_status=200, **headers):
    return Answer(http_status, headers, json.dumps({"result": {"code": code, "message": "no"}}).encode())


PENDING = said("refund_pending")
SUCCESS = said("refunded_full")
FAILED = said("Failed")


def test_a_refund_is_sent_and_takes_the_state_the_gateway_answers(engine, ask, script):
    ask()
    assert engine.submit("r-1").state is State.SUCCESS
    assert len(script.sent) == 1


def test_the_request_is_signed_and_names_payment_amount_reason_and_where_webhooks_go(engine, ask, script):
    ask(reason="goods returned")
    engine.submit("r-1")
    (request,) = script.sent
    assert request.target == "/payment/p-1/refund"
    body = json.loads(request.body)
    assert body["transAmount"] == {"currency": "HKD", "value": "60.00"}
    assert (body["initiatingReason"], body["webhook"]) == ("goods returned", "https://shop.example/hooks")
    assert request.headers["Idempotency-Key"] == "r-1"


def test_the_intent_is_durable_before_the_first_byte_leaves(engine, ask, script, types):
    ask()
    seen = []
    script.at_send = lambda request: seen.append(types())
    engine.submit("r-1")
    assert seen == [["refund.requested", "refund.submission_started"]]


def test_the_intent_holds_digest_key_target_and_what_it_was_built_with(engine, ask, store, script):
    ask()
    engine.submit("r-1")
    (intent,) = (entry.data for entry in engine.history("r-1") if entry.type == "refund.submission_started")
    assert intent["idempotency_key"] == "r-1"
    assert intent["target"] == script.sent[0].target
    assert store.body(intent["message"]["digest"]).content == script.sent[0].body
    assert script.sent[0].headers["MsgID"] == intent["nonce"]


def test_nothing_is_sent_where_the_intent_cannot_be_stored(engine, ask, script, store, monkeypatch):
    ask()

    def full(*_, **__):
        raise StoreFull

    monkeypatch.setattr(store, "append", full)
    with pytest.raises(StoreFull):
        engine.submit("r-1")
    assert script.sent == []


def test_nothing_is_sent_where_something_was_appended_meanwhile(engine, ask, script, store, monkeypatch):
    """CASES C7: the loser's append fails."""
    ask()
    keep = store.claim

    def claim(*args, **options):
        token = keep(*args, **options)
        monkeypatch.setattr(engine._contactor, "_load", stale)
        return token

    before = engine._contactor._load("r-1")
    stale = lambda _: before  # noqa: E731
    monkeypatch.setattr(store, "claim", claim)
    engine.mark_overdue()
    engine.resolve("r-1", "closed", actor="kim", reason="withdrawn")
    with pytest.raises(VersionConflict):
        engine.submit("r-1")
    assert script.sent == []


# ---- what is not sent at all


@pytest.mark.parametrize(
    ("answer", "state"), [(SUCCESS, "success"), (FAILED, "failed"), (PENDING, "received")], ids=str
)
def test_what_the_gateway_holds_or_has_settled_is_not_sent(engine, ask, script, answer, state):
    ask()
    script.says(post=[answer])
    engine.submit("r-1")
    assert engine.submit("r-1").state == state
    assert len(script.sent) == 1


def test_what_a_person_has_decided_is_not_sent(engine, ask, script):
    ask()
    engine.resolve("r-1", "closed", actor="kim", reason="withdrawn")
    assert engine.submit("r-1").state is State.CLOSED
    assert script.sent == []


def test_a_refund_whose_webhook_came_first_is_not_sent(engine, script, clock):
    """It was sent by somebody else; a second one would pay twice."""
    engine.record("evonet", "poll", Message(body=SUCCESS.body, received_at=clock()), refund_id="r-1")
    engine.request(gateway="evonet", payment_id="p-1", refund_id="r-1", amount=Money(6000, "HKD"))
    assert engine.submit("r-1").state is State.SUCCESS
    assert script.sent == []


def test_what_no_longer_fits_into_its_payment_is_not_sent(engine, ask, script, clock):
    """CASES C8: another program has refunded meanwhile."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=Money(10_000, "HKD"))
    ask()
    body = b'{"merchantTransInfo":{"merchantTransID":"x-1"},"transAmount":{"currency":"HKD","value":"60.00"}}'
    engine.record("evonet", "request", Message(body=body, received_at=clock(), target="/payment/p-1/refund"))
    with pytest.raises(OverRefund, match="4000 left"):
        engine.submit("r-1")
    assert script.sent == []


def test_of_one_payment_easylink_is_sent_one_refund_at_a_time(engine, ask, script, clock):
    ask("r-1", gateway="easylink", minor=100)
    ask("r-2", gateway="easylink", minor=200)
    script.says(post=[TIMEOUT], get=[refused("x")])
    engine.submit("r-1")
    with pytest.raises(TooSoon, match="refund r-1 of the same payment is under way"):
        engine.submit("r-2")
    clock.tick(2 * HOUR)
    engine.submit("r-2")
    assert len(script.sent) == 2


def test_a_refund_another_worker_talks_about_is_not_sent(make, ask, script, clock):
    ask()
    other = make()
    blocked = []

    def during(request):
        with pytest.raises(TooSoon, match="another worker"):
            other.submit("r-1")
        blocked.append(request)

    script.at_send = during
    make().submit("r-1")
    assert len(blocked) == len(script.sent) == 1


def test_a_worker_that_stalled_until_its_lease_ended_sends_nothing(
    engine, ask, script, store, clock, monkeypatch
):
    ask()
    append = store.append

    def slow(*writes, **options):
        appended = append(*writes, **options)
        clock.tick(90)
        return appended

    monkeypatch.setattr(store, "append", slow)
    assert engine.submit("r-1").attention == ()
    assert script.sent == []


def test_a_gateway_that_wants_to_be_left_alone_is(engine, ask, script, clock):
    """CASES C2: Retry-After."""
    ask()
    script.says(post=[refused("E0001", 503, **{"Retry-After": "120"})])
    engine.submit("r-1")
    clock.tick(100)
    with pytest.raises(TooSoon) as caught:
        engine.submit("r-1")
    assert 20 <= caught.value.retry_after_s <= 21


# ---- what comes back


def test_an_answer_with_a_forged_signature_is_no_evidence(engine, ask, script, types):
    ask()
    forged = SUCCESS._replace(headers={"Authorization": "0" * 64, "SignType": "SHA256"})
    script.says(post=[forged])
    view = engine.submit("r-1")
    assert (view.state, view.attention) == (State.CREATED, ("in_doubt",))
    assert types()[-1] == "refund.contact_failed"


def test_an_answer_about_another_refund_is_a_mismatch(engine, ask, script):
    """CASES C16, B21."""
    ask()
    script.says(post=[said("refunded_full", "r-2")])
    view = engine.submit("r-1")
    assert (view.state, view.attention) == (State.RECEIVED, ("mismatch",))


def test_a_redirect_is_no_answer(engine, ask, script):
    """CASES C18."""
    ask()
    script.says(post=[SUCCESS._replace(status=302, headers={"location": "https://evil.example"})])
    assert engine.submit("r-1").attention == ("in_doubt",)
    assert len(script.sent) == 1


def test_an_answer_that_cannot_be_stored_is_looked_up_later(make, ask, script, store, clock, monkeypatch):
    ask()

    def full(*_, **__):
        raise StoreFull

    script.at_send = lambda request: monkeypatch.setattr(store, "append", full)
    with pytest.raises(StoreFull):
        make().submit("r-1")
    monkeypatch.undo()
    script.at_send = lambda request: None
    assert make().refund("r-1").attention == ("in_doubt",)
    clock.tick(120)
    assert make().submit("r-1").state is State.SUCCESS
    assert [request.method for request in script.sent] == ["POST", "GET"]


# ---- wrong calls


def test_an_unknown_refund_is_told(engine):
    with pytest.raises(RefundNotFound):
        engine.submit("r-9")


def test_without_an_endpoint_nothing_can_be_sent_and_the_error_says_what_is_missing(make, ask):
    ask()
    with pytest.raises(InvalidSetting, match=r"endpoint of evonet.*base_url"):
        make(transport=None).submit("r-1")


def test_a_request_that_cannot_be_built_is_told_and_stores_nothing(make, ask, types):
    ask()
    with pytest.raises(InvalidSetting, match="keys"):
        make([Evonet()]).submit("r-1")
    assert types() == ["refund.requested"]


def test_an_adapter_that_breaks_while_building_is_told_without_its_words(make, gateways, ask, monkeypatch):
    ask()
    adapters = gateways()
    monkeypatch.setattr(adapters[0], "build_refund", lambda *_, **__: 1 / 0)
    with pytest.raises(InvalidInput, match="the adapter evonet raised ZeroDivisionError"):
        make(adapters).submit("r-1")


def test_the_lease_is_given_back_whatever_happens(make, ask):
    ask()
    with pytest.raises(InvalidSetting):
        make([Evonet()]).submit("r-1")
    assert make().submit("r-1").state is State.SUCCESS
