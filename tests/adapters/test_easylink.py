"""The adapter `easylink`: the document's own samples, every documented code, MD5 signs, and what else may arrive."""

import contextlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.adapters.easylink import Easylink
from refold.adapters.signing import SigningKey
from refold.engine.domain.evidence import UNVERIFIED, Evidence, Hold, RefundOrder, Trust
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.money import Money
from refold.engine.domain.signals import Signal
from refold.engine.errors import (
    InvalidAmount,
    InvalidSetting,
    InvalidSignature,
    InvalidText,
    RefoldError,
    UnreadableMessage,
)
from refold.engine.ports import AmountForm, Gateway

SEEDS = Path(__file__).parents[1] / "seeds"
PUBLISHED = json.loads((SEEDS / "easylink_signature.json").read_text())
DEMO = SigningKey("demo", PUBLISHED["key"])
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SENT, POST, POLL, HOOK = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK
READ = {POST: Easylink.read_response, POLL: Easylink.read_poll, HOOK: Easylink.read_webhook}
PENDING, SUCCESS, FAILED, CLOSED = Signal.PENDING, Signal.SUCCESS, Signal.FAILED, Signal.CLOSED
REJECTED, UNCERTAIN, UNRECOGNISED = Signal.REJECTED, Signal.UNCERTAIN, Signal.UNRECOGNISED
ORDER = RefundOrder(refund_id="R1", payment_id="P1", amount=Money(1234, "HKD"), requested_at=NOW)


def seed(name):
    return (SEEDS / f"easylink_{name}.json").read_bytes()


def message(body, **fields):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(body=raw, received_at=fields.pop("received_at", NOW), **fields)


def form(fields, **more):
    return message(urlencode(fields).encode(), **more)


def answer(code=0, **data):
    return {"code": code, "msg": "said", "data": data}


def refund(**changes):
    return {
        "mchRefundNo": "R1",
        "refundOrderId": "G1",
        "payOrderId": "P1",
        "mchNo": "M1",
        "refundAmount": 4,
        "state": 2,
    } | changes


def carry(channel, **fields):
    return message(fields if channel is HOOK else answer(**fields))


def signed(fields, key=DEMO):
    """Sign as the document tells it, written independently of the adapter."""
    import hashlib

    kept = [
        f"{name}={value}&" for name, value in fields.items() if value not in ("", None) and name != "sign"
    ]
    text = "".join(sorted(kept, key=lambda part: part.lower())) + f"key={key.secret}"
    return fields | {"sign": hashlib.md5(text.encode()).hexdigest().upper()}  # noqa: S324 - the gateway's scheme


def adapter(**settings):
    return Easylink(**({"mch_no": "M1", "app_id": "A1", "keys": [DEMO]} | settings))


def test_the_adapter_is_a_gateway_and_needs_no_setting_to_read():
    gateway: Gateway = Easylink()
    assert (gateway.name, gateway.secrets) == ("easylink", ())


def test_the_capabilities_are_the_documented_ones():
    known = Easylink().capabilities
    assert (known.partial, known.several, known.lookup_by_own_reference) == (True, True, True)
    assert (known.outcome_window_s, known.refund_window_days, known.key_retention_s, known.absence) == (
        7200,
        None,
        None,
        None,
    )
    assert (known.amounts, known.acknowledgement) == (AmountForm.CENTS, b"success")
    assert known.webhook_retry_s == (0, 30, 60, 90, 120, 150)


# ---- codes: transcribed from the documents, independently of the adapter's table

STATES = [("0", PENDING), ("1", PENDING), ("2", SUCCESS), ("3", FAILED), ("4", CLOSED)]
REFUSALS = [
    (POST, "9999", UNCERTAIN),
    (POST, "10", UNCERTAIN),
    (POST, "12", UNCERTAIN),
    (POST, "11", REJECTED),
    (POST, "5004", REJECTED),
    (POLL, "9999", UNCERTAIN),
    (POLL, "10", UNCERTAIN),
    (POLL, "12", UNCERTAIN),
    (POLL, "11", UNCERTAIN),
    (POLL, "5004", UNCERTAIN),
]
DOCUMENTED = {
    *((channel, "state", state, signal) for channel in READ for state, signal in STATES),
    *((channel, "code", code, signal) for channel, code, signal in REFUSALS),
    (POST, "code", "0", None),
    (POLL, "code", "0", None),
}


