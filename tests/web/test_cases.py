"""The cases of abuse a webhook receiver must get right, by their numbers, through the application itself.

B1   test_b1_a_valid_webhook_is_durable_before_it_is_acknowledged
B2   test_b2_the_same_webhook_again_is_one_event_and_200; in parallel over sockets: test_wire.py
B4   test_b4_b6_a_webhook_signed_more_than_300_s_away_is_the_same_401
B5   test_b5_a_replay_within_the_tolerance_is_a_duplicate_whatever_its_time_stamp
B6   test_b4_b6_…
B8   test_b8_success_before_pending_stays_success, test_b8_a_webhook_for_an_unknown_refund_waits_as_an_orphan
B9   test_b9_every_forgery_is_the_same_401_in_status_headers_and_body, test_b9_a_refused_body_is_not_parsed
B10  test_b10_the_sender_does_not_choose_the_algorithm
B11  test_b11_a_legacy_scheme_is_refused
B12  test_b12_during_a_rotation_either_secret_passes, test_b12_a_signature_header_of_more_than_4_kib_is_401
B14  tests/engine/test_webhooks.py (every candidate is compared), tests/architecture/test_safety.py (no == on digests)
B15  test_b15_…; over sockets: test_wire.py
B16  test_b16_a_compressed_body_is_415_and_never_inflated; over sockets: test_wire.py
B18  test_b18_what_is_not_strict_json_is_quarantined
B19  test_b19_xml_is_quarantined_or_refused_and_nothing_is_fetched
B21  test_b21_an_authentic_webhook_that_differs_from_the_intent_is_never_success
B22  test_b22_a_closed_store_is_503_with_retry_after, …locked…, …full…
B23  test_b23_wrong_paths_methods_and_types_are_404_405_415, test_b23_the_host_header_changes_nothing
B25  test_b25_an_address_in_a_message_is_never_fetched
B26  test_b26_the_access_log_shows_the_route_template_only
"""

import asyncio
import hashlib
import hmac
import json
import re
import socket
import tracemalloc

import pytest

from refold.adapters import Evonet, SigningKey
from refold.engine import State
from refold.engine.service.webhooks import MAX_BODY
from refold.engine.web import Limits, create_app

ACKNOWLEDGEMENT = {"evonet": b"SUCCESS", "evocloud": b"SUCCESS", "easylink": b"success"}


@pytest.fixture
def refused(app, call):
    """What every refusal for want of authenticity looks like."""
    answer = call(app)
    assert (answer.status, answer.body) == (401, b'{"status": "unauthentic"}')
    return answer[:3]


# ---- accepted


@pytest.mark.parametrize("gateway", ACKNOWLEDGEMENT)
def test_b1_a_valid_webhook_is_durable_before_it_is_acknowledged(
    open_engine, ask, wire, call, gateway, tmp_path
):
    url = f"sqlite:///{tmp_path}/refunds.db"
    engine = open_engine(url)
    ask(engine, gateway=gateway)
    answer = call(create_app(engine), *wire.webhook(gateway), path=f"/webhooks/{gateway}")
    assert (answer.status, answer.body) == (200, ACKNOWLEDGEMENT[gateway])
    assert open_engine(url).refund("r-1").state is State.SUCCESS


def test_b2_the_same_webhook_again_is_one_event_and_200(app, engine, wire, call, sample):
    answers = [call(app, *wire.webhook()) for _ in range(5)]
    assert {answer[:3] == answers[0][:3] for answer in answers} == {True}
    assert (
        engine.store.head() == engine.refund("r-1").events + 1
    )  # the payment's reservation is the other one
    assert sample("refold_webhooks_total", gateway="evonet", result="accepted") == 1
    assert sample("refold_webhooks_total", gateway="evonet", result="duplicate") == 4


@pytest.mark.parametrize("signed_s", [-301, 301, -86400, 86400], ids=lambda s: f"{s:+} s")
@pytest.mark.parametrize("gateway", ACKNOWLEDGEMENT)
def test_b4_b6_a_webhook_signed_more_than_300_s_away_is_the_same_401(
    app, engine, wire, call, refused, gateway, signed_s, sample
):
    head = engine.store.head()
    assert call(app, *wire.webhook(gateway, signed_s=signed_s), path=f"/webhooks/{gateway}")[:3] == refused
    assert engine.store.head() == head
    assert sample("refold_webhooks_total", gateway=gateway, result="unauthentic")


