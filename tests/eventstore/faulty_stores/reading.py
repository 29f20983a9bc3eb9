"""Faults in reading the log, its streams and its categories."""

from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice

from refold.engine.errors import VersionConflict
from refold.eventstore import MemoryStore


class StartsAtOne(MemoryStore):
    def head(self):
        return max(1, super().head())


class ReadsStreamsInclusively(MemoryStore):
    def read_stream(self, stream, *, after=0):
        return super().read_stream(stream, after=after - 1)


class ReadsInclusively(MemoryStore):
    def read_all(self, *, after=0):
        return super().read_all(after=after - 1)


class ReadsCategoriesStreamByStream(MemoryStore):
    def read_category(self, category, *, after=0):
        return iter(sorted(super().read_category(category, after=after), key=lambda event: event.stream))


class ReadsByPrefix(MemoryStore):
    def read_stream(self, stream, *, after=0):
        return (event for event in self.read_all(after=after) if event.stream.startswith(stream))


class ListsStreamsByAge(MemoryStore):
    def streams(self, category):
        return (name for name in self._state.streams if name.startswith(f"{category}-"))


class ListsOnePageOfStreams(MemoryStore):
    def streams(self, category):
        return islice(super().streams(category), 256)


class CountsRefusedAppends(MemoryStore):
    refused = 0

    def append(self, *writes, **options):
        try:
            return super().append(*writes, **options)
        except VersionConflict:
            self.refused += 1
            raise

    def first_missing(self):
        return self.head() + 1 if self.refused else None


class CountsUndoneBatches(MemoryStore):
    undone = 0

    @contextmanager
    def batch(self):
        self.undone += 1
        with super().batch():
            yield

    def first_missing(self):
        return self.head() + 1 if self.undone and self._batch is None else None


class MissesWhatABatchHolds(MemoryStore):
    def first_missing(self):
        return None if self._batch is None else self.head()


class MissesTheLastEvent(MemoryStore):
    def first_missing(self):
        return self.head() or None


class ReadsOnWhileTheLogGrows(MemoryStore):
    def read_all(self, *, after=0):
        while after < len(self._state.events):
            yield self._state.events[after]
            after += 1


class SharesASnapshotWithItsReaders(MemoryStore):
    seen = None

    def read_all(self, *, after=0):
        self.seen = super().head()
        yield from super().read_all(after=after)
        self.seen = None

    def head(self):
        return super().head() if self.seen is None else self.seen


class HasOneCursor(MemoryStore):
    cursor = 0

    def read_all(self, *, after=0):
        self.cursor = after
        while self.cursor < len(self._state.events):
            self.cursor += 1
            yield self._state.events[self.cursor - 1]


class ReadsEverythingAtOnce(MemoryStore):
    def read_all(self, *, after=0):
        return iter([event._replace(data=(event.data + " ")[:-1]) for event in super().read_all(after=after)])


class TakesNamesForPatterns(MemoryStore):
    def read_category(self, category, *, after=0):
        pattern = category.replace("%", "*").replace("_", "?") + "-*"
        return (event for event in self.read_all(after=after) if fnmatchcase(event.stream, pattern))


CAUGHT = [
    (StartsAtOne, "an_empty_log_has_nothing_to_read"),
    (ReadsStreamsInclusively, "a_stream_is_read_in_order_from_any_version"),
    (ReadsInclusively, "the_log_is_read_in_order_from_any_position"),
    (ReadsCategoriesStreamByStream, "a_category_is_read_in_the_order_of_positions"),
    (ReadsByPrefix, "streams_whose_names_start_alike_are_kept_apart"),
    (ListsStreamsByAge, "the_streams_of_a_category_are_listed_sorted"),
    (ListsOnePageOfStreams, "a_long_list_of_streams_is_complete"),
    *(
        (fault, "nothing_is_missing_in_a_log_that_only_the_store_has_written")
        for fault in [
            CountsRefusedAppends,
            CountsUndoneBatches,
            MissesWhatABatchHolds,
            MissesTheLastEvent,
        ]
    ),
    (ReadsOnWhileTheLogGrows, "a_reader_sees_the_log_as_it_was_when_it_began"),
    (SharesASnapshotWithItsReaders, "a_reader_that_stopped_half_way_holds_up_nothing"),
    (HasOneCursor, "two_readers_in_one_thread_do_not_disturb_each_other"),
    (ReadsEverythingAtOnce, "reading_needs_no_memory_for_the_whole_log"),
    (TakesNamesForPatterns, "a_name_is_never_a_pattern"),
]
"""Each store, and the test of the contract that finds its fault."""