def test_every_documented_code_is_in_the_table_and_nothing_else():
    assert {(code.channel, code.field, code.value, code.signal) for code in Easylink().codes} == DOCUMENTED
    assert len(Easylink().codes) == len(DOCUMENTED)
    assert all(
        code.source.startswith("easylink, ") and "read 2026-11-21" in code.source for code in Easylink().codes
    )


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize("written", [int, str])
@pytest.mark.parametrize(("state", "signal"), STATES)
def test_a_documented_state_reads_as_documented(channel, written, state, signal):
    evidence = READ[channel](Easylink(), carry(channel, state=written(state)))
    assert (evidence.signal, evidence.code, evidence.answered) == (signal, f"state={state}", True)


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize(("state", "signal"), STATES)
def test_only_a_closed_refund_stays_reserved_until_reconciled(channel, state, signal):
    hold = Hold.UNTIL_RECONCILED if signal is CLOSED else Hold.NONE
    assert READ[channel](Easylink(), carry(channel, state=state)).hold is hold


@pytest.mark.parametrize("written", [int, str])
@pytest.mark.parametrize(("channel", "code", "signal"), REFUSALS)
def test_a_documented_code_reads_by_its_channel(channel, written, code, signal):
    body = {"code": written(code), "msg": "Business failed", "data": None}
    evidence = READ[channel](Easylink(), message(body))
    assert evidence == Evidence(signal=signal, code=f"code={code}", detail="Business failed")


@pytest.mark.parametrize("channel", [POST, POLL])
@pytest.mark.parametrize(
    ("body", "signal", "code"),
    [
        ({"msg": "x"}, UNCERTAIN, "code=absent"),
        ({"code": None}, UNCERTAIN, "code=absent"),
        ({"code": ""}, UNCERTAIN, "code=absent"),
        ({"code": 0}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": None}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": "state"}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": {}}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": {"state": None}}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": {"state": 5}}, UNRECOGNISED, "state=5"),
        ({"code": 0, "data": {"state": "02"}}, UNRECOGNISED, "state=02"),
        ({"code": 0, "data": {"state": -1}}, UNRECOGNISED, "state=-1"),
        ({"code": 0, "data": {"state": 2.0}}, UNRECOGNISED, "state=2.0"),
        ({"code": 0, "data": {"state": True}}, UNRECOGNISED, "state=(bool)"),
        ({"code": 0, "data": {"state": [2]}}, UNRECOGNISED, "state=(list)"),
        ({"code": 1}, UNRECOGNISED, "code=1"),
        ({"code": "00"}, UNRECOGNISED, "code=00"),
        ({"code": False}, UNRECOGNISED, "code=(bool)"),
        ({"code": "SUCCESS"}, UNRECOGNISED, "code=SUCCESS"),
    ],
)
def test_an_answer_outside_the_table_never_moves_the_state(channel, body, signal, code):
    evidence = READ[channel](Easylink(), message(body))
    assert (evidence.signal, evidence.code) == (signal, code)


@pytest.mark.parametrize("channel", [POST, POLL])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 301, 302, 408, 429])
def test_a_status_of_proxies_and_limiters_is_uncertain_whatever_the_body(channel, status):
    evidence = READ[channel](Easylink(), message(answer(state=2), http_status=status))
    assert evidence == Evidence(signal=UNCERTAIN, code=f"http={status}", answered=False)


@pytest.mark.parametrize("status", [None, 200, 201, 400, 404])
def test_the_body_decides_under_any_other_status(status):
    assert Easylink().read_response(message(answer(state=2), http_status=status)).signal is SUCCESS


NOT_JSON = [
    b"",
    b"<html>502 Bad Gateway</html>",
    b'{"code": 0, "data": {"state": 2',
    b'{"code": 0, "code": 11}',
    b'{"code": NaN}',
    b'{"code": 1e999}',
    b'\xef\xbb\xbf{"code": 0}',
    '{"code": 0}'.encode("utf-16"),
    b'{"msg": "\\ud800"}',
    b'{"msg": "\\u0000"}',
]


