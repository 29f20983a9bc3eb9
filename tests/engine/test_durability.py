"""The log says in which mode the store was written (CASES A12)."""

from datetime import UTC, datetime

from refold.engine import RefundEngine

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def modes(path, durability, *, read_only=False):
    url = f"sqlite:///{path}"
    with RefundEngine.open(url, durability=durability, read_only=read_only, clock=lambda: NOON) as engine:
        return [event.data for event in engine.store.read_stream("store-durability")]


def test_a_store_that_was_always_safe_says_nothing(tmp_path):
    assert modes(tmp_path / "r.db", "full") == []


def test_relaxed_durability_is_recorded_once_and_so_is_the_way_back(tmp_path):
    path = tmp_path / "r.db"
    relaxed, full = '{"v":1,"mode":"relaxed"}', '{"v":1,"mode":"full"}'
    assert modes(path, "relaxed") == [relaxed]
    assert modes(path, "relaxed") == [relaxed]
    assert modes(path, "full") == [relaxed, full]


def test_reading_records_nothing(tmp_path):
    path = tmp_path / "r.db"
    modes(path, "full")
    assert modes(path, "relaxed", read_only=True) == []
