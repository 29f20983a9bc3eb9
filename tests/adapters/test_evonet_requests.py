"""The requests `evonet` builds, read back and verified; and our own requests as imported logs hold them."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from refold.adapters.evonet import Evonet
from refold.adapters.signing import SigningKey
from refold.engine.domain.evidence import RefundOrder
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.money import Money
from refold.engine.errors import InvalidAmount, InvalidIdentifier, InvalidSetting, UnreadableMessage

REQUEST = (Path(__file__).parent.parent / "seeds" / "evonet_refund_request.json").read_bytes()

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HONG_KONG = timezone(timedelta(hours=8))
SECRET = "64b59e70e15445196b1b5d2935f4e1bc"
KEY = SigningKey("main", SECRET)
STAMP = "2026-11-21T12:00:00+00:00"


def order(**fields):
    given = {
        "refund_id": "refund_25072",
        "payment_id": "pay/1 é",
        "amount": Money(10000, "HKD"),
        "requested_at": datetime(2025, 7, 9, 11, 18, tzinfo=HONG_KONG),
    }
    return RefundOrder(**(given | fields))


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
        {"at": NOW.replace(tzinfo=None)},
    ],
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
def test_a_request_without_id_or_amount_is_refused(message, body, error):
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
def test_a_target_that_names_no_payment_leaves_it_out(message, target):
    assert Evonet().read_request(message(REQUEST, target=target)).payment_id is None


def test_nothing_shown_of_the_adapter_holds_a_secret():
    gateway = Evonet(keys=[KEY])
    assert gateway.secrets == (SECRET,)
    assert SECRET not in repr(gateway) + repr(vars(gateway)) + repr(vars(gateway._signature))