@pytest.mark.parametrize("channel", [POST, POLL])
@pytest.mark.parametrize("body", NOT_JSON)
def test_an_answer_that_is_no_strict_json_is_uncertain_and_nobody_answered(channel, body):
    evidence = READ[channel](Easylink(), message(body))
    assert (evidence.signal, evidence.code, evidence.answered) == (UNCERTAIN, "body=not_strict_json", False)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"2"', b"0"])
def test_an_answer_that_is_no_object_is_uncertain_and_nobody_answered(body):
    evidence = Easylink().read_poll(message(body))
    assert (evidence.signal, evidence.code, evidence.answered) == (UNCERTAIN, "body=not_an_object", False)


# ---- what a message says beside its code


def test_the_printed_refund_response_is_read_whole():
    assert Easylink().read_response(message(seed("refund_response"))) == Evidence(
        signal=SUCCESS,
        code="state=2",
        refund_id="mho1624007315478",
        gateway_refund_id="R202106181708358940000",
        amount_minor=4,
        detail="SUCCESS",
    )


@pytest.mark.parametrize(("channel", "name"), [(POLL, "query_response"), (HOOK, "notification")])
def test_the_printed_query_response_and_notification_are_read_whole(channel, name):
    assert READ[channel](Easylink(), message(seed(name))) == Evidence(
        signal=SUCCESS,
        code="state=2",
        refund_id="mho1623985552430",
        payment_id="P202106181104177050002",
        gateway_refund_id="P202106181105527690009",
        amount_minor=4,
        currency="HKD",
        account="M1623984572",
        gateway_time=datetime(2021, 6, 18, 3, 5, 54, tzinfo=UTC),
        detail="SUCCESS" if channel is POLL else "",
    )


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"refundAmount": 10.0}, "refundAmount=10.0"),
        ({"refundAmount": "10.00"}, "refundAmount=10.00"),
        ({"refundAmount": 0}, "refundAmount=0"),
        ({"refundAmount": -4}, "refundAmount=-4"),
        ({"refundAmount": True}, "refundAmount=(bool)"),
        ({"refundAmount": "4 "}, "refundAmount=4 "),
        ({"refundAmount": 2**63}, f"refundAmount={2**63}"),
        ({"currency": "JPY"}, "currency=JPY"),
        ({"currency": "KWD"}, "currency=KWD"),
        ({"currency": "RMB"}, "currency=RMB"),
        ({"currency": 344}, "currency=344"),
        ({"mchRefundNo": "R 1"}, "mchRefundNo=R 1"),
        ({"mchRefundNo": ["R1"]}, "mchRefundNo=(list)"),
        ({"mchRefundNo": True}, "mchRefundNo=(bool)"),
        ({"refundOrderId": "x" * 129}, "refundOrderId=" + "x" * 106),
        ({"payOrderId": "P\u202e1"}, "payOrderId=P1"),
        ({"mchNo": {"a": 1}}, "mchNo=(dict)"),
    ],
)
def test_a_field_that_cannot_be_what_it_says_makes_a_person_look(channel, changes, code):
    evidence = READ[channel](Easylink(), carry(channel, **refund(**changes)))
    assert (evidence.signal, evidence.code, evidence.hold) == (UNRECOGNISED, code, Hold.NONE)
    assert evidence.claims is READ[channel](Easylink(), carry(channel, **refund())).signal


@pytest.mark.parametrize(
    ("written", "currency"), [("JPY", "JPY"), ("kwd", "KWD"), ("RMB", None), (344, None)]
)
@pytest.mark.parametrize("channel", READ)
def test_a_currency_it_cannot_count_in_is_still_named(channel, written, currency):
    evidence = READ[channel](Easylink(), carry(channel, **refund(currency=written)))
    assert evidence.currency == currency
    assert evidence.amount_minor == (None if currency else 4)