def test_b5_a_replay_within_the_tolerance_is_a_duplicate_whatever_its_time_stamp(app, wire, call, sample):
    assert [call(app, *wire.webhook(signed_s=seconds)).status for seconds in (-300, 0, 300)] == [200] * 3
    assert sample("refold_webhooks_total", gateway="evonet", result="duplicate") == 2


def test_b8_success_before_pending_stays_success(app, engine, wire, call):
    for says in ("success", "pending"):
        assert call(app, *wire.webhook(says=says)).status == 200
    assert engine.refund("r-1").state is State.SUCCESS
    assert [entry.type for entry in engine.history("r-1")][1:] == ["evidence.success", "evidence.pending"]


def test_b8_a_webhook_for_an_unknown_refund_waits_as_an_orphan(app, engine, ask, wire, call):
    assert call(app, *wire.webhook(refund_id="r-2")).status == 200
    assert [row["kind"] for row in engine.inbox()] == ["orphaned"]
    ask(engine, "r-2")
    assert engine.refund("r-2").state is State.SUCCESS


# ---- not authentic


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


# ---- refused by form


def endless(part):
    while True:
        yield part


def test_b15_one_byte_over_the_limit_is_413_and_the_limit_itself_is_not(app, call):
    assert call(app, body=b"x" * MAX_BODY).status == 401
    assert call(app, body=b"x" * (MAX_BODY + 1)).status == 413


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "9" * 5000, "00" * 2000 + str(10**9)])
def test_b15_a_declared_length_above_the_limit_is_413_before_anything_is_read(app, call, length):
    answer = call(app, {"content-length": length}, parts=endless(b"x"))
    assert (answer.status, answer.taken, answer.header("connection")) == (413, 0, "close")


@pytest.mark.parametrize("length", ["-1", "+5", "1e3", "5_0", "", "٣", "5, 5"])
def test_b15_a_length_that_is_no_number_is_400(app, call, length):
    assert call(app, {"content-length": length}, b"12345").status == 400


def test_b15_two_lengths_that_differ_are_400(app, call):
    assert call(app, [("content-length", "5"), ("content-length", "6")], b"12345").status == 400


@pytest.mark.parametrize("length", [4, 6])
def test_b15_a_body_that_is_not_as_long_as_declared_is_400(app, call, length):
    assert call(app, {"content-length": str(length)}, b"12345").status == 400


def test_b15_a_body_without_end_is_413_as_soon_as_the_limit_is_passed(app, call):
    answer = call(app, {"transfer-encoding": "chunked"}, parts=endless(b"x" * 1024))
    assert (answer.status, answer.taken, answer.header("connection")) == (413, 257, "close")


def test_b15_reading_takes_no_more_memory_than_the_limit_and_64_kib(app, exchanging):
    part = b"x" * 4096

    async def measured():
        await exchanging(app, {}, [b"x"])
        tracemalloc.start()
        try:
            answer = await exchanging(app, {}, endless(part))
            return answer.status, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    status, peak = asyncio.run(measured())
    assert (status, peak <= MAX_BODY + 64 * 1024) == (413, True)


def test_b15_a_body_that_does_not_come_in_time_is_408(engine, call, wire):
    headers, body = wire.webhook()
    slow = create_app(engine, limits=Limits(body_s=0.01))
    head = engine.store.head()
    answer = call(slow, headers | {"content-length": str(len(body))}, parts=[body[:-1]], then="silence")
    assert (answer.status, answer.words, answer.header("connection")) == (408, "too_slow", "close")
    assert engine.store.head() == head


def test_b15_without_the_limits_the_same_requests_would_be_read(engine, call, monkeypatch):
    """The planted faults: the limit on the body lifted, and the declared length not looked at."""
    large = [b"x" * 1024] * 300
    assert call(create_app(engine), parts=large).taken == 257
    lifted = Limits()
    object.__setattr__(lifted, "body_bytes", 2**30)
    answer = call(create_app(engine, limits=lifted), parts=large)
    assert (answer.status, answer.taken) == (413, 300)  # the engine's own limit, once all is in memory
    monkeypatch.setattr("refold.engine.web.receiving._declared", lambda *_: None)
    assert call(create_app(engine), {"content-length": "999999999"}, b"x").taken == 1


