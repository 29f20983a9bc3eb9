"""The adapter `evonet`: the documents' own samples, every documented word, signatures, and what else may arrive."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from refold.adapters.evo_signing import string_to_sign
from refold.adapters.evonet import Evonet
from refold.adapters.signing import SigningKey
from refold.engine.domain.evidence import Hold, RefundOrder, Trust
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.money import Money
from refold.engine.domain.signals import Signal
from refold.engine.errors import (
    InvalidAmount,
    InvalidIdentifier,
    InvalidSetting,
    InvalidSignature,
    UnreadableMessage,
)
from refold.engine.ports import Gateway

SEEDS = Path(__file__).parent.parent / "seeds"
REQUEST = (SEEDS / "evonet_refund_request.json").read_bytes()
RESPONSE = (SEEDS / "evonet_refund_response.json").read_bytes()
WEBHOOK = (SEEDS / "evonet_refund_webhook.json").read_bytes()
VECTOR = json.loads((SEEDS / "evonet_signature.json").read_text(encoding="utf-8"))

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HONG_KONG = timezone(timedelta(hours=8))
SECRET = "64b59e70e15445196b1b5d2935f4e1bc"
KEY = SigningKey("main", SECRET)
STAMP = "2026-11-21T12:00:00+00:00"


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


def order(**fields):
    given = {
        "refund_id": "refund_25072",
        "payment_id": "pay/1 é",
        "amount": Money(10000, "HKD"),
        "requested_at": datetime(2025, 7, 9, 11, 18, tzinfo=HONG_KONG),
    }
    return RefundOrder(**(given | fields))


def signed(body, *, secret=SECRET, sign_type="SHA256", method="POST", target="", **fields):
    """Sign as the documents say, with none of the code under test."""
    parts = [method, target, STAMP, secret, "msg-1"]
    text = "\n".join(part for part in parts if part).encode() + (b"\n" + body if body else b"")
    name = sign_type.rpartition("-")[2].lower()
    keyed = sign_type.startswith("HMAC")
    value = (
        hmac.new(secret.encode(), text, name).hexdigest() if keyed else hashlib.new(name, text).hexdigest()
    )
    headers = {"DateTime": STAMP, "MsgID": "msg-1", "SignType": sign_type, "Authorization": value}
    return message(body, headers=headers | fields.pop("headers", {}), **fields)


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
        ("hkd", "1", "refund.transAmount=1"),
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
    assert (found.amount_minor, found.currency, found.refund_id) == (None, None, "refund_25072")


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


# ---- signatures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", VECTOR["string_to_sign"], ids=lambda row: row["name"])
def test_the_string_to_sign_is_as_published(row):
    method, target, date_time, key, msg_id, body = row["in"]
    made = string_to_sign(method, target, date_time=date_time, key=key, msg_id=msg_id, body=body.encode())
    assert made == row["want"].encode()


def test_the_published_example_verifies():
    headers = {
        "DateTime": VECTOR["datetime"],
        "MsgID": VECTOR["msgid"],
        "SignType": "SHA256",
        "Authorization": VECTOR["sign"]["SHA256"],
    }
    given = message(VECTOR["body"].encode(), headers=headers, method=VECTOR["method"], target=VECTOR["path"])
    found = Evonet(keys=[SigningKey("published", VECTOR["key"])]).verify(Channel.REQUEST, given)
    assert (found.trust, found.key_id) == (Trust.VERIFIED, "published")


@pytest.mark.parametrize("sign_type", ["SHA256", "SHA512", "HMAC-SHA256", "HMAC-SHA512"])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_every_hash_verifies_in_either_case(sign_type, case):
    given = signed(b"{}", sign_type=sign_type)
    headers = dict(given.headers) | {"Authorization": case(given.headers["Authorization"])}
    found = Evonet(keys=[KEY]).verify(HOOK, message(b"{}", headers=headers))
    assert (found.trust, found.key_id) == (Trust.VERIFIED, "main")


@pytest.mark.parametrize("sign_type", ["SHA256", "SHA512", "HMAC-SHA256", "HMAC-SHA512"])
@pytest.mark.parametrize(
    "spoil",
    [
        {"body": b"{} "},
        {"DateTime": STAMP.replace("12", "13")},
        {"MsgID": "msg-2"},
        {"MsgID": ""},
        {"flip": True},
        {"secret": SECRET[:-1] + "d"},
    ],
    ids=["body", "time", "message id", "no message id", "one bit", "another account's key"],
)
def test_any_change_makes_the_signature_wrong(sign_type, spoil):
    given = signed(b"{}", sign_type=sign_type, secret=spoil.get("secret", SECRET))
    headers = dict(given.headers) | {name: spoil[name] for name in ("DateTime", "MsgID") if name in spoil}
    if "flip" in spoil:
        first = headers["Authorization"][0]
        headers["Authorization"] = f"{int(first, 16) ^ 1:x}" + headers["Authorization"][1:]
    with pytest.raises(InvalidSignature, match="no unexpired key"):
        Evonet(keys=[KEY]).verify(HOOK, message(spoil.get("body", b"{}"), headers=headers))


@pytest.mark.parametrize(
    "authorization",
    ["", " ", "0" * 63, "0" * 65, "0" * 128, "g" * 64, "é" * 64, "0" * 100_000, SECRET, "\ud800" * 64],
)
def test_what_is_no_digest_of_its_length_is_refused(authorization):
    with pytest.raises(InvalidSignature, match="hexadecimal") as caught:
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={"Authorization": authorization}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "sign_type", ["MD5", "SHA1", "none", "sha256", "HMAC-MD5", "Key-based", "SHA256 ", "é"]
)
def test_the_header_selects_among_the_accepted_algorithms_only(sign_type):
    with pytest.raises(InvalidSignature, match="not accepted"):
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={"SignType": sign_type}))


def test_an_algorithm_that_is_not_accepted_here_is_refused():
    with pytest.raises(InvalidSignature, match="not accepted"):
        Evonet(keys=[KEY], accepted_sign_types=["HMAC-SHA256"]).verify(
            HOOK, signed(b"{}", sign_type="SHA256")
        )


def test_the_key_itself_proves_nothing_about_what_comes_in():
    given = message(
        b"{}", headers={"SignType": "Key-based", "Authorization": SECRET}, method="POST", target="/x"
    )
    for channel in (HOOK, POST, POLL):
        with pytest.raises(InvalidSignature, match="not accepted"):
            Evonet(keys=[KEY], sign_type="Key-based").verify(channel, given)


def test_our_own_key_based_request_is_unverified():
    headers = {"SignType": "Key-based", "Authorization": SECRET}
    given = message(b"{}", headers=headers, method="POST", target="/payment/1/refund")
    assert Evonet(keys=[KEY]).verify(Channel.REQUEST, given).trust is Trust.UNVERIFIED


@pytest.mark.parametrize("configured", ["HMAC-SHA512", "SHA256"])
def test_without_the_header_the_configured_algorithm_is_used(configured):
    given = signed(b"{}", sign_type=configured)
    headers = {name: value for name, value in given.headers.items() if name != "SignType"}
    found = Evonet(keys=[KEY], sign_type=configured).verify(HOOK, message(b"{}", headers=headers))
    assert found.trust is Trust.VERIFIED


@pytest.mark.parametrize("name", ["DateTime", "MsgID", "SignType"])
@pytest.mark.parametrize("value", ["a\nb", "\x00", "\udcff", "\u202e"], ids=ascii)
def test_a_header_with_control_characters_is_refused(name, value):
    with pytest.raises(InvalidSignature, match="control characters"):
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={name: value}))


@pytest.mark.parametrize("name", ["DateTime", "MsgID", "SignType"])
def test_a_header_above_four_kibibytes_is_refused(name):
    with pytest.raises(InvalidSignature, match="4096"):
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={name: "x" * 4097}))


def test_headers_outside_ascii_are_compared_not_crashed_on():
    with pytest.raises(InvalidSignature):
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={"MsgID": "é漢"}))


def signed_answer(body, signed_for, asked_at=None):
    """Return an answer signed for one target, to a request that went to `asked_at` (the same one by default)."""
    return message(
        body, headers=signed(body, target=signed_for).headers, method="POST", target=asked_at or signed_for
    )


def test_an_answer_is_verified_with_the_requests_method_and_path():
    given = signed_answer(RESPONSE, "/payment/1/refund")
    assert Evonet(keys=[KEY]).verify(POST, given).trust is Trust.VERIFIED


def test_an_answer_to_another_request_does_not_verify():
    with pytest.raises(InvalidSignature):
        Evonet(keys=[KEY]).verify(
            POST, signed_answer(RESPONSE, "/payment/1/refund", asked_at="/payment/2/refund")
        )


def test_the_parameters_of_the_query_are_sorted_before_signing():
    given = signed_answer(b"{}", "/x?a=1&b=2", asked_at="/x?b=2&a=1")
    assert Evonet(keys=[KEY]).verify(POLL, given).trust is Trust.VERIFIED


def test_a_signed_answer_cannot_pass_for_a_webhook_with_its_path_folded_into_a_header():
    given = signed_answer(RESPONSE, "/payment/1/refund")
    folded = dict(given.headers) | {"DateTime": f"/payment/1/refund\n{STAMP}"}
    with pytest.raises(InvalidSignature, match="control characters"):
        Evonet(keys=[KEY]).verify(HOOK, message(RESPONSE, headers=folded))


def test_the_path_a_webhook_came_in_at_is_not_signed():
    given = message(b"{}", headers=signed(b"{}").headers, method="POST", target="/hooks/evonet")
    assert Evonet(keys=[KEY]).verify(HOOK, given).trust is Trust.VERIFIED


@pytest.mark.parametrize("channel", [POST, POLL, Channel.REQUEST])
@pytest.mark.parametrize("known", [{}, {"method": "POST"}, {"target": "/x"}])
def test_what_a_signature_covers_must_be_known(channel, known):
    given = message(b"{}", headers=signed(b"{}").headers, **known)
    assert Evonet(keys=[KEY]).verify(channel, given).trust is Trust.UNVERIFIED


@pytest.mark.parametrize("channel", list(Channel))
def test_without_a_key_or_a_signature_nothing_is_claimed(channel):
    here = {"method": "POST", "target": "/x"}
    assert (
        Evonet().verify(channel, message(b"{}", headers=signed(b"{}").headers, **here)).trust
        is Trust.UNVERIFIED
    )
    assert Evonet(keys=[KEY]).verify(channel, message(b"{}", **here)).trust is Trust.UNVERIFIED


@pytest.mark.parametrize("channel", [Channel.REPORT, Channel.OPERATOR])
def test_channels_without_signatures_are_unverified(channel):
    given = message(b"{}", headers=signed(b"{}").headers, method="POST", target="/x")
    assert Evonet(keys=[KEY]).verify(channel, given).trust is Trust.UNVERIFIED


def test_a_rotated_key_verifies_until_it_expires_and_is_named():
    gateway = Evonet(keys=[SigningKey("new", "another"), SigningKey("old", SECRET, NOW)])
    given = signed(b"{}", received_at=NOW - timedelta(seconds=1))
    assert gateway.verify(HOOK, given).key_id == "old"
    with pytest.raises(InvalidSignature):
        gateway.verify(HOOK, signed(b"{}", received_at=NOW))


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2020-03-04T15:39:40Z08:00", datetime(2020, 3, 4, 15, 39, 40, tzinfo=HONG_KONG)),
        ("2020-03-04T15:39:40+08:00", datetime(2020, 3, 4, 15, 39, 40, tzinfo=HONG_KONG)),
        ("2020-03-04T15:39:40Z", datetime(2020, 3, 4, 15, 39, 40, tzinfo=UTC)),
        ("2020-03-04T15:39:40", None),
        ("2020-03-04T15:39:40+99:00", None),
        ("20200304", None),
        ("1583307580", None),
        ("", None),
        ("\uff12020-03-04T15:39:40Z", None),
        ("é" * 10_000, None),
    ],
)
def test_the_time_of_signing_is_read_with_its_offset_or_not_at_all(stamp, expected):
    assert Evonet().signed_at(message(b"{}", headers={"datetime": stamp})) == expected


def test_a_message_without_the_header_carries_no_time():
    assert Evonet().signed_at(message(b"{}")) is None


# ---- requests -----------------------------------------------------------------------------------------------------


def test_the_refund_request_is_built_as_documented():
    built = Evonet(keys=[KEY]).build_refund(
        order(reason="late", notify_url="https://shop/hook"), at=NOW, nonce="n1"
    )
    assert (built.method, built.target) == ("POST", "/payment/pay%2F1%20%C3%A9/refund")
    assert built.body == (
        b'{"merchantTransInfo":{"merchantTransID":"refund_25072","merchantTransTime":"2025-07-09T11:18:00+08:00"},'
        b'"transAmount":{"currency":"HKD","value":"100.00"},"initiatingReason":"late","webhook":"https://shop/hook"}'
    )
    headers = dict(built.headers)
    assert len(headers.pop("Authorization")) == 64
    assert headers == {
        "Content-Type": "application/json; charset=utf-8",
        "DateTime": STAMP,
        "MsgID": "n1",
        "SignType": "SHA256",
        "Idempotency-Key": "refund_25072",
    }


@pytest.mark.parametrize("sign_type", ["SHA256", "SHA512", "HMAC-SHA256", "HMAC-SHA512"])
@pytest.mark.parametrize("build", ["build_refund", "build_query"])
def test_what_is_built_verifies_as_what_was_sent(sign_type, build):
    gateway = Evonet(keys=[KEY], sign_type=sign_type)
    built = getattr(gateway, build)(order(), at=NOW, nonce="n" * 32)
    sent = Message(
        body=built.body, received_at=NOW, headers=built.headers, method=built.method, target=built.target
    )
    assert gateway.verify(Channel.REQUEST, sent).key_id == "main"


def test_what_is_built_reads_back_as_what_was_ordered():
    built = Evonet(keys=[KEY]).build_refund(order(payment_id="a/b?c%20", reason="zurück"), at=NOW, nonce="n")
    sent = Evonet().read_request(Message(body=built.body, received_at=NOW, target=built.target))
    assert (sent.refund_id, sent.payment_id, sent.amount, sent.reason) == (
        "refund_25072",
        "a/b?c%20",
        Money(10000, "HKD"),
        "zurück",
    )


def test_a_retry_sends_the_same_body_and_idempotency_key():
    gateway = Evonet(keys=[KEY])
    first, second = (
        gateway.build_refund(order(), at=NOW + timedelta(hours=hour), nonce=f"n{hour}") for hour in (0, 1)
    )
    assert first.body == second.body
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.headers["Authorization"] != second.headers["Authorization"]


@pytest.mark.parametrize("length", [64, 65, 128])
def test_an_idempotency_key_is_never_above_64_characters(length):
    refund_id = "r" * length
    key = (
        Evonet(keys=[KEY])
        .build_refund(order(refund_id=refund_id), at=NOW, nonce="n")
        .headers["Idempotency-Key"]
    )
    assert key == (refund_id if length == 64 else hashlib.sha256(refund_id.encode()).hexdigest())


def test_a_long_reason_is_cut_at_64_bytes_between_characters():
    built = Evonet(keys=[KEY]).build_refund(order(reason="退" * 100), at=NOW, nonce="n")
    assert json.loads(built.body)["initiatingReason"] == "退" * 21


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Money(100, "JPY"), "100"),
        (Money(1234, "KWD"), "1.234"),
        (Money(5, "HKD"), "0.05"),
        (Money(10000, "CLF"), "1.0000"),
    ],
)
def test_amounts_are_written_with_the_currencys_digits(amount, text):
    built = Evonet(keys=[KEY]).build_refund(order(amount=amount), at=NOW, nonce="n")
    assert json.loads(built.body)["transAmount"]["value"] == text


def test_the_query_goes_by_our_own_reference():
    built = Evonet(keys=[KEY], base_path="/v1").build_query(order(refund_id="r/1"), at=NOW, nonce="n")
    assert (built.method, built.target, built.body) == ("GET", "/v1/refund/r%2F1", b"")
    other = Evonet(keys=[KEY], query_path="/payment?merchantTransID={merchantTransID}&a=1")
    assert other.build_query(order(), at=NOW, nonce="n").target == "/payment?merchantTransID=refund_25072&a=1"


def test_key_based_sends_the_key_and_its_id():
    headers = Evonet(keys=[KEY], sign_type="Key-based").build_query(order(), at=NOW, nonce="n").headers
    assert (headers["Authorization"], headers["KeyID"], headers["SignType"]) == (SECRET, "main", "Key-based")


def test_the_key_id_is_sent_where_asked_for():
    assert (
        Evonet(keys=[KEY], send_key_id=True).build_query(order(), at=NOW, nonce="n").headers["KeyID"]
        == "main"
    )


@pytest.mark.parametrize(
    "how",
    [
        {"keys": []},
        {"keys": [SigningKey("old", SECRET, NOW)]},
        {"nonce": ""},
        {"nonce": "n" * 33},
        {"nonce": "a\r\nX: y"},
        {"at": datetime(2026, 1, 1)},
    ],  # noqa: DTZ001
    ids=["no key", "expired key", "no nonce", "long nonce", "line break", "naive time"],
)
def test_what_cannot_be_signed_is_not_built(how):
    gateway = Evonet(keys=how.get("keys", [KEY]))
    with pytest.raises(InvalidSetting):
        gateway.build_refund(order(), at=how.get("at", NOW), nonce=how.get("nonce", "n"))


@pytest.mark.parametrize("dots", [".", ".."])
def test_ids_that_clients_resolve_as_paths_are_refused(dots):
    with pytest.raises(InvalidIdentifier):
        Evonet(keys=[KEY]).build_refund(order(payment_id=dots), at=NOW, nonce="n")
    with pytest.raises(InvalidIdentifier):
        Evonet(keys=[KEY]).build_query(order(refund_id=dots), at=NOW, nonce="n")


@pytest.mark.parametrize(
    "setting",
    [
        {"sign_type": "MD5"},
        {"accepted_sign_types": ["SHA256", "Key-based"]},
        {"accepted_sign_types": []},
        {"accepted_sign_types": ["MD5"]},
        {"keys": ["secret"]},
        {"base_path": "v1"},
        {"base_path": "/v1/"},
        {"base_path": "/v1?x"},
        {"query_path": "/refund"},
        {"query_path": "refund/{merchantTransID}"},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(setting):
    with pytest.raises(InvalidSetting):
        Evonet(**setting)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", UnreadableMessage),
        (b"[]", UnreadableMessage),
        (b'{"transAmount":{"currency":"HKD","value":"1"}}', UnreadableMessage),
        (
            b'{"merchantTransInfo":{"merchantTransID":"a b"},"transAmount":{"currency":"HKD","value":"1"}}',
            UnreadableMessage,
        ),
        (b'{"merchantTransInfo":{"merchantTransID":"r"}}', UnreadableMessage),
        (
            b'{"merchantTransInfo":{"merchantTransID":"r"},"transAmount":{"currency":"HKD","value":1}}',
            InvalidAmount,
        ),
        (
            b'{"merchantTransInfo":{"merchantTransID":"r"},"transAmount":{"currency":"HKD","value":10.0}}',
            InvalidAmount,
        ),
        (
            b'{"merchantTransInfo":{"merchantTransID":"r"},"transAmount":{"currency":1,"value":"1"}}',
            InvalidAmount,
        ),
        (b'{"merchantTransInfo":{"merchantTransID":"r"},"transAmount":"100 HKD"}', InvalidAmount),
    ],
)
def test_a_request_without_id_or_amount_is_refused(body, error):
    with pytest.raises(error):
        Evonet().read_request(message(body))


@pytest.mark.parametrize(
    "target",
    [
        None,
        "",
        "/payment//refund",
        "/refund/1",
        "/payment/a%20b/refund",
        "/payment/%FF/refund",
        "/payment/1/refunds",
        "\udcff" * 9,
    ],
)
def test_a_target_that_names_no_payment_leaves_it_out(target):
    assert Evonet().read_request(message(REQUEST, target=target)).payment_id is None


def test_nothing_shown_of_the_adapter_holds_a_secret():
    gateway = Evonet(keys=[KEY])
    assert gateway.secrets == (SECRET,)
    assert SECRET not in repr(gateway) + repr(vars(gateway)) + repr(vars(gateway._signature))
