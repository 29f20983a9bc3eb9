"""The SQLite store: the log, its idempotency keys, the message bodies and the views in one file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from ...engine.errors import (
    RowCorrupt,
    StoreReadOnly,
    StoreUnavailable,
)
from ..declared import check_views
from ..reading import Reading
from ..request import requested
from ..rows import live_rows
from . import backup, leases, log, place, schema
from . import views as tables
from .connection import check_setting, rows_as_kept, translated
from .forking import Forks
from .readers import Readers
from .rebuilding import SqliteRebuilding
from .subscribing import SqliteSubscribing
from .writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from ...engine.ports import Appended, Body, Change, Lease, Row, Value, View, Write
    from ...engine.ports.backup import Backup, OnProgress
    from .connection import Durability


class SqliteStore(Reading[sqlite3.Connection], SqliteSubscribing, SqliteRebuilding):
    """An `EventStore` in one SQLite file.

    Commits wait for the disk (WAL, synchronous=FULL, read back whenever the file is opened for writing); writers take
    the write lock first (BEGIN IMMEDIATE), in this process and in others. Reads never wait for writers.
    """

    _log = log

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
            path: the file; `-wal`, `-shm` and `-lock` lie beside it, also where the path is a link to it.
            views: the tables to keep beside the log.
            timeout_s: how long to wait for another writer.
            durability: "relaxed" gives up waiting for the disk at each commit; a power cut then loses events.
            read_only: refuse every write.
            create: whether a missing file is created.

        Raises:
            StoreUnavailable: no such file, or not a refold store.
            StoreReadOnly, UnsafeDurability, SchemaTooNew: as they say; no byte of the file was changed.
        """
        check_setting(durability)
        check_views(views)
        self.path = place.real(path)
        self._views = tuple(views)
        self._timeout_s = timeout_s
        self._durability: Durability = durability
        self._forks = Forks(self.path)
        self._readers = Readers(self.path, timeout_s=timeout_s)
        self._writer: Writer | None = None
        try:
            self._open(read_only=read_only, create=create and not read_only)
            self._forks.opened(*(part for part in (self._writer, self._readers) if part is not None))
        except BaseException:
            self.close()
            raise

    def _open(self, *, read_only: bool, create: bool) -> None:
        there = place.holds_a_file(self.path)
        if there:
            with self._readers.one() as connection:
                there = schema.applied(connection) > 0
        if not there and not create:
            raise StoreUnavailable(
                f"there is no store at {self.path}; `refold request`, `refold register` or `refold ingest` makes one"
            )
        if read_only:
            return
        if there and not os.access(self.path, os.W_OK):
            raise StoreReadOnly(str(self.path))
        self._writer = Writer(
            self.path, timeout_s=self._timeout_s, durability=self._durability, create=not there
        )
        with self._readers.one() as connection:
            ready = schema.is_current(connection) and not tables.stale(connection, self._views)
        if not ready:
            self._prepare()

    def _prepare(self) -> None:
        """Migrate, and where the log is empty create the views; others must be rebuilt.

        Tables of another version stay as they are until then, for those that have the store open.
        """
        with self._writing() as connection, self._translated():
            schema.migrate(connection)
            if log.head(connection) == 0 and log.first_missing(connection) is None:
                tables.recreate(connection, tables.stale(connection, self._views))

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
        return self._checked_writer().append(requested(writes, key, content, bodies, changes))

    @property
    def in_batch(self) -> bool:
        """Whether a batch of this thread is open."""
        return self._writer is not None and self._writer.owned() is not None

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Make this thread's appends in the block one transaction; other writers wait for its end."""
        with self._writing():
            yield

    def erase_body(self, digest: str) -> bool:
        """Erase a message body and its salt for good; tell whether it was there."""
        with self._writing() as connection, self._translated():
            self._checked_writer().empty_log()
            return log.erase_body(connection, digest)

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._checked_writer().transaction()

    def _checked_writer(self) -> Writer:
        if self._writer is None:
            self._readers.check_open()
            raise StoreReadOnly(str(self.path))
        return self._writer

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.path, self._timeout_s)

    # ---- reading

    def settle(self, key: str) -> Appended | None:
        """Tell whether the append of that key happened, reading afresh; from then on that stays so."""
        writer = self._writer
        if writer is None or writer.owned() is not None:
            return self._settled(key)
        found = self._settled(key) if writer.is_sure() else None
        if (
            found is None
        ):  # a process that ended in its commit may have left it behind, where nobody finds it yet
            writer.make_sure(key)
            found = self._settled(key)
        return found

    def _settled(self, key: str) -> Appended | None:
        with self._reading() as connection:
            known = log.known(connection, key)
        return None if known is None else known[1]

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give this thread's own transaction, where one is open, else a connection nobody else reads from."""
        own = self._owned()
        return self._readers.one() if own is None else self._reading_own(own)

    @contextmanager
    def _reading_own(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with self._translated():
            yield connection

    def _check_open(self) -> None:
        self._readers.check_open()

    def _owned(self) -> sqlite3.Connection | None:
        return None if self._writer is None else self._writer.owned()

    # ---- views

    def row(self, view: View, key: tuple[Value, ...]) -> Row | None:
        """Return one row of a view."""
        with self._reading() as connection, tables.of_this_version(view):
            return tables.row(connection, view, key)

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
        sql = tables.selection(view, tuple(equal), order, after=after is not None, limited=limit is not None)
        given = () if after is None else (after,)
        most = () if limit is None else (limit,)
        self._readers.check_open()
        if limit == 0:  # the table may be of another version all the same
            next(self._rows(view, sql, (view.definition(), *equal.values(), *given, view.name, 1)), None)
            return iter(())
        return self._rows(view, sql, (view.definition(), *equal.values(), *given, view.name, *most))

    def _rows(self, view: View, sql: str, arguments: tuple[Value, ...]) -> Iterator[Row]:
        own = self._owned()
        if own is not None:  # The batch may be over before the rows are read: take them now.
            with self._translated(), tables.of_this_version(view):
                found = rows_as_kept(own, sql, arguments)
            yield from live_rows(view, found)
            return
        told, last = 0, None
        try:
            for row in self._rows_as_they_come(view, sql, arguments):
                yield row
                told, last = told + 1, row
        except RowCorrupt:
            rows = self._rows_after(view, sql, arguments, told, last)
        else:
            return
        yield from rows

    def _rows_after(
        self, view: View, sql: str, arguments: tuple[Value, ...], told: int, last: Row | None
    ) -> Sequence[Row]:
        """Return the rows behind the last one that was told, text that is no UTF-8 with lone surrogates.

        Raises:
            RowCorrupt: the rows before it are others by now.
        """
        with self._readers.one() as connection, tables.of_this_version(view):
            rows = list(live_rows(view, rows_as_kept(connection, sql, arguments)))
        if told and (len(rows) < told or rows[told - 1] != last):
            raise RowCorrupt(view.name)
        return rows[told:]

    def _rows_as_they_come(self, view: View, sql: str, arguments: tuple[Value, ...]) -> Iterator[Row]:
        with (
            self._readers.one() as connection,
            tables.of_this_version(view),
            closing(connection.execute(sql, arguments)) as cursor,
        ):
            for row in live_rows(view, cursor):
                yield row
                self._readers.check_here()

    def rows_of_any_version(self, view: View, *, where: Mapping[str, Value]) -> Iterator[Row]:
        """Yield rows of a view's table whichever version has made it: columns it does not have are None."""
        with self._reading() as connection:
            found = tables.rows_of_any_version(connection, view, where)
        yield from found

    # ---- leases

    def claim(self, name: str, *, holder: str, now: str, until: str) -> int | None:
        """Take the lease of that name; None where another one has not ended."""
        with self._writing() as connection, self._translated():
            return leases.claim(connection, name, holder, now, until)

    def lease(self, name: str) -> Lease | None:
        """Return the lease of that name as it was taken; None where it was given back."""
        with self._reading() as connection:
            return leases.held(connection, name)

    def release(self, token: int) -> None:
        """End the lease of that token; where it has ended, or was taken by another, nothing."""
        with self._writing() as connection, self._translated():
            leases.release(connection, token)

    # ---- the rest

    def describe(self) -> Mapping[str, str]:
        """Return what an operator wants to know."""
        synchronous = self._writer.synchronous() if self._writer is not None else "not asked: read-only"
        with self._reading() as connection:
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
        return {
            "store": "sqlite",
            "file": str(self.path),
            "bytes": str(pages * size),
            "events": str(self.head()),
            "durability": self._durability,
            "journal_mode": journal,
            "synchronous": synchronous,
            "sqlite": sqlite3.sqlite_version,
        }

    def backup(self, target: str | os.PathLike[str], *, on_progress: OnProgress | None = None) -> Backup:
        """Copy the store into a new file while others write, and read the copy completely before it gets its name.

        The arguments and errors are those of `RefundEngine.backup`.
        """
        with self._readers.one() as connection:
            return backup.make(connection, target, timeout_s=self._timeout_s, on_progress=on_progress)

    def checkpoint(self) -> None:
        """Fold the write-ahead log back into the file as far as readers allow; a failure is logged as `store.degraded`.

        The events are safe in the write-ahead log either way: a failure never undoes an append.
        """
        self._readers.check_open()
        if self._writer is not None:
            self._writer.fold()

    def close(self) -> None:
        """Fold the write-ahead log back and release all connections; again, or in a forked child, do nothing."""
        if not self._forks.is_here():
            return
        with self._writer.closing() if self._writer is not None else nullcontext():
            self._readers.close()
