"""The adapter `bbmsl`: the document's own samples, every documented word, the RSA envelope, and what else may arrive."""

import base64
import contextlib
import copy
import json
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.adapters.bbmsl import Bbmsl
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
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SENT, POST, POLL = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL
READ = {POST: Bbmsl.read_response, POLL: Bbmsl.read_poll}
SUCCESS, PENDING, NOT_FOUND = Signal.SUCCESS, Signal.PENDING, Signal.NOT_FOUND
REJECTED, UNCERTAIN, UNRECOGNISED = Signal.REJECTED, Signal.UNCERTAIN, Signal.UNRECOGNISED
ORDER = RefundOrder(refund_id="R1", payment_id="s22tring", amount=Money(1050, "HKD"), requested_at=NOW)


@cache
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem_of(private, encryption=None):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


@cache
def adapter(**settings):
    return Bbmsl(**({"merchant_id": "3000001", "private_key_pem": pem_of(key())} | settings))


def seed(name):
    return (SEEDS / f"bbmsl_{name}.json").read_bytes()


def message(body, **fields):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(body=raw, received_at=NOW, **fields)


def answer(status="REFUNDED", code="0000", transaction=None, **order):
    body = {
        "responseCode": code,
        "message": "said",
        "order": {"merchantReference": "s22tring", "status": status} | order,
    }
    return body | ({} if transaction is None else {"transaction": transaction})


def envelope(request, signature=""):
    text = request if isinstance(request, str) else json.dumps(request)
    return message({"request": text, "signature": signature})


def order(**changes):
    return RefundOrder(**{name: getattr(ORDER, name) for name in RefundOrder.__slots__} | changes)


def built(gateway, order=ORDER, build=Bbmsl.build_refund):
    return build(gateway, order, at=NOW, nonce="n")


def test_the_adapter_is_a_gateway_and_needs_no_setting_to_read():
    gateway: Gateway = Bbmsl()
    assert (gateway.name, gateway.secrets) == ("bbmsl", ())


def test_the_capabilities_are_the_documented_ones():
    known = Bbmsl().capabilities
    assert (known.partial, known.several, known.lookup_by_own_reference) == (True, False, True)
    assert (known.refund_window_days, known.key_retention_s, known.absence) == (None, None, None)
    assert (known.amounts, known.acknowledgement, known.webhook_retry_s) == (
        AmountForm.MAJOR_NUMBER,
        None,
        (),
    )


# ---- codes: transcribed from the documents, independently of the adapter's table

STATUSES = [
    # order.status, beside 0000 on the refund, beside 0000 on a query
    ("REFUNDED", SUCCESS, SUCCESS),
    ("PARTIALLY_REFUNDED", SUCCESS, SUCCESS),
    ("PROCESSING", UNCERTAIN, PENDING),
    ("VOIDED", UNCERTAIN, UNCERTAIN),
    ("OPEN", UNCERTAIN, NOT_FOUND),
    ("SUCCESS", UNCERTAIN, NOT_FOUND),
    ("SETTLED", UNCERTAIN, NOT_FOUND),
    ("CLOSED", UNCERTAIN, NOT_FOUND),
    ("FAILURE", UNCERTAIN, NOT_FOUND),
    ("DECLINED", UNCERTAIN, NOT_FOUND),
    ("CANCELLED", UNCERTAIN, NOT_FOUND),
    ("NONE", UNCERTAIN, NOT_FOUND),
]
TRANSACTION_STATUSES = ["SUCCESS", "DECLINED", "VOIDED", "REFUNDED", "SETTLED"]
DOCUMENTED = {
    *((POST, "order.status", status, refund) for status, refund, _ in STATUSES),
    *((POLL, "order.status", status, query) for status, _, query in STATUSES),
    *((channel, "transaction.status", status, None) for channel in READ for status in TRANSACTION_STATUSES),
    *((channel, "responseCode", "0000", None) for channel in READ),
    (POST, "responseCode", "*", REJECTED),
    (POLL, "responseCode", "*", UNCERTAIN),
}


