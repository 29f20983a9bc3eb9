"""Rebuilding the views of the SQLite store: the new tables, and what outlines put into them.

Threads of their own work the outlined rows out, part of the streams by part, each on a connection that reads; SQLite
lets them run side by side. The writer's connection takes a finished part over as a database in memory.
"""

from __future__ import annotations

import os
import sqlite3
from abc import abstractmethod
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from sqlite_utils.db import Database

from ...engine.errors import InvalidInput
from .. import outlining
from ..rebuilding import NUMBER, Rebuilding
from . import outlines, views
from .writer import BESIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from ...engine.ports import Change, Difference, Row, Value, View
    from ...engine.ports.projecting import Outline, Projection
    from ..outlining import Part
    from .readers import Readers
    from .writer import Writer

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

_NEW: Final = "__new"
_LAST: Final = "SELECT definition FROM views WHERE name = ?"
_ATTACH: Final = f"ATTACH ':memory:' AS {BESIDE}"
_DETACH: Final = f"DETACH {BESIDE}"
_MALFORMED: Final = "malformed JSON"
"""What SQLite says of data that it cannot read."""
_KEEP_BYTES: Final = "PRAGMA secure_delete = OFF"
"""For a table of a view: it holds nothing that the log does not go on holding."""
_RENAME_PLAINLY: Final = "PRAGMA legacy_alter_table = ON"
_RENAME_CHECKED: Final = "PRAGMA legacy_alter_table = OFF"
_OVERWRITE: Final = "PRAGMA secure_delete = ON"
_MAPPED: Final = f"PRAGMA mmap_size = {2**40}"
"""Lets a thread that reads all over the file find its pages without copying each."""
_UNMAPPED: Final = "PRAGMA mmap_size = 0"
_THREADS: Final = max(1, min(4, (os.cpu_count() or 1)))
_AHEAD: Final = _THREADS + 1
"""Parts that are worked out or wait for the writer, each a few megabytes."""


# ---- the new tables