def test_of_several_such_fields_the_first_is_named():
    body = message(answer(**refund(mchRefundNo="R 1", refundAmount=0, currency="JPY")))
    assert Easylink().read_poll(body).code == "mchRefundNo=R 1"


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({}, "amount_minor", 4),
        ({"refundAmount": "400"}, "amount_minor", 400),
        ({"refundAmount": None}, "amount_minor", None),
        ({"currency": "cny"}, "currency", "CNY"),
        ({"currency": ""}, "currency", None),
        ({"mchRefundNo": 17}, "refund_id", "17"),
        ({"payOrderId": "", "mchOrderNo": "O1"}, "payment_id", "O1"),
        ({"payOrderId": "P1", "mchOrderNo": "O1"}, "payment_id", "P1"),
        (
            {"successTime": "1623985554000", "createdAt": 1},
            "gateway_time",
            datetime(2021, 6, 18, 3, 5, 54, tzinfo=UTC),
        ),
        (
            {"successTime": "soon", "createdAt": 1623985552},
            "gateway_time",
            datetime(2021, 6, 18, 3, 5, 52, tzinfo=UTC),
        ),
        ({"successTime": 1623985554.0}, "gateway_time", None),
        ({"errMsg": "no funds"}, "detail", "no funds"),
        ({"errCode": "1002", "errMsg": "no funds"}, "detail", "1002 no funds"),
        ({"errCode": "1002"}, "detail", "1002 said"),
        ({"errMsg": "a\x1b[31m\u202eb"}, "detail", "a[31mb"),
        ({"errMsg": "x" * 600}, "detail", "x" * 500),
    ],
)
def test_each_field_lands_in_its_place(changes, field, value):
    evidence = Easylink().read_poll(message(answer(**refund(**changes))))
    assert (evidence.signal, getattr(evidence, field)) == (SUCCESS, value)


def test_merchants_who_name_payments_by_their_own_order_number_are_not_shown_the_other():
    gateway = Easylink(payment_reference="mchOrderNo")
    assert gateway.read_poll(message(answer(**refund()))).payment_id is None
    assert gateway.read_poll(message(answer(**refund(mchOrderNo="O1")))).payment_id == "O1"


# ---- notifications


def test_a_form_encoded_notification_reads_like_the_json_one():
    fields = json.loads(seed("notification"))
    assert Easylink().read_webhook(form(fields)) == Easylink().read_webhook(message(seed("notification")))


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"state=2&state=3", {}, "not_a_form: a name stands twice"),
        (b"state=2&%zz=1", {}, "not_a_form: a percent sign"),
        (b"state=2&a=%", {}, "not_a_form: a percent sign"),
        (b"state=2&a=%ff", {}, "not_a_form: name=value pairs"),
        (b"state=2&a=\xff", {}, "not_a_form: name=value pairs"),
        (b"state=2&a=%ED%A0%80", {}, "not_a_form: name=value pairs"),
        (b"state=2&a", {}, "not_a_form: name=value pairs"),
        (b"state=2&a=%00", {}, "not_a_form: it holds a NUL"),
        (b"&".join(b"a%d=1" % n for n in range(101)), {}, "not_a_form: name=value pairs"),
        (b"state=2", {"Content-Type": "application/JSON"}, "not_strict_json"),
        (b"", {}, "not_strict_json"),
        (b'{"state": NaN}', {"Content-Type": "application/x-www-form-urlencoded"}, "not_strict_json"),
        (b"[2]", {}, "a JSON object is needed"),
        (b'{"mchRefundNo": "R1"}', {}, "state is missing"),
        (b"mchRefundNo=R1&state=", {}, "state is missing"),
    ],
)
def test_a_notification_that_cannot_be_read_is_refused_with_its_reason(body, headers, reason):
    with pytest.raises(UnreadableMessage, match=reason):
        Easylink().read_webhook(message(body, headers=headers))


@pytest.mark.parametrize(
    ("req_time", "at"),
    [
        ("1622016572190", datetime(2021, 5, 26, 8, 9, 32, 190000, tzinfo=UTC)),
        (1622016572190, datetime(2021, 5, 26, 8, 9, 32, 190000, tzinfo=UTC)),
        ("1624007315", datetime(2021, 6, 18, 9, 8, 35, tzinfo=UTC)),
        ("16220165721", None),
        ("-1622016572190", None),
        ("yesterday", None),
        ("", None),
        (True, None),
    ],
)
def test_the_signed_time_is_reqtime_in_milliseconds_or_seconds(req_time, at):
    assert Easylink().signed_at(message({"reqTime": req_time})) == at
    assert Easylink().signed_at(form({"reqTime": req_time})) == at


