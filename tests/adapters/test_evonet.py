"""The adapter `evonet`: the documents' own samples, every documented word, and what else may arrive."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from refold.adapters.evonet import Evonet
from refold.engine.domain.evidence import Hold
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.money import Money
from refold.engine.domain.signals import Signal
from refold.engine.errors import UnreadableMessage
from refold.engine.ports import Gateway

SEEDS = Path(__file__).parent.parent / "seeds"
REQUEST = (SEEDS / "evonet_refund_request.json").read_bytes()
RESPONSE = (SEEDS / "evonet_refund_response.json").read_bytes()
WEBHOOK = (SEEDS / "evonet_refund_webhook.json").read_bytes()

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def message(body, **fields):
    raw = (
        body
        if isinstance(body, bytes)
        else json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )
    return Message(body=raw, received_at=fields.pop("received_at", NOW), **fields)


def refund(status="refund_pending", currency="HKD", value="100.00", **more):
    return {
        "evoTransInfo": {"evoTransID": "evo_1", "evoTransTime": "2025-07-21T08:28:08Z"},
        "merchantTransInfo": {"merchantTransID": "refund_25072"},
        "status": status,
        "transAmount": {"currency": currency, "value": value},
    } | more


def answer(code="S0000", **objects):
    return {"result": {"code": code, "message": "gateway's words"}} | objects


# ---- the documents' own samples -----------------------------------------------------------------------------------


def test_the_adapter_is_a_gateway():
    gateway: Gateway = Evonet()
    assert (gateway.name, gateway.secrets, gateway.capabilities.acknowledgement) == ("evonet", (), b"SUCCESS")


def test_the_documented_refund_request_is_read():
    sent = Evonet().read_request(message(REQUEST, method="POST", target="/payment/mc%2D1/refund"))
    assert (sent.refund_id, sent.payment_id, sent.amount) == ("refund_25072", "mc-1", Money(10000, "HKD"))
    assert (sent.account, sent.reason) == (None, "initiatingReason")


def test_the_documented_answer_is_pending_with_the_amount_it_prints():
    found = Evonet().read_response(message(RESPONSE, http_status=200))
    assert (found.signal, found.code) == (Signal.PENDING, "refund.status=refund_pending")
    assert (found.amount_minor, found.currency) == (1000, "HKD")
    assert found.refund_id == "refund_25072"
    assert found.gateway_refund_id == "pay_2507211628080001000035713104"
    assert found.payment_id == "pay_2507211626460001000061984707"
    assert found.gateway_time == datetime(2025, 7, 21, 8, 28, 8, tzinfo=UTC)
    assert (found.detail, found.hold, found.answered) == ("Success", Hold.NONE, True)


def test_the_webhook_template_with_its_placeholders_is_unreadable():
    with pytest.raises(UnreadableMessage, match="not about a refund"):
        Evonet().read_webhook(message(WEBHOOK))


def test_the_webhook_template_filled_in_is_read():
    document = json.loads(WEBHOOK)
    document["eventCode"] = "Refund"
    document["refund"] = refund("Failed", failureReason="card closed", pspFailureReason="54")
    document["result"]["code"] = "I0001"
    document["payment"] = {"merchantTransInfo": {"merchantTransID": "pay_1"}}
    document["capture"] = {"merchantTransInfo": {"merchantTransID": "capture_1"}}
    found = Evonet().read_webhook(message(document))
    assert (found.signal, found.code, found.detail) == (Signal.FAILED, "refund.status=Failed", "card closed")
    assert (found.refund_id, found.payment_id) == ("refund_25072", "capture_1")


# ---- every documented word ----------------------------------------------------------------------------------------

POST, POLL, HOOK = Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK
READ = {POST: Evonet.read_response, POLL: Evonet.read_poll}
REJECTED, UNCERTAIN = Signal.REJECTED, Signal.UNCERTAIN

# Transcribed from the documents, independently of the adapter's table.
STATUSES = [
    ("refund_pending", Signal.PENDING),
    ("refunded_full", Signal.SUCCESS),
    ("refunded_partial", Signal.SUCCESS),
    ("Received", Signal.PENDING),
    ("Success", Signal.SUCCESS),
    ("Refunded", Signal.SUCCESS),
    ("Partial Refunded", Signal.SUCCESS),
    ("Failed", Signal.FAILED),
]
RESULTS = [
    (POST, "V0000", REJECTED, Hold.NONE),
    (POST, "C0000", REJECTED, Hold.NONE),
    (POST, "C0004", REJECTED, Hold.NONE),
    (POST, "C0009", UNCERTAIN, Hold.NONE),
    (POST, "B0012", REJECTED, Hold.NONE),
    (POST, "P0001", REJECTED, Hold.UNTIL_QUERY),
    (POST, "I0005", REJECTED, Hold.UNTIL_QUERY),
    (POST, "E0000", REJECTED, Hold.UNTIL_QUERY),
    (POLL, "V0000", UNCERTAIN, Hold.NONE),
    (POLL, "C0000", UNCERTAIN, Hold.NONE),
    (POLL, "C0004", Signal.NOT_FOUND, Hold.NONE),
    (POLL, "C0009", UNCERTAIN, Hold.NONE),
    (POLL, "B0012", UNCERTAIN, Hold.NONE),
    (POLL, "P0001", UNCERTAIN, Hold.NONE),
    (POLL, "I0005", UNCERTAIN, Hold.NONE),
    (POLL, "E0000", UNCERTAIN, Hold.NONE),
]
PAYMENT_STATUSES = [
    "Verifying", "Verified", "Pending", "Authorised", "Cancelling", "Cancelled", "Capturing", "Captured",
    "Refunding", "Refunded", "Partial Refunded", "Failed", "refund_pending", "refunded_full", "refunded_partial",
]  # fmt: skip
EVENTS = ["Payment", "Cancel", "Refund", "MerchandiseCredit", "Capture"]


@pytest.mark.parametrize("channel", [POST, POLL, HOOK])
@pytest.mark.parametrize(("status", "signal"), STATUSES)
def test_every_documented_status_is_in_the_table_and_read_by_it(channel, status, signal):
    rows = [code for code in Evonet().codes if code[:3] == (channel, "refund.status", status)]
    assert [row.signal for row in rows] == [signal]
    body = answer(eventCode="Refund", refund=refund(status))
    read = Evonet().read_webhook if channel is HOOK else READ[channel].__get__(Evonet())
    assert (read(message(body)).signal, read(message(body)).code) == (signal, f"refund.status={status}")


@pytest.mark.parametrize(("channel", "result", "signal", "hold"), RESULTS)
def test_every_result_outside_s_is_in_the_table_and_read_by_it(channel, result, signal, hold):
    rows = {code.value: code.signal for code in Evonet().codes if code[:2] == (channel, "result.code")}
    assert rows.get(result, rows[f"{result[0]}*"]) == signal
    found = READ[channel](Evonet(), message(answer(result), http_status=400))
    assert (found.signal, found.code, found.hold) == (signal, f"result.code={result}", hold)
    assert (found.detail, found.answered) == ("gateway's words", True)


@pytest.mark.parametrize("channel", [POST, POLL, HOOK])
@pytest.mark.parametrize("family", ["S*", "V*", "C*", "B*", "P*", "I*", "E*"])
def test_every_result_family_is_in_the_table_of_every_channel(channel, family):
    assert [code for code in Evonet().codes if code[:3] == (channel, "result.code", family)]


@pytest.mark.parametrize("event", EVENTS)
def test_every_documented_event_is_in_the_table(event):
    assert [code for code in Evonet().codes if code[:3] == (HOOK, "eventCode", event)]


@pytest.mark.parametrize("status", PAYMENT_STATUSES)
def test_the_payments_status_is_in_the_table_and_never_read_as_the_refunds(status):
    assert {code.signal for code in Evonet().codes if code[1:3] == ("payment.status", status)} == {None}
    body = answer(payment={"status": status})
    assert Evonet().read_poll(message(body)).signal is UNCERTAIN
    body["refund"] = refund("refund_pending")
    assert Evonet().read_poll(message(body)).signal is Signal.PENDING


def test_no_word_stands_twice_in_the_table():
    rows = [code[:3] for code in Evonet().codes]
    assert len(rows) == len(set(rows))
    assert all(code.source.endswith("(read 2026-11-21)") for code in Evonet().codes)


# ---- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [Evonet.read_response, Evonet.read_poll], ids=["response", "poll"])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 301, 302, 304, 408, 429, 101])
def test_a_status_of_proxies_and_limiters_is_uncertain_whatever_the_body_says(read, status):
    found = read(Evonet(), message(answer(refund=refund("Success")), http_status=status))
    assert (found.signal, found.code, found.answered) == (UNCERTAIN, f"http={status}", False)


@pytest.mark.parametrize("read", [Evonet.read_response, Evonet.read_poll], ids=["response", "poll"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body=not_strict_json"),
        (RESPONSE[: len(RESPONSE) // 2], "body=not_strict_json"),
        (b"<html>502</html>", "body=not_strict_json"),
        (b'{"result":{"code":"S0000","code":"E0000"}}', "body=not_strict_json"),
        (b'\xef\xbb\xbf{"result":{"code":"S0000"}}', "body=not_strict_json"),
        ('{"result":{"code":"S0000"}}'.encode("utf-16"), "body=not_strict_json"),
        (b"[" * 100_000, "body=not_strict_json"),
        (b'{"a":' * 100_000, "body=not_strict_json"),
        (b"\xff\xfe\x00", "body=not_strict_json"),
        (b"[]", "body=not_an_object"),
        (b'"S0000"', "body=not_an_object"),
        (b"null", "body=not_an_object"),
        (b"{}", "result.code=absent"),
        (b'{"result":null}', "result.code=absent"),
        (b'{"result":"S0000"}', "result.code=absent"),
        (b'{"result":{"code":""}}', "result.code=absent"),
        (b'{"result":[{"code":"S0000"}]}', "result.code=absent"),
    ],
)
def test_an_answer_that_cannot_be_read_is_uncertain_and_no_answer(read, body, code):
    found = read(Evonet(), message(body, http_status=200))
    assert (found.signal, found.code, found.answered) == (UNCERTAIN, code, False)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ("X0000", "result.code=X0000"),
        ("s0000", "result.code=s0000"),
        ("SUCCESS", "result.code=SUCCESS"),
        ("S", "result.code=S"),
        ("S*", "result.code=S*"),
        ("B\u0660", "result.code=B\u0660"),
        (" S0000", "result.code= S0000"),
        (0, "result.code=(int)"),
        (True, "result.code=(bool)"),
        (["S0000"], "result.code=(list)"),
        ("x" * 5000, "result.code=" + "x" * 108),
        ("a\u202eb\nc", "result.code=abc"),
    ],
)
def test_a_result_of_no_known_family_is_unrecognised(result, code):
    found = Evonet().read_response(message(answer(result, refund=refund("Success"))))
    assert (found.signal, found.code) == (Signal.UNRECOGNISED, code)


@pytest.mark.parametrize(
    "status", ["success", "SUCCESS", "refund_failed", "Success ", "Captured", 2, True, ["Success"], {}]
)
def test_a_status_outside_the_table_is_unrecognised(status):
    found = Evonet().read_poll(message(answer(refund=refund(status))))
    assert found.signal is Signal.UNRECOGNISED
    assert found.code.startswith("refund.status=")


@pytest.mark.parametrize(
    "objects",
    [
        {},
        {"refund": None},
        {"refund": "Success"},
        {"refund": {}},
        {"refund": {"status": ""}},
        {"refund": {"status": None}},
        {"refund": [refund("Success")]},
    ],
)
def test_accepted_without_a_refund_status_is_uncertain_yet_answered(objects):
    found = Evonet().read_response(message(answer(**objects)))
    assert (found.signal, found.code, found.answered) == (UNCERTAIN, "refund.status=absent", True)


@pytest.mark.parametrize(
    ("currency", "value", "code"),
    [
        ("HKD", 100, "refund.transAmount=(int)"),
        ("HKD", 10.5, "refund.transAmount=(Decimal)"),
        ("HKD", "1e2", "refund.transAmount=1e2"),
        ("HKD", "-1", "refund.transAmount=-1"),
        ("HKD", "0.00", "refund.transAmount=0.00"),
        ("HKD", "1.001", "refund.transAmount=1.001"),
        ("JPY", "1.0", "refund.transAmount=1.0"),
        ("HKD", " 1", "refund.transAmount= 1"),
        ("HKD", "\uff11", "refund.transAmount=\uff11"),
        ("HKD", None, "refund.transAmount=absent"),
        ("hkd", "1.001", "refund.transAmount=1.001"),
        ("HKX", "1", "refund.transAmount=1"),
        (None, "1", "refund.transAmount=1"),
        (7, "1", "refund.transAmount=1"),
        ("", "", "refund.transAmount="),
    ],
)
@pytest.mark.parametrize("channel", [POST, POLL, HOOK])
def test_an_outcome_whose_amount_cannot_be_read_is_for_a_person(channel, currency, value, code):
    body = message(answer(eventCode="Refund", refund=refund("Success", currency, value)))
    found = Evonet().read_webhook(body) if channel is HOOK else READ[channel](Evonet(), body)
    assert (found.signal, found.code) == (Signal.UNRECOGNISED, code)
    readable = currency.upper() if currency in {"HKD", "hkd", "JPY"} else None
    assert (found.amount_minor, found.currency, found.refund_id) == (None, readable, "refund_25072")
    assert found.claims is Signal.SUCCESS


def test_a_currency_is_read_in_capitals_or_not():
    found = Evonet().read_poll(message(answer(refund=refund("Success", "hkd", "1.50"))))
    assert (found.signal, found.claims) == (Signal.SUCCESS, None)
    assert (found.amount_minor, found.currency) == (150, "HKD")


def test_a_webhook_that_contradicts_itself_claims_nothing_though_its_amount_is_odd_too():
    body = message(answer("V0001", eventCode="Refund", refund=refund("Success", "JPY", "1.00")))
    found = Evonet().read_webhook(body)
    assert (found.signal, found.claims, found.code) == (Signal.UNRECOGNISED, None, "result.code=V0001")


@pytest.mark.parametrize(
    "own_id",
    ["two words", "rефund", 25072, ["refund_25072"], "x" * 129],
    ids=["blank", "look-alike", "number", "list", "long"],
)
def test_an_outcome_whose_reference_cannot_be_compared_is_for_a_person(own_id):
    body = answer(refund=refund("Success", merchantTransInfo={"merchantTransID": own_id}))
    found = Evonet().read_poll(message(body))
    assert (found.signal, found.refund_id) == (Signal.UNRECOGNISED, None)
    assert found.code.startswith("refund.merchantTransInfo.merchantTransID=")


def test_an_amount_left_out_leaves_the_outcome_readable():
    body = answer(refund=refund("refunded_full", transAmount=None))
    found = Evonet().read_poll(message(body))
    assert (found.signal, found.amount_minor) == (Signal.SUCCESS, None)


def test_a_rejection_stands_whatever_amount_it_repeats():
    found = Evonet().read_response(
        message(answer("B0012", refund={"transAmount": {"currency": "", "value": ""}}))
    )
    assert found.signal is REJECTED


@pytest.mark.parametrize(
    ("status", "hold"),
    [
        ("Success", Hold.UNTIL_QUERY),
        ("refund_pending", Hold.UNTIL_QUERY),
        ("odd", Hold.UNTIL_QUERY),
        (["odd"], Hold.UNTIL_QUERY),
        ("Failed", Hold.NONE),
        ("", Hold.NONE),
        (None, Hold.NONE),
    ],
)
def test_a_rejection_beside_a_refund_under_way_keeps_the_amount_until_a_query(status, hold):
    found = Evonet().read_response(message(answer("B0012", refund=refund(status))))
    assert (found.signal, found.hold) == (REJECTED, hold)


def test_a_time_that_is_none_is_left_out():
    body = answer(refund=refund(evoTransInfo={"evoTransID": "évo", "evoTransTime": "2025-02-31T00:00:00Z"}))
    found = Evonet().read_poll(message(body))
    assert (found.signal, found.gateway_time, found.gateway_refund_id) == (Signal.PENDING, None, None)


# ---- webhooks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x00", "not_strict_json"),
        (b'{"eventCode":"Refund","eventCode":"Refund"}', "not_strict_json"),
        (b'{"eventCode":"Refund","refund":{"status":"\\ud800"}}', "not_strict_json"),
        (b'{"eventCode":NaN}', "not_strict_json"),
        (b"[" * 100_000, "not_strict_json"),
        (b"[]", "a JSON object is needed"),
        (b"{}", "eventCode None"),
        (b'{"eventCode":["Refund"]}', "eventCode"),
        (b'{"eventCode":"refund","refund":{"status":"Success"}}', "eventCode 'refund'"),
        (b'{"eventCode":"Cancel","cancel":{"status":"Success"}}', "eventCode 'Cancel'"),
        (b'{"eventCode":"Refund"}', "the object refund is absent"),
        (b'{"eventCode":"Refund","refund":[]}', "the object refund is absent"),
        (b'{"eventCode":"Refund","refund":{}}', "refund.status is absent"),
        (b'{"eventCode":"Refund","refund":{"status":""}}', "refund.status is absent"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_unreadable_with_its_reason(body, reason):
    with pytest.raises(UnreadableMessage) as caught:
        Evonet().read_webhook(message(body))
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize("result", [None, {}, {"code": ""}, {"code": None}, {"code": "S0000"}])
def test_the_status_of_a_webhook_decides_where_the_result_does_not_contradict(result):
    found = Evonet().read_webhook(
        message({"eventCode": "Refund", "refund": refund("Success"), "result": result})
    )
    assert found.signal is Signal.SUCCESS


@pytest.mark.parametrize("result", ["B0012", "E0000", "X1", "SUCCESS", 0])
def test_a_success_beside_a_refusal_contradicts_itself_and_is_unrecognised(result):
    body = {"eventCode": "Refund", "refund": refund("Success"), "result": {"code": result}}
    found = Evonet().read_webhook(message(body))
    assert found.signal is Signal.UNRECOGNISED
    assert found.code.startswith("result.code=")
    body["refund"] = refund("Failed")
    assert Evonet().read_webhook(message(body)).signal is Signal.FAILED
