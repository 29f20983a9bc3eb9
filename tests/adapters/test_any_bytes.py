"""The four adapters keep what the port promises, whatever bytes, fields and headers they are given."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import Phase, settings

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet, SigningKey
from refold.engine.domain.evidence import Evidence, Trust, Verification
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.signals import Signal
from refold.engine.errors import InvalidAmount, InvalidSetting, UnreadableMessage
from refold.engine.testing.gateway_checks import check_message
from refold.engine.testing.gateway_conformance import GatewayConformance, Sample

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

SEEDS = Path(__file__).parent.parent / "seeds"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEYS = [SigningKey("main", "a secret of 2026"), SigningKey("old", "a secret of 2025")]
SENT, POST, POLL, HOOK = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK


def seed(name):
    return Message(body=(SEEDS / f"{name}.json").read_bytes(), received_at=NOW)


def saying(document, **fields):
    return Message(body=json.dumps(document).encode(), received_at=NOW, **fields)


def placed(field, value):
    """Return nested objects with the value at a dotted field."""
    head, _, rest = field.partition(".")
    return {head: placed(rest, value) if rest else value}


@cache
def pem():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


# ---- evonet and evocloud


class Evo(GatewayConformance):
    def message_with(self, code):
        accepted = {"result": {"code": "S0000"}, "eventCode": "Refund", "cancelOrRefund": "Refund"}
        name = "Cancel" if code.field == "cancel.status" else "Refund"
        return saying(accepted | {"eventCode": name, "cancelOrRefund": name} | placed(code.field, code.value))


HEADERS = {
    "DateTime": "2026-11-21T12:00:00Z",
    "MsgID": "m-1",
    "SignType": "HMAC-SHA256",
    "Authorization": "ab" * 32,
}
EVO_WEBHOOK = {
    "eventCode": "Refund",
    "refund": {
        "status": "Success",
        "merchantTransInfo": {"merchantTransID": "r-1", "merchantTransTime": "2026-11-21T12:00:00Z08:00"},
        "evoTransInfo": {"evoTransID": "evo-1", "evoTransTime": "2026-11-21T12:00:00Z"},
        "transAmount": {"currency": "HKD", "value": "12.34"},
        "failureReason": "",
    },
    "capture": {"merchantTransInfo": {"merchantTransID": "p-1"}},
    "result": {"code": "S0000", "message": "Success"},
}


def signed_headers(message):
    return Message(
        body=message.body, received_at=NOW, headers=HEADERS, method="POST", target="/payment/p-1/refund"
    )


class TestEvonet(Evo):
    examples = 50

    def make_gateway(self):
        return Evonet()

    def samples(self):
        return [
            Sample(SENT, signed_headers(seed("evonet_refund_request"))),
            Sample(POST, signed_headers(seed("evonet_refund_response"))),
            Sample(POLL, seed("evonet_refund_response")),
            Sample(HOOK, saying(EVO_WEBHOOK)),
            Sample(HOOK, seed("evonet_refund_webhook"), readable=False),  # every value is the word "string"
        ]


class TestEvonetWithKeys(TestEvonet):
    examples = 100

    def make_gateway(self):
        return Evonet(keys=KEYS, sign_type="HMAC-SHA512", send_key_id=True)

    def samples(self):
        unsigned = (SENT, POLL, HOOK)
        return [sample for sample in super().samples() if sample.channel in unsigned] + [
            Sample(POST, seed("evonet_refund_response"))
        ]


EVOCLOUD_ANSWER = EVO_WEBHOOK | {
    "cancelOrRefund": "Refund",
    "payment": {"status": "Refunding", "merchantTransInfo": {"merchantTransID": "p-1"}},
    "cancel": {"status": "Failed", "merchantTransInfo": {"merchantTransID": "r-1"}},
}


class TestEvocloud(Evo):
    examples = 50

    def make_gateway(self):
        return Evocloud()

    def samples(self):
        target = "/g2/v1/payment/mer/S024116/cancelOrRefund?merchantTransID=p-1"
        request = seed("evonet_refund_request").body
        return [
            Sample(
                SENT, Message(body=request, received_at=NOW, headers=HEADERS, method="POST", target=target)
            ),
            Sample(POST, saying(EVOCLOUD_ANSWER)),
            Sample(POLL, saying(EVOCLOUD_ANSWER)),
            Sample(HOOK, saying(EVO_WEBHOOK)),
        ]


class TestEvocloudWithKeys(TestEvocloud):
    examples = 100

    def make_gateway(self):
        return Evocloud(sid="S024116", keys=KEYS)


# ---- easylink


class TestEasylink(GatewayConformance):
    examples = 50

    def make_gateway(self):
        return Easylink()

    def samples(self):
        notification = seed("easylink_notification")
        form = urlencode(json.loads(notification.body)).encode()
        return [
            Sample(SENT, seed("easylink_refund_request")),
            Sample(POST, seed("easylink_refund_response")),
            Sample(POLL, seed("easylink_query_response")),
            Sample(HOOK, notification),
            Sample(HOOK, Message(body=form, received_at=NOW)),
        ]

    def message_with(self, code):
        if code.field == "code":
            return saying({"code": code.value, "msg": "said"})
        data = {"state": code.value}
        return saying(data if code.channel is HOOK else {"code": 0, "msg": "SUCCESS", "data": data})


class TestEasylinkWithKeys(TestEasylink):
    examples = 100

    def make_gateway(self):
        return Easylink(mch_no="M1", app_id="A1", keys=KEYS)


class TestEasylinkByOrderNumber(TestEasylinkWithKeys):
    def make_gateway(self):
        return Easylink(mch_no="M1", app_id="A1", keys=KEYS, payment_reference="mchOrderNo")


# ---- bbmsl

BBMSL_REQUEST = {
    "request": '{"merchantId":3000001,"merchantReference":"s22tring","amount":76.19}',
    "signature": "c2ln",
}


class TestBbmsl(GatewayConformance):
    examples = 50

    def make_gateway(self):
        return Bbmsl()

    def samples(self):
        return [
            Sample(SENT, saying(BBMSL_REQUEST)),
            Sample(SENT, seed("bbmsl_refund_request"), readable=False),  # a trailing comma and no amount
            Sample(POST, seed("bbmsl_refund_response")),
            Sample(POLL, seed("bbmsl_refund_response")),
        ]

    def message_with(self, code):
        return saying({"responseCode": "0000"} | placed(code.field, code.value))


class TestBbmslWithKey(TestBbmsl):
    examples = 100

    def make_gateway(self):
        return Bbmsl(merchant_id="3000001", private_key_pem=pem())


# ---- planted faults: an adapter that breaks a promise is found


class Broken:
    """An adapter like another, but for what a test replaces."""

    def __init__(self, gateway, **replaced):
        self._gateway, self._replaced = gateway, replaced

    def __getattr__(self, name):
        return self._replaced[name] if name in self._replaced else getattr(self._gateway, name)


def reading(**changes):
    said = {"signal": Signal.UNCERTAIN, "code": "x=y"} | changes
    return lambda message: Evidence(**said)


def counting():
    seen = []

    def read(message):
        seen.append(message)
        return Evidence(signal=Signal.UNCERTAIN, code=f"seen={len(seen)}")

    return read


def raising(error):
    def read(*message):
        raise error

    return read


FAULTS = {
    "another error": {"read_poll": raising(KeyError("state"))},
    "an error that is not about messages": {"read_poll": raising(InvalidSetting("currency", "unknown"))},
    "no evidence": {"read_poll": lambda message: None},
    "a memory": {"read_poll": counting()},
    "a float": {"read_poll": reading(amount_minor=10.0)},
    "a negative amount": {"read_poll": reading(amount_minor=-1)},
    "no currency": {"read_poll": reading(currency="hkd")},
    "an id that is none": {"read_webhook": reading(refund_id="a b")},
    "a time without offset": {"read_webhook": reading(gateway_time=NOW.replace(tzinfo=None))},
    "control characters": {"read_response": reading(detail="\x1b[31m")},
    "a lone surrogate": {"read_response": reading(code="\ud800")},
    "no code": {"read_response": reading(code="")},
    "endless words": {"read_response": reading(detail="x" * 501)},
    "its secret": {"read_response": reading(detail="a secret of 2026")},
    "a request that is none": {"read_request": lambda message: (1, "HKD")},
    "trust in everything": {"verify": lambda channel, message: Verification(Trust.VERIFIED, "main")},
    "a refusal of another kind": {"verify": raising(UnreadableMessage("easylink", "no"))},
    "a signed time without offset": {"signed_at": lambda message: NOW.replace(tzinfo=None)},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_adapter_that_breaks_a_promise_is_found(fault):
    gateway = Broken(Easylink(keys=KEYS), **fault)
    check_message(Easylink(keys=KEYS), saying({}), may_verify=False)
    with pytest.raises((AssertionError, KeyError, InvalidAmount)):
        check_message(gateway, saying({}), may_verify=False)


@pytest.fixture
def unshrunk():
    """Leave a failing message as it is: that one fails is all there is to see."""
    settings.register_profile("unshrunk", phases=[Phase.generate])
    settings.load_profile("unshrunk")
    yield
    settings.load_profile("default")


def test_an_adapter_that_breaks_a_promise_for_some_messages_only_is_found(unshrunk):
    class Faulty(TestEasylinkWithKeys):
        def make_gateway(self):
            gateway = super().make_gateway()

            def read(message):
                found = gateway.read_poll(message)
                return replace(found, amount_minor=10.0) if found.amount_minor is not None else found

            return Broken(gateway, read_poll=read)

    with pytest.raises(AssertionError):
        Faulty().test_any_damaged_real_message_is_evidence_or_refused()


MEANINGS = {
    "a code read otherwise": reading(signal=Signal.PENDING, code="state=2"),
    "an unknown code read as success": reading(signal=Signal.SUCCESS),
}


@pytest.mark.parametrize("read", MEANINGS.values(), ids=MEANINGS)
def test_a_table_that_is_not_what_the_reader_goes_by_is_found(read):
    class Faulty(TestEasylink):
        def make_gateway(self):
            return Broken(super().make_gateway(), read_poll=read)

    with pytest.raises(AssertionError):
        Faulty().test_every_code_is_read_as_its_table_says()


def test_an_outcome_read_from_an_unknown_code_is_found():
    class Faulty(TestEasylink):
        def make_gateway(self):
            return Broken(super().make_gateway(), read_poll=reading(signal=Signal.SUCCESS))

    with pytest.raises(AssertionError):
        Faulty().test_a_code_that_is_in_no_table_is_never_an_outcome()


def test_an_adapter_whose_repr_shows_its_secret_is_found():
    class Faulty(TestEasylinkWithKeys):
        def make_gateway(self):
            return Broken(super().make_gateway(), secrets=("Broken",))

    with pytest.raises(AssertionError):
        Faulty().test_no_secret_is_in_a_repr()


@pytest.mark.parametrize("method", ["make_gateway", "samples", "message_with"])
def test_a_conformance_class_must_say(method):
    with pytest.raises(NotImplementedError):
        getattr(GatewayConformance(), method)(*["code"] * (method == "message_with"))
