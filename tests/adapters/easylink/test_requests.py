"""The adapter `easylink`: its requests, built and read back."""

import json
from datetime import UTC, datetime

import pytest

from refold.adapters.easylink import Easylink
from refold.adapters.signing import SigningKey
from refold.engine.domain.evidence import Trust
from refold.engine.domain.message import Channel
from refold.engine.domain.money import Money
from refold.engine.errors import InvalidAmount, InvalidSetting, InvalidText, UnreadableMessage

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SENT, POST, POLL, HOOK = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK


# ---- our own requests


def test_the_printed_refund_request_is_read_back(seed, message):
    sent = Easylink().read_request(message(seed("refund_request")))
    assert (sent.refund_id, sent.payment_id, sent.amount) == (
        "mho1624007315478",
        "P202106181104177050002",
        Money(4, "HKD"),
    )
    assert (sent.account, sent.reason) == ("M1623984572", "Refund test")


def test_a_form_encoded_request_reads_like_the_json_one(seed, message, form):
    fields = json.loads(seed("refund_request"))
    assert Easylink().read_request(form(fields)) == Easylink().read_request(message(seed("refund_request")))


@pytest.mark.parametrize("name", ["extParam", "extraParam"])
def test_both_names_of_the_extended_parameter_are_accepted(message, refund, name):
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
def test_the_payment_is_the_preferred_reference_or_the_other(message, refund, preferred, fields, payment_id):
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
def test_a_request_that_names_no_refund_is_refused(message, refund, changes, reason):
    with pytest.raises(UnreadableMessage, match=reason):
        Easylink().read_request(message(refund(currency="HKD") | changes))


# ---- building


def test_a_refund_request_holds_the_documented_fields_and_verifies(message, signed, adapter, built, order):
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


def test_a_refund_request_reads_back_as_the_order(message, adapter, built, order):
    sent = Easylink().read_request(message(built(adapter(), order(reason="why")).body))
    assert (sent.refund_id, sent.payment_id, sent.amount) == ("R1", "P1", Money(1234, "HKD"))
    assert (sent.account, sent.reason) == ("M1", "why")


def test_a_query_names_the_refund_by_our_own_number(message, adapter, built):
    request = built(adapter(), build=Easylink.build_query)
    document = json.loads(request.body)
    assert request.target == "/api/refund/query"
    assert (document["mchRefundNo"], "refundOrderId" in document) == ("R1", False)
    assert adapter().verify(SENT, message(request.body)).trust is Trust.VERIFIED


def test_without_a_notify_url_none_is_sent(adapter, built):
    assert "notifyUrl" not in json.loads(built(adapter()).body)


@pytest.mark.parametrize("reason", ["", "  "])
def test_the_required_reason_has_a_default(adapter, built, order, reason):
    assert json.loads(built(adapter(), order(reason=reason)).body)["refundReason"] == "Refund"


def test_payments_can_be_named_by_the_merchants_own_order_number(adapter, built):
    document = json.loads(built(adapter(payment_reference="mchOrderNo")).body)
    assert (document["mchOrderNo"], "payOrderId" in document) == ("P1", False)


def test_the_first_unexpired_key_signs(message, adapter, built, demo):
    spent = SigningKey("spent", "spent secret", NOW)
    body = message(built(adapter(keys=[spent, demo])).body)
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
def test_what_is_longer_than_the_api_takes_is_refused(adapter, built, order, changes, name):
    with pytest.raises(InvalidText, match=name):
        built(adapter(), order(**changes))


def test_a_query_refuses_a_refund_id_longer_than_the_api_takes(adapter, built, order):
    with pytest.raises(InvalidText, match="31 characters, easylink takes at most 30"):
        built(adapter(), order(refund_id="R" * 31), Easylink.build_query)


def test_the_longest_texts_the_api_takes_are_sent(adapter, built, order):
    longest = order(
        refund_id="R" * 30, payment_id="P" * 30, reason="x" * 64, notify_url="https://m.example/" + "x" * 110
    )
    document = json.loads(built(adapter(), longest).body)
    assert (len(document["notifyUrl"]), document["refundReason"]) == (128, "x" * 64)


@pytest.mark.parametrize("currency", ["JPY", "KWD", "CLF"])
def test_a_currency_without_hundredths_is_refused(adapter, built, order, currency):
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
def test_building_needs_the_settings(adapter, built, build, settings, name):
    with pytest.raises(InvalidSetting, match=name):
        built(adapter(**settings), build=build)
