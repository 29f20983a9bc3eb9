"""Submitting again: what may have been sent is looked up first, and never sent twice. Case numbers are those of the cases."""

import json

import pytest

from refold.adapters import Evonet, SigningKey
from refold.engine import Message, Money, State
from refold.engine.errors import ResendRefused
from refold.engine.ports import Answer
from refold.engine.testing.scripted_transport import BAD_GATEWAY, HALF, NOT_SENT, TIMEOUT

HOUR = 3600


class Crash(BaseException):
    """The process dies here."""


def refused(code, http_status=200, **headers):
    return Answer(http_status, headers, json.dumps({"result": {"code": code, "message": "no"}}).encode())


UNKNOWN = refused("C0004")
SUCCESS = Answer(
    200,
    {},
    b'{"result": {"code": "S0000", "message": ""}, "refund": {"merchantTransInfo": {"merchantTransID": "r-1"}, '
    b'"status": "refunded_full"}}',
)

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