def test_every_documented_code_is_in_the_table_and_nothing_else():
    assert {(code.channel, code.field, code.value, code.signal) for code in Bbmsl().codes} == DOCUMENTED
    assert len(Bbmsl().codes) == len(DOCUMENTED)
    assert all(
        code.source.startswith("BBMSL, ") and "read 2026-11-21" in code.source for code in Bbmsl().codes
    )


@pytest.mark.parametrize(("status", "refund", "query"), STATUSES)
def test_beside_0000_the_order_status_decides_by_channel(status, refund, query):
    for channel, signal in ((POST, refund), (POLL, query)):
        evidence = READ[channel](Bbmsl(), message(answer(status)))
        assert (evidence.signal, evidence.code, evidence.hold) == (
            signal,
            f"order.status={status}",
            Hold.NONE,
        )


@pytest.mark.parametrize("transaction", TRANSACTION_STATUSES)
@pytest.mark.parametrize(("channel", "signal"), [(POST, UNCERTAIN), (POLL, NOT_FOUND)])
def test_the_status_of_the_transaction_never_decides(channel, signal, transaction):
    body = answer("SETTLED", transaction={"status": transaction})
    assert READ[channel](Bbmsl(), message(body)).signal is signal


@pytest.mark.parametrize(
    ("channel", "code", "status", "signal", "decided_by", "hold"),
    [
        (POST, "0051", "SUCCESS", REJECTED, "responseCode=0051", Hold.UNTIL_QUERY),
        (POST, "0051", None, REJECTED, "responseCode=0051", Hold.UNTIL_QUERY),
        (POST, "0051", "VOIDED", REJECTED, "responseCode=0051", Hold.UNTIL_QUERY),
        (POST, "*", "OPEN", REJECTED, "responseCode=*", Hold.UNTIL_QUERY),
        (POST, "0051", "REFUNDED", SUCCESS, "order.status=REFUNDED", Hold.NONE),
        (POST, "0051", "PARTIALLY_REFUNDED", SUCCESS, "order.status=PARTIALLY_REFUNDED", Hold.NONE),
        (POLL, "0051", "SUCCESS", UNCERTAIN, "responseCode=0051", Hold.NONE),
        (POLL, "0051", "REFUNDED", UNCERTAIN, "responseCode=0051", Hold.NONE),
        (POST, "0000", None, UNCERTAIN, "order.status=absent", Hold.NONE),
        (POLL, "0000", "", UNCERTAIN, "order.status=absent", Hold.NONE),
        (POST, "0000", "refunded", UNRECOGNISED, "order.status=refunded", Hold.NONE),
        (POLL, "0000", "CHARGED_BACK", UNRECOGNISED, "order.status=CHARGED_BACK", Hold.NONE),
        (POLL, "0000", 3, UNRECOGNISED, "order.status=3", Hold.NONE),
        (POST, None, "REFUNDED", UNCERTAIN, "responseCode=absent", Hold.NONE),
        (POST, "", "SETTLED", UNCERTAIN, "responseCode=absent", Hold.NONE),
        (POST, 0, "SETTLED", UNRECOGNISED, "responseCode=0", Hold.NONE),
        (POST, 51, "SETTLED", UNRECOGNISED, "responseCode=51", Hold.NONE),
        (POST, ["0000"], "REFUNDED", UNRECOGNISED, "responseCode=(list)", Hold.NONE),
    ],
)
def test_response_code_and_order_status_decide_together(channel, code, status, signal, decided_by, hold):
    evidence = READ[channel](Bbmsl(), message(answer(status, code)))
    assert (evidence.signal, evidence.code, evidence.hold) == (signal, decided_by, hold)


