"""The file of the SQLite store: where it may be, the names it goes by, and what may not be written."""

import os
import shutil
import subprocess

import pytest
from totals import TOTALS

from refold.engine.errors import RefoldError, StoreBusy, StoreReadOnly, StoreUnavailable, ViewStale
from refold.engine.ports import Appended, Body, Given, Upsert
from refold.eventstore import SqliteStore

SECRET = Body("a" * 64, b"SALT-OF-THE-BODY", "{}", b"CARDHOLDER NAME " * 1000)


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


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
        ("pipe", "{folder}/pipe is no file that keeps what is written to it; name another one"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"read_only": True}])
def test_why_no_file_can_be_there_is_told_in_one_sentence(tmp_path, open_store, where, says, options):
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreUnavailable) as caught:
        open_store(tmp_path / where, **options)
    assert caught.value.reason.startswith(says.format(folder=tmp_path))
    assert "Errno" not in str(caught.value)


def test_a_folder_in_which_no_file_can_be_made_is_not_said_to_be_missing(tmp_path, open_store):
    """As on Linux in /proc."""
    (tmp_path / "log.db-lock").symlink_to(tmp_path / "nowhere" / "lock")
    with pytest.raises(StoreUnavailable) as caught:
        open_store(tmp_path / "log.db")
    assert caught.value.reason == f"no file can be made in {tmp_path}; name one in another folder"


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


# ---- read-only


def test_a_read_only_store_reads_and_refuses_every_write(path, open_store, append):
    append(open_store(views=[TOTALS]), bodies=[SECRET], key="k", changes=[Upsert(TOTALS, ("t", 1))])
    store = open_store(read_only=True, views=[TOTALS])
    assert len(list(store.read_all())) == 1
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
    assert len(list(open_store(folder / "log.db", read_only=True).read_all())) == 1


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


# ---- tables


def test_a_view_whose_table_is_lost_takes_no_append_with_changes_of_it(store, append, open_store, raw):
    """Whoever reads the error can make it again, and append then."""
    views = open_store(views=[TOTALS])
    append(views, changes=[Upsert(TOTALS, ("t", 1))])
    with raw() as connection:
        connection.execute("DROP TABLE totals")
    with pytest.raises(ViewStale, match="totals is lost"):
        append(views, changes=[Upsert(TOTALS, ("t", 1))])
    assert views.head() == 1
    views.rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))]))
    append(views, changes=[Upsert(TOTALS, ("t", 1))])
    assert [row["total"] for row in views.rows(TOTALS)] == [2]