@pytest.mark.parametrize("body", [b"{", b"{}", b"a"])
def test_a_body_without_reqtime_has_no_signed_time(body):
    assert Easylink().signed_at(message(body)) is None


# ---- signatures


@pytest.mark.parametrize("vector", PUBLISHED["vectors"], ids=lambda vector: vector["name"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_published_signs_verify_in_either_case(vector, case):
    body = vector["params"] | {"sign": case(vector["sign"])}
    assert adapter().verify(SENT, message(body)).key_id == "demo"


@pytest.mark.parametrize(
    ("channel", "name", "verifies"),
    [
        (SENT, "refund_request", False),  # its reason was translated after signing
        (POST, "refund_response", True),
        (SENT, "query_request", True),
        (POLL, "query_response", False),  # edited after signing
    ],
)
def test_the_printed_signs_verify_unless_the_print_was_edited(channel, name, verifies):
    if verifies:
        assert adapter().verify(channel, message(seed(name))).trust is Trust.VERIFIED
    else:
        with pytest.raises(InvalidSignature):
            adapter().verify(channel, message(seed(name)))


def test_a_form_encoded_notification_verifies_over_all_its_fields():
    fields = signed(json.loads(seed("notification")) | {"reqTime": "1623985554999"})
    assert adapter().verify(HOOK, form(fields)).key_id == "demo"
    with pytest.raises(InvalidSignature):
        adapter().verify(HOOK, form(fields | {"refundAmount": 5}))
    with pytest.raises(InvalidSignature):
        adapter().verify(HOOK, form(fields | {"added": "1"}))


def test_code_and_msg_of_an_answer_are_unsigned():
    body = json.loads(seed("refund_response")) | {"code": 9999, "msg": "other"}
    assert adapter().verify(POST, message(body)).trust is Trust.VERIFIED


def test_empty_and_null_fields_are_not_signed():
    fields = signed({"a": "1"}) | {"b": "", "c": None}
    assert adapter().verify(SENT, message(fields)).trust is Trust.VERIFIED


def test_the_strings_are_sorted_without_regard_to_case():
    fields = signed({"b": "1", "A": "2", "C": "3", "a-b": "4"})
    assert adapter().verify(SENT, message(fields)).trust is Trust.VERIFIED


def test_nested_values_are_signed_as_json_text():
    flat = signed({"a": '{"x":[1,"ü"]}', "b": "true", "c": "1.50", "d": "false"})
    body = f'{{"a": {{"x": [1, "ü"]}}, "b": true, "c": 1.50, "d": false, "sign": "{flat["sign"]}"}}'
    assert adapter().verify(SENT, message(body.encode())).trust is Trust.VERIFIED


def test_signtype_never_chooses_the_scheme():
    fields = signed({"state": "2", "signType": "NONE"})
    assert adapter().verify(HOOK, message(fields)).trust is Trust.VERIFIED


@pytest.mark.parametrize("sign", [None, ""])
@pytest.mark.parametrize("channel", [SENT, HOOK, POST, POLL])
def test_without_a_sign_a_message_is_unverified(channel, sign):
    body = {"state": 2, "data": {"state": 2}, "sign": sign}
    assert adapter().verify(channel, message(body)) == UNVERIFIED


@pytest.mark.parametrize("data", [None, {}, "", [1]])
def test_an_answer_without_data_is_unverified(data):
    assert adapter().verify(POST, message({"code": 9999, "data": data, "sign": "0" * 32})) == UNVERIFIED


@pytest.mark.parametrize(
    ("gateway", "channel", "body"),
    [
        (Easylink(), HOOK, b'{"state": 2, "sign": "wrong"}'),
        (adapter(), HOOK, b'{"state": 2, "sign": '),
        (adapter(), POST, b"<html>"),
        (adapter(), Channel.REPORT, b'{"state": 2, "sign": "wrong"}'),
    ],
    ids=["no key", "half a body", "a page", "no signed channel"],
)
def test_where_nothing_can_be_checked_a_message_is_unverified(gateway, channel, body):
    assert gateway.verify(channel, message(body)) == UNVERIFIED


@pytest.mark.parametrize(
    "sign", ["0" * 32, "0" * 31, "0" * 33, "g" * 32, " " + "0" * 32, "٠" * 32, "ß" * 32, 5, [], {}, True]
)
@pytest.mark.parametrize("channel", [SENT, HOOK, POST, POLL])
def test_a_sign_that_is_present_and_wrong_is_refused(channel, sign):
    body = {"state": 2, "data": {"state": 2}, "sign": sign}
    with pytest.raises(InvalidSignature):
        adapter().verify(channel, message(body))


@pytest.mark.parametrize("other", ["another secret", DEMO.secret.upper(), DEMO.secret + " "])
def test_the_sign_of_another_secret_is_refused(other):
    body = signed({"state": "2"}, SigningKey("other", other))
    with pytest.raises(InvalidSignature):
        adapter().verify(HOOK, message(body))


@pytest.mark.parametrize(
    ("expires_in", "verifies"),
    [(None, True), (timedelta(seconds=1), True), (timedelta(0), False), (timedelta(-1), False)],
)
def test_an_old_key_verifies_until_it_expires(expires_in, verifies):
    old = SigningKey("old", "old secret", None if expires_in is None else NOW + expires_in)
    gateway = adapter(keys=[SigningKey("new", "new secret"), old])
    body = message(signed({"state": "2"}, old))
    if verifies:
        assert gateway.verify(HOOK, body).key_id == "old"
    else:
        with pytest.raises(InvalidSignature):
            gateway.verify(HOOK, body)


def test_an_amount_hidden_inside_its_neighbour_is_refused_although_the_sign_fits():
    whole = signed(refund(state="2"))
    hidden = {name: value for name, value in whole.items() if name != "refundAmount"}
    hidden["payOrderId"] = "P1&refundAmount=4"
    assert signed(hidden) == hidden
    with pytest.raises(InvalidSignature, match="holds another field"):
        adapter().verify(HOOK, message(hidden))
    with pytest.raises(InvalidSignature, match="holds another field"):
        adapter().verify(POST, message({"data": hidden, "sign": hidden["sign"]}))


def test_what_the_merchant_sent_along_may_hold_anything():
    fields = signed({"extParam": "order=5&state=3", "state": "2"})
    assert adapter().verify(HOOK, message(fields)).trust is Trust.VERIFIED


def test_our_own_notify_url_may_hold_parameters():
    fields = signed({"notifyUrl": "https://m.example/n?a=1&state=x"})
    assert adapter().verify(SENT, message(fields)).trust is Trust.VERIFIED


# ---- our own requests


def test_the_printed_refund_request_is_read_back():
    sent = Easylink().read_request(message(seed("refund_request")))
    assert (sent.refund_id, sent.payment_id, sent.amount) == (
        "mho1624007315478",
        "P202106181104177050002",
        Money(4, "HKD"),
    )
    assert (sent.account, sent.reason) == ("M1623984572", "Refund test")


def test_a_form_encoded_request_reads_like_the_json_one():
    fields = json.loads(seed("refund_request"))
    assert Easylink().read_request(form(fields)) == Easylink().read_request(message(seed("refund_request")))


@pytest.mark.parametrize("name", ["extParam", "extraParam"])
def test_both_names_of_the_extended_parameter_are_accepted(name):
    assert Easylink().read_request(message(refund(currency="HKD", **{name: "x"}))).refund_id == "R1"


@pytest.mark.parametrize(
    ("preferred", "fields", "payment_id"),
    [
        ("payOrderId", {"payOrderId": "P1", "mchOrderNo": ""}, "P1"),
        ("payOrderId", {"payOrderId": "", "mchOrderNo": "O1"}, "O1"),
        ("payOrderId", {"payOrderId": "P1", "mchOrderNo": "O1"}, "P1"),
        ("mchOrderNo", {"payOrderId": "P1", "mchOrderNo": "O1"}, "O1"),
        ("mchOrderNo", {"payOrderId": "P1", "mchOrderNo": ""}, "P1"),
        ("payOrderId", {"payOrderId": "", "mchOrderNo": ""}, None),
    ],
)
def test_the_payment_is_the_preferred_reference_or_the_other(preferred, fields, payment_id):
    body = message(refund(currency="HKD", **fields))
    assert Easylink(payment_reference=preferred).read_request(body).payment_id == payment_id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"refundAmount": 10.0}, "refundAmount=10.0"),
        ({"refundAmount": None}, "are needed"),
        ({"currency": "JPY"}, "currency=JPY"),
        ({"currency": ""}, "are needed"),
        ({"mchRefundNo": ""}, "are needed"),
        ({"mchRefundNo": "R 1"}, "mchRefundNo=R 1"),
    ],
)
def test_a_request_that_names_no_refund_is_refused(changes, reason):
    with pytest.raises(UnreadableMessage, match=reason):
        Easylink().read_request(message(refund(currency="HKD") | changes))


