"""Backups: made while writers go on, read completely, and named only then."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from refold.engine.domain.message import body_digest
from refold.engine.errors import (
    CorruptLog,
    EventCorrupt,
    EventMissing,
    InvalidInput,
    StoreClosed,
    StoreUnavailable,
)
from refold.engine.ports import Body, NewEvent, Write
from refold.eventstore import SqliteStore
from refold.eventstore.sqlite import backup


def kept(content):
    return Body(body_digest(b"salt", "{}", content), b"salt", "{}", content)


def event(number):
    return NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'{{"n":{number}}}')


@pytest.fixture
def target(tmp_path):
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "copy.db"


@pytest.fixture
def filled(open_store, append):
    """A store with three events and two message bodies, one of them erased."""
    store = open_store()
    append(store, 2, bodies=[kept(b"stays"), kept(b"Erased-for-good")])
    append(store, 1, key="k")
    store.erase_body(kept(b"Erased-for-good").digest)
    return store


def test_a_backup_holds_the_log_the_keys_and_the_bodies_and_says_how_many(filled, target):
    made = filled.backup(target)
    size = target.stat().st_size
    assert made._replace(seconds=0) == (str(target), 3, 3, 1, size, 0)
    assert made.seconds > 0
    copy = SqliteStore(target)
    assert list(copy.read_all()) == list(filled.read_all())
    assert copy.settle("k") == (3, 3, False)
    assert copy.body(kept(b"stays").digest).content == b"stays"
    assert copy.append(Write("refund-a", 3, [event(3)])) == (4, 4, False)
    copy.close()


def test_nothing_lies_beside_a_backup_and_only_its_owner_can_read_it(filled, target):
    filled.backup(target)
    assert [file.name for file in target.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_no_byte_of_an_erased_body_is_in_a_backup(filled, target):
    filled.backup(target)
    assert b"stays" in target.read_bytes()
    assert b"Erased" not in target.read_bytes()


def test_a_position_that_was_cut_off_behind_our_back_is_missed(filled, target, raw):
    with raw(unguarded=True) as connection:
        connection.execute("DELETE FROM events WHERE position = 3")
    with pytest.raises(EventMissing) as caught:
        filled.backup(target)
    assert caught.value.number == 3
    assert list(target.parent.iterdir()) == []


def test_a_store_that_is_open_for_reading_only_can_be_backed_up(filled, open_store, target):
    assert open_store(read_only=True).backup(target).events == 3


def test_an_empty_store_can_be_backed_up(open_store, target):
    assert open_store().backup(target)[1:4] == (0, 0, 0)


def test_a_backup_in_a_batch_holds_what_was_there_before_it(filled, target):
    with filled.batch():
        filled.append(Write("refund-b", 0, [event(1)]))
        assert filled.backup(target).events == 3


def test_progress_is_told_of_the_copy_and_of_the_check(open_store, append, target, monkeypatch):
    monkeypatch.setattr(backup, "_STEPS", 10)
    monkeypatch.setattr(backup, "_PAGE", 2)
    store, told = open_store(), []
    append(store, 5)
    store.backup(target, on_progress=lambda *each: told.append(each))
    copying = [each for each in told if each[0] == "copying"]
    assert len(copying) > 2
    assert copying[-1][1] == copying[-1][2]
    assert told[len(copying) :] == [("checking", 2, 5), ("checking", 4, 5), ("checking", 5, 5)]


# ---- faults


def test_a_backup_writes_over_nothing(filled, target):
    target.write_bytes(b"mine")
    with pytest.raises(InvalidInput, match="exists"):
        filled.backup(target)
    with pytest.raises(InvalidInput, match="exists"):
        filled.backup(filled.path)
    assert target.read_bytes() == b"mine"
    assert [file.name for file in target.parent.iterdir()] == ["copy.db"]


def test_a_backup_writes_over_nothing_that_comes_while_it_is_made(filled, target):
    def come(step, *_):
        if step == "checking":
            target.write_bytes(b"mine")

    with pytest.raises(InvalidInput, match="meanwhile"):
        filled.backup(target, on_progress=come)
    assert target.read_bytes() == b"mine"
    assert [file.name for file in target.parent.iterdir()] == ["copy.db"]


@pytest.mark.parametrize(
    "name",
    ["missing/copy.db", "a\0b", "x" * 300, "x" * 10**5, f"{'y' * 10**5}/copy.db", 7, None, b"\xff", 1.5],
)
def test_a_place_where_no_file_can_be_made_is_refused(filled, tmp_path, name):
    with pytest.raises((InvalidInput, StoreUnavailable)) as caught:
        filled.backup(tmp_path / name if isinstance(name, str) else name)
    assert len(str(caught.value)) < 1000


def test_a_closed_store_is_not_backed_up(filled, target):
    filled.close()
    with pytest.raises(StoreClosed):
        filled.backup(target)


def damaged(statement):
    def damage(raw):
        with raw(unguarded=True) as connection:
            connection.execute(statement)

    return damage


def index_damaged(raw):
    """Flip a bit of the name of a stream in its index; SQLite reads the file as before."""
    with raw() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'events_by_stream'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (file,) = [row[2] for row in connection.execute("PRAGMA database_list")]
    with Path(file).open("r+b") as bytes_of:
        bytes_of.seek((page - 1) * size)
        content = bytes_of.read(size)
        bytes_of.seek((page - 1) * size + content.rindex(b"refund-a"))
        bytes_of.write(b"refund-c")


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (damaged("UPDATE events SET data = replace(data, '1', '3')"), EventCorrupt),
        (damaged("UPDATE events SET digest = zeroblob(32) WHERE position = 2"), EventCorrupt),
        (damaged("DELETE FROM events WHERE position = 2"), EventMissing),
        (damaged("UPDATE bodies SET content = x'00'"), CorruptLog),
        (damaged("UPDATE bodies SET salt = 7"), CorruptLog),
        (damaged("UPDATE keys SET last = 9"), EventMissing),
        (index_damaged, CorruptLog),
    ],
    ids=["data", "digest", "position", "body", "salt", "head", "index"],
)
def test_a_damaged_store_has_no_backup(filled, target, raw, damage, error):
    damage(raw)
    with pytest.raises(error):
        filled.backup(target)
    assert list(target.parent.iterdir()) == []


KILLED = """
import os, signal, sys
from refold.eventstore import SqliteStore
from refold.eventstore.sqlite import backup
backup._STEPS = 10

