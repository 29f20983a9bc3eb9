"""Engines on both stores, a clock that stands still, and messages as the four gateways write them."""

import itertools
import json
import logging

import pytest
from keyed_gateways import keyed_gateways
from wire import Wire

from refold.adapters import Evonet, SigningKey
from refold.engine import Money, RefundEngine
from refold.engine.domain.evidence import Evidence
from refold.engine.domain.signals import Signal


@pytest.fixture(autouse=True)
def quiet(logs, caplog):
    """Log nothing on the terminal."""
    caplog.set_level(logging.INFO, "refold")


@pytest.fixture
def wire(clock):
    return Wire(clock)


@pytest.fixture
def gateways():
    """All four adapters; those that sign webhooks with a key."""
    return keyed_gateways()


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
def ingest(engine):
    """Import lines; return the report and the problems."""

    def run(lines, **options):
        problems = []
        report = engine.ingest(lines, on_problem=lambda *problem: problems.append(problem), **options)
        return report, problems

    return run


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
