"""Engines on both stores, a clock that stands still, and messages as the four gateways write them."""

import hashlib
import itertools
import json
import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet, SigningKey
from refold.engine import Message, Money, RefundEngine
from refold.engine.domain.evidence import Evidence
from refold.engine.domain.signals import Signal

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECRETS = {
    "evocloud": "evocloud-0123456789abcdef",
    "evonet": "evonet-0123456789abcdef",
    "easylink": "easylink-0123456789abcdef",
}
WORDS = {
    "evonet": {"pending": "refund_pending", "success": "refunded_full", "failed": "Failed"},
    "evocloud": {"pending": "Received", "success": "Success", "failed": "Failed"},
    "easylink": {"pending": 1, "success": 2, "failed": 3, "closed": 4},
    "bbmsl": {"pending": "PROCESSING", "success": "REFUNDED", "not_found": "OPEN"},
}
"""How each gateway says it."""


class Clock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def tick(self, **passed):
        self.now += timedelta(**passed)


class Wire:
    """Builds what gateways send and are sent; signs without the help of the adapters."""

    def __init__(self, clock):
        self.clock = clock
        self.secrets = SECRETS

    # ---- bodies

    def answer(self, gateway, refund_id, says, *, payment="p-1", amount=None, number=None, **changes):
        """Return the body of an answer to a request or a query."""
        build = {"easylink": self._easylink, "bbmsl": self._bbmsl}.get(gateway, self._evo)
        body = build(gateway, refund_id, WORDS[gateway].get(says, says), payment, amount, number)
        return body | changes

    def _evo(self, gateway, refund_id, word, payment, amount, number):
        refund = {"merchantTransInfo": {"merchantTransID": refund_id}, "status": word}
        if amount is not None:
            refund["transAmount"] = {"currency": amount.currency, "value": amount.major}
        if number is not None:
            refund["evoTransInfo"] = {"evoTransID": number}
        body = {"result": {"code": "S0000", "message": "said"}, "refund": refund}
        if gateway == "evocloud":
            body["cancelOrRefund"] = "Refund"
        if payment is not None:
            body["payment"] = {"merchantTransInfo": {"merchantTransID": payment}, "status": "Captured"}
        return body

    def _easylink(self, gateway, refund_id, word, payment, amount, number):
        data = {"mchRefundNo": refund_id, "payOrderId": payment, "refundOrderId": number, "state": word}
        if amount is not None:
            data |= {"refundAmount": amount.minor, "currency": amount.currency}
        return {"code": 0, "msg": "SUCCESS", "data": {k: v for k, v in data.items() if v is not None}}

    def _bbmsl(self, gateway, refund_id, word, payment, amount, number):
        body = {"responseCode": "0000", "message": "SUCCESS", "order": {"status": word}}
        body["order"]["merchantReference"] = payment
        if amount is not None:
            transaction = {"type": "REFUND", "amount": f"{amount.major}", "currency": amount.currency}
            body["transaction"] = transaction
        return body

    # ---- messages

    def message(self, body, *, at_s=0, **fields):
        """Return a message received `at_s` seconds from now; `body` is an object, a text or bytes."""
        raw = body if isinstance(body, bytes | str) else json.dumps(body)
        raw = raw.encode() if isinstance(raw, str) else raw
        return Message(body=raw, received_at=self.clock.now + timedelta(seconds=at_s), **fields)

    def says(self, gateway, refund_id, says, *, at_s=0, http_status=200, **changes):
        """Return the message of an answer."""
        body = self.answer(gateway, refund_id, says, **changes)
        return self.message(body, at_s=at_s, http_status=http_status)

    def request(self, gateway, refund_id, *, payment="p-1", amount=None, at_s=0):
        """Return one of our own refund requests."""
        amount = amount or Money(6000, "HKD")
        if gateway == "easylink":
            body = {"payOrderId": payment, "mchRefundNo": refund_id, "refundAmount": amount.minor}
            return self.message(body | {"currency": amount.currency}, at_s=at_s)
        if gateway == "bbmsl":
            text = f'{{"merchantId":"m","merchantReference":"{payment}","amount":{amount.major}}}'
            return self.message({"request": text, "signature": ""}, at_s=at_s)
        target = {
            "evonet": f"/payment/{payment}/refund",
            "evocloud": f"/g2/v1/payment/mer/S1/cancelOrRefund?merchantTransID={payment}",
        }[gateway]
        body = {"merchantTransInfo": {"merchantTransID": refund_id}}
        body["transAmount"] = {"currency": amount.currency, "value": amount.major}
        return self.message(body, at_s=at_s, method="POST", target=target if payment else None)

    def webhook(self, gateway, refund_id, says, *, signed_s=0, secret=None, msg_id="m-1", **changes):
        """Return headers and body of a notification signed `signed_s` seconds from now."""
        at = self.clock.now + timedelta(seconds=signed_s)
        if gateway == "easylink":
            fields = self.answer(gateway, refund_id, says, **changes)["data"]
            return self.sign_easylink(fields, at, secret)
        body = self.answer(gateway, refund_id, says, **changes) | {"eventCode": "Refund"}
        return self.sign_evo(gateway, json.dumps(body).encode(), at, secret, msg_id=msg_id)

    def sign_evo(self, gateway, body, at=None, secret=None, *, msg_id="m-1"):
        stamp = (at or self.clock.now).isoformat()
        secret = SECRETS[gateway] if secret is None else secret
        signed = b"\n".join([b"POST", stamp.encode(), secret.encode(), msg_id.encode(), body])
        digest = hashlib.sha256(signed).hexdigest()
        headers = {"DateTime": stamp, "MsgID": msg_id, "SignType": "SHA256", "Authorization": digest}
        return headers, body

    def sign_easylink(self, fields, at=None, secret=None):
        at = at or self.clock.now
        fields = fields | {"reqTime": str(int(at.timestamp() * 1000))}
        secret = SECRETS["easylink"] if secret is None else secret
        text = "".join(sorted((f"{name}={value}&" for name, value in fields.items()), key=str.lower))
        sign = hashlib.md5(f"{text}key={secret}".encode(), usedforsecurity=False).hexdigest().upper()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return headers, urlencode(fields | {"sign": sign}).encode()


