"""What the SQLite store promises beyond the contract: its file, its durability, its schema, its housekeeping."""

import os
import shutil
import sqlite3
import subprocess
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from structlog.testing import capture_logs

from refold.engine.errors import (
    CorruptLog,
    EventMissing,
    InvalidInput,
    InvalidSetting,
    KeyReuse,
    MessageNotFound,
    RefoldError,
    SchemaTooNew,
    StoreBusy,
    StoreReadOnly,
    StoreUnavailable,
    UnsafeDurability,
    VersionConflict,
)
from refold.engine.ports import Appended, Body, Column, Given, NewEvent, Upsert, View, Write
from refold.eventstore import SqliteStore
from refold.eventstore.sqlite import connection as connections
from refold.eventstore.sqlite import folding
from refold.eventstore.sqlite import log as logs
from refold.eventstore.sqlite import views as tables

TOTALS = View("totals", (Column("id", str), Column("total", int, sums=True)), ("id",))
BY_KIND = View(
    "by_kind",
    (Column("id", str), Column("kind", str), Column("note", str), Column("count", int)),
    ("id",),
    indexes=(("kind",), ("note",)),
)
SECRET = Body("a" * 64, b"SALT-OF-THE-BODY", "{}", b"CARDHOLDER NAME " * 1000)


def events(store):
    return list(store.read_all())


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


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
        assert len(events(one)) == 2 * turn


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


# ---- the file


@pytest.mark.parametrize("name", ["a ?mode=ro.db", "50%20.db", "a#b&c.db", "Erstattung-é漢.db", "-wal"])
def test_any_file_name_can_be_used(tmp_path, open_store, append, name):
    append(open_store(tmp_path / name))
    assert name in names_in(tmp_path)
    assert open_store(str(tmp_path / name), create=False).head() == 1


def test_a_relative_path_stays_where_it_was_when_the_folder_changes(
    tmp_path, open_store, append, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    store = open_store("log.db", views=[TOTALS])
    append(store, changes=[Upsert(TOTALS, ("t", 1))])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    readers = [store.rows(TOTALS) for _ in range(9)]
    assert [next(reader)["total"] for reader in readers] == [1] * 9
    assert names_in(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}])
def test_a_missing_file_is_not_created_unasked(path, open_store, options):
    with pytest.raises(StoreUnavailable, match="there is no store"):
        open_store(**options)
    assert not path.exists()


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}])
def test_an_empty_file_is_no_store_yet(path, open_store, options):
    path.touch()
    with pytest.raises(StoreUnavailable, match="there is no store"):
        open_store(**options)
    assert path.read_bytes() == b""
    assert open_store().head() == 0


@pytest.mark.parametrize("where", ["missing/log.db", "file/log.db", ".", "nul\0.db"])
def test_a_place_where_no_file_can_be_is_unavailable(tmp_path, open_store, where):
    (tmp_path / "file").touch()
    with pytest.raises(RefoldError):
        open_store(tmp_path / where)


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (".", "{folder} is a folder; name a file"),
        ("file/log.db", "'{folder}/file/log.db' cannot be opened: Not a directory"),
        ("nul\0.db", "'{folder}/nul\\x00.db' cannot be opened: "),
        ("round", "'{folder}/round' cannot be opened: "),
    ],
)
@pytest.mark.parametrize("options", [{}, {"read_only": True}])
def test_why_no_file_can_be_there_is_told_in_one_sentence(tmp_path, open_store, where, says, options):
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(StoreUnavailable) as caught:
        open_store(tmp_path / where, **options)
    assert caught.value.reason.startswith(says.format(folder=tmp_path))
    assert "Errno" not in str(caught.value)


# ---- one file under several names


@pytest.fixture
def linked(tmp_path):
    """Three names of one file: its own, a link to it in another folder, and one through a link to its folder."""
    for folder in ("own", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "other" / "link.db").symlink_to("../own/log.db")
    (tmp_path / "folder").symlink_to("own")
    return [tmp_path / "own" / "log.db", tmp_path / "other" / "link.db", tmp_path / "folder" / "log.db"]