@pytest.mark.parametrize("order", [None, "REFUNDED", [], 5])
@pytest.mark.parametrize("channel", READ)
def test_0000_without_an_order_is_uncertain(channel, order):
    evidence = READ[channel](Bbmsl(), message({"responseCode": "0000", "order": order}))
    assert (evidence.signal, evidence.code, evidence.answered) == (UNCERTAIN, "order.status=absent", True)


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize("status", [500, 502, 503, 504, 301, 302, 408, 429])
def test_a_status_of_proxies_and_limiters_is_uncertain_whatever_the_body(channel, status):
    evidence = READ[channel](Bbmsl(), message(answer(), http_status=status))
    assert evidence == Evidence(signal=UNCERTAIN, code=f"http={status}", answered=False)


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body=not_strict_json"),
        (b"<html>502</html>", "body=not_strict_json"),
        (b'{"responseCode": "0000", "order": {"sta', "body=not_strict_json"),
        (b'{"responseCode": "0000", "responseCode": "1"}', "body=not_strict_json"),
        (b'{"order": {"amount": NaN}}', "body=not_strict_json"),
        (b"[]", "body=not_an_object"),
    ],
)
def test_an_answer_that_cannot_be_read_is_uncertain_and_nobody_answered(channel, body, code):
    evidence = READ[channel](Bbmsl(), message(body))
    assert (evidence.signal, evidence.code, evidence.answered) == (UNCERTAIN, code, False)


# ---- what an answer says beside its code


def test_the_printed_response_is_read_whole_and_the_order_total_is_not_the_refund():
    assert Bbmsl().read_response(message(seed("refund_response"))) == Evidence(
        signal=SUCCESS,
        code="order.status=REFUNDED",
        refund_id="s22tring",
        payment_id="s22tring",
        payment_alias="1076",
        amount_minor=None,
        currency="HKD",
        detail="SUCCESS",
    )


@pytest.mark.parametrize(
    ("order", "transaction", "field", "value"),
    [
        ({"merchantReference": "", "id": 1076}, None, "refund_id", "1076"),
        ({"merchantReference": None, "id": "1076"}, None, "payment_id", None),
        ({"merchantReference": None, "id": "1076"}, None, "payment_alias", "1076"),
        ({"id": 1076}, None, "refund_id", "s22tring"),
        ({"id": 1076}, None, "payment_id", "s22tring"),
        ({"id": 1076}, None, "payment_alias", "1076"),
        ({"id": "10 76"}, None, "payment_alias", None),
        ({"id": "10 76"}, None, "signal", SUCCESS),
        ({}, None, "payment_alias", None),
        ({"currency": "HKD"}, {"amount": 76.19}, "amount_minor", 7619),
        ({"currency": "HKD"}, {"amount": 10}, "amount_minor", 1000),
        ({"currency": "HKD"}, {"amount": "10.5"}, "amount_minor", 1050),
        ({"currency": "HKD"}, {"amount": 10.0, "currency": "JPY"}, "amount_minor", None),
        ({"currency": "HKD"}, {"amount": 10, "currency": "jpy"}, "amount_minor", 10),
        ({"currency": "HKD"}, {"amount": 10, "currency": "jpy"}, "currency", "JPY"),
        ({}, {"amount": 10.5}, "amount_minor", 1050),
        ({}, {"amount": 10.5}, "currency", None),
        ({"currency": "HKD"}, {"amount": 76.19, "type": "REFUND"}, "amount_minor", 7619),
        ({"currency": "HKD"}, {"amount": 76.19, "type": "SALE"}, "amount_minor", None),
        ({"currency": "HKD"}, {"amount": -1, "type": "SALE"}, "signal", SUCCESS),
        ({"currency": "HKD"}, {"merchantId": 3000001}, "account", "3000001"),
        ({"updateTime": "2026-11-21T20:00:00+08:00"}, None, "gateway_time", NOW),
        ({"updateTime": "2026-11-21 20:00:00"}, None, "gateway_time", None),
    ],
)
@pytest.mark.parametrize("channel", READ)
def test_each_field_lands_in_its_place(channel, order, transaction, field, value):
    evidence = READ[channel](Bbmsl(), message(answer(transaction=transaction, **order)))
    assert getattr(evidence, field) == value


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ({"id": 1076}, ("1076", "1076", "s22tring")),
        ({}, ("s22tring", None, "s22tring")),
        ({"id": "1076", "merchantReference": None}, ("1076", "1076", None)),
    ],
)
def test_for_merchants_who_name_orders_by_number_the_reference_is_the_other_name(order, names):
    evidence = Bbmsl(reference="orderId").read_poll(message(answer(**order)))
    assert (evidence.refund_id, evidence.payment_id, evidence.payment_alias) == names