@pytest.fixture(autouse=True)
def quiet(logs, caplog):
    """Log nothing on the terminal."""
    caplog.set_level(logging.INFO, "refold")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def wire(clock):
    return Wire(clock)


@pytest.fixture
def gateways():
    """All four adapters; those that sign webhooks with a key."""
    return [
        Evocloud(keys=[SigningKey("cloud-1", SECRETS["evocloud"])]),
        Evonet(keys=[SigningKey("net-1", SECRETS["evonet"])]),
        Bbmsl(),
        Easylink(keys=[SigningKey("link-1", SECRETS["easylink"])]),
    ]


@pytest.fixture
def counting():
    """Entropy that never repeats itself and is the same in every run."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path):
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'refunds.db'}"


@pytest.fixture
def open_at(clock, counting, gateways):
    """Open engines at a URL; they are closed at the end."""
    opened = []

    def open_one(url, **changes):
        options = {"gateways": gateways, "clock": clock, "entropy": counting} | changes
        engine = RefundEngine.open(url, **options)
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        engine.close()


@pytest.fixture
def open_engine(url, open_at):
    """Open engines on either store; on SQLite all of them share one file."""
    return lambda **changes: open_at(url, **changes)


@pytest.fixture
def open_memory(open_at):
    """Open engines on the memory store, where the kind of store cannot matter."""
    return lambda **changes: open_at("memory:", **changes)


@pytest.fixture
def engine(open_engine):
    """One engine on either store."""
    return open_engine()


@pytest.fixture
def memory_engine(open_memory):
    """One engine on the memory store."""
    return open_memory()


@pytest.fixture
def hkd():
    return lambda minor: Money(minor, "HKD")


@pytest.fixture
def ask(hkd):
    """Ask an engine for a refund of 60.00 HKD of payment p-1."""

    def ask_one(engine, refund_id="r-1", *, gateway="evonet", payment="p-1", amount=None, **more):
        return engine.request(
            gateway=gateway, payment_id=payment, refund_id=refund_id, amount=amount or hkd(6000), **more
        )

    return ask_one


@pytest.fixture
def log():
    """Return every event of an engine's log as (stream, type, time, data)."""

    def read(engine):
        return [(e.stream, e.type, e.time, e.data) for e in engine.store.read_all()]

    return read


@pytest.fixture
def types():
    """Return the event types of one refund, in order."""
    return lambda engine, refund_id="r-1": [entry.type for entry in engine.history(refund_id)]


@pytest.fixture
def deliver():
    """Deliver everything that is there, and return it as (refund, state before, state since)."""

    def delivered(engine, name="ledger", **options):
        got = []
        options = {"start": "beginning", "once": True, "backoff_s": 0} | options
        engine.deliver(name, got.append, **options)
        return got

    return delivered


@pytest.fixture
def told(engine, ask, wire):
    """An engine whose refund r-1 was pending and then succeeded, and whose r-2 was refused."""
    ask(engine)
    ask(engine, "r-2", payment="p-2")
    engine.record("evonet", "api_response", wire.says("evonet", "r-1", "pending"))
    engine.record("evonet", "poll", wire.says("evonet", "r-2", "failed", payment="p-2"))
    engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success", number="g-1"))
    return engine


@pytest.fixture
def reversing(wire):
    """An adapter of a gateway that documents a late failure and a late success, with words of their own."""

    class Reversing(Evonet):
        name = "reversing"

        def read_poll(self, message):
            signal = Signal(json.loads(message.body)["signal"])
            return Evidence(signal=signal, code=f"signal={signal}", refund_id="r-1")

        read_response = read_webhook = read_poll

    return Reversing(keys=[SigningKey("net-1", wire.secrets["evonet"])])
