"""Submitting: what is durable before a byte leaves, and what is never sent twice. Case numbers are those of the cases."""

import json

import pytest

from refold.adapters import Evonet, SigningKey
from refold.engine import Message, Money, State
from refold.engine.errors import (
    InvalidInput,
    InvalidSetting,
    OverRefund,
    RefundNotFound,
    ResendRefused,
    StoreFull,
    TooSoon,
    VersionConflict,
)
from refold.engine.ports import Answer
from refold.engine.testing.scripted_transport import BAD_GATEWAY, HALF, NOT_SENT, TIMEOUT

HOUR = 3600


class Crash(BaseException):
    """The process dies here."""


def said(status, refund_id="r-1", **changes):
    """Return Evonet's answer with that status of the refund."""
    refund = {"merchantTransInfo": {"merchantTransID": refund_id}, "status": status} | changes
    return Answer(
        200, {}, json.dumps({"result": {"code": "S0000", "message": ""}, "refund": refund}).encode()
    )


def refused(code, http_status=200, **headers):
    return Answer(http_status, headers, json.dumps({"result": {"code": code, "message": "no"}}).encode())


UNKNOWN = refused("C0004")
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


# ---- what may have been sent


@pytest.mark.parametrize(
    "lost", [TIMEOUT, HALF, BAD_GATEWAY, refused("E0001", 500)], ids=["timeout", "half", "502", "500"]
)
def test_without_an_answer_the_state_does_not_move_and_the_refund_is_in_doubt(engine, ask, script, lost):
    """CASES 1, 10, C2."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=Money(6000, "HKD"))
    ask()
    script.says(post=[lost])
    view = engine.submit("r-1")
    assert (view.state, view.attention) == (State.CREATED, ("in_doubt",))
    assert engine.payment("evonet", "p-1").reserved_minor == 6000


def test_a_page_of_a_proxy_is_kept_as_it_came(engine, ask, script, store):
    """CASES 10."""
    ask()
    script.says(post=[BAD_GATEWAY])
    engine.submit("r-1")
    (entry,) = (entry for entry in engine.history("r-1") if entry.type == "evidence.uncertain")
    assert store.body(entry.data["message"]["digest"]).content == b"<html>Bad Gateway</html>"


def test_a_refused_connection_is_no_doubt_and_the_refund_may_be_sent_at_once(engine, ask, script, types):
    """CASES 9."""
    ask()
    script.says(post=[NOT_SENT, SUCCESS])
    view = engine.submit("r-1")
    assert (view.state, view.attention) == (State.CREATED, ())
    assert engine.submit("r-1").state is State.SUCCESS
    assert types().count("refund.contact_failed") == 1


def test_a_refused_connection_after_a_timeout_leaves_the_doubt(engine, ask, script, clock):
    ask()
    script.says(post=[TIMEOUT, NOT_SENT], get=[UNKNOWN])
    engine.submit("r-1")
    looked_up_twice(engine, clock)
    assert "in_doubt" in engine.submit("r-1").attention


def looked_up_twice(engine, clock, refund_id="r-1"):
    for _ in range(2):
        clock.tick(61)
        engine.poll(refund_id)
    clock.tick(61)


def test_a_refund_in_doubt_is_looked_up_before_it_is_sent_again(engine, ask, script, clock):
    """CASES 2, C1."""
    ask()
    script.says(post=[TIMEOUT], get=[SUCCESS])
    engine.submit("r-1")
    clock.tick(46)
    assert engine.submit("r-1").state is State.SUCCESS
    assert [request.method for request in script.sent] == ["POST", "GET"]
    assert script.sent[1].target == "/refund/r-1"


def test_after_a_crash_the_intent_in_the_log_leads_to_a_look_up(make, ask, script, clock):
    """CASES 12, C1: the gateway has done it, and we died before we could write that down."""
    ask()
    script.says(post=[Crash], get=[SUCCESS])
    with pytest.raises(Crash):
        make().submit("r-1")
    clock.tick(120)
    assert make().submit("r-1").state is State.SUCCESS
    assert len(script.submissions()) == 1


def test_it_is_not_sent_again_on_the_word_of_one_look_up(engine, ask, script, clock):
    ask()
    script.says(post=[TIMEOUT], get=[UNKNOWN])
    engine.submit("r-1")
    clock.tick(61)
    with pytest.raises(ResendRefused, match="evonet must first say 2 times, 60 s apart"):
        engine.submit("r-1")
    assert len(script.submissions()) == 1


def test_a_retry_is_the_same_bytes_under_the_same_key(engine, ask, script, clock):
    """CASES 3."""
    ask()
    script.says(post=[TIMEOUT, SUCCESS], get=[UNKNOWN])
    engine.submit("r-1")
    looked_up_twice(engine, clock)
    assert engine.submit("r-1").state is State.SUCCESS
    first, second = script.submissions()
    assert (first.body, first.target, dict(first.headers)) == (
        second.body,
        second.target,
        dict(second.headers),
    )


def test_what_would_not_be_the_same_bytes_is_not_sent(make, ask, script, clock):
    ask(reason="goods returned")
    script.says(post=[TIMEOUT], get=[UNKNOWN])
    engine = make()
    engine.submit("r-1")
    looked_up_twice(engine, clock)
    script.url = "https://elsewhere.example/hooks"
    with pytest.raises(ResendRefused, match="would not be the one that was sent"):
        make().submit("r-1")
    assert len(script.submissions()) == 1


def test_what_was_sent_by_another_program_is_not_sent_again(engine, clock, script):
    body = b'{"merchantTransInfo":{"merchantTransID":"r-1"},"transAmount":{"currency":"HKD","value":"60.00"}}'
    engine.record("evonet", "request", Message(body=body, received_at=clock(), target="/payment/p-1/refund"))
    script.says(get=[UNKNOWN])
    looked_up_twice(engine, clock)
    with pytest.raises(ResendRefused, match="built elsewhere"):
        engine.submit("r-1")
    assert script.submissions() == []


def test_another_signing_key_does_not_keep_a_retry_from_being_the_same_request(make, ask, script, clock):
    ask()
    script.says(post=[TIMEOUT, SUCCESS], get=[UNKNOWN])
    engine = make()
    engine.submit("r-1")
    looked_up_twice(engine, clock)
    rotated = Evonet(keys=[SigningKey("k-2", "another-0123456789abcdef")])
    assert make([rotated]).submit("r-1").state is State.SUCCESS
    first, second = script.submissions()
    assert first.body == second.body
    assert first.headers["Authorization"] != second.headers["Authorization"]


# ---- keys that are forgotten


@pytest.mark.parametrize(
    ("age", "sent"),
    [(24 * HOUR - 45 - 60 - 1 - 2 * 61, 2), (24 * HOUR - 45 - 60 - 2 * 61, 1)],
    ids=["while the key is safe", "from the margin on"],
)
def test_look_ups_from_before_the_key_was_forgotten_do_not_license_a_retry_after(
    make, ask, script, clock, age, sent
):
    """CASES 4, C4: key age + time-out + margin must stay below the retention."""
    ask()
    script.says(post=[TIMEOUT], get=[UNKNOWN])
    engine = make()
    engine.submit("r-1")
    clock.tick(61)
    engine.poll("r-1")
    clock.tick(61)
    engine.poll("r-1")
    clock.tick(age)
    if sent == 2:
        engine.submit("r-1")
    else:
        with pytest.raises(ResendRefused):
            engine.submit("r-1")
    assert len(script.submissions()) == sent


def test_two_look_ups_after_the_key_was_forgotten_license_a_retry(engine, ask, script, clock):
    """CASES 4: refused until a look-up says "not there"."""
    ask()
    script.says(post=[TIMEOUT, SUCCESS], get=[UNKNOWN])
    engine.submit("r-1")
    clock.tick(25 * HOUR)
    with pytest.raises(ResendRefused):
        engine.submit("r-1")
    clock.tick(61)
    assert engine.submit("r-1").state is State.SUCCESS


def test_a_gateway_whose_answers_prove_no_absence_is_left_to_a_person(engine, ask, script, clock):
    """easylink answers 9999 to an unknown refund, as to any trouble."""
    ask(gateway="easylink")
    script.says(post=[TIMEOUT], get=[refused("x")])
    engine.submit("r-1")
    for _ in range(5):
        clock.tick(HOUR)
        with pytest.raises(ResendRefused, match="no answer of easylink proves"):
            engine.submit("r-1")
    assert engine.refund("r-1").attention == ("in_doubt",)
    assert len(script.submissions()) == 1


def test_without_a_look_up_a_safe_key_licenses_a_retry_and_an_old_one_does_not(
    make, gateways, ask, script, clock
):
    engine = make(gateways(lookup_by_own_reference=False))
    ask()
    script.says(post=[TIMEOUT])
    engine.submit("r-1")
    clock.tick(HOUR)
    engine.submit("r-1")
    assert len(script.submissions()) == 2
    clock.tick(24 * HOUR)
    with pytest.raises(ResendRefused, match="no look-up"):
        engine.submit("r-1")
    assert len(script.submissions()) == 2


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


def test_a_refusal_of_one_of_two_submissions_frees_nothing_until_a_query_confirms_it(
    engine, ask, script, clock
):
    """The first one may have come through, and be the very reason why the second was refused."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=Money(6000, "HKD"))
    ask()
    script.says(post=[TIMEOUT, refused("B0013")], get=[UNKNOWN])
    engine.submit("r-1")
    looked_up_twice(engine, clock)
    assert engine.submit("r-1").state is State.FAILED
    assert engine.payment("evonet", "p-1").reserved_minor == 6000
    clock.tick(61)
    engine.poll("r-1")
    assert engine.payment("evonet", "p-1").reserved_minor == 0


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
