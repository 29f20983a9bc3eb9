"""Faults in batches, between threads, and at the end of a store."""

import threading
from contextlib import contextmanager

from refold.engine.ports import Appended, NewEvent, Write
from refold.eventstore import MemoryStore

MAIN = threading.main_thread().ident


class LosesBatches(MemoryStore):
    @contextmanager
    def batch(self):
        before = self._state.copy()
        yield
        self._state = before


class DoesNotRollBack(MemoryStore):
    @contextmanager
    def batch(self):
        yield


class RollsBackAllButKeys(MemoryStore):
    @contextmanager
    def batch(self):
        try:
            with super().batch():
                yield
                keys = self._batch[1].keys
        except BaseException:
            self._state.keys["k"] = (b"", Appended(1, 1))
            raise
        del keys


class KnowsOfNoBatch(MemoryStore):
    in_batch = False


class TakesEveryBatchForItsOwn(MemoryStore):
    @property
    def in_batch(self):
        return self._batch is not None


class HidesTheBatchFromItself(MemoryStore):
    def head(self):
        return len(self._state.events)


class IgnoresInnerBatches(MemoryStore):
    @contextmanager
    def batch(self):
        if self._batch is not None:
            yield
            return
        with super().batch():
            yield


class MarksBatches(MemoryStore):
    @contextmanager
    def batch(self):
        with super().batch():
            yield
            self.append(Write("batch-x", None, [NewEvent("a", "t", "")]))


class RemembersKeysByThread(MemoryStore):
    def append(self, *writes, key=None, **options):
        return super().append(*writes, key=key and f"{key}-{threading.get_ident()}", **options)


class ChecksVersionsInTheMainThreadOnly(MemoryStore):
    def append(self, *writes, **options):
        if threading.get_ident() != MAIN:
            writes = [write._replace(expected=None) for write in writes]
        return super().append(*writes, **options)


class LosesWritesOfAllThreadsButOne(MemoryStore):
    first = None

    def append(self, *writes, **options):
        self.first = self.first or threading.get_ident()
        return super().append(*writes[: 2 if self.first == threading.get_ident() else 1], **options)


class ShowsABatchToEverybody(MemoryStore):
    @contextmanager
    def _open(self):
        with super()._open() as state:
            yield state if self._batch is None else self._batch[1]


class LetsOthersAppendDuringABatch(MemoryStore):
    @contextmanager
    def batch(self):
        self._batch = (threading.get_ident(), self._state.copy())
        yield
        self._state, self._batch = self._batch[1], None


class DropsTheTailAtACheckpoint(MemoryStore):
    def checkpoint(self):
        del self._state.events[-1:]


class DescribesItselfInNumbers(MemoryStore):
    def describe(self):
        return super().describe() | {"events": self.head()}


class CannotBeClosedTwice(MemoryStore):
    def close(self):
        assert not self._closed, "closed already"
        super().close()


def answering_after_close(name):
    def method(self, *args, **options):
        closed, self._closed = self._closed, False
        try:
            return getattr(MemoryStore, name)(self, *args, **options)
        finally:
            self._closed = closed

    @contextmanager
    def batch(self):
        yield

    return type(f"Answers_{name}", (MemoryStore,), {name: batch if name == "batch" else method})


CAUGHT = [
    *((store, "a_thread_knows_of_its_own_batch") for store in [KnowsOfNoBatch, TakesEveryBatchForItsOwn]),
    (LosesBatches, "a_batch_is_stored_at_its_end"),
    (DoesNotRollBack, "a_batch_that_raises_leaves_nothing"),
    (RollsBackAllButKeys, "a_batch_that_raises_leaves_nothing"),
    (HidesTheBatchFromItself, "a_batch_sees_its_own_appends"),
    (IgnoresInnerBatches, "a_batch_inside_a_batch_is_part_of_it"),
    (MarksBatches, "an_empty_batch_stores_nothing"),
    (RemembersKeysByThread, "one_key_in_parallel_threads_is_appended_once"),
    (ChecksVersionsInTheMainThreadOnly, "of_all_writers_at_one_version_exactly_one_wins"),
    (LosesWritesOfAllThreadsButOne, "appends_of_many_threads_are_all_stored_densely"),
    (ShowsABatchToEverybody, "other_threads_see_a_batch_only_as_a_whole"),
    (LetsOthersAppendDuringABatch, "the_batch_of_one_thread_keeps_out_the_appends_of_others"),
    (MemoryStore, "a_store_that_is_durable_holds_everything_when_it_is_opened_again"),
    (DropsTheTailAtACheckpoint, "folding_what_lies_beside_the_store_changes_nothing"),
    (DescribesItselfInNumbers, "a_store_describes_itself_to_an_operator"),
    (CannotBeClosedTwice, "a_closed_store_refuses_every_call_but_another_close"),
    *(
        (answering_after_close(name), "a_closed_store_refuses_every_call_but_another_close")
        for name in [
            "append",
            "batch",
            "settle",
            "head",
            "first_missing",
            "version",
            "read_stream",
            "read_all",
            "read_category",
            "streams",
            "body",
            "erase_body",
            "row",
            "rows",
            "claim",
            "lease",
            "release",
            "subscribe",
            "subscriptions",
            "wait_for",
            "checkpoint_of",
            "advance",
            "dead_letters",
            "rebuild",
            "describe",
            "checkpoint",
        ]
    ),
]
"""Each store, and the test of the contract that finds its fault."""
