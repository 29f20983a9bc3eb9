"""Importing message logs: every rule of a line, what becomes of it, and importing again."""

import json

import pytest
from message_lines import ANSWER, REQUEST, line

from refold.engine import IngestReport, State

# ---- a line that cannot be used


BAD = {
    "not JSON": (b"nonsense", "not strict JSON: Expecting value at character 0"),
    "half an object": (line()[:40], "not strict JSON: Unterminated string starting at at character 33"),
    "an array": (b"[]", "a JSON object is needed"),
    "a text": (b'"x"', "a JSON object is needed"),
    "null": (b"null", "a JSON object is needed"),
    "a key twice": (
        b'{"gateway": "evonet", "gateway": "evonet"}',
        "not strict JSON: a key stands twice in one object",
    ),
    "NaN": (b'{"gateway": NaN}', "not strict JSON: NaN is not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + line(), "not strict JSON: it starts with a byte order mark"),
    "not UTF-8": (b'{"gateway": "\xff"}', "not strict JSON: not UTF-8 at byte 13"),
    "UTF-16": (line().decode().encode("utf-16"), "not strict JSON: not UTF-8 at byte 0"),
    "a NUL": (b'{"gateway": "\\u0000"}', "not strict JSON: a text holds a NUL"),
    "a lone surrogate": (b'{"gateway": "\\ud800"}', "not strict JSON: a text holds a lone surrogate"),
    "too long": (b" " * (4 * 1024 * 1024) + b"x", "it is longer than 4194304 bytes"),
    "no gateway": (line(gateway=...), "field gateway is missing"),
    "gateway null": (line(gateway=None), "field gateway is missing"),
    "gateway a number": (line(gateway=1), "field gateway must be a text, not int"),
    "gateway unknown": (
        line(gateway="paypal"),
        "gateway 'paypal' is not configured; configured: bbmsl, easylink, evocloud, evonet",
    ),
    "gateway in capitals": (
        line(gateway="Evonet"),
        "gateway 'Evonet' is not configured; configured: bbmsl, easylink, evocloud, evonet",
    ),
    "no channel": (line(channel=...), "field channel is missing"),
    "channel unknown": (
        line(channel="email"),
        "channel 'email' is unknown; use request, api_response, poll, webhook, report",
    ),
    "channel operator": (
        line(channel="operator"),
        "channel 'operator' is unknown; use request, api_response, poll, webhook, report",
    ),
    "channel a list": (line(channel=["poll"]), "field channel must be a text, not list"),
    "no time": (line(received_at=...), "field received_at is missing"),
    "body missing": (line(...), "field body is missing; it must be an object or the exact text"),
    "body null": (line(None), "field body is missing; it must be an object or the exact text"),
    "body a number": (line(7), "field body is int; it must be an object or the exact text"),
    "body a list": (line([]), "field body is list; it must be an object or the exact text"),
    "headers a text": (line(headers="x"), "field headers must be an object of texts"),
    "headers a list": (line(headers=[["a", "b"]]), "field headers must be an object of texts"),
    "a header a number": (line(headers={"a": 1}), "field headers must be an object of texts"),
    "refund_id a number": (
        line(refund_id=7),
        "refund_id 7 refused: 1 to 128 printable ASCII characters, no blanks",
    ),
    "refund_id empty": (
        line(refund_id=""),
        "refund_id '' refused: 1 to 128 printable ASCII characters, no blanks",
    ),
    "payment_id with a blank": (
        line(payment_id="p 1"),
        "payment_id 'p 1' refused: 1 to 128 printable ASCII characters, no blanks",
    ),
    "refund_id another than the body's": (
        line(refund_id="r-2"),
        "evonet message cannot be read: it asks for refund r-1, not r-2",
    ),
    "no amount": (
        line({"merchantTransInfo": {"merchantTransID": "r-1"}}),
        "evonet message cannot be read: transAmount is absent",
    ),
    "an answer for nobody": (
        line({"result": {"code": "S0000"}}, channel="poll"),
        "evonet message cannot be read: it names no refund; say which with refund_id",
    ),
    "an unreadable webhook": (
        line("<html>", channel="webhook"),
        "evonet message cannot be read: not_strict_json: Expecting value at character 0",
    ),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
def test_a_line_that_cannot_be_used_is_reported_and_the_rest_is_imported(engine, ingest, bad, reason):
    report, problems = ingest([bad, line()])
    assert problems == [(1, reason)]
    assert report == IngestReport(lines=2, recorded=1, unusable=1)
    assert engine.refund("r-1").attention == ("in_doubt",)


TIMES = [
    "",
    "2025-07-09",
    "2025-07-09T11:18:00",
    "2025-07-09T11:18:00+0800",
    "2025-07-09T11:18+08:00",
    "2025-02-30T11:18:00Z",
    "2025-07-09T25:18:00Z",
    "2025-07-09T11:18:00+24:00",
    "0001-01-01T00:00:00+08:00",
    "1752031080",
    "٢٠٢٥-07-09T11:18:00Z",
    "2025-07-09T11:18:00Z ",
]


@pytest.mark.parametrize("text", TIMES)
def test_a_time_is_rfc_3339_with_an_offset(ingest, text):
    _, problems = ingest([line(received_at=text)])
    assert problems == [
        (
            1,
            f"received_at {text!a} is no RFC 3339 time with an offset, such as 2025-07-09T11:18:00+08:00",
        )
    ]


@pytest.mark.parametrize("text", ["0999-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
def test_a_time_no_message_can_have_is_refused(ingest, text):
    _, problems = ingest([line(received_at=text)])
    assert "is outside the years 1970 to 9998" in problems[0][1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2025-07-09T11:18:00+08:00", "2025-07-09T03:18:00.000000Z"),
        ("2025-07-09 03:18:00z", "2025-07-09T03:18:00.000000Z"),
        ("2025-07-09t03:18:00.1234567Z", "2025-07-09T03:18:00.123456Z"),
        ("2025-07-09T03:18:00-00:00", "2025-07-09T03:18:00.000000Z"),
    ],
)
def test_a_time_is_kept_in_utc(engine, ingest, text, shown):
    _, problems = ingest([line(received_at=text)])
    assert problems == []
    assert engine.refund("r-1").to_json()["requested_at"] == shown


STATUSES = [99, 600, "200", 200.0, True, -1]


@pytest.mark.parametrize("status", STATUSES, ids=repr)
def test_an_http_status_is_one(ingest, status):
    _, problems = ingest([line(http_status=status)])
    assert len(problems) == 1
    assert "is no HTTP status" in problems[0][1]


def test_a_conflicting_request_is_reported_with_its_difference(ingest):
    other = REQUEST | {"transAmount": {"currency": "HKD", "value": "60.01"}}
    _, problems = ingest([line(), line(other)])
    ((number, reason),) = problems
    assert number == 2
    assert "amount is 60.00 HKD, given 60.01 HKD" in reason


# ---- lines that can be used


def test_a_request_line_opens_the_refund_and_every_other_line_is_evidence(engine, ingest):
    report, problems = ingest([line(), line(ANSWER, channel="api_response", http_status=200)])
    assert (problems, report) == ([], IngestReport(lines=2, recorded=2))
    assert engine.refund("r-1").state is State.SUCCESS
    assert engine.history("r-1")[-1].data["http_status"] == 200


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["LF", "CRLF", "none"])
def test_any_end_of_line_will_do(ingest, end):
    assert ingest([line().rstrip() + end])[1] == []


def test_blank_lines_are_skipped_and_counted_in_the_numbers(ingest):
    report, problems = ingest([b"\n", b"\r\n", b"   \n", line(), b"", b"nonsense\n"])
    assert [number for number, _ in problems] == [6]
    assert report.lines == 2


def test_nothing_at_all_is_nothing(ingest):
    assert ingest([]) == (IngestReport(), [])


def test_fields_nobody_asked_for_are_ignored(ingest):
    assert ingest([line(comment="x", retries=3)])[1] == []


def test_an_object_and_its_exact_text_are_the_same_evidence(open_memory):
    told = []
    for body in (ANSWER, json.dumps(ANSWER), json.dumps(ANSWER, indent=2)):
        engine = open_memory()
        engine.ingest([line(), line(body, channel="poll")], on_problem=pytest.fail)
        data = engine.history("r-1")[-1].data
        data.pop("message")
        told.append(data)
    assert told[0] == told[1] == told[2]


def test_an_amount_in_a_body_keeps_every_digit(engine, ingest):
    text = '{"merchantId":"m","merchantReference":"p-1","amount":0.10}'
    ingest([line({"request": text, "signature": ""}, gateway="bbmsl")])
    raw = line({}, gateway="bbmsl", channel="api_response").replace(
        b'"body": {}',
        b'"body": {"responseCode":"0000","order":{"merchantReference":"p-1","status":"REFUNDED"},'
        b'"transaction":{"type":"REFUND","amount":0.10,"currency":"HKD"}}',
    )
    assert ingest([raw])[1] == []
    assert engine.refund("p-1").attention == ()
    kept = engine.store.body(engine.history("p-1")[-1].data["message"]["digest"])
    assert b'"amount":0.10' in kept.content


def test_a_deeply_nested_body_is_only_an_unusable_line(ingest):
    deep = b'{"a":' * 3000 + b"1" + b"}" * 3000
    raw = line().replace(json.dumps(REQUEST).encode(), deep)
    report, problems = ingest([raw, line()])
    assert (report.recorded, len(problems)) == (1, 1)


def test_a_body_nested_as_deep_as_the_reader_goes_is_imported_or_reported(ingest):
    for depth in range(450, 1000, 50):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        report, problems = ingest([line().replace(json.dumps(REQUEST).encode(), deep)])
        assert report.unusable == len(problems) == 1


def test_the_same_log_again_changes_nothing(engine, ingest, log, wire):
    """Whatever it holds: orphans, duplicates, and lines that cannot be used."""
    early = line(ANSWER, channel="poll")
    lines = [early, line(), line(ANSWER | {"eventCode": "Refund"}, channel="webhook"), b"nonsense", early]
    first, _ = ingest(lines)
    assert first == IngestReport(lines=5, recorded=2, orphaned=1, duplicates=1, unusable=1)
    before = log(engine)
    again, _ = ingest(lines)
    assert again == IngestReport(lines=5, duplicates=4, unusable=1)
    assert log(engine) == before


def test_a_bbmsl_log_out_of_order_changes_nothing_the_second_time(engine, ingest, log):
    text = '{"merchantId":"m","merchantReference":"s22","amount":1}'
    answer = {"responseCode": "0000", "order": {"merchantReference": "s22", "status": "REFUNDED"}}
    lines = [
        line(answer, gateway="bbmsl", channel="api_response", payment_id=...),
        line({"request": text, "signature": ""}, gateway="bbmsl", refund_id="r-9", payment_id=...),
    ]
    ingest(lines)
    before = log(engine)
    assert engine.refund("r-9").state is State.SUCCESS
    assert ingest(lines)[0].duplicates == 2
    assert log(engine) == before


def test_an_authentic_webhook_that_cannot_be_used_is_kept_and_reported(ingest, wire):
    headers, body = wire.sign_evo("evonet", b'{"eventCode": "Capture"}')
    report, problems = ingest([line(body.decode(), channel="webhook", headers=headers)])
    assert report == IngestReport(lines=1, quarantined=1)
    assert problems == [(1, "quarantined: eventCode 'Capture' is not about a refund")]
    assert report.to_json()["quarantined"] == 1


def test_a_signature_over_bytes_we_do_not_have_is_not_checked(engine, ingest, wire):
    headers, body = wire.sign_evo("evonet", json.dumps(ANSWER | {"eventCode": "Refund"}).encode())
    _, problems = ingest([line(), line(json.loads(body), channel="webhook", headers=headers)])
    assert problems == []
    assert engine.history("r-1")[-1].data["trust"] == "unverified"
    _, problems = ingest([line(body.decode(), channel="webhook", headers=headers)])
    assert problems == []
    assert engine.history("r-1")[-1].data["trust"] == "verified"
