"""A log on each store, what puts events into it, and handlers of subscriptions to it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from totals import TOTALS

from refold.engine.ports import NewEvent, Upsert, Write
from refold.eventstore import MemoryStore, subscription

LONG_S = 60
"""Seconds after which a test gives up waiting for what happens at once."""


@pytest.fixture(autouse=True)
def quick(logs, monkeypatch):
    """Log nothing on the terminal, and wait for next to nothing."""
    monkeypatch.setattr(subscription, "_PAUSE_S", 0.001)


@pytest.fixture
def clock(clock):
    clock.now = datetime(2026, 1, 2, 9, tzinfo=UTC)
    return clock


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def kind(request):
    return request.param


@pytest.fixture
def log(kind, request):
    if kind == "memory":
        return MemoryStore()
    opened = request.getfixturevalue({"sqlite": "open_store", "postgres": "open_postgres"}[kind])
    return opened(views=[TOTALS])


@pytest.fixture
def subscribe(log, clock):
    """Take part in a subscription; waiting for a second attempt takes no time."""

    def subscribed(name="totals", store=None, **options):
        return (store or log).subscribe(name, **{"clock": clock, "backoff_s": 0} | options)

    return subscribed


@pytest.fixture
def put(log):
    """Append events to refund streams, one append for each name; return the head."""

    def appended(names, type_="refund.requested", store=None):
        for name in names:
            stream = name if "-" in name else f"refund-{name}"
            last = (
                (store or log)
                .append(Write(stream, None, [NewEvent(type_, "2026-01-02T03:04:05Z", "{}")]))
                .last
            )
        return last

    return appended


class Seen(list):
    """A handler that notes what it gets, counts each stream, and raises for the streams that are poisoned."""

    def __init__(self):
        super().__init__()
        self.poisoned = {}

    def __call__(self, event):
        self.append(f"{event.stream.removeprefix('refund-')}{event.version}")
        if event.stream in self.poisoned:
            raise self.poisoned[event.stream]
        return [Upsert(TOTALS, (event.stream, 1))]


@pytest.fixture(scope="session")
def new_handler():
    return Seen


@pytest.fixture
def seen(new_handler):
    return new_handler()


@pytest.fixture
def totals(log):
    return lambda: {row["id"].removeprefix("refund-"): row["total"] for row in log.rows(TOTALS)}


@pytest.fixture
def live():
    """Run subscriptions in threads until the end of the test."""
    stop = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        running = []

        def start(member, handler):
            running.append(pool.submit(member.run, handler, stop=stop))
            return running[-1]

        yield start
        stop.set()
        for each in running:
            each.result(LONG_S)
