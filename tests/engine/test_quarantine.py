"""An authentic message is never dropped and never blocks others: what cannot be used is put aside."""

import json

import pytest

from refold.engine import Outcome, State
from refold.engine.errors import UnreadableMessage

NOT_STRICT = {
    "NaN": b'{"eventCode": "Refund", "refund": {"status": NaN}}',
    "Infinity": b'{"eventCode": "Refund", "refund": {"status": Infinity}}',
    "1e999": b'{"eventCode": "Refund", "n": 1e999}',
    "a key twice": b'{"eventCode": "Refund", "eventCode": "Refund"}',
    "a byte order mark": b'\xef\xbb\xbf{"eventCode": "Refund"}',
    "UTF-16": '{"eventCode": "Refund"}'.encode("utf-16"),
    "a lone surrogate": b'{"eventCode": "Refund", "m": "\\ud800"}',
    "a NUL": b'{"eventCode": "Refund", "m": "\\u0000"}',
    "nested too deeply": b"[" * 100_000,
    "no JSON": b"<xml/>",
}


def put_aside(engine):
    return [(row["kind"], row["gateway"], row["reason"]) for row in engine.inbox()]


@pytest.mark.parametrize("body", NOT_STRICT.values(), ids=NOT_STRICT.keys())
def test_an_authentic_body_that_is_not_strict_json_is_quarantined_and_answered_200(engine, wire, body):
    """CASES 19, B18."""
    reply = engine.receive_webhook("evonet", *wire.sign_evo("evonet", body))
    assert (reply.status, reply.body, reply.result) == (200, b"SUCCESS", "quarantined")
    ((kind, gateway, reason),) = put_aside(engine)
    assert (kind, gateway) == ("quarantined", "evonet")
    assert reason.startswith("not_strict_json")
    (row,) = engine.inbox()
    assert engine.store.body(row["digest"]).content == body


UNUSABLE = {
    "another event": ({"eventCode": "Capture"}, "eventCode 'Capture' is not about a refund"),
    "no object": ({"eventCode": "Refund"}, "the object refund is absent"),
    "no status": ({"eventCode": "Refund", "refund": {}}, "refund.status is absent"),
    "no refund named": (
        {"eventCode": "Refund", "refund": {"status": "Success"}},
        "it names no refund; say which with refund_id",
    ),
    "not an object": ([], "a JSON object is needed, not list"),
}


@pytest.mark.parametrize(("body", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_authentic_message_that_cannot_be_used_is_quarantined_with_its_reason(engine, wire, body, reason):
    """CASES 19."""
    engine.receive_webhook("evonet", *wire.sign_evo("evonet", json.dumps(body).encode()))
    assert put_aside(engine) == [("quarantined", "evonet", reason)]


def test_the_next_messages_are_not_held_up_by_one_in_quarantine(engine, ask, wire):
    """CASES 19."""
    ask(engine)
    engine.receive_webhook("evonet", *wire.sign_evo("evonet", b"nonsense"))
    assert engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success")).result == "accepted"
    assert engine.refund("r-1").state is State.SUCCESS


def test_the_same_message_is_quarantined_once(engine, wire):
    hook = wire.sign_evo("evonet", b"nonsense")
    results = [engine.receive_webhook("evonet", *hook).result for _ in range(3)]
    assert results == ["quarantined", "duplicate", "duplicate"]
    assert engine.store.head() == 1


def test_an_imported_message_in_quarantine_says_why(engine, wire):
    headers, body = wire.sign_evo("evonet", b"nonsense")
    receipt = engine.record("evonet", "webhook", wire.message(body, headers=headers))
    assert (receipt.outcome, receipt.refund_id) == (Outcome.QUARANTINED, None)
    assert receipt.reason.startswith("not_strict_json")


def test_what_is_not_known_to_be_authentic_is_refused_instead(engine, wire):
    with pytest.raises(UnreadableMessage, match="not_strict_json"):
        engine.record("evonet", "webhook", wire.message(b"nonsense"))
    assert engine.store.head() == 0


def test_an_adapter_that_breaks_on_an_authentic_webhook_puts_it_aside(engine, wire, monkeypatch):
    """CASES C20."""
    monkeypatch.setattr(engine.gateways["evonet"], "read_webhook", lambda message: 1 // 0)
    reply = engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success"))
    assert (reply.status, reply.result) == (200, "quarantined")
    assert put_aside(engine) == [("quarantined", "evonet", "adapter_error ZeroDivisionError")]


def test_a_webhook_that_breaks_the_recording_itself_is_put_aside_and_not_sent_for_ever(
    engine, ask, wire, monkeypatch
):
    """CASES 19: an error that would come again each time must not make the gateway give up on the message."""
    ask(engine)
    monkeypatch.setattr("refold.engine.service.recording.decide_evidence", lambda *_: 1 // 0)
    reply = engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success"))
    assert (reply.status, reply.result) == (200, "quarantined")
    assert put_aside(engine) == [("quarantined", "evonet", "recording it raised ZeroDivisionError")]


def test_an_adapter_that_breaks_on_the_signed_time_gets_a_401(engine, wire, monkeypatch):
    monkeypatch.setattr(engine.gateways["evonet"], "signed_at", lambda message: 1 // 0)
    assert engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success")).status == 401


def test_a_webhook_without_a_readable_time_gets_a_401(engine, wire):
    fields = {"mchRefundNo": "r-1", "state": "2"}
    headers, body = wire.sign_easylink(fields | {"reqTime": "soon"})
    text = "mchRefundNo=r-1&reqTime=soon&state=2&"
    import hashlib

    sign = hashlib.md5(f"{text}key={wire.secrets['easylink']}".encode(), usedforsecurity=False).hexdigest()
    body = f"mchRefundNo=r-1&reqTime=soon&state=2&sign={sign}".encode()
    assert engine.receive_webhook("easylink", headers, body).status == 401
