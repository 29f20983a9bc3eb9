"""The SQLite store: one write connection behind a lock, a read connection for each thread."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlite_utils.db import Database

from ...engine.errors import (
    KeyReuse,
    MessageNotFound,
    OutcomeUnknown,
    StoreClosed,
    StoreReadOnly,
    StoreUnavailable,
)
from ...engine.ports import Appended, Body, StoredEvent
from ..codec import checked, content_digest, stored_events
from . import schema, views
from .connection import check_durable, connect, translated, translation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...engine.ports import Change, Difference, Row, Value, View, Write
    from .connection import Durability

_CHECKPOINT_AFTER: Final = 5_000
"""Changed rows after which the write-ahead log is folded back into the file: some 20 MB of log."""
_COLUMNS: Final = "SELECT position, stream, version, type, time, data, digest FROM events"
_BY_VERSION: Final = _COLUMNS + " WHERE stream = ? AND version > ? ORDER BY version"
_BY_POSITION: Final = _COLUMNS + " WHERE position > ? ORDER BY position"
# The unary plus keeps SQLite on the order of positions: through the stream index it would have to sort, in memory.
_BY_CATEGORY: Final = _COLUMNS + " WHERE +stream >= ? AND +stream < ? AND position > ? ORDER BY position"
_NEXT_STREAM: Final = "SELECT min(stream) FROM events WHERE stream > ? AND stream < ?"
_VERSION: Final = "SELECT max(version) FROM events WHERE stream = ?"
_HEAD: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
_KEY: Final = "SELECT digest, first, last FROM keys WHERE key = ?"
_BODY: Final = "SELECT digest, salt, headers, content FROM bodies WHERE digest = ?"
_INSERT_EVENT: Final = (
    "INSERT INTO events (position, stream, version, type, time, data, digest) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_KEY: Final = "INSERT INTO keys (key, digest, first, last) VALUES (?, ?, ?, ?)"
_INSERT_BODY: Final = "INSERT OR IGNORE INTO bodies (digest, salt, headers, content) VALUES (?, ?, ?, ?)"
_NEW: Final = "__new"


class SqliteStore:
    """An `EventStore` in one SQLite file.

    Commits wait for the disk (WAL, synchronous=FULL, read back at open and before every batch of writes); writers
    take the write lock first (BEGIN IMMEDIATE), in this process and in others.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        views: Sequence[View] = (),
        timeout_s: float = 5.0,
        durability: Durability = "full",
        read_only: bool = False,
        create: bool = True,
    ) -> None:
        """Open the file, creating or migrating it where needed.

        Args:
            path: the file; `-wal` and `-shm` lie beside it.
            views: the tables to keep beside the log.
            timeout_s: how long to wait for another writer.
            durability: "relaxed" gives up waiting for the disk at each commit; a power cut then loses events.
            read_only: refuse every write.
            create: whether a missing file is created.

        Raises:
            StoreUnavailable: no such file, or not a refold store.
            StoreReadOnly, UnsafeDurability, SchemaTooNew: as they say.
        """
        self.path = Path(path)
        self._views = tuple(views)
        self._timeout_s = timeout_s
        self._durability: Durability = durability
        self._read_only = read_only
        self._lock = threading.RLock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._batch_of: int | None = None
        self._checkpointed = 0
        self._closed = False
        self._log = structlog.get_logger("refold.store")
        if (read_only or not create) and not self.path.exists():
            raise StoreUnavailable(f"there is no store at {self.path}; `refold ingest` makes one")
        self._writer = self._connect()
        try:
            with translated(self.path, timeout_s):
                self.views_stale = self._prepare()
        except BaseException:
            self._writer.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        return connect(
            self.path, timeout_s=self._timeout_s, read_only=self._read_only, durability=self._durability
        )

    def _prepare(self) -> bool:
        """Migrate, and create the views whose definition is new; tell whether they must be rebuilt."""
        db = Database(self._writer, execute_plugins=False)
        schema.schema_version(db)
        if self._read_only:
            return False
        schema.migrate(db)
        kept = {row["name"]: row["definition"] for row in db["views"].rows}
        stale = [view for view in self._views if kept.get(view.name) != views.definition(view)]
        if not stale:
            return False
        with db.atomic():
            for view in self._views:
                db[view.name].drop(ignore=True)  # type: ignore[union-attr]
                views.create(db, view)
                views.create_indexes(db, view)
                row = {"name": view.name, "definition": views.definition(view)}
                db["views"].insert(row, replace=True)  # type: ignore[union-attr]
        return self.head() > 0

    # ---- writing

    def append(
        self,
        *writes: Write,
        key: str | None = None,
        content: str | None = None,
        bodies: Sequence[Body] = (),
        changes: Sequence[Change] = (),
    ) -> Appended:
        """Append all writes, bodies and view changes, or nothing; durable when it returns."""
        digest = content_digest(writes, content) if key is not None else b""
        with self._writing(key) as connection:
            if key is not None:
                known = connection.execute(_KEY, (key,)).fetchone()
                if known is not None:
                    if known[0] != digest:
                        raise KeyReuse(key, known[0].hex(), digest.hex())
                    return Appended(known[1], known[2], duplicate=True)
            head = _one(connection, _HEAD) or 0
            events = list(stored_events(writes, head, lambda stream: _one(connection, _VERSION, stream) or 0))
            connection.executemany(_INSERT_EVENT, events)
            if key is not None:
                connection.execute(_INSERT_KEY, (key, digest, head + 1, head + len(events)))
            if bodies:
                connection.executemany(_INSERT_BODY, bodies)
            views.apply(connection, changes)
            return Appended(head + 1, head + len(events))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Make this thread's appends in the block one transaction; other writers wait for its end."""
        with self._writing(None):
            self._batch_of = threading.get_ident()
            try:
                yield
            finally:
                self._batch_of = None

    @contextmanager
    def _writing(self, key: str | None) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._batch_of is not None:
                with translated(self.path, self._timeout_s):
                    yield self._writer
                return
            if self._closed:
                raise StoreClosed
            if self._read_only:
                raise StoreReadOnly(str(self.path))
            connection = self._writer
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.Error):
                    raise translation(error, self.path, self._timeout_s) from error
                raise
            self._commit(connection, key)

    def _commit(self, connection: sqlite3.Connection, key: str | None) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            # After a failed write or fsync the pages in memory are not to be trusted: start from the file again.
            self._reopen()
            raise OutcomeUnknown(key) from error
        if connection.total_changes - self._checkpointed >= _CHECKPOINT_AFTER:
            self.checkpoint()

    def _roll_back(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._reopen()

    def _reopen(self) -> None:
        self._writer.close()
        self._writer = self._connect()
        self._checkpointed = 0

    def erase_body(self, digest: str) -> bool:
        """Erase a message body and its salt for good; tell whether it was there."""
        with self._writing(None) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            return connection.execute("DELETE FROM bodies WHERE digest = ?", (digest,)).rowcount > 0

    # ---- reading

    def settle(self, key: str) -> Appended | None:
        """Tell whether the append of that key happened, reading afresh."""
        found = self._first(_KEY, key)
        return Appended(found[1], found[2]) if found else None

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        found = self._first(_HEAD)
        return found[0] if found else 0

    def version(self, stream: str) -> int:
        """Return the stream's version; 0 where it does not exist."""
        found = self._first(_VERSION, stream)
        return (found[0] or 0) if found else 0

    def read_stream(self, stream: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield a stream's events in order, those with a version above `after`."""
        return self._events(_BY_VERSION, (stream,), after, 2)

    def read_all(self, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield all events in the order of positions, those above `after`."""
        return self._events(_BY_POSITION, (), after, 0)

    def read_category(self, category: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield the events of all streams `category-…` in the order of positions, those above `after`."""
        return self._events(_BY_CATEGORY, (f"{category}-", f"{category}."), after, 0)

    def streams(self, category: str) -> Iterator[str]:
        """Yield the names of all streams `category-…`, sorted."""
        name, end = f"{category}-", f"{category}."
        while True:
            found = self._first(_NEXT_STREAM, name, end)
            if found is None or found[0] is None:
                return
            name = found[0]
            yield name

    def body(self, digest: str) -> Body:
        """Return a message body."""
        found = self._first(_BODY, digest)
        if found is None:
            raise MessageNotFound(digest)
        return Body(*found)

    def _events(self, sql: str, fixed: tuple[str, ...], after: int, counter: int) -> Iterator[StoredEvent]:
        reader = self._reader()
        try:
            with translated(self.path, self._timeout_s):
                for values in reader.execute(sql, (*fixed, after)):
                    event = checked(StoredEvent._make(values))
                    yield event
                    after = values[counter]
        except StoreUnavailable as error:
            if "UTF-8" not in str(error):
                raise
        else:
            return
        # A flipped bit can leave text that is no UTF-8: read on without decoding, so that the digest finds it.
        with connect(self.path, timeout_s=self._timeout_s, read_only=True, durability="full") as tolerant:
            tolerant.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            for values in tolerant.execute(sql, (*fixed, after)):
                yield checked(StoredEvent._make(values))

    def _first(self, sql: str, *arguments: Value) -> tuple[Any, ...] | None:
        reader = self._reader()
        with translated(self.path, self._timeout_s):
            found: tuple[Any, ...] | None = reader.execute(sql, arguments).fetchone()
            return found

    def _reader(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreClosed
        if self._batch_of == threading.get_ident():
            return self._writer
        reader: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = self._connect()
            with self._lock:
                self._readers.append(reader)
        return reader

    # ---- views

    def row(self, view: View, key: tuple[Value, ...]) -> Row | None:
        """Return one row of a view."""
        values = self._first(views.statements(view, view.name).row, *key)
        return None if values is None else dict(zip(view.names(), values, strict=True))

    def rows(
        self,
        view: View,
        *,
        where: Mapping[str, Value] | None = None,
        order: str | None = None,
        after: Value = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows whose columns equal `where`, ordered by one unique column (default: the key), above `after`."""
        equal = where or {}
        sql = views.selection(view, tuple(equal), order, after=after is not None, limited=limit is not None)
        arguments = (*equal.values(), *(value for value in (after, limit) if value is not None))
        names = view.names()
        with translated(self.path, self._timeout_s):
            for values in self._reader().execute(sql, arguments):
                yield dict(zip(names, values, strict=True))

    def rebuild(self, views_: Sequence[View], changes: Iterable[Change]) -> list[Difference]:
        """Fill new tables from `changes`, compare them with the live ones, swap, and return every difference."""
        with self.batch():
            connection = self._writer
            db = Database(connection, execute_plugins=False)
            for view in views_:
                db[view.name + _NEW].drop(ignore=True)  # type: ignore[union-attr]
                views.create(db, view, _NEW)
            views.apply(connection, changes, _NEW)
            found = [each for view in views_ for each in views.differences(connection, view, _NEW)]
            for view in views_:
                db[view.name].drop()  # type: ignore[union-attr]
                db.rename_table(view.name + _NEW, view.name)
                views.create_indexes(db, view)
        self.views_stale = False
        return found

    # ---- the rest

    def describe(self) -> Mapping[str, str]:
        """Return what an operator wants to know."""
        with self._lock, translated(self.path, self._timeout_s):
            pragma = {name: str(_one(self._writer, sql)) for name, sql in _PRAGMAS.items()}
        return {
            "store": "sqlite",
            "file": str(self.path),
            "bytes": str(self.path.stat().st_size),
            "events": str(self.head()),
            "durability": self._durability,
            "sqlite": sqlite3.sqlite_version,
            **pragma,
        }

    def check_durable(self) -> None:
        """Read the pragmas of the write connection back. Raises `UnsafeDurability`."""
        with self._lock, translated(self.path, self._timeout_s):
            check_durable(self._writer, 2 if self._durability == "full" else 1)

    def checkpoint(self) -> None:
        """Fold the write-ahead log back into the file as far as readers allow; a failure is logged as `store.degraded`.

        The events are safe in the write-ahead log either way: a failure never undoes an append.
        """
        with self._lock:
            if self._batch_of is not None or self._closed or self._read_only:
                return
            self._checkpointed = self._writer.total_changes
            try:
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:
                self._log.warning("store.degraded", file=str(self.path), error=str(error))

    def close(self) -> None:
        """Fold the write-ahead log back and release all connections; calling it again does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                if not self._read_only:
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                self._log.warning("store.degraded", file=str(self.path), error=str(error))
            finally:
                for connection in (*self._readers, self._writer):
                    connection.close()


def _one(connection: sqlite3.Connection, sql: str, *arguments: Value) -> Any:  # noqa: ANN401 - SQLite decides
    found = connection.execute(sql, arguments).fetchone()
    return found[0] if found else None


_PRAGMAS: Final = {
    "journal_mode": "PRAGMA journal_mode",
    "synchronous": "PRAGMA synchronous",
    "page_count": "PRAGMA page_count",
}
