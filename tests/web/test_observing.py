"""A store that is observed is the same store, and tells the truth about its appends."""

import pytest

from refold.engine.ports import NewEvent, Write
from refold.engine.service.observing import Append, ObservedStore
from refold.engine.testing.store_contract import EventStoreContract
from refold.eventstore import MemoryStore

EVENT = NewEvent("refund.requested", "2026-11-21T12:00:00Z", "{}")


class TestObservedStore(EventStoreContract):
    durable = False

    def make_store(self, tmp_path, views):
        return ObservedStore(MemoryStore(), lambda append: None, lambda: 0.0)


@pytest.fixture
def told():
    return []


@pytest.fixture
def store(told):
    seconds = iter(range(1000))
    return ObservedStore(MemoryStore(), told.append, lambda: float(next(seconds)))


def test_each_append_is_told_with_its_types_place_and_time(store, told):
    store.append(Write("refund-a", 0, [EVENT, EVENT]), Write("refund-b", 0, [EVENT]))
    assert told == [Append(("refund.requested",) * 3, 3, 1.0)]


def test_a_repeated_append_is_told_without_events(store, told):
    for _ in range(2):
        store.append(Write("refund-a", 0, [EVENT]), key="k")
    assert [append.types for append in told] == [("refund.requested",), ()]


def test_an_append_that_fails_is_not_told(store, told):
    with pytest.raises(Exception, match="version"):
        store.append(Write("refund-a", 5, [EVENT]))
    assert told == []


def test_a_batch_is_told_at_its_end_and_without_times(store, told):
    with store.batch():
        store.append(Write("refund-a", 0, [EVENT]))
        assert told == []
    store.append(Write("refund-a", 1, [EVENT]))
    assert [(append.last, append.seconds) for append in told] == [(1, None), (2, 1.0)]


def test_a_batch_that_is_undone_is_not_told(store, told):
    def undone():
        with store.batch():
            store.append(Write("refund-a", 0, [EVENT]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        undone()
    assert (told, store.head()) == ([], 0)


def test_a_hook_that_raises_undoes_nothing_and_is_logged(logs):
    def broken(append):
        raise RuntimeError("secret words")

    store = ObservedStore(MemoryStore(), broken, lambda: 0.0)
    assert store.append(Write("refund-a", 0, [EVENT])).last == 1
    assert [entry["event"] for entry in logs] == ["append_hook.failed"]
    assert "secret words" not in repr(logs)