# ---- building


def built(gateway, order=ORDER, build=Easylink.build_refund, at=NOW):
    return build(gateway, order, at=at, nonce="n")


def order(**changes):
    return RefundOrder(**{name: getattr(ORDER, name) for name in RefundOrder.__slots__} | changes)


def test_a_refund_request_holds_the_documented_fields_and_verifies():
    request = built(adapter(), order(reason="Rückgabe", notify_url="https://m.example/notify"))
    document = json.loads(request.body)
    sign = document.pop("sign")
    assert document == {
        "mchNo": "M1",
        "appId": "A1",
        "payOrderId": "P1",
        "mchRefundNo": "R1",
        "refundAmount": 1234,
        "currency": "HKD",
        "refundReason": "Rückgabe",
        "notifyUrl": "https://m.example/notify",
        "reqTime": 1795262400000,
        "version": "1.0",
        "signType": "MD5",
    }
    assert signed(document)["sign"] == sign
    assert (request.method, request.target) == ("POST", "/api/refund/refundOrder")
    assert request.headers == {"Content-Type": "application/json"}
    assert adapter().verify(SENT, message(request.body)).trust is Trust.VERIFIED


def test_a_refund_request_reads_back_as_the_order():
    sent = Easylink().read_request(message(built(adapter(), order(reason="why")).body))
    assert (sent.refund_id, sent.payment_id, sent.amount) == ("R1", "P1", Money(1234, "HKD"))
    assert (sent.account, sent.reason) == ("M1", "why")


