"""Cases B15 to B21: webhooks that are refused or put aside for their form or for what they say."""

import asyncio
import tracemalloc

import pytest

from refold.engine import State
from refold.engine.service.webhooks import MAX_BODY
from refold.engine.web import Limits, create_app


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