@pytest.mark.parametrize("first", range(3))
def test_writers_of_one_file_meet_at_one_lock_whatever_they_call_it(
    tmp_path, open_store, append, linked, first
):
    append(open_store(linked[first]))
    handles = [open_store(name, timeout_s=0.05) for name in linked]
    for one in handles:
        with one.batch():
            append(one)
            for other in handles:
                if other is not one:  # SQLite itself lets anybody fold the write-ahead log at any time
                    with pytest.raises(StoreBusy):
                        other.checkpoint()
    assert [handle.head() for handle in handles] == [4] * 3
    assert names_in(tmp_path / "own") == ["log.db", "log.db-lock", "log.db-shm", "log.db-wal"]
    assert names_in(tmp_path / "other") == ["link.db"]


def test_a_link_that_is_turned_elsewhere_moves_no_open_store(open_store, append, linked):
    store = open_store(linked[1], views=[TOTALS])
    append(store, changes=[Upsert(TOTALS, ("t", 1))])
    linked[1].unlink()
    linked[1].symlink_to("nowhere.db")
    store._writer._discard()  # as after a commit that failed
    rows = [store.rows(TOTALS) for _ in range(9)]
    assert [next(each)["total"] for each in rows] == [1] * 9
    assert append(store) == Appended(2, 2)
    assert not linked[1].exists()


def test_a_log_that_is_not_folded_back_is_seen_through_a_link(tmp_path, open_store, append, frozen):
    """Its write-ahead log lies beside the file and not beside the link."""
    store = open_store()
    append(store)
    store.checkpoint()
    append(store)
    for folder in ("copy", "links"):
        (tmp_path / folder).mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "copy")
    (tmp_path / "links" / "log.db").symlink_to("../copy/log.db")
    frozen(tmp_path / "copy")
    frozen(tmp_path / "links")
    with pytest.raises(StoreUnavailable):
        open_store(tmp_path / "links" / "log.db", read_only=True)


def test_a_file_deleted_under_an_open_store_is_not_made_anew(path, open_store, append):
    store = open_store()
    append(store)
    path.unlink()
    with pytest.raises(StoreUnavailable):
        list(open_store(create=False).read_all())
    assert not path.exists()


# ---- schema


def test_a_file_of_a_newer_refold_is_refused_and_not_touched(path, open_store, raw):
    open_store().close()
    with raw() as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('refold', 'm999', '')"
        )
    before = path.read_bytes()
    for options in ({}, {"read_only": True}, {"create": False}):
        with pytest.raises(SchemaTooNew) as caught:
            open_store(**options)
        assert (caught.value.found, caught.value.known) == (6, 5)
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_refused_and_not_touched(path, open_store, raw):
    with raw() as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    before = path.read_bytes()
    for options in ({}, {"read_only": True}, {"create": False}):
        with pytest.raises(StoreUnavailable, match="something else"):
            open_store(**options)
    assert path.read_bytes() == before
    assert names_in(path.parent) == ["log.db"]


def test_migrations_of_something_else_do_not_make_a_store(path, open_store, raw):
    with raw() as connection:
        connection.execute("CREATE TABLE _sqlite_migrations (migration_set TEXT, name TEXT)")
        connection.execute("INSERT INTO _sqlite_migrations VALUES ('customers', 'm001_log')")
    with pytest.raises(StoreUnavailable, match="something else"):
        open_store()


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to have a header" * 100, b"x", b"SQLite format 3\0"]
)
def test_a_file_that_is_no_database_is_refused_and_not_touched(path, open_store, content):
    path.write_bytes(content)
    for options in ({}, {"read_only": True}):
        with pytest.raises(CorruptLog, match="no SQLite database"):
            open_store(**options)
    assert path.read_bytes() == content


def test_many_handles_may_create_a_store_at_once(path):
    gate = threading.Barrier(6)

    def opened(_):
        gate.wait()
        store = SqliteStore(path, views=[TOTALS])
        store.close()
        return store.views_stale

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(opened, range(6))) == {False}


def test_opening_does_not_wait_for_a_writer(open_store, append):
    with open_store().batch():
        assert open_store(timeout_s=0).head() == 0


