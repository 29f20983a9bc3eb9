"""Readiness, too much at once, and an event loop that never waits for the store."""

import asyncio
import threading

import pytest

from refold.engine.errors import (
    EventMissing,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from refold.engine.web import Limits, create_app
from refold.engine.web.probing import readiness

WORDS = {
    "store_busy": StoreBusy(5),
    "store_closed": StoreClosed(),
    "store_full": StoreFull(),
    "store_read_only": StoreReadOnly("/secret/path"),
    "store_unavailable": StoreUnavailable("/secret/path"),
    "log_damaged": EventMissing(3),
}


class Gate:
    """Holds whoever calls until it is opened."""

    def __init__(self, passing):
        self.called, self.open = threading.Event(), threading.Event()
        self.calls, self._passing = 0, passing

    def __call__(self, *given):
        self.calls += 1
        self.called.set()
        assert self.open.wait(60)
        return self._passing(*given)


def failing(error):
    def fail():
        raise error

    return fail


async def asked(exchanging, app, path):
    answer = await exchanging(app, {}, [b""], method="GET", path=path)
    return answer.status, answer.body


async def passed(event):
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 60)


# ---- health and readiness


def test_a_store_that_answers_is_ready(app, call):
    assert call(app, method="GET", path="/readyz")[:1] == (200,)


@pytest.mark.parametrize("word", WORDS)
def test_a_store_that_fails_is_not_ready_and_the_reason_is_one_word(app, engine, call, monkeypatch, word):
    monkeypatch.setattr(engine.store, "head", failing(WORDS[word]))
    answer = call(app, method="GET", path="/readyz")
    assert (answer.status, answer.words, answer.header("retry-after")) == (503, word, "5")
    assert b"secret" not in answer.body


def test_a_store_that_raises_anything_else_is_not_ready(app, engine, call, monkeypatch):
    monkeypatch.setattr(engine.store, "head", failing(RuntimeError("secret")))
    assert call(app, method="GET", path="/readyz").words == "store_unavailable"


def test_tables_that_must_be_rebuilt_are_not_ready(open_engine, monkeypatch):
    store = open_engine(on_append=None).store
    monkeypatch.setattr(store, "views_stale", True, raising=False)
    assert readiness(store) == "views_stale"


def test_the_process_is_alive_whatever_the_store_does(app, engine, call, monkeypatch):
    monkeypatch.setattr(engine.store, "head", failing(StoreClosed()))
    assert call(app, method="GET", path="/healthz").status == 200


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_a_store_that_hangs_is_503_in_time_and_asked_only_once(engine, exchanging, monkeypatch, path):
    gate = Gate(engine.store.head)
    monkeypatch.setattr(engine.store, "head", gate)
    app = create_app(engine, limits=Limits(probe_s=0.01))

    async def several():
        answers = [await asked(exchanging, app, path) for _ in range(3)]
        alive = await asked(exchanging, app, "/healthz")
        gate.open.set()
        return answers, alive

    answers, alive = asyncio.run(several())
    assert {answer == (503, b'{"status":"store_too_slow"}') for answer in answers} == {True}
    assert (alive[0], gate.calls) == (200, 1)


# ---- too much at once


def test_a_slow_store_holds_up_neither_the_loop_nor_other_answers(engine, exchanging, wire):
    gate = engine.receive_webhook = Gate(engine.receive_webhook)
    app = create_app(engine)
    headers, body = wire.webhook()

    async def both():
        hook = asyncio.create_task(exchanging(app, headers, [body]))
        await passed(gate.called)
        alive = await asked(exchanging, app, "/healthz")
        refused = await exchanging(app, headers, [body], path="/webhooks/paypal")
        done = hook.done()
        gate.open.set()
        return alive[0], refused.status, done, (await hook).status

    assert asyncio.run(both()) == (200, 404, False, 200)


