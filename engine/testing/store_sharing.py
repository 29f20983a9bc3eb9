"""The event store contract: batches, threads, closing and reopening."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from unittest import SkipTest

from ..errors import MessageNotFound, StoreClosed, VersionConflict
from ..ports import Appended, Given, Write
from .store_scenery import (
    TOTALS,
    Interrupted,
    StoreScenery,
    body,
    event,
    nine_o_clock,
    numbers,
    raised,
    snapshot,
    total,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

THREADS = 8


class Batches(StoreScenery):
    """Appends of one thread that stand or fall together."""

    def test_a_batch_is_stored_at_its_end(self) -> None:
        """All of it."""
        with self.store.batch():
            self.store.append(
                Write("refund-a", 0, [event()]), key="k", bodies=[body(1)], changes=[total("t", 1)]
            )
            self.store.append(Write("refund-a", 1, [event()]), changes=[total("t", 1)])
        assert numbers(self.store.read_all()) == [1, 2]
        assert self.store.settle("k") == Appended(1, 1)
        assert self.store.body(body(1).digest) == body(1)
        assert self.rows()[0]["total"] == 2

    def test_a_thread_knows_of_its_own_batch(self) -> None:
        """What cannot be undone is left for after its end."""
        seen: list[bool] = [self.store.in_batch]
        with self.store.batch():
            seen.append(self.store.in_batch)
            with suppress(Interrupted), self.store.batch():
                seen.append(self.store.in_batch)
                raise Interrupted
            seen.append(self.store.in_batch)
            if self.concurrent_threads:
                other = threading.Thread(target=lambda: seen.append(self.store.in_batch))
                other.start()
                other.join()
        seen.append(self.store.in_batch)
        assert seen == [False, True, True, True, *[False] * self.concurrent_threads, False]

    def test_a_batch_that_raises_leaves_nothing(self) -> None:
        """The error comes out as it was raised; events, keys, bodies and view changes are undone."""
        self.store.append(Write("refund-a", 0, [event()]), bodies=[body(2)], changes=[total("t", 1)])
        before = snapshot(self.store)

        def fail() -> None:
            with self.store.batch():
                self.store.append(
                    Write("refund-b", 0, [event()]), key="k", bodies=[body(1)], changes=[total("t", 1)]
                )
                self.store.erase_body(body(2).digest)
                raise Interrupted

        raised(Interrupted, fail)
        assert snapshot(self.store) == before
        assert self.store.settle("k") is None
        raised(MessageNotFound, self.store.body, body(1).digest)
        assert self.store.body(body(2).digest) == body(2)
        assert self.store.append(Write("refund-b", 0, [event()]), key="k") == Appended(2, 2)

    def test_a_batch_sees_its_own_appends(self) -> None:
        """Through every way of reading."""
        with self.store.batch():
            self.store.append(
                Write("refund-a", 0, [event()]), key="k", bodies=[body(1)], changes=[total("t", 1)]
            )
            assert (self.store.head(), self.store.version("refund-a")) == (1, 1)
            for read in (self.store.read_all(), self.store.read_stream("refund-a")):
                assert numbers(read) == [1]
            assert list(self.store.streams("refund")) == ["refund-a"]
            assert self.store.settle("k") == Appended(1, 1)
            assert self.store.body(body(1).digest) == body(1)
            assert len(self.rows()) == 1
            assert self.store.row(TOTALS, ("t",)) is not None
            assert self.store.append(Write("refund-a", 0, [event()]), key="k").duplicate

    def test_an_append_refused_inside_a_batch_undoes_only_itself(self) -> None:
        """Whoever catches the error goes on."""
        with self.store.batch():
            self.store.append(Write("refund-a", 0, [event()]), changes=[total("t", 1)])
            raised(
                VersionConflict,
                self.store.append,
                Write("refund-b", 0, [event()]),
                Write("refund-a", 0, [event()]),
                key="k",
                bodies=[body(1)],
                changes=[total("t", 1)],
            )
            assert self.store.settle("k") is None
            self.store.append(Write("refund-b", 0, [event()]), key="k")
        assert [each.stream for each in self.store.read_all()] == ["refund-a", "refund-b"]
        assert self.rows()[0]["total"] == 1
        raised(MessageNotFound, self.store.body, body(1).digest)

    def test_a_batch_inside_a_batch_is_part_of_it(self) -> None:
        """Undone alone where it raises, and with the outer one where that raises."""

        def fail(*, outside: bool) -> None:
            with self.store.batch():
                self.store.append(Write("refund-b", None, [event()]))
                if not outside:
                    raise Interrupted
            raise Interrupted

        with self.store.batch():
            self.store.append(Write("refund-a", 0, [event()]))
            raised(Interrupted, partial(fail, outside=False))
            with self.store.batch():
                self.store.append(Write("refund-a", 1, [event()]))
            self.store.append(Write("refund-a", 2, [event()]))
        assert [each.stream for each in self.store.read_all()] == ["refund-a"] * 3

        def fail_outside() -> None:
            with self.store.batch():
                fail(outside=True)

        raised(Interrupted, fail_outside)
        assert self.store.head() == 3

    def test_an_empty_batch_stores_nothing(self) -> None:
        """And what was read begins afresh after it."""
        with self.store.batch():
            reader, rows = self.store.read_all(), self.store.rows(TOTALS)
        assert (list(reader), list(rows)) == ([], [])
        assert self.store.head() == 0


class Sharing(StoreScenery):
    """Threads, handles and the end."""

    def at_once(self, work: Callable[[int], Result]) -> list[Result]:
        """Run the work in threads that start together; without `concurrent_threads`, one after the other."""
        if not self.concurrent_threads:
            return [work(number) for number in range(THREADS)]
        gate = threading.Barrier(THREADS)

        def one(number: int) -> Result:
            gate.wait()
            return work(number)

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(one, range(THREADS)))

    def test_one_key_in_parallel_threads_is_appended_once(self) -> None:
        """Every thread gets the same position, all but one as a duplicate."""

        def append_once(_: int) -> Appended:
            return self.store.append(Write("refund-a", None, [event()]), key=key, changes=[total("t", 1)])

        for turn in range(1, 11):
            key = f"k{turn}"
            results = self.at_once(append_once)
            expected = [Appended(turn, turn)] + [Appended(turn, turn, duplicate=True)] * (THREADS - 1)
            assert sorted(results) == expected
        assert self.store.version("refund-a") == 10
        assert self.rows()[0]["total"] == 10

    def test_of_all_writers_at_one_version_exactly_one_wins(self) -> None:
        """The others are told so; versions stay dense and nothing is lost."""

        def attempt(number: int) -> VersionConflict | str:
            try:
                self.store.append(Write("refund-a", version, [event(str(number))]))
            except VersionConflict as conflict:
                return conflict
            return str(number)

        winners: list[str] = []
        for version in range(20):
            results = self.at_once(attempt)
            winners += [result for result in results if isinstance(result, str)]
            assert len(winners) == version + 1
            lost = [result for result in results if isinstance(result, VersionConflict)]
            assert {(each.expected, each.actual) for each in lost} == {(version, version + 1)}
        found = list(self.store.read_stream("refund-a"))
        assert [each.version for each in found] == list(range(1, 21))
        assert [each.data for each in found] == winners

    def test_appends_of_many_threads_are_all_stored_densely(self) -> None:
        """Each thread's own events stand in its own order."""

        def append_all(number: int) -> None:
            for version in range(25):
                own = Write(f"refund-{number}", version, [event()])
                self.store.append(own, Write("payment-a", None, [event()]))

        self.at_once(append_all)
        assert numbers(self.store.read_all()) == list(range(1, 2 * 25 * THREADS + 1))
        versions = [each.version for each in self.store.read_stream("payment-a")]
        assert versions == list(range(1, 25 * THREADS + 1))

    def test_other_threads_see_a_batch_only_as_a_whole(self) -> None:
        """Before its end nothing of it, whether they wait for it or not; afterwards all of it."""
        seen: list[tuple[int, int, int]] = []

        def look() -> None:
            rows = self.rows()
            amount = rows[0]["total"] if rows else 0
            assert isinstance(amount, int)
            seen.append((self.store.head(), len(list(self.store.read_all())), amount))

        if not self.concurrent_threads:
            raise SkipTest("this store is for one thread")
        with ThreadPoolExecutor(1) as pool:
            with self.store.batch():
                self.store.append(Write("refund-a", 0, [event()]), changes=[total("t", 1)])
                looked = pool.submit(look)
                wait([looked], timeout=0.2)  # a store whose readers wait for the batch answers after it
                self.store.append(Write("refund-a", 1, [event()]), changes=[total("t", 1)])
            looked.result()
            pool.submit(look).result()
        assert seen[0] in {(0, 0, 0), (2, 2, 2)}
        assert seen[1] == (2, 2, 2)

    def test_the_batch_of_one_thread_keeps_out_the_appends_of_others(self) -> None:
        """They come after it, whole."""
        if not self.concurrent_threads:
            raise SkipTest("this store is for one thread")
        with ThreadPoolExecutor(1) as pool:
            with self.store.batch():
                self.store.append(Write("refund-a", 0, [event()]))
                other = pool.submit(self.store.append, Write("refund-b", 0, [event()]))
                wait([other], timeout=0.2)  # a store that lets it in shall have the time
                self.store.append(Write("refund-a", 1, [event()]))
            assert other.result() == Appended(3, 3)

    def test_a_store_that_is_durable_holds_everything_when_it_is_opened_again(self) -> None:
        """Events, versions, keys, bodies and views."""
        if not self.durable:
            raise SkipTest("nothing of this store survives")
        self.store.append(Write("refund-a", 0, [event()]), key="k", bodies=[body(1)], changes=[total("t", 1)])
        before = snapshot(self.store)
        self.store.close()
        self.store = self.open()
        assert snapshot(self.store) == before
        assert self.store.settle("k") == Appended(1, 1)
        assert self.store.body(body(1).digest) == body(1)
        assert self.store.views_stale is False
        assert self.store.append(Write("refund-a", 1, [event()])) == Appended(2, 2)

    def test_folding_what_lies_beside_the_store_changes_nothing(self) -> None:
        """Outside of a batch and inside."""
        self.store.append(Write("refund-a", 0, [event()]))
        self.store.checkpoint()
        with self.store.batch():
            self.store.append(Write("refund-a", 1, [event()]))
            self.store.checkpoint()
        assert numbers(self.store.read_all()) == [1, 2]

    def test_a_store_describes_itself_to_an_operator(self) -> None:
        """As text, and at least its kind, its durability and its size."""
        self.store.append(Write("refund-a", 0, [event()]))
        described = self.store.describe()
        assert {"store", "durability", "events"} <= described.keys()
        assert described["events"] == "1"
        assert all(isinstance(value, str) for value in described.values())

    def test_a_closed_store_refuses_every_call_but_another_close(self) -> None:
        """Also those that only give back an iterator."""
        store = self.store
        store.append(Write("refund-a", 0, [event()]))
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            partial(store.append, Write("refund-a", None, [event()])),
            partial(ExitStack().enter_context, store.batch()),
            partial(store.settle, "k"),
            store.head,
            store.first_missing,
            partial(store.version, "refund-a"),
            lambda: list(store.read_stream("refund-a")),
            lambda: list(store.read_all()),
            lambda: list(store.read_category("refund")),
            lambda: list(store.streams("refund")),
            partial(store.body, "f" * 64),
            partial(store.erase_body, "f" * 64),
            partial(store.row, TOTALS, ("a",)),
            lambda: list(store.rows(TOTALS)),
            partial(store.claim, "refund-a", holder="worker", now="2026", until="2027"),
            partial(store.release, 1),
            partial(store.subscribe, "a", clock=nine_o_clock),
            store.subscriptions,
            partial(store.wait_for, 0, timeout_s=0),
            partial(store.checkpoint_of, "a"),
            partial(store.lease, "a"),
            partial(store.advance, "a", expected=None, position=0),
            lambda: list(store.dead_letters("a")),
            partial(store.rebuild, Given([TOTALS])),
            store.describe,
            store.checkpoint,
        ]
        for call in calls:
            raised(StoreClosed, call)
