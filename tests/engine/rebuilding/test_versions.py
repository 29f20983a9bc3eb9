"""Views of another version: who opens the store makes them anew, and who has it open reads the old ones until then."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256

import pytest
from structlog.testing import capture_logs

from refold.engine.audit import projecting
from refold.engine.audit.projecting import Folding
from refold.engine.errors import RebuildOvertaken, StoreUnavailable, ViewStale
from refold.engine.service.views import REFUNDS, VIEWS

OLDER = "UPDATE views SET definition = 'of an older version' WHERE name = 'refunds'"


@pytest.fixture
def stale(engine, ask, wire, place, plain, dump):
    """A store with refunds, whose views are of an older version; give the rows they are to have."""
    plain(engine, *"abcdef")
    rows = dump(engine)
    engine.close()
    place.run(OLDER)
    return rows


def test_all_that_open_a_stale_store_at_once_find_its_views_made_anew(stale, place, open_at, dump):
    """The last one to begin makes them, and the others wait for it."""
    for _ in range(3):
        place.run(OLDER)
        gate = threading.Barrier(4)

        def opened(gate=gate):
            gate.wait()
            return dump(open_at(place.url, timeout_s=60))

        with ThreadPoolExecutor(4) as pool:
            assert [each.result() for each in [pool.submit(opened) for _ in range(4)]] == [stale] * 4


def test_a_table_that_was_lost_is_missed_until_it_is_whole_again(
    engine, place, open_at, plain, dump, monkeypatch
):
    """It is never there with a part of its rows."""
    plain(engine, *"abc")
    rows, told, seen = dump(engine), Folding.whole, []
    place.run("DROP TABLE refunds")

    def whole(self, upto, left):
        with pytest.raises(StoreUnavailable):
            engine.store.row(REFUNDS, ("a-done",))
        seen.append("lost")
        return told(self, upto, left)

    monkeypatch.setattr(Folding, "whole", whole)
    assert dump(open_at(place.url)) == rows
    assert seen == ["lost"]
    assert dump(engine) == rows


@pytest.mark.parametrize("changed", ["refunds", "payments", "attention", "inbox"])
def test_a_stream_that_cannot_be_read_keeps_its_rows_whichever_tables_are_made_anew(
    engine, place, open_at, plain, wire, dump, changed
):
    plain(engine, *"ab")
    engine.record("evonet", "poll", wire.says("evonet", "orphan", "success", payment="p-a-done"))
    rows = dump(engine)
    engine.close()
    place.run("UPDATE events SET type = 'evidence.odd' WHERE stream = 'refund-a-done' AND version = 3")
    place.run(OLDER.replace("refunds", changed))
    assert dump(open_at(place.url)) == rows


def test_an_orphan_waits_on_where_nobody_can_tell_whether_it_was_adopted(
    engine, place, open_at, plain, wire, dump
):
    """Its refund cannot be read, and the table that said so is lost."""
    plain(engine, "a")
    engine.record("evonet", "poll", wire.says("evonet", "orphan", "success", payment="p-a-done"))
    rows = dump(engine)
    engine.close()
    place.run(
        "UPDATE events SET type = 'evidence.odd' WHERE stream = 'refund-a-done' AND version = 3",
        "DROP TABLE inbox",
    )
    assert dump(open_at(place.url)) == rows


def test_who_only_reads_leaves_the_views_of_another_version_alone(stale, place, open_at, dump):
    """What needs no view is read all the same."""
    before = place.run("SELECT name, definition FROM views ORDER BY name")
    for options in ({"read_only": True}, {"renew_views": False}):
        reader = open_at(place.url, **options)
        assert reader.refund("a-done").state == "success"
        assert len(list(reader.history("a-done"))) == 4
        with pytest.raises(ViewStale, match="refunds is lost, or of another version"):
            list(reader.find())
        assert reader.store.views_stale is True
    assert place.run("SELECT name, definition FROM views ORDER BY name") == before
    assert dump(open_at(place.url)) == stale


def test_who_waits_for_one_that_has_died_begins_again(stale, place, open_at, monkeypatch, dump):
    """The tables it had begun look like those of one that is slow."""
    plainly, times = projecting.rebuild, []

    def overtaken(store):
        if not times:
            place.run("CREATE TABLE refunds__new (refund_id text)")
        times.append("rebuilds")
        if len(times) < 3:
            raise RebuildOvertaken
        plainly(store)

    monkeypatch.setattr(projecting, "rebuild", overtaken)
    monkeypatch.setattr(projecting, "_LOOKS", (2, 2, 600))
    monkeypatch.setattr(projecting, "_PAUSE_S", 0)
    with capture_logs() as logs:
        assert dump(open_at(place.url)) == stale
    assert [line["event"] for line in logs] == ["views.overtaken", "views.overtaken", "views.rebuilt"]
    assert len(times) == 3


def test_nobody_waits_for_one_that_has_ended(stale, place, open_at, monkeypatch, dump):
    """It may have made the tables for another version: then they are made again at once."""
    plainly, times = projecting.rebuild, []

    def overtaken(store):
        times.append("rebuilds")
        plainly(store)
        if len(times) < 9:
            place.run(OLDER)
            raise RebuildOvertaken

    class NoPause:
        def wait(self, _):
            pytest.fail("waits although nobody makes views anew")

    monkeypatch.setattr(projecting, "rebuild", overtaken)
    monkeypatch.setattr(projecting, "Event", NoPause)
    assert dump(open_at(place.url)) == stale
    assert len(times) == 9


def test_who_is_overtaken_while_it_opens_a_store_waits_for_the_other(
    stale, place, open_at, monkeypatch, dump
):
    plainly, others = projecting.rebuild, []

    def overtaken(store):
        monkeypatch.setattr(projecting, "rebuild", plainly)
        others.append(pool.submit(open_at, place.url))
        raise RebuildOvertaken

    monkeypatch.setattr(projecting, "rebuild", overtaken)
    with ThreadPoolExecutor(1) as pool:
        assert dump(open_at(place.url)) == stale
        (other,) = others
        assert dump(other.result()) == stale


def test_who_waits_for_another_does_not_wait_for_ever(stale, place, open_at, monkeypatch):
    def overtaken(store):
        raise RebuildOvertaken

    monkeypatch.setattr(projecting, "rebuild", overtaken)
    monkeypatch.setattr(projecting, "_LOOKS", (0, 0))
    with pytest.raises(RebuildOvertaken):
        open_at(place.url)


def test_a_rebuild_in_a_batch_that_is_undone_leaves_the_store_as_stale_as_it_was(
    engine, ask, wire, place, open_at, plain
):
    plain(engine, "a")
    place.run(OLDER)

    def undone():
        with engine.store.batch():
            engine.rebuild()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        undone()
    assert engine.store.views_stale is True
    engine.rebuild()
    assert engine.store.views_stale is False


def test_views_of_another_version_are_rebuilt_when_an_engine_opens_the_store(
    open_at, place, ask, wire, plain, dump
):
    with closing(open_at(place.url)) as engine:
        plain(engine, "a")
        made = dump(engine)
    place.run("UPDATE views SET definition = 'older' WHERE name = 'refunds'", "DELETE FROM refunds")
    with capture_logs() as logs:
        engine = open_at(place.url)
    assert [line["event"] for line in logs] == ["views.rebuilt"]
    assert dump(engine) == made


def test_rows_that_are_made_otherwise_are_of_a_higher_version(engine, ask, wire, hkd, plain, dump):
    """Where this turns red, raise the version of the view (`refold.engine.service.views`), and pin what it makes now."""
    plain(engine, "a")
    engine.register_payment(gateway="evonet", payment_id="p-a-done", captured=hkd(30000))
    engine.record("evonet", "poll", wire.says("evonet", "orphan", "success", payment="p-orphan"))
    engine.record("evonet", "poll", wire.says("evonet", "a-done", "failed", payment="p-a-done"))
    made = {
        view.name: (view.version, sha256(repr(dump(engine)[view.name]).encode()).hexdigest()[:16])
        for view in VIEWS
    }
    assert made == {
        "refunds": (1, "d3467bd7e78a0267"),
        "attention": (1, "d24b5dbf69b4e5ee"),
        "payments": (1, "92d1277adf76068f"),
        "inbox": (1, "d00cac489c0c58b9"),
    }