@pytest.mark.parametrize(
    ("order", "transaction", "code"),
    [
        ({"merchantReference": "s 22"}, None, "order.merchantReference=s 22"),
        ({"merchantReference": {}}, None, "order.merchantReference=(dict)"),
        ({"merchantReference": None, "id": "10 76"}, None, "order.id=10 76"),
        ({"currency": "XXQ"}, None, "order.currency=XXQ"),
        ({"currency": 344}, None, "order.currency=344"),
        ({"currency": "HKD"}, {"amount": 76.195}, "transaction.amount=76.195"),
        ({"currency": "HKD"}, {"amount": 0}, "transaction.amount=0"),
        ({"currency": "HKD"}, {"amount": -1.5}, "transaction.amount=-1.5"),
        ({"currency": "HKD"}, {"amount": True}, "transaction.amount=(bool)"),
        ({"currency": "HKD"}, {"amount": "1e3"}, "transaction.amount=1e3"),
        ({"currency": "HKD"}, {"amount": "a\x1b"}, "transaction.amount=a"),
        ({"currency": "HKD"}, {"merchantId": "3 "}, "transaction.merchantId=3 "),
    ],
)
@pytest.mark.parametrize("response_code", ["0000", "0051"])
def test_a_field_that_cannot_be_what_it_says_makes_a_person_look(order, transaction, code, response_code):
    evidence = Bbmsl().read_response(message(answer(code=response_code, transaction=transaction, **order)))
    assert (evidence.signal, evidence.code, evidence.hold) == (UNRECOGNISED, code, Hold.NONE)
    assert evidence.claims is SUCCESS


@pytest.mark.parametrize(
    ("written", "minor"), [("1E2", 10000), ("1.05e1", 1050), ("0.10", 10), ("100.00", 10000)]
)
def test_numbers_are_read_by_their_digits_never_as_floats(written, minor):
    body = f'{{"responseCode":"0000","order":{{"status":"REFUNDED","currency":"HKD"}},"transaction":{{"amount":{written}}}}}'
    assert Bbmsl().read_response(message(body.encode())).amount_minor == minor


