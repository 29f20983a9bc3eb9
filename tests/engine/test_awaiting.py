"""The asynchronous calls: the synchronous ones in threads of the engine's own, which block no event loop."""

import asyncio
import contextvars
import inspect
import threading
from contextlib import contextmanager

import pytest

from refold.engine import RefundEngine
from refold.engine.errors import (
    InvalidInput,
    RefundNotFound,
    StoreClosed,
    UnknownGateway,
)
from refold.engine.service import awaiting

SYNCHRONOUS_ONLY = {
    "open": "once, before there is anything to hold up",
    "work": "a worker runs until it is stopped, in a thread or a process of its own",
    "deliver": "likewise, and it calls a handler that may block",
    "redeliver": "it calls the same handler",
}
OPTIONS = {"gateway": "evonet", "payment_id": "p-1"}


@pytest.fixture
def file_engine(open_at, tmp_path):
    return open_at(f"sqlite:///{tmp_path / 'refunds.db'}", timeout_s=20)


@contextmanager
def writer_held(engine):
    """Let another thread be the writer of an engine's store inside the block."""
    held, let = threading.Event(), threading.Event()

    def hold():
        with engine.store._writer.transaction():
            held.set()
            assert let.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    try:
        yield
    finally:
        let.set()
        thread.join(20)


