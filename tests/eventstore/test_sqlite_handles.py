"""Several handles on one SQLite file, and several readers in one handle: what each sees, and what they keep."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from totals import TOTALS

from refold.engine.errors import KeyReuse, StoreUnavailable, VersionConflict
from refold.engine.ports import Appended, NewEvent, Upsert, Write
from refold.eventstore.sqlite import log as logs

# ---- several handles on one file


def test_one_key_through_two_handles_is_one_event(open_store, append):
    one, other = open_store(), open_store()
    assert append(one, key="k", content="c") == Appended(1, 1)
    assert append(other, key="k", content="c") == Appended(1, 1, duplicate=True)
    assert one.head() == other.head() == 1


def test_other_content_under_a_key_is_refused_through_another_handle(open_store, append):
    one, other = open_store(), open_store()
    append(one, key="k", content="c")
    with pytest.raises(KeyReuse) as caught:
        append(other, key="k", content="d")
    assert caught.value.stored != caught.value.given
    assert one.head() == 1


def test_of_two_handles_at_one_version_exactly_one_wins(open_store, append):
    stores = open_store(), open_store()
    gate = threading.Barrier(2)

    def attempt(store):
        version = store.version("refund-a")
        gate.wait()
        try:
            store.append(Write("refund-a", version, [NewEvent("a", "t", "{}")]))
        except VersionConflict:
            return 0
        return 1

    append(stores[0])
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            assert sum(pool.map(attempt, stores)) == 1
    assert [each.version for each in stores[0].read_stream("refund-a")] == list(range(1, 22))


def test_a_handle_sees_what_another_one_appends(open_store, append):
    one, other = open_store(), open_store()
    for turn in range(1, 4):
        append(one)
        assert other.version("refund-a") == turn
        append(other, stream="refund-b")
        assert len(list(one.read_all())) == 2 * turn


def test_an_event_appended_while_its_stream_is_asked_for_is_not_taken_for_a_lost_one(
    open_store, append, monkeypatch
):
    store, other = open_store(), open_store()
    found = logs.page

    def page(*arguments):
        events = found(*arguments)
        monkeypatch.undo()
        append(other)
        return events

    monkeypatch.setattr(logs, "page", page)
    assert [each.version for each in store.read_stream("refund-a")] == [1]


# ---- reading


@pytest.mark.parametrize("undone", [False, True])
def test_rows_asked_for_inside_a_batch_can_be_read_on_when_it_is_over(open_store, append, undone):
    store = open_store(views=[TOTALS])
    with suppress(ZeroDivisionError), store.batch():
        append(store, changes=[Upsert(TOTALS, (name, 1)) for name in "abc"])
        reader = store.rows(TOTALS)
        assert next(reader)["id"] == "a"
        assert 1 / (not undone)
    store.close()
    assert [row["id"] for row in reader] == ["b", "c"]


def test_a_stream_of_20_000_events_is_read_in_bounded_memory(store, append):
    append(store, 20_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.read_stream("refund-a")) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_idle_readers_are_kept_in_small_numbers_and_closed_with_the_store(open_store, append):
    store = open_store(views=[TOTALS])
    append(store, changes=[Upsert(TOTALS, (name, 1)) for name in "ab"])
    rows = [store.rows(TOTALS) for _ in range(20)]
    assert [next(each)["id"] for each in rows] == ["a"] * 20
    assert [next(each)["id"] for each in rows] == ["b"] * 20
    held = rows.pop()
    rows.clear()
    assert len(store._readers._idle) == 8
    store.close()
    assert store._readers._idle == []
    held.close()
    assert store._readers._idle == []


def test_a_connection_that_met_an_error_is_not_used_again(open_store, append, raw):
    store = open_store(views=[TOTALS])
    append(store)
    assert len(store._readers._idle) == 1
    with raw() as connection:
        connection.execute("DROP TABLE totals")
    with pytest.raises(StoreUnavailable, match="totals is lost"):
        store.row(TOTALS, ("t",))
    assert store._readers._idle == []
