"""Lines of gateways that sign method and path: checked where the line names them (docs/message-log.md)."""

import hashlib
import json

import pytest

from refold.adapters import Evonet, SigningKey
from refold.engine import RefundEngine

KEY = "64b59e70e15445196b1b5d2935f4e1bc"
TIME, MSGID = "2025-07-21T08:28:08Z", "2d21a5715c034efb7e0aa383b885fc7a"
BODY = '{"result":{"code":"S0000"},"refund":{"merchantTransInfo":{"merchantTransID":"r-1"},"status":"refunded_full"}}'


def line(channel, body=BODY, *, authorization, **fields):
    headers = {"DateTime": TIME, "MsgID": MSGID, "SignType": "SHA256", "Authorization": authorization}
    named = {"gateway": "evonet", "channel": channel, "received_at": TIME, "body": body, "headers": headers}
    return json.dumps(named | {"refund_id": "r-1"} | fields).encode()


def signature(method, target, body=BODY):
    return hashlib.sha256(f"{method}\n{target}\n{TIME}\n{KEY}\n{MSGID}\n{body}".encode()).hexdigest()


ANSWERS = pytest.mark.parametrize(
    ("channel", "method", "target"),
    [("api_response", "POST", "/payment/p-1/refund"), ("poll", "GET", "/refund/r-1")],
    ids=["answer", "poll"],
)


@pytest.fixture
def ingest():
    problems = []
    with RefundEngine.open("memory:", gateways=[Evonet(keys=[SigningKey("k", KEY)])]) as engine:

        def report(*lines):
            return engine.ingest(lines, on_problem=lambda number, why: problems.append((number, why)))

        yield report, engine, problems


@ANSWERS
def test_a_signed_answer_whose_line_names_the_request_is_verified(ingest, channel, method, target):
    report, engine, problems = ingest
    counts = report(line(channel, authorization=signature(method, target), method=method, target=target))
    assert (counts.orphaned, problems) == (1, [])
    (stored,) = engine.store.read_stream("inbox-evonet")
    assert json.loads(stored.data)["evidence"]["trust"] == "verified"


@ANSWERS
def test_a_forged_answer_whose_line_names_the_request_is_refused(ingest, channel, method, target):
    report, engine, problems = ingest
    counts = report(line(channel, authorization="0" * 64, method=method, target=target))
    assert counts.unusable == 1
    assert problems[0][0] == 1
    assert "signature" in problems[0][1]
    assert engine.store.head() == 0


@ANSWERS
def test_without_the_request_an_answer_is_unverified(ingest, channel, method, target):
    report, engine, _ = ingest
    report(line(channel, authorization=signature(method, target)))
    (stored,) = engine.store.read_stream("inbox-evonet")
    assert json.loads(stored.data)["evidence"]["trust"] == "unverified"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"method": "post"}, "method 'post' is no HTTP method, such as POST"),
        ({"method": 7}, "method 7 is no HTTP method, such as POST"),
        ({"target": "refund"}, "target 'refund' is no path of a request, such as /payment/p-1/refund"),
        ({"target": "/a\nb"}, r"target '/a\nb' is no path of a request, such as /payment/p-1/refund"),
        ({"target": ["/"]}, "target ['/'] is no path of a request, such as /payment/p-1/refund"),
    ],
    ids=str,
)
def test_a_request_that_is_none_makes_the_line_unusable(ingest, fields, reason):
    report, _, problems = ingest
    assert report(line("poll", authorization="", **fields)).unusable == 1
    assert problems == [(1, reason)]