async def until(condition):
    """Let other tasks run until something is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of another thread, which sets no event of this loop
            await asyncio.sleep(0)


def queued(engine):
    return len(engine.store._writer._turns._queue)


# ---- one core


def calls(of):
    """Return the public calls of a class, by their names."""
    return {name: call for name, call in inspect.getmembers(of, callable) if not name.startswith("_")}


def without_twin(of):
    """Return the synchronous calls that have no asynchronous one with the same parameters and defaults."""
    known = calls(of)
    twins = {name for name in known if name[0] == "a" and name[1:] in known}
    return [
        name
        for name, call in known.items()
        if name not in twins
        and name not in SYNCHRONOUS_ONLY
        and (
            "a" + name not in twins
            or inspect.signature(call).parameters != inspect.signature(known["a" + name]).parameters
        )
    ]


def test_every_call_of_the_engine_has_an_asynchronous_twin_with_the_same_parameters():
    assert without_twin(RefundEngine) == []


def test_a_call_without_such_a_twin_is_found():
    class Wider(RefundEngine):
        def forgotten(self):
            """Have none."""

        def poll(self, refund_id, more=0):
            """Have one with fewer parameters."""

    assert without_twin(Wider) == ["forgotten", "poll"]


def test_what_is_awaited_is_what_the_synchronous_call_returns(engine, ask, wire, hkd):
    async def ask_all():
        async with engine:
            paid = await engine.aregister_payment(**OPTIONS, captured=hkd(10000))
            asked = await engine.arequest(
                **OPTIONS, refund_id="r-1", amount=hkd(6000), reason="why", requested_by="ann"
            )
            receipt = await engine.arecord(
                "evonet", "poll", wire.says("evonet", "r-1", "success"), refund_id="r-1"
            )
            found = {
                "paid": (paid.captured_minor, (await engine.apayment("evonet", "p-1")).reserved_minor),
                "asked": asked.state,
                "refund": (await engine.arefund("r-1")).state,
                "then": (await engine.arefund("r-1", 2)).state,
                "history": [each.type for each in await engine.ahistory("r-1")],
                "found": [each.refund_id async for each in engine.afind(state="success", limit=5)],
                "payments": [each.payment_id async for each in engine.apayments()],
                "attention": [each.refund_id async for each in engine.aneeding_attention()],
                "inbox": [each async for each in engine.ainbox()],
                "overdue": await engine.amark_overdue(),
                "replay": (await engine.areplay()).agrees,
                "reply": (await engine.areceive_webhook("evonet", {}, b"{}")).status,
                "ingested": (await engine.aingest([], on_problem=print)).lines,
            }
            await engine.aresolve("r-1", "failed", actor="bob", reason="looked")
            found["resolved"] = engine.refund("r-1").state
            return receipt, found

    receipt, found = asyncio.run(ask_all())
    assert receipt.position == 4
    assert found == {
        "paid": (10000, 6000),
        "asked": "created",
        "refund": "success",
        "then": "created",
        "history": ["refund.requested", "evidence.success"],
        "found": ["r-1"],
        "payments": ["p-1"],
        "attention": [],
        "inbox": [],
        "overdue": [],
        "replay": True,
        "reply": 401,
        "ingested": 0,
        "resolved": "failed",
    }


def test_errors_arrive_as_they_are(engine, ask):
    async def fail():
        ask(engine)
        with pytest.raises(RefundNotFound) as missing:
            await engine.arefund("r-9")
        with pytest.raises(UnknownGateway):
            await engine.arecord("nobody", "poll", None)
        with pytest.raises(InvalidInput, match="none is configured"):
            await engine.asubmit("r-1")
        with pytest.raises(InvalidInput):
            await engine.apoll("r-1")
        with pytest.raises(InvalidInput):
            await anext(engine.afind(state="lost"))
        return missing.value

    assert asyncio.run(fail()).__cause__ is None


def test_a_call_sees_the_context_of_its_task_and_runs_in_a_thread_of_the_engine(open_memory, ask, wire):
    name, seen = contextvars.ContextVar("name"), []
    engine = open_memory(on_move=lambda *_: seen.append((name.get(), threading.current_thread().name[:12])))

    async def record(refund_id):
        name.set(f"task of {refund_id}")
        await engine.arecord("evonet", "poll", wire.says("evonet", refund_id, "success"), refund_id=refund_id)

    async def both():
        name.set("nobody")
        for refund_id in ("r-1", "r-2"):
            ask(engine, refund_id, payment=refund_id)
        seen.clear()
        await asyncio.gather(record("r-1"), record("r-2"))

    asyncio.run(both())
    assert sorted(seen) == [("task of r-1", "refold-await"), ("task of r-2", "refold-await")]


def test_an_iteration_reads_ahead_no_more_than_a_page(open_memory, ask, monkeypatch):
    monkeypatch.setattr(awaiting, "_PAGE", 2)
    engine, taken = open_memory(), []
    for number in range(7):
        ask(engine, f"r-{number}", payment=f"p-{number}")
    find = engine.find
    engine.find = lambda **given: (taken.append(each) or each for each in find(**given))

    async def first_three():
        rows = engine.afind(gateway="evonet")
        found = [(await anext(rows)).refund_id for _ in range(3)]
        most = len(taken)
        return found, most, [each.refund_id async for each in rows]

    assert asyncio.run(first_three()) == (["r-0", "r-1", "r-2"], 4, ["r-3", "r-4", "r-5", "r-6"])


# ---- the loop


def test_the_loop_goes_on_while_another_writer_has_the_store(file_engine, ask, wire):
    ask(file_engine)
    ticks = []

    async def tick():
        while True:
            ticks.append(len(ticks))
            await asyncio.sleep(0)

    async def record_meanwhile():
        ticking = asyncio.create_task(tick())
        with writer_held(file_engine):
            answer = wire.says("evonet", "r-1", "success")
            recording = asyncio.create_task(file_engine.arecord("evonet", "poll", answer, refund_id="r-1"))
            await until(lambda: queued(file_engine))
            seen = len(ticks)
            await until(lambda: len(ticks) > seen + 100)
            assert not recording.done()
            assert (await file_engine.arefund("r-1")).state == "created"  # reading waits for nobody
        assert (await recording).outcome == "recorded"
        ticking.cancel()

    asyncio.run(record_meanwhile())
    assert file_engine.refund("r-1").state == "success"


def test_fifty_messages_at_once_share_commits_and_each_is_recorded(file_engine, ask, wire):
    ids = [f"r-{number}" for number in range(50)]
    for refund_id in ids:
        ask(file_engine, refund_id, payment=refund_id)
    file_engine.store._writer.make_sure("k")
    statements = []
    file_engine.store._writer._connection.set_trace_callback(statements.append)

    async def record_all():
        with writer_held(file_engine):
            tasks = [
                asyncio.create_task(
                    file_engine.arecord(
                        "evonet", "poll", wire.says("evonet", each, "success"), refund_id=each
                    )
                )
                for each in ids
            ]
            await until(lambda: queued(file_engine) == awaiting.THREADS)
            statements.clear()
        return await asyncio.gather(*tasks)

    receipts = asyncio.run(record_all())
    assert [receipt.refund_id for receipt in receipts] == ids
    assert {refund.state for refund in file_engine.find()} == {"success"}
    # That of the writer they waited for, one for all who waited, and those of the last two, who found no thread.
    assert statements.count("COMMIT") <= 4


# ---- cancelling


def test_a_write_that_has_begun_comes_to_its_end_though_its_task_is_cancelled(file_engine, ask, wire):
    ask(file_engine)
    answer = wire.says("evonet", "r-1", "success")

    async def cancel():
        with writer_held(file_engine):
            recording = asyncio.create_task(file_engine.arecord("evonet", "poll", answer, refund_id="r-1"))
            await until(lambda: queued(file_engine))
            recording.cancel()
            with pytest.raises(asyncio.CancelledError):
                await recording
        await until(lambda: file_engine.refund("r-1").state == "success")
        return await file_engine.arecord("evonet", "poll", answer, refund_id="r-1")

    assert asyncio.run(cancel()).outcome == "duplicate"


def test_a_call_that_has_not_begun_is_dropped_with_its_task(file_engine, ask, monkeypatch, hkd):
    monkeypatch.setattr(awaiting, "THREADS", 1)
    ask(file_engine)

    async def cancel():
        with writer_held(file_engine):
            first = asyncio.create_task(file_engine.arequest(**OPTIONS, refund_id="r-2", amount=hkd(1)))
            await until(lambda: queued(file_engine))
            second = asyncio.create_task(file_engine.arequest(**OPTIONS, refund_id="r-3", amount=hkd(1)))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
        await first

        return await file_engine.arefund("r-2"), [each.refund_id async for each in file_engine.afind()]

    asked, there = asyncio.run(cancel())
    assert asked.state == "created"
    assert there == ["r-1", "r-2"]


# ---- the end


def test_nothing_is_awaited_of_a_closed_engine(engine, ask):
    async def after():
        async with engine as same:
            assert same is engine
            ask(engine)
            await engine.arefund("r-1")
        for call in (
            engine.arefund("r-1"),
            anext(engine.afind()),
            engine.areceive_webhook("evonet", {}, b""),
        ):
            with pytest.raises(StoreClosed):
                await call
        await engine.aclose()

    asyncio.run(after())
    assert not any(thread.name.startswith("refold-await") for thread in threading.enumerate())


def test_closing_waits_for_what_has_begun_and_refuses_what_has_not(file_engine, ask, monkeypatch, hkd):
    monkeypatch.setattr(awaiting, "THREADS", 1)
    ask(file_engine)

    async def close_meanwhile():
        with writer_held(file_engine):
            calls = [
                asyncio.create_task(file_engine.arequest(**OPTIONS, refund_id=each, amount=hkd(1)))
                for each in ("r-2", "r-3")
            ]
            await until(lambda: queued(file_engine))
            closing = asyncio.create_task(file_engine.aclose())
            await until(lambda: file_engine._threads._closed)
        await closing
        return await asyncio.gather(*calls, return_exceptions=True)

    began, waited = asyncio.run(close_meanwhile())
    assert began.refund_id == "r-2"
    assert isinstance(waited, StoreClosed)


def test_an_engine_can_be_used_from_two_loops_at_once(engine, ask):
    both = threading.Barrier(2)

    async def request(number):
        both.wait(20)
        for each in range(10):
            await asyncio.to_thread(ask, engine, f"r-{number}-{each}", payment=f"p-{number}")
            await engine.arefund(f"r-{number}-{each}")

    threads = [threading.Thread(target=asyncio.run, args=(request(number),)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    asyncio.run(engine.amark_overdue())
    assert len(list(engine.find())) == 20
