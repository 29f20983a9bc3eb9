"""The PostgreSQL store: the log, its idempotency keys, the message bodies and the views in one schema of a database."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from ...engine.errors import (
    StoreReadOnly,
    StoreUnavailable,
    WrongProcess,
)
from ..declared import check_views
from ..reading import Reading
from ..request import requested
from ..rows import live_rows
from . import leases, log, rows, schema
from . import views as tables
from .address import Address
from .connection import Connection, check_setting, translated
from .readers import Readers
from .rebuilding import PostgresRebuilding
from .subscribing import PostgresSubscribing
from .waiting import Waiting
from .writer import Writer, lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from psycopg import sql

    from ...engine.ports import Appended, Body, Change, Lease, Row, Value, View, Write
    from .connection import Durability

_PAGE: Final = 256
"""Rows read at once."""


class PostgresStore(Reading[Connection], PostgresSubscribing, PostgresRebuilding):
    """An `EventStore` in one schema of a PostgreSQL database.

    Commits wait for the disk, and for the standbys the server has (read back whenever a connection is opened for
    writing); the row of the head keeps writers apart, in this process and in others. Reads never wait for writers.
    """

    _log = log

    def __init__(
        self,
        url: str,
        *,
        views: Sequence[View] = (),
        timeout_s: float = 5.0,
        durability: Durability = "full",
        read_only: bool = False,
        create: bool = True,
    ) -> None:
        """Connect, creating or migrating the tables where needed.

        Args:
            url: `postgresql://user:password@host:port/database`; the tables lie in the first schema of its search_path.
            views: the tables to keep beside the log.
            timeout_s: how long to wait for another writer, and for a connection.
            durability: "relaxed" gives up waiting for the disk at each commit; a power cut then loses events.
            read_only: refuse every write.
            create: whether missing tables are created.

        Raises:
            InvalidSetting: the URL is none.
            StoreUnavailable: no such server, no store there, or a role that lacks some grants.
            StoreReadOnly, UnsafeDurability, SchemaTooNew: as they say; nothing was changed.
        """
        check_setting(durability)
        check_views(views)
        self._address = Address(url, timeout_s=timeout_s)
        self._process = os.getpid()
        self._views = tuple(views)
        self._timeout_s = timeout_s
        self._durability: Durability = durability
        self._writer: Writer | None = None
        self._readers = Readers(self._address, timeout_s=timeout_s)
        self._waiting = Waiting(self._readers, timeout_s=timeout_s)
        try:
            if read_only:
                self._look()
            else:
                self._writer = Writer(self._address, timeout_s=timeout_s, durability=durability)
                self._open(create=create)
        except BaseException:
            self.close()
            raise

    def _look(self) -> None:
        """Check what a reader finds."""
        with self._reading() as connection:
            if not schema.applied(connection):
                raise self._none_there()

    def _open(self, *, create: bool) -> None:
        """Check what a writer finds, and prepare what is missing."""
        with self._reading() as connection:
            there = schema.applied(connection)
            if not there and not create:
                raise self._none_there()
            if there:
                schema.check_may_write(connection, str(self._address), self._views)
            ready = schema.is_current(connection) and not tables.stale(connection, self._views)
        if not ready:
            self._prepare()

    def _none_there(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"there is no store at {self._address}; `refold request`, `refold register` or `refold ingest` makes one"
        )

    def _prepare(self) -> None:
        """Migrate, and where the log is empty create the views; others must be rebuilt.

        Tables of another version stay as they are until then, for those that have the store open.

        Raises:
            StoreUnavailable: a table is none of ours, or something of somebody else's hangs on it.
        """
        with self._checked_writer().transaction(locked=False) as connection, self._translated():
            schema.migrate(connection)
            lock(connection)
            changed = tables.stale(connection, self._views)
            tables.keep_to_own_schema(connection)
            tables.check_replaceable(connection, changed)
            if log.head(connection) == 0 and log.first_missing(connection) is None:
                tables.recreate(connection, changed)

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
        # Both are read here: what they raise is for this caller alone, not for those who share the commit.
        request = requested(writes, key, content, bodies, changes)
        return self._checked_writer().append(request)

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
            return log.erase_body(connection, digest)

    def _writing(self) -> AbstractContextManager[Connection]:
        return self._checked_writer().transaction()

    def _checked_writer(self) -> Writer:
        self._check_process()
        if self._writer is None:
            self._readers.check_open()
            raise StoreReadOnly(str(self._address))
        return self._writer

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._address, self._timeout_s)

    def _check_open(self) -> None:
        self._check_process()
        self._readers.check_open()

    def _check_process(self) -> None:
        process = os.getpid()
        if process != self._process:  # two processes on one connection would read each other's answers
            raise WrongProcess(self._process, process)

    # ---- reading

    def settle(self, key: str) -> Appended | None:
        """Tell whether the append of that key happened, waiting for those the server has begun."""
        with self._reading() as connection:
            found = log.settled(connection, key)
            # A batch of this thread keeps the others out: to wait for them would be without end.
            if found is None and self._writer is not None and self._writer.owned() is None:
                found = log.settled_for_good(connection, key)
        return found

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Give this thread's own transaction, where one is open, else a connection nobody else reads from."""
        self._check_process()
        own = None if self._writer is None else self._writer.owned()
        if own is None:
            with self._readers.one() as connection:
                yield connection
        else:
            with self._translated():
                yield own

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
        nones = tuple((name, value is None) for name, value in equal.items())
        select = rows.selection(view, nones, order, after=after is not None)
        given = tuple(value for value in (*equal.values(), after) if value is not None)
        self._check_open()
        return self._rows(view, select, (view.definition(), *given), limit)

    def _rows(
        self, view: View, select: sql.Composed, bound: tuple[Value, ...], limit: int | None
    ) -> Iterator[Row]:
        own = self._writer is not None and self._writer.owned() is not None
        # The batch may be over before the rows are read: take them now.
        at_once = limit if own or (limit is not None and limit <= _PAGE) else _PAGE + 1
        with self._reading() as connection, tables.of_this_version(view):
            found = connection.execute(select, (*bound, at_once, view.name)).fetchall()
        whole = own or limit == at_once or len(found) <= _PAGE
        yield from live_rows(
            view, found if whole else self._streamed(view, select, (*bound, limit, view.name))
        )

    def _streamed(
        self, view: View, select: sql.Composed, bound: tuple[Value, ...]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield rows page by page, all as they are at one moment."""
        with (
            self._readers.one() as connection,
            connection.transaction(),
            connection.cursor(name="refold_rows") as cursor,
        ):
            cursor.itersize = _PAGE
            with tables.of_this_version(view):
                cursor.execute(select, bound)
            yield from cursor

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
        with self._reading() as connection:
            server, taken = log.server_and_bytes(connection)
        kept = self._writer.settings()._asdict() if self._writer is not None else {}
        return {
            "store": "postgresql",
            "place": str(self._address),
            "bytes": str(taken),
            "events": str(self.head()),
            "durability": self._durability,
            **(kept or {"synchronous_commit": "not asked: read-only"}),
            "postgresql": server,
        }

    def checkpoint(self) -> None:
        """Do nothing: the server folds its write-ahead log by itself."""
        self._check_open()

    def close(self) -> None:
        """Release all connections; calling it again, or in a process that was forked off, does nothing."""
        if os.getpid() != self._process:
            return
        with ExitStack() as closing:
            if self._writer is not None:
                closing.enter_context(self._writer.closing())
            self._readers.close()