def test_b15_a_sender_that_leaves_in_the_middle_stores_nothing_and_is_no_error(app, engine, wire, call, logs):
    headers, body = wire.webhook()
    head = engine.store.head()
    call(app, headers, parts=[body[:-1]], then="disconnect")
    assert engine.store.head() == head
    assert [entry["event"] for entry in logs if entry["level"] in {"warning", "error"}] == []
    assert call(app, headers, body).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "identity, gzip", "zstd", b"\xff"])
def test_b16_a_compressed_body_is_415_and_never_inflated(app, wire, call, encoding):
    headers, body = wire.webhook()
    answer = call(app, headers | {"content-encoding": encoding}, body)
    assert (answer.status, answer.taken) == (415, 0)


def test_b16_a_second_encoding_does_not_hide_behind_the_first(app, wire, call):
    headers, body = wire.webhook()
    both = [*headers.items(), ("content-encoding", "identity"), ("Content-Encoding", "gzip")]
    assert call(app, both, body).status == 415


NOT_STRICT = {
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "1e999": b'{"a": 1e999}',
    "a name twice": b'{"a": 1, "a": 2}',
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a lone surrogate": b'{"a": "\\ud800"}',
    "NUL": b'{"a": 1}\x00',
    "depth": b"[" * 5000,
    "not JSON": b"refund=1",
}


@pytest.mark.parametrize("body", NOT_STRICT.values(), ids=NOT_STRICT.keys())
def test_b18_what_is_not_strict_json_is_quarantined(app, engine, wire, call, body):
    assert call(app, *wire.evo(body)).status == 200
    assert [row["kind"] for row in engine.inbox()] == ["quarantined"]
    assert engine.refund("r-1").state is State.CREATED


BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "http://127.0.0.1:1/x">]><a>&b;</a>'


