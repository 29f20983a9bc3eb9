"""Webhooks: what is answered, what is stored, and what is refused unread."""

import json
import threading
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from refold.adapters import Bbmsl, Easylink, Evonet, SigningKey
from refold.engine import Money, State
from refold.engine.errors import (
    OutcomeUnknown,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreReadOnly,
    VersionConflict,
)

ACKNOWLEDGEMENT = {"evonet": b"SUCCESS", "evocloud": b"SUCCESS", "easylink": b"success"}
REFUSED = (401, b'{"status": "unauthentic"}', {"content-type": "application/json"}, "unauthentic", None)


def parts(reply):
    return (reply.status, reply.body, reply.headers, reply.result, reply.refund_id)


@pytest.fixture
def asked(engine, ask):
    """An engine in which r-1 was asked for."""
    ask(engine)
    return engine


# ---- accepted


@pytest.mark.parametrize("gateway", ACKNOWLEDGEMENT)
def test_a_valid_webhook_is_durable_and_answered_with_the_exact_text_of_its_gateway(
    engine, ask, wire, gateway
):
    """CASES B1."""
    ask(engine, gateway=gateway)
    reply = engine.receive_webhook(gateway, *wire.webhook(gateway, "r-1", "success"))
    assert (reply.status, reply.body, reply.result) == (200, ACKNOWLEDGEMENT[gateway], "accepted")
    assert engine.refund("r-1").state is State.SUCCESS
    assert engine.history("r-1")[-1].data["trust"] == "verified"


@pytest.mark.parametrize("gateway", ACKNOWLEDGEMENT)
def test_the_same_webhook_again_is_one_event_and_still_answered_200(engine, ask, wire, log, gateway):
    """CASES 15, B2."""
    ask(engine, gateway=gateway)
    hook = wire.webhook(gateway, "r-1", "success")
    engine.receive_webhook(gateway, *hook)
    before = log(engine)
    replies = [engine.receive_webhook(gateway, *hook) for _ in range(5)]
    assert {(reply.status, reply.body, reply.result) for reply in replies} == {
        (200, ACKNOWLEDGEMENT[gateway], "duplicate")
    }
    assert log(engine) == before