# ---- the guards of the log


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}' WHERE position = 1",
        "UPDATE events SET position = 9 WHERE position = 1",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 3",
        "INSERT OR REPLACE INTO events SELECT position, stream, version, type, time, 'x', digest FROM events",
        "INSERT OR REPLACE INTO events SELECT position + 5, stream, version, type, time, 'x', digest FROM events",
        "INSERT INTO events SELECT position - 5, 'refund-x', 1, type, time, data, digest FROM events LIMIT 1",
    ],
)
def test_no_program_can_change_the_log_by_mistake(store, append, raw, statement):
    append(store, 3)
    before = events(store)
    with raw() as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    assert events(store) == before


def test_positions_of_a_tail_that_was_cut_off_are_not_used_again(store, append, raw):
    append(store, 3)
    with raw(unguarded=True) as connection:
        connection.execute("DELETE FROM events WHERE position = 3")
    assert store.head() == 3
    assert append(store) == Appended(4, 4)
    reader = store.read_all()
    assert [next(reader).position, next(reader).position] == [1, 2]
    with pytest.raises(EventMissing) as caught:
        next(reader)
    assert (caught.value.number, caught.value.stream) == (3, None)
    assert [each.position for each in store.read_all(after=3)] == [4]


# ---- durability


def stubborn(monkeypatch, statement, instead):
    """Let SQLite do something else when it is told to be durable."""

    class Stubborn(sqlite3.Connection):
        def execute(self, sql, *arguments):
            return super().execute(instead if sql.startswith(statement) else sql, *arguments)

    connect = sqlite3.connect
    monkeypatch.setattr(
        connections.sqlite3, "connect", lambda *args, **kwargs: connect(*args, factory=Stubborn, **kwargs)
    )


@pytest.mark.parametrize(
    ("durability", "found", "refused"),
    [
        ("full", "OFF", "synchronous is OFF, FULL is needed"),
        ("full", "NORMAL", "synchronous is NORMAL, FULL is needed"),
        ("full", "FULL", None),
        ("full", "EXTRA", None),
        ("relaxed", "OFF", "synchronous is OFF, NORMAL is needed"),
        ("relaxed", "NORMAL", None),
    ],
)
def test_a_store_opens_only_if_its_commits_wait_for_the_disk(
    open_store, monkeypatch, durability, found, refused
):
    stubborn(monkeypatch, "PRAGMA synchronous =", f"PRAGMA synchronous = {found}")
    if refused is None:
        assert open_store(durability=durability).describe()["synchronous"] == found
        return
    with pytest.raises(UnsafeDurability, match=refused):
        open_store(durability=durability)


def test_a_store_without_a_write_ahead_log_is_refused(open_store, monkeypatch):
    stubborn(monkeypatch, "PRAGMA journal_mode = WAL", "PRAGMA journal_mode = DELETE")
    with pytest.raises(UnsafeDurability, match="journal_mode is delete, WAL is needed"):
        open_store()


def test_what_is_described_is_read_back_and_not_remembered(store):
    assert store.describe()["synchronous"] == "FULL"
    with store.batch():
        assert store.describe()["synchronous"] == "FULL"
    store._writer._connection.execute("PRAGMA synchronous = OFF")
    with pytest.raises(UnsafeDurability, match="synchronous is OFF"):
        store.describe()


def test_the_chosen_durability_is_described(open_store):
    described = open_store(durability="relaxed").describe()
    assert (described["durability"], described["synchronous"], described["journal_mode"]) == (
        "relaxed",
        "NORMAL",
        "wal",
    )


def test_a_durability_there_is_not_is_refused(path, open_store):
    with pytest.raises(InvalidSetting, match="'fast' is unknown"):
        open_store(durability="fast")
    assert not path.exists()


# ---- read-only