class _Tables:
    """The tables beside the live ones."""

    stale = staticmethod(views.stale)

    @staticmethod
    def create(connection: sqlite3.Connection, declared: Iterable[View]) -> None:
        """Make the live tables of views that have no definition, empty."""
        views.recreate(connection, views.never_made(connection, declared))

    @staticmethod
    def are_there(connection: sqlite3.Connection, declared: Iterable[View]) -> bool:
        """Tell whether there is a new table of one of these views."""
        return not views.tables(connection).isdisjoint(view.name + _NEW for view in declared)

    @staticmethod
    def begin(connection: sqlite3.Connection, rebuilt: Iterable[View]) -> int:
        """Make empty tables, and return the number of the rebuild."""
        db = Database(connection, execute_plugins=False)
        for view in rebuilt:
            db.table(view.name + _NEW).drop(ignore=True)
            views.create(db, view, _NEW)
        number = _Tables.number(connection) + 1
        connection.execute(views.RECORD, (NUMBER, str(number)))
        return number

    @staticmethod
    def number(connection: sqlite3.Connection) -> int:
        """Return the number of the last rebuild that began."""
        found = connection.execute(_LAST, (NUMBER,)).fetchone()
        return int(found[0]) if found is not None else 0

    @staticmethod
    def fill(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
        """Apply changes to the new tables."""
        views.fill(connection, changes, _NEW)

    @staticmethod
    def index(connection: sqlite3.Connection, view: View, number: int) -> None:
        """Give a new table its indexes; their names hold the number, because the live ones have theirs."""
        views.create_indexes(Database(connection, execute_plugins=False), view, _NEW, f"_{number}")

    @staticmethod
    def rows(connection: sqlite3.Connection, view: View, where: Mapping[str, Value]) -> list[Row]:
        """Return the rows of a new table whose columns equal values."""
        return views.rows_of_any_version(connection, view, where, _NEW)

    @staticmethod
    def differences(connection: sqlite3.Connection, view: View) -> Iterator[Difference]:
        """Yield every key whose row is not the same in the live and the new table."""
        return views.differences(connection, view, _NEW)

    @staticmethod
    def can_swap(connection: sqlite3.Connection, rebuilt: Iterable[View]) -> bool:  # noqa: ARG004 - readers keep what they read
        """Tell that nobody is in the way."""
        return True

    @staticmethod
    def swap(connection: sqlite3.Connection, rebuilt: Iterable[View]) -> bool:
        """Put the new tables in the place of the live ones."""
        db = Database(connection, execute_plugins=False)
        try:
            connection.execute(_KEEP_BYTES)
            connection.execute(_RENAME_PLAINLY)
            for view in rebuilt:
                db.table(view.name).drop(ignore=True)
                db.rename_table(view.name + _NEW, view.name)
                connection.execute(views.RECORD, (view.name, view.definition()))
            return True
        finally:
            connection.execute(_OVERWRITE)
            connection.execute(_RENAME_CHECKED)

    @staticmethod
    def give_up(connection: sqlite3.Connection, rebuilt: Iterable[View]) -> None:
        """Take the new tables away."""
        db = Database(connection, execute_plugins=False)
        for view in rebuilt:
            db.table(view.name + _NEW).drop(ignore=True)


# ---- outlines


class SqliteRebuilding(Rebuilding):
    """The part of the SQLite store that rebuilds its views."""

    _new = _Tables()
    _readers: Readers
    _writer: Writer | None

    def _filling(self, beside: bytes | None = None) -> AbstractContextManager[sqlite3.Connection]:
        return self._checked_writer().transaction(lasting=False, beside=beside)

    @abstractmethod
    def _checked_writer(self) -> Writer:
        """Return the writer. Raises `StoreReadOnly`."""

    def _outlined(self, number: int, projection: Projection, upto: int) -> Mapping[str, Sequence[str]]:
        writer = self._writer
        # A batch of this thread holds events that no other connection sees.
        if writer is None or writer.owned() is not None or not hasattr(sqlite3.Connection, "serialize"):
            return {}
        left: dict[str, Sequence[str]] = {}
        with self._readers.one() as connection:
            found = (
                connection.execute(outlines.AT, (position,)).fetchone()
                for position in outlining.samples(upto)
            )
            sampled = [stream for (stream,) in filter(None, found)]
        for outline in projection.outlines:
            parts = outlining.parts(outline, upto, sampled)
            left[outline.category] = self._outline(number, outline, parts)
        return left

    def _outline(self, number: int, outline: Outline, parts: Sequence[Part]) -> list[str]:
        """Fill in what an outline says, and return the streams it leaves."""
        left: list[str] = []
        worked_out = _in_order(partial(self._worked_out, outline), parts)
        for part, (image, apart) in zip(parts, worked_out, strict=True):
            if image is not None and self._filled_in(number, outline, image):
                left += apart
            else:
                with self._readers.one() as connection:
                    left += [stream for (stream,) in connection.execute(outlines.STREAMS, part)]
        return left

    def _filled_in(self, number: int, outline: Outline, image: bytes) -> bool:
        """Put the rows of a part into the new tables; tell whether they could be held there."""
        try:
            with self._tables(number, beside=image) as connection, self._translated():
                for statement in outlines.statements(outline, _NEW).filling:
                    connection.execute(*statement)
        except InvalidInput:  # a sum may be too large: what becomes of it, the fold says
            return False
        return True

    def _worked_out(self, outline: Outline, part: Part) -> tuple[bytes | None, list[str]]:
        """Return the rows of a part of the streams as the bytes of a database, and the streams that are left.

        Where SQLite cannot read some data, there are no rows: only the fold can say more.
        """
        statements = outlines.statements(outline, _NEW)
        with self._readers.one() as connection:
            connection.execute(_ATTACH)
            connection.execute(_MAPPED)
            try:
                text, bound = statements.outlined
                connection.execute(text, (*bound, *part))
                left = [stream for (stream,) in connection.execute(*statements.left)]
                return connection.serialize(name=BESIDE), left
            except sqlite3.OperationalError as error:
                if _MALFORMED not in str(error):
                    raise
                return None, []
            finally:
                connection.execute(_DETACH)
                connection.execute(_UNMAPPED)


def _in_order(work: Callable[[_Given], _Made], given: Iterable[_Given]) -> Iterator[_Made]:
    """Yield what some threads make of each, in the order given, a few ahead of what is asked for."""
    ahead: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="refold-outline") as threads:
        try:
            for each in given:
                ahead.append(threads.submit(work, each))
                if len(ahead) >= _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()