@pytest.mark.parametrize("count", [1, 2, 10, 100])
def test_the_same_webhook_from_many_threads_at_once_is_one_event(asked, wire, types, count):
    """CASES B2."""
    hook = wire.webhook("evonet", "r-1", "success")
    barrier, replies = threading.Barrier(count), []

    def post():
        barrier.wait()
        replies.append(asked.receive_webhook("evonet", *hook))

    threads = [threading.Thread(target=post) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [200] * count
    assert sorted(reply.result for reply in replies) == ["accepted"] + ["duplicate"] * (count - 1)
    assert types(asked) == ["refund.requested", "evidence.success"]


def test_a_sender_that_signs_each_try_anew_is_told_duplicate(asked, clock, wire, types):
    """CASES B5: the key is what the webhook says, never its time stamp."""
    for msg_id in ("m-1", "m-2", "m-3"):
        clock.tick(seconds=90)
        asked.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success", msg_id=msg_id))
    assert types(asked).count("evidence.success") == 1


DIFFERENT = {
    "status": {"says": "failed"},
    "amount": {"amount": Money(1, "HKD")},
    "currency": {"amount": Money(6000, "USD")},
    "gateway's number": {"number": "G-2"},
    "payment": {"payment": "p-2"},
}


@pytest.mark.parametrize("changes", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_a_webhook_that_says_anything_else_is_not_taken_for_a_duplicate(asked, wire, changes):
    """CASES B5."""
    usual = {"says": "success", "amount": Money(6000, "HKD"), "number": "G-1"}
    for said in (usual, usual | changes):
        reply = asked.receive_webhook("evonet", *wire.webhook("evonet", "r-1", **said))
        assert reply.result == "accepted"


def test_a_webhook_of_another_account_is_not_hidden_behind_a_duplicate(engine, wire):
    """CASES B5: the account is part of the key."""
    results = []
    for account in ("M1", "M2", "M1"):
        fields = {"mchRefundNo": "r-1", "state": "2", "mchNo": account}
        results.append(engine.receive_webhook("easylink", *wire.sign_easylink(fields)).result)
    assert results == ["orphan", "orphan", "duplicate"]


def test_a_verified_webhook_is_not_hidden_behind_an_unverified_import_of_it(asked, wire, types):
    body = wire.answer("evonet", "r-1", "success", eventCode="Refund")
    asked.record("evonet", "webhook", wire.message(body))
    reply = asked.receive_webhook("evonet", *wire.sign_evo("evonet", json.dumps(body).encode()))
    assert reply.result == "accepted"
    assert [entry.data.get("trust") for entry in asked.history("r-1")] == [None, "unverified", "verified"]


def test_a_webhook_for_a_refund_nobody_knows_is_kept_and_answered_200(engine, wire):
    """CASES 20, B8."""
    reply = engine.receive_webhook("evonet", *wire.webhook("evonet", "r-9", "success"))
    assert (reply.status, reply.result, reply.refund_id) == (200, "orphan", "r-9")
    assert [(row["kind"], row["refund_id"]) for row in engine.inbox()] == [("orphaned", "r-9")]


def test_success_before_pending_stays_success_and_both_are_recorded(asked, wire, types):
    """CASES B8."""
    for says in ("success", "pending"):
        assert asked.receive_webhook("evonet", *wire.webhook("evonet", "r-1", says)).result == "accepted"
    assert asked.refund("r-1").state is State.SUCCESS
    assert types(asked)[1:] == ["evidence.success", "evidence.pending"]


# ---- refused: one face for all


def tampered(headers, body):
    return headers, body.replace(b"refunded_full", b"refund_failed")


def without(name):
    return lambda headers, body: ({key: value for key, value in headers.items() if key != name}, body)


def changed(**changes):
    named = {key.replace("_", "-"): value for key, value in changes.items()}
    return lambda headers, body: (headers | named, body)


FORGERIES = {
    "another body": tampered,
    "no signature": without("Authorization"),
    "an empty signature": changed(Authorization=""),
    "a signature that is no digest": changed(Authorization="zz" * 32),
    "a digest of another size": changed(Authorization="ab" * 16),
    "a list of signatures": changed(Authorization=",".join(["ab" * 32] * 11)),
    "the key itself": changed(Authorization="evonet-0123456789abcdef", SignType="Key-based"),
    "SignType none": changed(SignType="none"),
    "SignType of a JWT": changed(SignType="HS256"),
    "a legacy SignType": changed(SignType="MD5"),
    "SignType SHA1": changed(SignType="SHA1"),
    "another SignType than was used": changed(SignType="HMAC-SHA256"),
    "another MsgID": changed(MsgID="m-2"),
    "no DateTime": without("DateTime"),
    "another DateTime": changed(DateTime="2026-11-21T12:00:01+00:00"),
    "a DateTime with a line break": changed(DateTime="2026-11-21T12:00:00+00:00\nx"),
    "a header of 4 KiB and one": changed(Authorization="a" * 4097),
    "any other header of 4 KiB and one": changed(Cookie="a" * 4097),
    "101 headers": lambda headers, body: (headers | {f"x-{n}": "1" for n in range(97)} | {"x": "1"}, body),
    "no headers at all": lambda headers, body: ({}, body),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_every_forgery_gets_the_same_401_and_stores_nothing(asked, wire, log, forge):
    """CASES 21, B9, B10, B11, B12."""
    before = log(asked)
    reply = asked.receive_webhook("evonet", *forge(*wire.webhook("evonet", "r-1", "success")))
    assert parts(reply) == REFUSED
    assert log(asked) == before
    assert not list(asked.inbox())


@pytest.mark.parametrize("secret", ["", "evocloud-0123456789abcdef", "evonet-0123456789abcdeg"])
@pytest.mark.parametrize("gateway", ["evonet", "easylink"])
def test_a_wrong_secret_or_that_of_another_account_is_the_same_401(engine, ask, wire, gateway, secret):
    """CASES B9."""
    ask(engine, gateway=gateway)
    hook = wire.webhook(gateway, "r-1", "success", secret=secret)
    assert parts(engine.receive_webhook(gateway, *hook)) == REFUSED


@pytest.mark.parametrize("signed_s", [-301, 301, -86400, 86400], ids=lambda s: f"{s:+} s")
@pytest.mark.parametrize("gateway", ["evonet", "easylink"])
def test_a_webhook_signed_more_than_five_minutes_away_is_the_same_401(engine, ask, wire, gateway, signed_s):
    """CASES B4, B6: a replay of an old one, or a clock in the future."""
    ask(engine, gateway=gateway)
    hook = wire.webhook(gateway, "r-1", "success", signed_s=signed_s)
    assert parts(engine.receive_webhook(gateway, *hook)) == REFUSED
    assert engine.store.head() == 2


@pytest.mark.parametrize("signed_s", [-300, 0, 300], ids=lambda s: f"{s:+} s")
def test_a_webhook_signed_within_five_minutes_is_accepted(asked, wire, signed_s):
    """CASES B5."""
    hook = wire.webhook("evonet", "r-1", "success", signed_s=signed_s)
    assert asked.receive_webhook("evonet", *hook).result == "accepted"


def test_without_a_configured_key_no_webhook_is_accepted(open_engine, ask, wire):
    """CASES 21: a blank secret is no secret."""
    engine = open_engine(gateways=[Evonet(), Easylink()])
    for gateway in ("evonet", "easylink"):
        ask(engine, f"r-{gateway}", gateway=gateway)
        assert parts(engine.receive_webhook(gateway, *wire.webhook(gateway, "r-1", "success"))) == REFUSED


def test_a_refused_body_is_never_parsed(open_memory, wire, monkeypatch):
    """CASES B9."""
    adapter = Evonet(keys=[SigningKey("net-1", wire.secrets["evonet"])])
    engine = open_memory(gateways=[adapter])
    monkeypatch.setattr(adapter, "read_webhook", lambda message: pytest.fail("it was read"))
    monkeypatch.setattr("refold.engine.domain.strict_json.loads", lambda raw: pytest.fail("it was parsed"))
    for secret in ("wrong", ""):
        assert (
            parts(engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success", secret=secret)))
            == REFUSED
        )


def test_during_a_rotation_either_key_passes_and_the_log_names_it(open_engine, ask, clock, wire):
    """CASES B12."""
    until = clock.now + timedelta(seconds=60)
    keys = [SigningKey("new", "new-secret"), SigningKey("old", "old-secret", expires_at=until)]
    engine = open_engine(gateways=[Evonet(keys=keys)])
    ask(engine)
    assert (
        engine.receive_webhook(
            "evonet", *wire.webhook("evonet", "r-1", "pending", secret="old-secret")
        ).status
        == 200
    )
    assert (
        engine.receive_webhook(
            "evonet", *wire.webhook("evonet", "r-1", "success", secret="new-secret")
        ).status
        == 200
    )
    assert [entry.data.get("key_id") for entry in engine.history("r-1")] == [None, "old", "new"]
    clock.tick(seconds=60)
    late = wire.webhook("evonet", "r-1", "failed", secret="old-secret")
    assert parts(engine.receive_webhook("evonet", *late)) == REFUSED


def test_every_candidate_key_is_tried_even_after_one_has_passed(open_memory, wire, monkeypatch):
    """CASES B14."""
    compared = []
    adapter = Evonet(keys=[SigningKey(f"k-{n}", f"secret-{n}") for n in range(4)])
    engine = open_memory(gateways=[adapter])
    monkeypatch.setattr(
        "refold.adapters.evo_signing.same_digest",
        lambda given, expected: compared.append(len(given)) or given == expected,
    )
    for secret in ("secret-0", "secret-3", "wrong"):
        compared.clear()
        engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success", secret=secret))
        assert compared == [32] * 4


# ---- refused by form


def test_a_body_one_byte_over_the_limit_is_413_and_not_looked_at(asked, wire):
    """CASES B15."""
    limit = 256 * 1024
    for size, status in ((limit, 401), (limit + 1, 413)):
        assert asked.receive_webhook("evonet", {}, b"x" * size).status == status


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_415(asked, wire, encoding):
    """CASES B16."""
    headers, body = wire.webhook("evonet", "r-1", "success")
    reply = asked.receive_webhook("evonet", headers | {"content-Encoding": encoding}, body)
    assert (reply.status, reply.result) == (415, "encoded")


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_an_identity_encoding_is_no_encoding(asked, wire, encoding):
    headers, body = wire.webhook("evonet", "r-1", "success")
    reply = asked.receive_webhook("evonet", headers | {"Content-Encoding": encoding}, body)
    assert reply.status == 200


@pytest.mark.parametrize("gateway", ["paypal", "", "../evonet", "bbmsl", None, 7, ["evonet"]], ids=repr)
def test_a_gateway_without_webhooks_is_404(engine, gateway):
    """CASES B23; BBMSL documents none."""
    reply = engine.receive_webhook(gateway, {}, b"{}")
    assert (reply.status, reply.result) == (404, "unknown_gateway")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (None, b""),
        ({"a": 1}, b""),
        ({1: "a"}, b""),
        ([("a", "b")], b""),
        ({}, "text"),
        ({}, None),
        ({}, bytearray()),
    ],
    ids=repr,
)
def test_a_caller_that_passes_something_else_than_texts_and_bytes_gets_a_400(engine, headers, body):
    reply = engine.receive_webhook("evonet", headers, body)
    assert (reply.status, reply.result) == (400, "malformed")


def test_a_gateway_without_webhooks_needs_no_key_to_be_404(open_memory):
    assert open_memory(gateways=[Bbmsl()]).receive_webhook("bbmsl", {}, b"").status == 404


# ---- the store fails


class Failing:
    """A store that raises on append, and is otherwise what it wraps."""

    def __init__(self, store, error):
        self._store, self._error = store, error

    def append(self, *writes, **options):
        raise self._error

    def __getattr__(self, name):
        return getattr(self._store, name)


STORE_ERRORS = [StoreBusy(5), StoreFull(), StoreReadOnly("x"), StoreClosed(), OutcomeUnknown("k")]
STORE_ERRORS += [VersionConflict("refund-r-1", 1, 2), OSError("disk"), RuntimeError("bug")]


@pytest.mark.parametrize("error", STORE_ERRORS, ids=lambda error: type(error).__name__)
def test_what_is_not_durable_is_answered_503_and_never_2xx(asked, wire, monkeypatch, error):
    """CASES 23, B22."""
    monkeypatch.setattr(asked.store, "append", Failing(asked.store, error).append)
    with capture_logs() as logs:
        reply = asked.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert logs[-1]["event"] == "webhook.not_stored"
    monkeypatch.undo()
    assert asked.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success")).result == "accepted"


@pytest.mark.parametrize(
    "error", [StoreBusy(5), VersionConflict("refund-r-1", 1, 2)], ids=lambda e: type(e).__name__
)
def test_a_store_that_fails_for_a_moment_puts_no_good_message_into_quarantine(
    asked, wire, monkeypatch, error
):
    """CASES B22: the next try is recorded, so the message must come again."""
    append = asked.store.append

    def fail_on_refunds(*writes, **options):
        if any(write.stream == "refund-r-1" for write in writes):
            raise error
        return append(*writes, **options)

    monkeypatch.setattr(asked.store, "append", fail_on_refunds)
    assert asked.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success")).status == 503
    assert not list(asked.inbox())


def test_a_closed_engine_answers_503(engine, ask, wire):
    """CASES B22."""
    ask(engine)
    engine.close()
    assert engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success")).status == 503