def test_a_read_only_store_reads_and_refuses_every_write(path, open_store, append):
    append(open_store(views=[TOTALS]), bodies=[SECRET], key="k", changes=[Upsert(TOTALS, ("t", 1))])
    store = open_store(read_only=True, views=[TOTALS])
    assert len(events(store)) == 1
    assert store.body(SECRET.digest) == SECRET
    assert store.settle("k") == Appended(1, 1)
    assert list(store.rows(TOTALS)) == [{"id": "t", "total": 1}]
    assert store.describe()["synchronous"] == "not asked: read-only"
    assert store.views_stale is False
    store.checkpoint()
    for write in (
        lambda: append(store),
        lambda: store.erase_body(SECRET.digest),
        lambda: store.rebuild(Given([TOTALS], [])),
        lambda: store.batch().__enter__(),
    ):
        with pytest.raises(StoreReadOnly, match=r"log\.db"):
            write()
    assert store.head() == 1


def test_a_read_only_store_follows_a_writer(open_store, append):
    writer = open_store()
    reader = open_store(read_only=True)
    for count in range(3):
        assert reader.head() == count
        append(writer)


@pytest.fixture
def frozen():
    """Take the right to write away from a file or folder, also from root where the file system can."""
    done = []

    def freeze(place):
        done.append((place, place.stat().st_mode))
        place.chmod(0o555 if place.is_dir() else 0o444)
        if os.access(place, os.W_OK):
            subprocess.run(["chattr", "+i", place], check=False, capture_output=True)
        if os.access(place, os.W_OK):
            pytest.skip("root may write everywhere here: no chattr on this file system")

    yield freeze
    for place, mode in done:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", place], check=False, capture_output=True)
        place.chmod(mode)


def test_a_file_that_may_not_be_written_opens_for_readers_only(path, open_store, append, frozen):
    store = open_store()
    append(store)
    store.close()
    frozen(path)
    with pytest.raises(StoreReadOnly):
        open_store()
    assert open_store(read_only=True).head() == 1


def test_a_folder_that_may_not_be_written_opens_for_readers_only(tmp_path, open_store, append, frozen):
    folder = tmp_path / "store"
    folder.mkdir()
    store = open_store(folder / "log.db")
    append(store)
    store.close()
    (folder / "log.db-lock").unlink()
    frozen(folder)
    assert names_in(folder) == ["log.db"]
    with pytest.raises(StoreReadOnly):
        open_store(folder / "log.db")
    assert len(events(open_store(folder / "log.db", read_only=True))) == 1


def test_a_log_that_is_not_folded_back_is_never_ignored(tmp_path, open_store, append, frozen):
    """A folder without the right to write has no room for the index of the write-ahead log: better no answer."""
    store = open_store()
    append(store)
    store.checkpoint()
    append(store)
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copy(tmp_path / name, folder)
    frozen(folder)
    with pytest.raises(StoreUnavailable):
        open_store(folder / "log.db", read_only=True)


# ---- views


def indexes_touched(store, unchanged):
    """Return how many entries a change makes anew in the indexes of a view, by SQLite's own plan."""
    with closing(sqlite3.connect(store.path)) as file:
        explained = file.execute(
            "EXPLAIN " + tables.update(BY_KIND, "by_kind", frozenset(unchanged)), ("a",) * 4
        )
        return [step[1] for step in explained].count("IdxInsert")


def test_a_change_leaves_the_indexes_of_unchanged_columns_alone(open_store):
    store = open_store(views=[BY_KIND])
    assert indexes_touched(store, []) == 2
    assert indexes_touched(store, ["kind"]) == 1
    assert indexes_touched(store, ["kind", "note"]) == 0


WITH_MORE = View("totals", (*TOTALS.columns, Column("kind", str)), ("id",), (("kind",),))


def test_a_view_made_with_another_definition_is_stale_until_it_is_rebuilt(open_store, append):
    append(open_store(views=[TOTALS]), changes=[Upsert(TOTALS, ("t", 1))])
    for _ in range(2):
        store = open_store(views=[WITH_MORE])
        assert store.views_stale is True
        assert list(store.rows(WITH_MORE)) == []
    (found,) = store.rebuild(Given([WITH_MORE], [Upsert(WITH_MORE, ("t", 1, "x"))]))
    assert found.live is None
    assert store.views_stale is False
    store = open_store(views=[WITH_MORE])
    assert store.views_stale is False
    assert list(store.rows(WITH_MORE, where={"kind": "x"})) == [{"id": "t", "total": 1, "kind": "x"}]