@pytest.mark.parametrize("written", ["0e-9999999", "0.0E9999999", "1e99", "9007199254740993.001"])
def test_a_number_with_an_absurd_exponent_is_refused_without_being_written_out(written):
    body = f'{{"responseCode":"0000","order":{{"status":"REFUNDED"}},"transaction":{{"amount":{written}}}}}'
    tracemalloc.start()
    try:
        evidence = Bbmsl().read_response(message(body.encode()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert evidence.signal is UNRECOGNISED
    assert peak < 1_000_000


def test_no_refund_webhook_is_documented():
    with pytest.raises(UnreadableMessage, match="no refund webhook is documented"):
        Bbmsl().read_webhook(message(answer()))
    assert Bbmsl().signed_at(message(answer())) is None


# ---- our own requests


def test_the_printed_request_is_refused_for_its_trailing_comma():
    with pytest.raises(UnreadableMessage, match="not_strict_json: the `request` text has a trailing comma"):
        Bbmsl().read_request(message(seed("refund_request")))


def test_the_printed_request_without_its_comma_still_has_no_amount():
    text = json.loads(seed("refund_request"))["request"].replace(",}", "}")
    with pytest.raises(UnreadableMessage, match="amount is missing"):
        Bbmsl().read_request(envelope(text))


@pytest.mark.parametrize(
    ("settings", "request_", "reference", "amount"),
    [
        ({}, '{"merchantId":"3000001","merchantReference":"a1","amount":76.19}', "a1", Money(7619, "HKD")),
        ({}, '{"merchantId":3000001,"orderId":1076,"amount":76}', "1076", Money(7600, "HKD")),
        (
            {},
            '{"merchantId":"3000001","merchantReference":"","orderId":"1076","amount":"76.1"}',
            "1076",
            Money(7610, "HKD"),
        ),
        (
            {},
            '{"merchantId":"3000001","merchantReference":"a1","orderId":7,"amount":1}',
            "a1",
            Money(100, "HKD"),
        ),
        (
            {"reference": "orderId"},
            '{"merchantId":"3000001","merchantReference":"a1","orderId":7,"amount":1}',
            "7",
            Money(100, "HKD"),
        ),
        (
            {"currency": "JPY"},
            '{"merchantId":"3000001","merchantReference":"a1","amount":76}',
            "a1",
            Money(76, "JPY"),
        ),
    ],
)
def test_a_request_is_read_back_by_its_order_in_the_configured_currency(
    settings, request_, reference, amount
):
    sent = Bbmsl(**settings).read_request(envelope(request_))
    assert (sent.refund_id, sent.payment_id, sent.amount, sent.account) == (
        reference,
        reference,
        amount,
        "3000001",
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not_strict_json"),
        (b"{}", "holds no `request` text"),
        (b'{"request": {"amount": 1}}', "holds no `request` text"),
        (b'{"request": "[]"}', "a JSON object is needed"),
        (b'{"request": "{\\"amount\\": 1, \\"amount\\": 2}"}', "a key stands twice"),
        (b'{"request": "{\\"amount\\": 1}"}', "merchantReference or orderId is missing"),
        (
            b'{"request": "{\\"merchantReference\\": \\"a 1\\", \\"amount\\": 1}"}',
            "merchantReference=a 1 cannot be used",
        ),
        (
            b'{"request": "{\\"merchantReference\\": \\"a\\", \\"amount\\": 1.005}"}',
            "amount=1.005 cannot be used",
        ),
        (b'{"request": "{\\"merchantReference\\": \\"a\\", \\"amount\\": 0}"}', "amount=0 cannot be used"),
    ],
)
def test_a_request_that_names_no_refund_is_refused_with_its_reason(body, reason):
    with pytest.raises(UnreadableMessage, match=reason):
        Bbmsl().read_request(message(body))


# ---- building


@pytest.mark.parametrize(
    ("settings", "changes", "text"),
    [
        ({}, {}, '{"merchantId":"3000001","merchantReference":"s22tring","amount":10.50}'),
        (
            {},
            {"payment_id": 'a"b\\c'},
            '{"merchantId":"3000001","merchantReference":"a\\"b\\\\c","amount":10.50}',
        ),
        (
            {"reference": "orderId"},
            {"payment_id": "1076"},
            '{"merchantId":"3000001","orderId":1076,"amount":10.50}',
        ),
        (
            {},
            {"amount": Money(1, "HKD")},
            '{"merchantId":"3000001","merchantReference":"s22tring","amount":0.01}',
        ),
        (
            {},
            {"amount": Money(2**63 - 1, "HKD")},
            '{"merchantId":"3000001","merchantReference":"s22tring","amount":92233720368547758.07}',
        ),
        (
            {"currency": "JPY"},
            {"amount": Money(5, "JPY")},
            '{"merchantId":"3000001","merchantReference":"s22tring","amount":5}',
        ),
    ],
)
def test_a_refund_request_is_exactly_this_text_signed(settings, changes, text):
    request = built(adapter(**settings), order(**changes))
    sent = json.loads(request.body)
    assert (request.method, request.target, sent["request"]) == ("POST", "/direct/refund", text)
    assert request.headers == {"Content-Type": "application/json"}
    key().public_key().verify(
        base64.b64decode(sent["signature"], validate=True), text.encode(), padding.PKCS1v15(), SHA256()
    )


def test_a_refund_request_reads_back_as_the_order_and_verifies():
    body = message(built(adapter()).body)
    sent = adapter().read_request(body)
    assert (sent.payment_id, sent.amount, sent.account) == ("s22tring", ORDER.amount, "3000001")
    assert adapter().verify(SENT, body).trust is Trust.VERIFIED


def test_a_query_names_the_order_and_no_amount():
    request = built(adapter(), build=Bbmsl.build_query)
    assert request.target == "/direct/query"
    assert json.loads(request.body)["request"] == '{"merchantId":"3000001","merchantReference":"s22tring"}'
    assert adapter().verify(SENT, message(request.body)).trust is Trust.VERIFIED


def test_the_same_order_makes_the_same_bytes():
    later = datetime(2026, 11, 22, tzinfo=UTC)
    assert adapter().build_refund(ORDER, at=later, nonce="other").body == built(adapter()).body


@pytest.mark.parametrize("payment_id", ["s22tring", "01", "0", "-1", "1.0", "1" * 20, "１"])
def test_an_order_number_is_digits(payment_id):
    with pytest.raises(InvalidText, match="payment_id"):
        built(adapter(reference="orderId"), order(payment_id=payment_id))


def test_a_currency_the_request_could_not_say_is_refused():
    with pytest.raises(InvalidAmount, match=r"stands for HKD.*currency="):
        built(adapter(), order(amount=Money(100, "USD")))


@pytest.mark.parametrize("build", [Bbmsl.build_refund, Bbmsl.build_query])
@pytest.mark.parametrize(
    ("settings", "name"),
    [({"merchant_id": ""}, "merchant_id"), ({"private_key_pem": None}, "private_key_pem")],
)
def test_building_needs_the_settings(build, settings, name):
    with pytest.raises(InvalidSetting, match=name):
        built(adapter(**settings), build=build)


# ---- signatures


def test_the_key_that_verified_is_named_by_its_public_half():
    checked = adapter().verify(SENT, message(built(adapter()).body))
    assert checked.key_id.startswith("rsa-")
    assert (
        checked.key_id
        == Bbmsl(private_key_pem=pem_of(key()).encode()).verify(SENT, message(built(adapter()).body)).key_id
    )


def signature_of(text, scheme=None, digest=None, private=None):
    raw = (private or key()).sign(text.encode(), scheme or padding.PKCS1v15(), digest or SHA256())
    return base64.b64encode(raw).decode()


TEXT = '{"merchantId":"3000001","merchantReference":"s22tring","amount":10.50}'


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("10.50", "10.5"),
        lambda text: text.replace(",", ", "),
        lambda text: text + " ",
    ],
)
def test_the_signature_covers_the_exact_text(change):
    assert adapter().verify(SENT, envelope(TEXT, signature_of(TEXT))).trust is Trust.VERIFIED
    with pytest.raises(InvalidSignature):
        adapter().verify(SENT, envelope(change(TEXT), signature_of(TEXT)))