def test_one_webhook_more_than_the_limit_is_503_and_not_read(engine, exchanging, wire, metrics, sample):
    gate = engine.receive_webhook = Gate(engine.receive_webhook)
    app = create_app(engine, metrics=metrics, limits=Limits(in_flight=2, threads=1))
    headers, body = wire.webhook()

    async def three():
        two = [asyncio.create_task(exchanging(app, headers, [body])) for _ in range(2)]
        await passed(gate.called)
        third = await exchanging(app, headers, [body])
        gate.open.set()
        return third, [(await hook).status for hook in two], (await exchanging(app, headers, [body])).status

    third, others, later = asyncio.run(three())
    assert (third.status, third.words, third.header("retry-after"), third.taken) == (503, "saturated", "5", 0)
    assert (others, later) == ([200, 200], 200)
    assert sample("refold_webhooks_total", gateway="evonet", result="saturated") == 1


def test_without_the_limit_the_third_would_wait_too(engine, exchanging, wire):
    """The planted fault."""
    gate = engine.receive_webhook = Gate(engine.receive_webhook)
    app = create_app(engine, limits=Limits(in_flight=3, threads=1))
    headers, body = wire.webhook()

    async def three():
        hooks = [asyncio.create_task(exchanging(app, headers, [body])) for _ in range(3)]
        await passed(gate.called)
        gate.open.set()
        return [(await hook).status for hook in hooks]

    assert asyncio.run(three()) == [200] * 3


def test_no_more_webhooks_are_recorded_at_once_than_there_are_threads(engine, exchanging, wire):
    at_once, most, lock, receive = [], [], threading.Lock(), engine.receive_webhook

    def watching(*hook):
        with lock:
            at_once.append(1)
            most.append(len(at_once))
        reply = receive(*hook)
        with lock:
            at_once.pop()
        return reply

    engine.receive_webhook = watching
    app = create_app(engine, limits=Limits(threads=2))
    headers, body = wire.webhook()

    async def many():
        return await asyncio.gather(*[exchanging(app, headers, [body]) for _ in range(40)])

    assert [answer.status for answer in asyncio.run(many())] == [200] * 40
    assert max(most) <= 2


def test_a_request_that_is_cancelled_keeps_its_place_until_its_thread_is_done(
    engine, exchanging, wire, metrics, sample
):
    gate = engine.receive_webhook = Gate(engine.receive_webhook)
    app = create_app(engine, metrics=metrics)

    async def cancelled():
        headers, body = wire.webhook()
        hook = asyncio.create_task(exchanging(app, headers, [body]))
        await passed(gate.called)
        hook.cancel()
        await asyncio.wait([hook])
        held = sample("refold_webhooks_in_flight")
        gate.open.set()
        return hook.cancelled(), held

    assert asyncio.run(cancelled()) == (True, 1)


def test_what_is_not_durable_in_time_is_503_and_what_waits_for_a_thread_is_dropped(engine, exchanging, wire):
    receive = engine.receive_webhook
    gate = engine.receive_webhook = Gate(receive)
    app = create_app(engine, limits=Limits(threads=1, answer_s=0.01))
    headers, body = wire.webhook()

    async def two():
        running = asyncio.create_task(exchanging(app, headers, [body]))
        await passed(gate.called)
        return [await exchanging(app, headers, [body]), await running]

    answers = asyncio.run(two())
    assert [(answer.status, answer.words) for answer in answers] == [(503, "not_stored")] * 2
    gate.open.set()
    later = create_app(engine)
    assert asyncio.run(exchanging(later, headers, [body])).status == 200
    assert (gate.calls, engine.refund("r-1").events) == (
        2,
        2,
    )  # the running one and the last; the other was dropped


def test_an_engine_that_raises_is_503_and_its_words_are_told_nobody(app, engine, wire, call, logs):
    def broken(*_):
        raise RuntimeError("evonet-0123456789abcdef")

    engine.receive_webhook = broken
    answer = call(app, *wire.webhook())
    assert (answer.status, answer.words) == (503, "not_stored")
    assert "0123456789abcdef" not in repr(logs) + repr(answer)
    assert [entry["event"] for entry in logs][-2:] == ["webhook.failed", "request.answered"]


def test_a_header_or_body_is_in_no_log_line(app, wire, call, logs):
    headers, body = wire.webhook(note="4242424242424242")
    for changes in ({}, {"authorization": "4242424242424242"}, {"content-type": "4242424242424242"}):
        call(app, headers | changes, body)
    assert "4242424242424242" not in repr(logs)