def test_a_view_that_did_not_change_is_kept(open_store, append):
    other = View("others", (Column("id", str),), ("id",))
    append(open_store(views=[TOTALS]), changes=[Upsert(TOTALS, ("t", 1))])
    store = open_store(views=[TOTALS, other])
    assert store.views_stale is True
    assert list(store.rows(TOTALS)) == [{"id": "t", "total": 1}]


def test_a_rebuild_of_some_views_leaves_the_store_stale(open_store, append):
    other = View("others", (Column("id", str),), ("id",))
    append(open_store())
    store = open_store(views=[TOTALS, other])
    store.rebuild(Given([TOTALS], []))
    assert store.views_stale is True
    store.rebuild(Given([other], []))
    assert store.views_stale is False


def test_views_of_an_empty_log_are_never_stale(open_store):
    assert open_store(views=[TOTALS]).views_stale is False
    assert open_store(views=[WITH_MORE]).views_stale is False


def test_a_reader_with_other_views_says_so_and_changes_nothing(path, open_store, append):
    store = open_store(views=[TOTALS])
    append(store)
    store.close()
    before = path.read_bytes()
    assert open_store(read_only=True, views=[WITH_MORE]).views_stale is True
    assert path.read_bytes() == before


def drop(raw, name):
    with raw() as connection:
        connection.execute(f"DROP TABLE {name}")


def test_a_view_whose_table_is_lost_is_made_again_empty_and_stale(open_store, append, raw):
    others = View("others", (Column("id", str),), ("id",))
    changes = [Upsert(WITH_MORE, ("t", 1, "x")), Upsert(others, ("o",))]
    with closing(open_store(views=[WITH_MORE, others])) as store:
        append(store, changes=changes)
    drop(raw, "totals")
    for _ in range(2):  # also where nobody rebuilt it the first time
        store = open_store(views=[WITH_MORE, others])
        assert store.views_stale is True
        assert list(store.rows(WITH_MORE)) == []
        assert list(store.rows(others)) == [{"id": "o"}]
    (found,) = store.rebuild(Given([WITH_MORE, others], changes))
    assert (found.view, found.key, found.live) == ("totals", ("t",), None)
    assert store.views_stale is False
    with raw() as connection:
        assert connection.execute("PRAGMA index_list(totals)").fetchall()[0][1].startswith("totals_by_kind")
    assert open_store(views=[WITH_MORE, others]).views_stale is False


def test_a_view_whose_table_is_lost_in_an_empty_log_is_complete_when_it_is_made_again(open_store, raw):
    open_store(views=[TOTALS])
    drop(raw, "totals")
    store = open_store(views=[TOTALS])
    assert (store.views_stale, list(store.rows(TOTALS))) == (False, [])


def test_a_table_that_is_lost_while_the_store_is_open_can_be_rebuilt(open_store, append, raw):
    store = open_store(views=[WITH_MORE])
    append(store, changes=[Upsert(WITH_MORE, ("t", 1, "x"))])
    drop(raw, "totals")
    with pytest.raises(StoreUnavailable, match="no such table: totals"):
        list(store.rows(WITH_MORE))

    def changes():
        assert list(store.rows(WITH_MORE)) == []
        yield Upsert(WITH_MORE, ("t", 1, "x"))

    (found,) = store.rebuild(Given([WITH_MORE], changes()))
    assert (found.key, found.live) == (("t",), None)
    assert [row["total"] for row in store.rows(WITH_MORE)] == [1]
    assert store.rebuild(Given([WITH_MORE], [Upsert(WITH_MORE, ("t", 1, "x"))])) == []