def kill(step, done, total):
    if step == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

SqliteStore(sys.argv[1]).backup(sys.argv[2], on_progress=kill)
"""


@pytest.mark.parametrize("step", ["copying", "checking"])
def test_a_backup_that_is_killed_leaves_nothing_of_its_name_and_can_be_made_again(filled, target, step):
    done = subprocess.run([sys.executable, "-c", KILLED, filled.path, target, step], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert {file.suffix for file in target.parent.iterdir()} <= {".partial", ".partial-journal"}
    assert filled.backup(target).events == 3


# ---- while others write


def test_a_backup_made_while_others_write_is_the_beginning_of_the_log(open_store, target):
    store, stop = open_store(), threading.Event()

    def write(stream):
        number = 0
        while not stop.is_set():
            store.append(Write(stream, number, [event(number)]), bodies=[kept(os.urandom(2_000))])
            number += 1

    writers = [threading.Thread(target=write, args=(f"refund-{name}",)) for name in "abc"]
    for writer in writers:
        writer.start()
    made = []
    for number in range(5):
        while store.head() < 20 * (number + 1):
            pass
        path = target.with_name(f"{number}.db")
        made.append((path, store.backup(path)))
    stop.set()
    for writer in writers:
        writer.join(20)
    log = list(store.read_all())
    for path, report in made:
        copy = SqliteStore(path, read_only=True)
        assert list(copy.read_all()) == log[: report.head]
        copy.close()
    assert made[-1][1].head > made[0][1].head >= 20


def test_a_writer_waits_for_no_backup(filled, target, append):
    seen = []

    def meanwhile(step, *_):
        if not seen:
            seen.append(append(filled, 1).first)

    # SQLite is inside the copy when this is called.
    backup_steps = backup._STEPS
    backup._STEPS = 10
    try:
        assert filled.backup(target, on_progress=meanwhile).events == 3
    finally:
        backup._STEPS = backup_steps
    assert seen == [4]


def test_what_is_put_in_the_place_of_a_store_is_that_store(filled, target, path):
    filled.backup(target)
    filled.close()
    for file in path.parent.glob("log.db*"):
        file.unlink()
    target.rename(path)
    store = SqliteStore(path)
    assert store.head() == 3
    assert store.append(Write("refund-a", 3, [event(3)])) == (4, 4, False)
    store.close()
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)