@pytest.fixture
def no_network(monkeypatch):
    """Fail whoever opens a connection or a file's address."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda *_: pytest.fail("it connected"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it looked a name up"))


def test_b19_xml_is_quarantined_or_refused_and_nothing_is_fetched(app, engine, wire, call, no_network):
    headers, body = wire.evo(BOMB)
    assert call(app, headers | {"content-type": "application/xml"}, body).status == 415
    assert call(app, headers | {"content-type": "text/xml", "signtype": "none"}, body).status == 401
    assert call(app, headers | {"content-type": "text/xml"}, body).status == 200
    assert [row["kind"] for row in engine.inbox()] == ["quarantined"]


OTHER = {"amount": {"amount": "66.00"}, "currency": {"currency": "USD"}}


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER.keys())
def test_b21_an_authentic_webhook_that_differs_from_the_intent_is_never_success(
    app, engine, wire, call, changes
):
    assert call(app, *wire.webhook(**changes)).status == 200
    refund = engine.refund("r-1")
    assert (refund.state is State.SUCCESS, refund.attention) == (False, ("mismatch",))


# ---- the store fails


def not_now(answer):
    return (answer.status, answer.header("retry-after"), answer.words) == (503, "5", "not_stored")


def test_b22_a_closed_store_is_503_with_retry_after(app, engine, wire, call):
    engine.close()
    assert not_now(call(app, *wire.webhook()))


def test_b22_a_store_that_another_process_keeps_locked_is_503_and_the_next_try_200(
    open_engine, ask, wire, call, tmp_path
):
    url = f"sqlite:///{tmp_path}/refunds.db"
    engine, other = open_engine(url, timeout_s=0.05), open_engine(url)
    ask(engine)
    app = create_app(engine)
    with other.store.batch():
        ask(other, "r-2")
        assert not_now(call(app, *wire.webhook()))
    assert call(app, *wire.webhook()).status == 200


def test_b22_a_full_store_is_503_and_after_room_is_made_200(open_engine, ask, wire, call, tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/refunds.db")
    ask(engine)
    app = create_app(engine)
    connection = engine.store._store._writer._connection  # of the SQLite store inside the observed one
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    assert not_now(call(app, *wire.webhook(note="x" * 60_000)))
    connection.execute("PRAGMA max_page_count = 1000000")
    assert call(app, *wire.webhook(note="x" * 60_000)).status == 200


# ---- wrong paths, and what must not matter


WRONG = [
    ("POST", "/webhooks/paypal", {}, 404),
    ("POST", "/webhooks/bbmsl", {}, 404),
    ("POST", "/webhooks/", {}, 404),
    ("POST", "/webhooks/evonet/", {}, 404),
    ("POST", "/webhooks/evonet/x", {}, 404),
    ("POST", "//webhooks/evonet", {}, 404),
    ("POST", "/webhooks/../metrics", {}, 404),
    ("POST", "/", {}, 404),
    ("GET", "/webhooks/evonet", {}, 405),
    ("PUT", "/webhooks/evonet", {}, 405),
    ("TRACE", "/webhooks/evonet", {}, 405),
    ("POST", "/healthz", {}, 405),
    ("DELETE", "/metrics", {}, 405),
    ("POST", "/webhooks/evonet", {"content-type": "application/xml"}, 415),
    ("POST", "/webhooks/evonet", {"content-type": "multipart/form-data; boundary=x"}, 415),
    ("POST", "/webhooks/evonet", {"content-type": "application/jsonx"}, 415),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), WRONG)
def test_b23_wrong_paths_methods_and_types_are_404_405_415(app, call, method, path, headers, status):
    answer = call(app, headers, method=method, path=path)
    assert (answer.status, bool(answer.header("allow"))) == (status, status == 405)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "text/plain", "", None]
)
def test_b23_the_types_that_gateways_send_are_taken(app, wire, call, kind):
    headers, body = wire.webhook()
    headers.pop("content-type")
    assert call(app, headers if kind is None else headers | {"content-type": kind}, body).status == 200


@pytest.mark.parametrize("path", ["/webhooks/evonet", "/webhooks/evonet/", "/nowhere", "/healthz"])
def test_b23_the_host_header_changes_nothing(app, call, path):
    hosts = ["x", "evil.example", "", "a b\r\nset-cookie: x", b"\xff"]
    answers = [call(app, {"host": host}, path=path)[:3] for host in hosts]
    assert {answer == answers[0] for answer in answers} == {True}


def test_b25_an_address_in_a_message_is_never_fetched(app, engine, wire, call, no_network):
    address = {"certUrl": "http://169.254.169.254/", "next": "file:///etc/passwd", "webhook": "http://[::1]/"}
    assert call(app, *wire.webhook(**address)).status == 200
    assert engine.refund("r-1").state is State.SUCCESS


CANARY = "whsec-canary"


@pytest.mark.parametrize(
    "path", [f"/webhooks/{CANARY}", f"/{CANARY}", "/webhooks/evonet", f"/webhooks/evonet/{CANARY}"]
)
def test_b26_the_access_log_shows_the_route_template_only(app, call, logs, path):
    call(app, {"cookie": CANARY}, CANARY.encode(), path=path, query_string=f"secret={CANARY}".encode())
    assert next(entry["route"] for entry in logs if entry["event"] == "request.answered") in {
        "/webhooks/{gateway}",
        "none",
    }
    assert CANARY not in repr(logs)


def test_b26_a_known_gateway_is_named_in_the_access_log(app, call, logs):
    call(app)
    assert logs[-1] == {
        "event": "request.answered",
        "level": "info",
        "method": "POST",
        "route": "/webhooks/{gateway}",
        "status": 401,
        "gateway": "evonet",
    }


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nowhere", "/webhooks/evonet"])
def test_every_answer_says_nosniff_and_no_store(app, call, path):
    for method in ("GET", "POST"):
        answer = call(app, method=method, path=path)
        assert (answer.header("x-content-type-options"), answer.header("cache-control")) == (
            "nosniff",
            "no-store",
        )


def test_nothing_of_a_body_stands_in_an_answer(app, call):
    assert CANARY.encode() not in json.dumps(str(call(app, body=CANARY.encode()))).encode()


def test_the_table_of_cases_names_tests_that_exist():
    named = re.findall(r"\btest_b[0-9]\w+(?![\w.…])", __doc__)
    assert len(named) > 15
    assert [name for name in named if not any(known.startswith(name) for known in globals())] == []
    numbers = set(re.findall(r"^B[0-9]+", __doc__, re.MULTILINE))
    assert numbers == {
        f"B{n}" for n in (1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 14, 15, 16, 18, 19, 21, 22, 23, 25, 26)
    }
