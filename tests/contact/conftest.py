"""Engines whose way to the gateways is a script: what comes back, and what the log says at that moment."""

import itertools
from dataclasses import replace

import pytest

from refold.adapters import Easylink, Evonet, SigningKey
from refold.engine import Money, RefundEngine
from refold.engine.ports import Answer
from refold.engine.testing.scripted_transport import ScriptedTransport
from refold.eventstore import MemoryStore

SECRET = "evonet-0123456789abcdef"
SUCCESS = Answer(200, {}, b'{"result":{"code":"S0000","message":""},"refund":{"status":"refunded_full"}}')


@pytest.fixture(autouse=True)
def quiet(logs):
    """Log nothing on the terminal."""


@pytest.fixture
def script():
    script = ScriptedTransport(post=[SUCCESS], get=[SUCCESS])
    script.url = "https://shop.example/hooks"
    return script


@pytest.fixture
def store():
    return MemoryStore()


def adapters_with(**changes):
    """Return the adapters, with other capabilities where given."""
    key = SigningKey("k-1", SECRET)
    evonet, easylink = Evonet(keys=[key]), Easylink(keys=[key], mch_no="M1", app_id="A1")
    for gateway in (evonet, easylink):
        gateway.capabilities = replace(gateway.capabilities, **changes)
    return [evonet, easylink]


@pytest.fixture
def gateways():
    return adapters_with


@pytest.fixture
def make(store, script, clock):
    """Make engines on one store, as one process after the other, or as two workers."""
    numbers = itertools.count(1)

    def made(adapters=None, **options):
        options = {
            "clock": clock,
            "entropy": lambda size: next(numbers).to_bytes(size, "big"),
            "transport": script,
        } | options
        return RefundEngine(store, adapters or adapters_with(), **options)

    return made


@pytest.fixture
def engine(make):
    return make()


@pytest.fixture
def ask(engine):
    def asked(refund_id="r-1", *, gateway="evonet", payment_id="p-1", minor=6000, **options):
        return engine.request(
            gateway=gateway, payment_id=payment_id, refund_id=refund_id, amount=Money(minor, "HKD"), **options
        )

    return asked


@pytest.fixture
def types(store):
    """Return the types of a refund's events, in order."""
    return lambda refund_id="r-1": [event.type for event in store.read_stream(f"refund-{refund_id}")]