def test_a_query_names_the_refund_by_our_own_number():
    request = built(adapter(), build=Easylink.build_query)
    document = json.loads(request.body)
    assert request.target == "/api/refund/query"
    assert (document["mchRefundNo"], "refundOrderId" in document) == ("R1", False)
    assert adapter().verify(SENT, message(request.body)).trust is Trust.VERIFIED


def test_without_a_notify_url_none_is_sent():
    assert "notifyUrl" not in json.loads(built(adapter()).body)


@pytest.mark.parametrize("reason", ["", "  "])
def test_the_required_reason_has_a_default(reason):
    assert json.loads(built(adapter(), order(reason=reason)).body)["refundReason"] == "Refund"


def test_payments_can_be_named_by_the_merchants_own_order_number():
    document = json.loads(built(adapter(payment_reference="mchOrderNo")).body)
    assert (document["mchOrderNo"], "payOrderId" in document) == ("P1", False)


def test_the_first_unexpired_key_signs():
    spent = SigningKey("spent", "spent secret", NOW)
    body = message(built(adapter(keys=[spent, DEMO])).body)
    assert adapter().verify(SENT, body).key_id == "demo"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"refund_id": "R" * 31}, "refund_id"),
        ({"payment_id": "P" * 31}, "payment_id"),
        ({"reason": "x" * 65}, "reason"),
        ({"reason": "\ud800"}, "reason"),
        ({"notify_url": "https://m.example/" + "x" * 111}, "notify_url"),
    ],
)
def test_what_is_longer_than_the_api_takes_is_refused(changes, name):
    with pytest.raises(InvalidText, match=name):
        built(adapter(), order(**changes))


