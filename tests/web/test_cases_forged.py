"""Cases B9 to B12: webhooks that are not authentic get one and the same refusal."""

import hashlib
import hmac

import pytest

from refold.adapters import Evonet, SigningKey
from refold.engine.web import create_app


def with_headers(**changes):
    return lambda headers, body: (headers | changes, body)


FORGERIES = {
    "no headers": lambda headers, body: ({}, body),
    "another body": lambda headers, body: (headers, body.replace(b"60.00", b"66.00")),
    "an empty signature": with_headers(authorization=""),
    "a signature of other bytes": with_headers(authorization="ab" * 32),
    "bytes that are no text": with_headers(authorization=b"\xff\xfe\x00"),
    "the signature twice": lambda headers, body: ([*headers.items(), ("authorization", "ab" * 32)], body),
    "the signature twice, the good one last": lambda headers, body: (
        [("Authorization", "ab" * 32), *headers.items()],
        body,
    ),
    "the same signature twice": lambda headers, body: ([*headers.items(), *headers.items()], body),
    "the time twice": lambda headers, body: ([*headers.items(), ("DateTime", headers["datetime"])], body),
    "101 headers": lambda headers, body: (headers | {f"x-{n}": "1" for n in range(97)}, body),
    "a header of 4 KiB and one": with_headers(cookie="a" * 4097),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_b9_every_forgery_is_the_same_401_in_status_headers_and_body(app, engine, wire, call, refused, forge):
    head = engine.store.head()
    assert call(app, *forge(*wire.webhook()))[:3] == refused
    assert engine.store.head() == head
    assert not list(engine.inbox())


@pytest.mark.parametrize("secret", ["", "wrong", "evocloud-0123456789abcdef"])
@pytest.mark.parametrize("gateway", ["evonet", "easylink"])
def test_b9_a_wrong_secret_and_that_of_another_account_are_the_same_401(
    app, wire, call, refused, gateway, secret
):
    assert call(app, *wire.webhook(gateway, secret=secret), path=f"/webhooks/{gateway}")[:3] == refused


def test_b9_a_refused_body_is_not_parsed(app, wire, call, monkeypatch):
    monkeypatch.setattr("refold.engine.domain.strict_json.loads", lambda raw: pytest.fail("it was parsed"))
    assert call(app, *wire.webhook(secret="wrong")).status == 401


def test_b9_headers_that_proxies_repeat_do_not_make_a_webhook_forged(app, wire, call):
    headers, body = wire.webhook()
    hops = [
        ("via", "1.1 a"),
        ("via", "1.1 b"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
    ]
    assert call(app, [*headers.items(), *hops], body).status == 200


def test_b9_without_the_guard_a_second_signature_would_be_taken(app, wire, call, monkeypatch):
    """The planted fault: were duplicates joined or dropped, the first of two would count."""
    headers, body = wire.webhook()
    twice = [*headers.items(), ("authorization", "ab" * 32)]
    assert call(app, twice, body).status == 401
    last_wins = lambda headers: {name.decode(): value.decode() for name, value in reversed(list(headers))}  # noqa: E731
    monkeypatch.setattr("refold.engine.web.receiving._single", last_wins)
    assert call(app, twice, body).status == 200


@pytest.mark.parametrize("sign_type", ["none", "HS256", "v2", "RSA", "Key-based", "SHA1", "sha256 "])
def test_b10_the_sender_does_not_choose_the_algorithm(app, wire, call, refused, sign_type):
    headers, body = wire.webhook()
    assert call(app, headers | {"signtype": sign_type}, body)[:3] == refused


def test_b10_the_key_itself_and_an_hmac_of_a_public_name_prove_nothing(app, wire, call, refused):
    headers, body = wire.webhook()
    for given in ("evonet-0123456789abcdef", hmac.new(b"net-1", body, "sha256").hexdigest()):
        forged = headers | {"signtype": "HMAC-SHA256", "authorization": given}
        assert call(app, forged, body)[:3] == refused


def test_b11_a_legacy_scheme_is_refused(app, wire, call, refused):
    headers, body = wire.webhook()
    for name in ("MD5", "SHA1"):
        signed = b"\n".join([b"POST", headers["datetime"].encode(), b"evonet-0123456789abcdef", b"m-1", body])
        legacy = hashlib.new(name, signed, usedforsecurity=False).hexdigest()
        assert call(app, headers | {"signtype": name, "authorization": legacy}, body)[:3] == refused


def test_b12_during_a_rotation_either_secret_passes(open_engine, ask, wire, call):
    keys = [SigningKey("new", "new-secret"), SigningKey("old", "old-secret")]
    engine = open_engine(gateways=[Evonet(keys=keys)])
    ask(engine)
    app = create_app(engine)
    for says, secret in (("pending", "old-secret"), ("success", "new-secret")):
        assert call(app, *wire.webhook(says=says, secret=secret)).status == 200
    assert [entry.data.get("key_id") for entry in engine.history("r-1")] == [None, "old", "new"]


@pytest.mark.parametrize(
    "value", ["a" * 4097, ",".join(["ab" * 32] * 11)], ids=["4097 characters", "11 signatures"]
)
def test_b12_a_signature_header_of_more_than_4_kib_is_401(app, wire, call, refused, value):
    headers, body = wire.webhook()
    assert call(app, headers | {"authorization": value}, body)[:3] == refused
