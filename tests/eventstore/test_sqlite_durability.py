"""How the SQLite store waits for the disk, folds its write-ahead log back, and erases."""

import shutil
import sqlite3
from contextlib import closing, nullcontext

import pytest
from structlog.testing import capture_logs
from totals import TOTALS

from refold.engine.errors import InvalidSetting, MessageNotFound, UnsafeDurability
from refold.engine.ports import Appended, Body, NewEvent, Upsert, Write
from refold.eventstore import SqliteStore
from refold.eventstore.sqlite import connection as connections
from refold.eventstore.sqlite import folding

SECRET = Body("a" * 64, b"SALT-OF-THE-BODY", "{}", b"CARDHOLDER NAME " * 1000)

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


LARGE = {
    "bodies": lambda store, append, digest: append(
        store, bodies=[SECRET._replace(digest=digest, content=bytes(200_000))]
    ),
    "headers": lambda store, append, digest: append(
        store, bodies=[SECRET._replace(digest=digest, headers="h" * 200_000)]
    ),
    "data": lambda store, append, digest: store.append(
        Write(f"refund-{digest}", 0, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "d" * 200_000)])
    ),
}


@pytest.mark.parametrize("at_once", [1, 10], ids=["alone", "in batches"])
@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE.keys())
def test_what_is_large_does_not_let_the_write_ahead_log_grow(path, store, append, at_once, large):
    for number in range(0, 100, at_once):
        with store.batch() if at_once > 1 else nullcontext():
            for each in range(number, number + at_once):
                large(store, append, f"{each:064x}")
    assert path.with_name("log.db-wal").stat().st_size < 12_000_000


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


def test_an_open_reader_does_not_keep_the_log_from_being_folded_back(path, tmp_path, store, append):
    append(store, 1000)
    reader = store.read_all()
    next(reader)
    append(store)
    store.checkpoint()
    assert copied_alone(path, tmp_path) == 1001
    assert sum(1 for _ in reader) == 999