def test_a_query_refuses_a_refund_id_longer_than_the_api_takes():
    with pytest.raises(InvalidText, match="31 characters, easylink takes at most 30"):
        built(adapter(), order(refund_id="R" * 31), Easylink.build_query)


def test_the_longest_texts_the_api_takes_are_sent():
    longest = order(
        refund_id="R" * 30, payment_id="P" * 30, reason="x" * 64, notify_url="https://m.example/" + "x" * 110
    )
    document = json.loads(built(adapter(), longest).body)
    assert (len(document["notifyUrl"]), document["refundReason"]) == (128, "x" * 64)


@pytest.mark.parametrize("currency", ["JPY", "KWD", "CLF"])
def test_a_currency_without_hundredths_is_refused(currency):
    with pytest.raises(InvalidAmount, match="hundredths"):
        built(adapter(), order(amount=Money(100, currency)))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"mch_no": ""}, "mch_no"),
        ({"app_id": ""}, "app_id"),
        ({"keys": ()}, "keys"),
        ({"keys": [SigningKey("k", "s", NOW)]}, "keys"),
    ],
)
@pytest.mark.parametrize("build", [Easylink.build_refund, Easylink.build_query])
def test_building_needs_the_settings(build, settings, name):
    with pytest.raises(InvalidSetting, match=name):
        built(adapter(**settings), build=build)


# ---- settings and abuse


@pytest.mark.parametrize(
    "settings",
    [
        {"mch_no": "M 1"},
        {"app_id": "\n"},
        {"payment_reference": "orderId"},
        {"keys": ["secret"]},
        {"keys": [DEMO, DEMO]},
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings):
    with pytest.raises(InvalidSetting):
        Easylink(**settings)


@pytest.mark.parametrize("secret", ["", " ", "\n"])
def test_a_blank_secret_is_refused(secret):
    with pytest.raises(InvalidSetting):
        Easylink(keys=[SigningKey("k", secret)])


def test_repr_shows_no_secret():
    assert DEMO.secret not in repr(adapter())
    assert "demo" in repr(adapter())


def test_the_secrets_are_listed_for_blanking():
    assert adapter().secrets == (DEMO.secret,)


def everything_read(gateway, arrived):
    for read in (
        gateway.read_request,
        gateway.read_response,
        gateway.read_poll,
        gateway.read_webhook,
        gateway.signed_at,
    ):
        yield lambda read=read: read(arrived)
    for channel in Channel:
        yield lambda channel=channel: gateway.verify(channel, arrived)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [
        "code",
        "data",
        "msg",
        "sign",
        "state",
        "mchRefundNo",
        "payOrderId",
        "refundAmount",
        "currency",
        "successTime",
        "errMsg",
        "reqTime",
    ]
)
objects = st.dictionaries(names, json_values | st.dictionaries(names, json_values, max_size=6), max_size=8)
bodies = (
    st.binary(max_size=60)
    | objects.map(lambda found: json.dumps(found).encode())
    | objects.map(lambda found: urlencode(found).encode())
)


@settings(max_examples=150, deadline=None)
@given(bodies, st.sampled_from([{}, {"content-type": "application/json"}]), st.none() | st.integers(-1, 700))
def test_whatever_arrives_only_evidence_or_a_refold_error_comes_out(body, headers, status):
    arrived = message(body, headers=headers, http_status=status)
    for attempt in everything_read(adapter(), arrived):
        with contextlib.suppress(RefoldError):
            attempt()


def test_nesting_beyond_every_limit_is_refused_not_crashed():
    deep = b'{"a": ' * 900 + b"1" + b"}" * 900
    for attempt in everything_read(
        adapter(), message(deep[:-1] + b', "sign": "00000000000000000000000000000000"}')
    ):
        with contextlib.suppress(RefoldError):
            attempt()


def test_a_value_nested_as_deep_as_the_parser_allows_is_refused():
    from refold.adapters.easylink_signing import _rendered

    nested = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidSignature, match="nested too deeply"):
        _rendered(nested)
    while nested:  # undone by hand: dropping it at once could exhaust the stack
        nested = nested[0]


def test_reading_logs_needs_no_rsa_library():
    code = "import sys; import refold.adapters.easylink; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