def test_a_rebuild_that_fails_leaves_no_empty_table_in_the_place_of_a_lost_one(open_store, append, raw):
    store = open_store(views=[TOTALS])
    append(store, changes=[Upsert(TOTALS, ("t", 1))])
    drop(raw, "totals")
    with pytest.raises(ZeroDivisionError):
        store.rebuild(Given([TOTALS], (1 // 0 for _ in "x")))
    with pytest.raises(StoreUnavailable, match="no such table: totals"):
        list(store.rows(TOTALS))
    assert open_store(views=[TOTALS]).views_stale is True


def test_a_reader_names_the_view_that_is_lost_and_what_makes_it_again(path, open_store, append, raw):
    with closing(open_store(views=[TOTALS])) as store:
        append(store)
    drop(raw, "totals")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match=r"lost the table of its view totals; `refold replay` makes"):
        open_store(views=[TOTALS], read_only=True)
    assert path.read_bytes() == before
    assert open_store(views=[WITH_MORE], read_only=True).views_stale is True


@pytest.mark.parametrize(
    "name", ["events", "keys", "views", "bodies", "sqlite_x y", "Totals", "t;", "a__new", ""]
)
def test_a_view_that_would_harm_the_log_is_refused(open_store, name):
    view = View(name, (Column("id", str),), ("id",))
    with pytest.raises(InvalidSetting):
        open_store(views=[view])
    with pytest.raises(InvalidSetting):
        open_store().rebuild(Given([view], []))


def test_words_of_sql_can_name_columns(open_store, append):
    view = View(
        "groups",
        (Column("order", str), Column("group", str), Column("limit", int, sums=True)),
        ("order",),
        (("group",),),
    )
    store = open_store(views=[view])
    append(store, changes=[Upsert(view, ("a", "g", 1)), Upsert(view, ("a", None, 2))])
    expected = [{"order": "a", "group": "g", "limit": 3}]
    assert list(store.rows(view, where={"group": "g"}, order="limit", after=0)) == expected
    assert store.rebuild(Given([view], [Upsert(view, ("a", "g", 3))])) == []


@pytest.mark.parametrize("value", [2**63, "\ud800"])
def test_a_value_no_column_can_hold_is_refused_whole(open_store, append, value):
    store = open_store(views=[TOTALS])
    with pytest.raises(InvalidInput):
        append(store, changes=[Upsert(TOTALS, (value, value))])
    assert store.head() == 0


# ---- the write-ahead log


def copied_alone(path, tmp_path):
    """Copy the main file without what lies beside it, and return its last position."""
    copy = tmp_path / "alone.db"
    shutil.copy(path, copy)
    with closing(SqliteStore(copy)) as store:
        return store.head()


def test_many_appends_fold_the_write_ahead_log_back(path, tmp_path, store, append, monkeypatch):
    monkeypatch.setattr(folding, "_FOLD_AFTER", 50 * (1 + folding._ROWS_A_COMMIT))
    for _ in range(40):
        append(store)
    assert copied_alone(path, tmp_path) == 0
    for _ in range(40):
        append(store)
    assert 40 <= copied_alone(path, tmp_path) <= 80


def test_the_write_ahead_log_does_not_grow_without_end(path, store, append, monkeypatch):
    monkeypatch.setattr(folding, "_FOLD_AFTER", 20 * (1 + folding._ROWS_A_COMMIT))
    sizes = []
    for _ in range(5):
        for _ in range(40):
            append(store)
        sizes.append(path.with_name("log.db-wal").stat().st_size)
    assert sizes[-1] < 1.5 * sizes[1]


def test_a_checkpoint_and_a_close_fold_everything_back(path, tmp_path, store, append):
    append(store)
    store.checkpoint()
    assert copied_alone(path, tmp_path) == 1
    append(store)
    store.close()
    assert copied_alone(path, tmp_path) == 2
    assert not path.with_name("log.db-wal").exists()


class Planted:
    """A connection on which some statements fail."""

    def __init__(self, connection, statement):
        self.connection, self.statement = connection, statement

    def execute(self, sql, *arguments):
        if sql.startswith(self.statement):
            raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(sql, *arguments)

    def __getattr__(self, name):
        return getattr(self.connection, name)


@pytest.mark.parametrize("when", ["after many appends", "on request", "at close"])
def test_a_checkpoint_that_fails_is_logged_and_loses_nothing(path, open_store, append, monkeypatch, when):
    monkeypatch.setattr(folding, "_FOLD_AFTER", 1 if when == "after many appends" else 1000)
    store = open_store()
    store._writer._connection = Planted(store._writer._connection, "PRAGMA wal_checkpoint")
    with capture_logs() as logs:
        assert append(store) == Appended(1, 1)
        if when == "on request":
            store.checkpoint()
        if when == "at close":
            store.close()
    (entry,) = logs
    assert (entry["event"], entry["file"], entry["error"]) == ("store.degraded", str(path), "disk I/O error")
    assert entry["log_level"] == "warning"
    assert open_store().head() == 1


def on_disk(folder):
    return b"".join(file.read_bytes() for file in folder.iterdir())


def test_an_erased_body_leaves_no_bytes_behind(path, store, append):
    append(store, bodies=[SECRET])
    assert b"CARDHOLDER" in on_disk(path.parent)
    assert store.erase_body(SECRET.digest) is True
    assert b"CARDHOLDER" not in on_disk(path.parent)
    assert SECRET.salt not in on_disk(path.parent)
    with pytest.raises(MessageNotFound):
        store.body(SECRET.digest)


def test_bytes_a_reader_still_sees_are_gone_after_the_next_append(path, open_store, append):
    store = open_store(views=[TOTALS])
    append(store, bodies=[SECRET], changes=[Upsert(TOTALS, (name, 1)) for name in "ab"])
    rows = store.rows(TOTALS)
    next(rows)
    store.erase_body(SECRET.digest)
    assert b"CARDHOLDER" in on_disk(path.parent)
    rows.close()
    append(store)
    assert b"CARDHOLDER" not in on_disk(path.parent)


def test_an_erasure_that_is_undone_erases_nothing(store, append):
    append(store, bodies=[SECRET])
    with pytest.raises(ZeroDivisionError), store.batch():
        assert store.erase_body(SECRET.digest) / 0
    assert store.body(SECRET.digest) == SECRET


def statements_of(store):
    """Return the list to which each statement of the write connection is added."""
    seen = []
    store._writer._connection.set_trace_callback(seen.append)
    return seen


@pytest.mark.parametrize(("events", "commits"), [(1, 10), (12, 5)])
def test_the_write_ahead_log_is_folded_back_once_in_so_many_commits_and_rows(
    store, append, monkeypatch, events, commits
):
    monkeypatch.setattr(folding, "_FOLD_AFTER", 110)
    monkeypatch.setattr(folding, "_ROWS_A_COMMIT", 10)
    seen = statements_of(store)
    for _ in range(4 * commits):
        append(store, events)
    assert sum("wal_checkpoint" in statement for statement in seen) == 4
    assert store._writer._connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


def test_only_an_erasure_empties_the_write_ahead_log(open_store, append):
    store = open_store(timeout_s=1.5)
    seen = statements_of(store)
    append(store, bodies=[SECRET])
    store.erase_body(SECRET.digest)
    append(store)
    append(store)
    assert [statement for statement in seen if "wal_checkpoint" in statement] == [
        "PRAGMA wal_checkpoint(TRUNCATE)"
    ]
    assert store._writer._connection.execute("PRAGMA busy_timeout").fetchone() == (1500,)


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
    with pytest.raises(StoreUnavailable, match="no such table"):
        store.row(TOTALS, ("t",))
    assert store._readers._idle == []


def test_an_open_reader_does_not_keep_the_log_from_being_folded_back(path, tmp_path, store, append):
    append(store, 1000)
    reader = store.read_all()
    next(reader)
    append(store)
    store.checkpoint()
    assert copied_alone(path, tmp_path) == 1001
    assert sum(1 for _ in reader) == 999


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_removed_or_replaced_is_not_written_or_read_any_more(path, store, append, replaced):
    """What would be acknowledged from then on, nobody would find again."""
    append(store)
    path.unlink()
    if replaced:
        SqliteStore(path.with_name("other.db")).close()
        path.with_name("other.db").rename(path)
    for call in (store.head, lambda: append(store), lambda: store.batch().__enter__()):
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            call()
