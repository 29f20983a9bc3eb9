"""The event store contract: reading the log."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ..errors import VersionConflict
from ..ports import Write
from .store_scenery import Interrupted, StoreScenery, event, numbers, raised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..ports import StoredEvent

ALIKE = ("refund-1", "refund-10", "refund-1-0", "refunds-1", "refundx-1", "payment-1", "refund-2")


class Reading(StoreScenery):
    """Streams, the whole log and categories, each from any point on."""

    def append_alike(self, times: int = 2) -> None:
        """Append one event to each of the streams with like names, over and over."""
        for _ in range(times):
            for stream in ALIKE:
                self.store.append(Write(stream, None, [event(f'"{stream}"')]))

    def test_an_empty_log_has_nothing_to_read(self) -> None:
        """Its head is 0, as is the version of any stream."""
        assert self.store.head() == 0
        assert self.store.version("refund-1") == 0
        assert list(self.store.read_all()) == []
        assert list(self.store.read_stream("refund-1")) == []
        assert list(self.store.read_category("refund")) == []
        assert list(self.store.streams("refund")) == []
        assert self.store.views_stale is False

    def test_a_stream_is_read_in_order_from_any_version(self) -> None:
        """`after` is a version; beyond the end there is nothing, before the start there is all."""
        self.append_alike(3)
        stream = list(self.store.read_stream("refund-1"))
        assert [each.version for each in stream] == [1, 2, 3]
        assert [each.position for each in stream] == [1, 8, 15]
        for after, expected in ((0, stream), (1, stream[1:]), (3, []), (99, []), (-1, stream)):
            assert list(self.store.read_stream("refund-1", after=after)) == expected

    def test_the_log_is_read_in_order_from_any_position(self) -> None:
        """`after` is a position."""
        self.append_alike()
        log = list(self.store.read_all())
        assert [each.position for each in log] == list(range(1, 15))
        for after, expected in ((0, log), (5, log[5:]), (14, []), (99, []), (-1, log)):
            assert list(self.store.read_all(after=after)) == expected

    def test_a_category_is_read_in_the_order_of_positions(self) -> None:
        """All its streams together, `after` a position."""
        self.append_alike()
        found = list(self.store.read_category("refund"))
        assert [each.position for each in found] == [1, 2, 3, 7, 8, 9, 10, 14]
        assert numbers(self.store.read_category("refund", after=7)) == [8, 9, 10, 14]
        assert list(self.store.read_category("ref")) == []

    def test_streams_whose_names_start_alike_are_kept_apart(self) -> None:
        """Each holds its own events only."""
        self.append_alike()
        for stream in ALIKE:
            assert [each.data for each in self.store.read_stream(stream)] == [f'"{stream}"'] * 2

    def test_the_streams_of_a_category_are_listed_sorted(self) -> None:
        """Each once."""
        self.append_alike()
        assert list(self.store.streams("refund")) == ["refund-1", "refund-1-0", "refund-10", "refund-2"]
        assert list(self.store.streams("refundx")) == ["refundx-1"]
        assert list(self.store.streams("ref")) == []

    def test_a_long_list_of_streams_is_complete(self) -> None:
        """However many a store looks up at once; those of other categories stay out of it."""
        names = [f"refund-{number:03}" for number in range(600)]
        self.store.append(*(Write(name, 0, [event()]) for name in ("payment-1", *names, "report-1")))
        assert list(self.store.streams("refund")) == names

    def test_nothing_is_missing_in_a_log_that_only_the_store_has_written(self) -> None:
        """Neither at first, nor within a batch, nor after appends and batches that came to nothing."""
        assert self.store.first_missing() is None
        self.append_alike()
        raised(VersionConflict, self.store.append, Write("refund-1", 0, [event()]), key="k")
        with suppress(Interrupted), self.store.batch():
            self.append_alike()
            assert self.store.first_missing() is None
            raise Interrupted
        assert self.store.first_missing() is None
        self.store.append(Write("refund-1", None, [event(), event()]), key="k")
        assert self.store.first_missing() is None

    def test_a_reader_sees_the_log_as_it_was_when_it_began(self) -> None:
        """Also while the same thread appends what it read: it comes to an end, and misses nothing."""
        self.store.append(Write("refund-1", 0, [event()] * 700))
        reads: list[Callable[[], Iterator[StoredEvent]]] = [
            self.store.read_all,
            partial(self.store.read_stream, "refund-1"),
            partial(self.store.read_category, "refund"),
        ]
        for read in reads:
            expected = list(read())
            found = []
            for each in read():
                found.append(each)
                assert len(found) <= len(expected)
                if each.position % 50 == 0:
                    self.store.append(Write("refund-1", None, [event()]))
            assert found == expected

    def test_a_reader_that_stopped_half_way_holds_up_nothing(self) -> None:
        """Later reads see later appends, and the store can be closed."""
        self.append_alike(100)
        reader, names = self.store.read_all(), self.store.streams("refund")
        assert (next(reader).position, next(names)) == (1, "refund-1")
        self.append_alike(1)
        assert self.store.version("refund-1") == 101
        assert self.store.head() == 707
        assert len(list(self.store.read_all(after=700))) == 7

    def test_two_readers_in_one_thread_do_not_disturb_each_other(self) -> None:
        """Each goes on where it was."""
        self.append_alike(100)
        expected = numbers(self.store.read_all())
        pairs = zip(self.store.read_all(), self.store.read_all(), strict=True)
        assert [(one.position, other.position) for one, other in pairs] == [(each, each) for each in expected]

    def test_reading_needs_no_memory_for_the_whole_log(self) -> None:
        """4 MB of events are read in less than 2 MB."""
        self.store.append(Write("refund-1", 0, [event('"' + "x" * 1000 + '"')] * 4000))
        tracemalloc.start()
        try:
            assert sum(1 for _ in self.store.read_all()) == 4000
            assert sum(1 for _ in self.store.read_stream("refund-1")) == 4000
            assert sum(1 for _ in self.store.read_category("refund")) == 4000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2_000_000

    def test_a_name_is_never_a_pattern(self) -> None:
        """Odd names are those of streams and categories that do not exist."""
        self.append_alike()
        for name in (
            "",
            "refun_",
            "REFUND",
            "%",
            "*",
            "\u6f22",
            "refund-%",
            "refund-_",
            "refund-*",
            "x' OR 1=1 --",
        ):
            assert self.store.version(name) == 0
            assert list(self.store.read_stream(name)) == []
            assert list(self.store.read_category(name)) == []
            assert list(self.store.streams(name)) == []
        assert list(self.store.read_all(after=2**40)) == []