@pytest.mark.parametrize(
    "signature",
    [
        lambda good: base64.b64encode(good.encode()).decode(),
        lambda good: good[:-4],
        lambda good: good + "\n",
        lambda good: good.rstrip("="),
        lambda good: good[:-3] + chr(ord(good[-3]) + 1) + "==",
        lambda good: base64.urlsafe_b64encode(b"\xff" * 256).decode(),
        lambda good: "A" * len(good),
        lambda good: "ü",
        lambda good: 5,
        lambda good: [good],
    ],
    ids=[
        "base64 twice",
        "cut",
        "newline",
        "no padding",
        "unused bits",
        "url alphabet",
        "zeros",
        "not ASCII",
        "number",
        "list",
    ],
)
def test_a_signature_that_is_present_and_wrong_is_refused(signature):
    with pytest.raises(InvalidSignature):
        adapter().verify(SENT, envelope(TEXT, signature(signature_of(TEXT))))


def test_the_printed_signature_is_base64_twice_and_refused():
    with pytest.raises(InvalidSignature, match="one base64 of 256 bytes"):
        adapter().verify(SENT, message(seed("refund_request")))


@pytest.mark.parametrize(
    "signature",
    [
        lambda: signature_of(TEXT, digest=SHA1()),  # noqa: S303 - what must not pass
        lambda: signature_of(TEXT, scheme=padding.PSS(padding.MGF1(SHA256()), 32)),
        lambda: signature_of(TEXT, private=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    ],
    ids=["SHA-1", "PSS", "another key"],
)
def test_no_other_scheme_or_key_passes(signature):
    with pytest.raises(InvalidSignature, match="another"):
        adapter().verify(SENT, envelope(TEXT, signature()))


@pytest.mark.parametrize(
    ("settings", "channel", "body"),
    [
        ({"private_key_pem": None}, SENT, {"request": TEXT, "signature": "wrong"}),
        ({}, SENT, {"request": TEXT, "signature": ""}),
        ({}, SENT, {"request": TEXT}),
        ({}, SENT, {"signature": "wrong"}),
        ({}, SENT, b"{"),
        ({}, POST, {"request": TEXT, "signature": "wrong"}),
        ({}, POLL, {"request": TEXT, "signature": "wrong"}),
        ({}, Channel.WEBHOOK, {"request": TEXT, "signature": "wrong"}),
    ],
)
def test_where_nothing_can_be_checked_a_message_is_unverified(settings, channel, body):
    assert adapter(**settings).verify(channel, message(body)) == UNVERIFIED


# ---- settings and abuse


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"merchant_id": "3 0"}, "merchant_id"),
        ({"reference": "mchOrderNo"}, "reference"),
        ({"currency": "hkd"}, "currency"),
        ({"currency": "XAU"}, "currency"),
        ({"private_key_pem": ""}, "blank"),
        ({"private_key_pem": b" \n"}, "blank"),
        ({"private_key_pem": b"\xff"}, "PEM"),
        ({"private_key_pem": "\ud800"}, "PEM"),
        ({"private_key_pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, "PEM"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, name):
    with pytest.raises(InvalidSetting, match=name):
        Bbmsl(**settings)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (lambda: pem_of(key(), BestAvailableEncryption(b"password")), "no unencrypted PEM"),
        (lambda: pem_of(ec.generate_private_key(ec.SECP256R1())), "RSA key of at least 2048 bits"),
        (
            lambda: pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - what must not pass
            "RSA key of at least 2048 bits",
        ),
    ],
    ids=["encrypted", "elliptic", "1024 bits"],
)
def test_a_key_that_cannot_sign_is_refused_without_showing_it(pem, reason):
    written = pem()
    with pytest.raises(InvalidSetting, match=reason) as refused:
        Bbmsl(private_key_pem=written)
    assert written.splitlines()[1] not in str(refused.value)


