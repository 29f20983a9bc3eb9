"""The adapter `bbmsl`: its requests, built and read back."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from refold.adapters.bbmsl import Bbmsl
from refold.engine.domain.evidence import Trust
from refold.engine.domain.message import Channel
from refold.engine.domain.money import Money
from refold.engine.errors import InvalidAmount, InvalidSetting, InvalidText, UnreadableMessage

SENT, POST, POLL = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL


# ---- our own requests


def test_the_printed_request_is_refused_for_its_trailing_comma(seed, message):
    with pytest.raises(UnreadableMessage, match="not_strict_json: the `request` text has a trailing comma"):
        Bbmsl().read_request(message(seed("refund_request")))


def test_the_printed_request_without_its_comma_still_has_no_amount(seed, envelope):
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
    envelope, settings, request_, reference, amount
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
def test_a_request_that_names_no_refund_is_refused_with_its_reason(message, body, reason):
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
def test_a_refund_request_is_exactly_this_text_signed(key, adapter, order, built, settings, changes, text):
    request = built(adapter(**settings), order(**changes))
    sent = json.loads(request.body)
    assert (request.method, request.target, sent["request"]) == ("POST", "/direct/refund", text)
    assert request.headers == {"Content-Type": "application/json"}
    key.public_key().verify(
        base64.b64decode(sent["signature"], validate=True), text.encode(), padding.PKCS1v15(), SHA256()
    )


def test_a_refund_request_reads_back_as_the_order_and_verifies(adapter, message, order, built):
    body = message(built(adapter()).body)
    sent = adapter().read_request(body)
    assert (sent.payment_id, sent.amount, sent.account) == ("s22tring", order().amount, "3000001")
    assert adapter().verify(SENT, body).trust is Trust.VERIFIED


def test_a_query_names_the_order_and_no_amount(adapter, message, built):
    request = built(adapter(), build=Bbmsl.build_query)
    assert request.target == "/direct/query"
    assert json.loads(request.body)["request"] == '{"merchantId":"3000001","merchantReference":"s22tring"}'
    assert adapter().verify(SENT, message(request.body)).trust is Trust.VERIFIED


def test_the_same_order_makes_the_same_bytes(adapter, order, built):
    later = datetime(2026, 11, 22, tzinfo=UTC)
    assert adapter().build_refund(order(), at=later, nonce="other").body == built(adapter()).body


@pytest.mark.parametrize("payment_id", ["s22tring", "01", "0", "-1", "1.0", "1" * 20, "１"])
def test_an_order_number_is_digits(adapter, order, built, payment_id):
    with pytest.raises(InvalidText, match="payment_id"):
        built(adapter(reference="orderId"), order(payment_id=payment_id))


def test_a_currency_the_request_could_not_say_is_refused(adapter, order, built):
    with pytest.raises(InvalidAmount, match=r"stands for HKD.*currency="):
        built(adapter(), order(amount=Money(100, "USD")))


@pytest.mark.parametrize("build", [Bbmsl.build_refund, Bbmsl.build_query])
@pytest.mark.parametrize(
    ("settings", "name"),
    [({"merchant_id": ""}, "merchant_id"), ({"private_key_pem": None}, "private_key_pem")],
)
def test_building_needs_the_settings(adapter, built, build, settings, name):
    with pytest.raises(InvalidSetting, match=name):
        built(adapter(**settings), build=build)