def test_a_missing_library_is_named_with_the_command_that_installs_it():
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from refold.adapters.bbmsl import Bbmsl\n"
        "Bbmsl()\n"
        "try: Bbmsl(private_key_pem='x')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "InvalidSetting private_key_pem: RSA needs `pip install 'refold[bbmsl]'`"


def test_reading_logs_needs_no_rsa_library():
    code = "import sys; import refold.adapters.bbmsl as b; b.Bbmsl(); sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_repr_shows_no_secret():
    shown = repr(adapter())
    assert shown.startswith("Bbmsl(merchant_id='3000001', key=MerchantKey('rsa-")
    assert not any(line in shown for line in pem_of(key()).splitlines())


def test_the_secret_is_listed_for_blanking():
    assert adapter().secrets == (pem_of(key()),)


def test_the_key_is_never_copied():
    with pytest.raises(TypeError, match="holds a secret"):
        copy.deepcopy(adapter())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
inner_names = st.sampled_from(
    ["status", "merchantReference", "id", "currency", "amount", "type", "merchantId", "updateTime"]
)
names = st.sampled_from(["responseCode", "message", "order", "transaction", "request", "signature"])
values = json_values | st.just("0000") | st.dictionaries(inner_names, json_values, max_size=6)
requests = st.dictionaries(inner_names, json_values, max_size=6).map(json.dumps) | st.text(max_size=20)
objects = st.dictionaries(names, values, max_size=6) | st.fixed_dictionaries(
    {"request": requests, "signature": st.text(max_size=9)}
)
bodies = st.binary(max_size=60) | objects.map(lambda found: json.dumps(found).encode())


@settings(max_examples=150, deadline=None)
@given(bodies, st.none() | st.integers(-1, 700))
def test_whatever_arrives_only_evidence_or_a_refold_error_comes_out(body, status):
    gateway, arrived = adapter(), message(body, http_status=status)
    for read in (
        gateway.read_request,
        gateway.read_response,
        gateway.read_poll,
        gateway.read_webhook,
        gateway.signed_at,
    ):
        with contextlib.suppress(RefoldError):
            read(arrived)
    for channel in Channel:
        with contextlib.suppress(RefoldError):
            gateway.verify(channel, arrived)
