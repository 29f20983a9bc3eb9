"""The one write connection of a store: commits, what to do when they fail, and folding the write-ahead log."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from ...engine.errors import OutcomeUnknown, RefoldError, StoreClosed, StoreError, StoreUnavailable
from ...engine.ports import Appended
from ...engine.ports.process import Process
from ..grouping import Turns
from . import appending
from .connection import (
    FOREIGN,
    SET_SYNCHRONOUS,
    Identity,
    check_durable,
    is_full,
    open_writer,
    translated,
    translation,
)
from .folding import FOLD, WriteAheadLog
from .lock import FileLock
from .waiting import Commits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from ..grouping import Member
    from ..request import Request
    from .connection import Durability

    _Member: TypeAlias = Member[Request, Appended]

_TOUCH: Final = "PRAGMA user_version = 0"
"""Writes the first page as it is."""
BESIDE: Final = "part"
_ATTACH: Final = f"ATTACH ':memory:' AS {BESIDE}"
_DETACH: Final = f"DETACH {BESIDE}"


class Writer:
    """Runs one transaction at a time, among the threads of this store and among processes."""

    def __init__(self, path: Path, *, timeout_s: float, durability: Durability, create: bool) -> None:
        """Open the file.

        Args:
            path: the file.
            create: whether it is to be created; what is there already is opened without waiting for other writers.
            timeout_s: how long a transaction waits for each of the other writers' locks.
            durability: "full" or "relaxed".
        """
        self.commits = Commits()
        self._path = path
        self._timeout_s = timeout_s
        self._wal = WriteAheadLog(path, timeout_s=timeout_s)
        self._durability: Durability = durability
        self._turns: Turns[Request, Appended] = Turns(self._commit_together, timeout_s=timeout_s)
        self._processes = FileLock(path.with_name(path.name + "-lock"), timeout_s=timeout_s)
        self._owner: int | None = None
        self._process = Process()
        self._identity = Identity(path)
        self._sure = False
        self._waits: bool | None = True
        """Whether commits wait for the disk as they were set to; None where that is not known."""
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        try:
            if create:
                self._processes.acquire()
            self._connection = self._opened(create=create)
            self._identity.check()
            self._processes.release()
        except BaseException:
            self._processes.close()
            raise

    def _opened(self, *, create: bool) -> sqlite3.Connection:
        return open_writer(self._path, timeout_s=self._timeout_s, durability=self._durability, create=create)

    # ---- transactions

    def owned(self) -> sqlite3.Connection | None:
        """Return the connection if this thread is inside a transaction."""
        owner = self._owner
        if owner is None or owner != threading.get_ident():
            return None
        self._process.check()
        return self._connection

    def append(self, request: Request) -> Appended:
        """Append, in one commit with whoever else is waiting; inside a transaction of this thread at its end."""
        self._process.check()
        outer = self.owned()
        if outer is None:
            return self._turns.run(request)
        with self._savepoint(outer), translated(self._path, self._timeout_s):
            (outcome,) = appending.append(outer, [request])
            self._wal.took([request])
            if not isinstance(outcome, Appended):
                raise outcome
            return outcome

    def _commit_together(self, members: Sequence[_Member]) -> None:
        if self._closed:
            raise StoreClosed
        self._processes.acquire()
        try:
            if not self._committed(members):
                for member in members:  # one of them is in the way of the others
                    self._committed_alone(member)
        finally:
            self._processes.release()

    def _committed(self, members: Sequence[_Member]) -> bool:
        """Append in one commit; False where that failed for several of them, and none of it is stored."""
        connection = self._begun()
        try:
            requests = [member.request for member in members]
            outcomes = appending.append(connection, requests)
            self._wal.took(requests)
            self._commit(connection)
        except OutcomeUnknown as error:
            for member in members:
                member.error = OutcomeUnknown(member.request.key)
                member.error.__cause__ = error.__cause__
            return True
        except BaseException as error:
            self._roll_back(connection)
            if len(members) > 1 and isinstance(error, Exception):
                return False
            if isinstance(error, FOREIGN):
                raise translation(error, self._path, self._timeout_s) from error
            raise
        for member, outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, Appended):
                member.result = outcome
            else:
                member.error = outcome
        return True

    def _committed_alone(self, member: _Member) -> None:
        try:
            self._committed([member])
        except RefoldError as error:
            member.error = error

    @contextmanager
    def transaction(
        self, *, lasting: bool = True, beside: bytes | None = None
    ) -> Iterator[sqlite3.Connection]:
        """Commit what the block does, or undo it; inside a transaction of this thread, undo only the block.

        Args:
            lasting: whether the commit waits for the disk; one that does not lasts from the next one on that does.
            beside: a database as bytes, attached as `BESIDE` for that time; not inside a transaction of this thread.
        """
        self._process.check()
        outer = self.owned()
        if outer is not None:
            with self._savepoint(outer):
                yield outer
            return
        with self._alone(), nullcontext() if beside is None else self._beside(beside):
            connection = self._begun(lasting=lasting)
            self._owner = threading.get_ident()
            try:
                yield connection
                self._check_open(connection)
            except BaseException:
                self._roll_back(connection)
                raise
            finally:
                self._owner = None
            self._commit(connection, lasting=lasting)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._process.check()
        with self._turns.alone():
            if self._closed:
                raise StoreClosed
            self._processes.acquire()
            try:
                yield
            finally:
                self._processes.release()

    def _begun(self, *, touch: bool = False, lasting: bool = True) -> sqlite3.Connection:
        try:
            connection = self._ready()
            self._identity.check()
            if self._waits is not lasting:
                self._waiting(connection, lasting=lasting)
            if not self._sure:
                connection.execute(FOLD).fetchone()
            connection.execute("BEGIN IMMEDIATE")
            if touch or not self._sure:
                connection.execute(_TOUCH)
        except FOREIGN as error:
            self._roll_back(self._connection)
            raise translation(error, self._path, self._timeout_s) from error
        return connection

    def _ready(self) -> sqlite3.Connection:
        connection = self._current()
        if connection.in_transaction:  # an interrupt left it there
            connection.execute("ROLLBACK")
        return connection

    def _waiting(self, connection: sqlite3.Connection, *, lasting: bool) -> None:
        """Let commits wait for the disk, or not; who begins says what it needs, so no interrupt can leave it undone."""
        self._waits = None
        connection.execute(SET_SYNCHRONOUS[self._durability if lasting else "relaxed"])
        self._waits = lasting

    def is_sure(self) -> bool:
        """Tell whether what can be read is on the disk: this connection has had a transaction."""
        return self._sure

    def make_sure(self, key: str) -> None:
        """Let everything that can be read be on the disk, and nothing else come back, even after a power cut.

        What a process that ended in its commit left in the write-ahead log a later one may read, and the disk not have:
        the first transaction of a connection folds that back. What it left that nobody reads before all connections are
        closed, as a failed commit does, is overwritten by whatever is written next: therefore this writes.

        Raises:
            StoreError: it cannot be made sure now; an `OutcomeUnknown` names `key`.
        """
        try:
            with self._alone():
                self._commit(self._begun(touch=True))
        except OutcomeUnknown as error:
            raise OutcomeUnknown(key) from error

    def _current(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._opened(create=False)
            self._wal.begin()
            self._waits = True
        return self._connection

    def _commit(self, connection: sqlite3.Connection, *, lasting: bool = True) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            # After a failed write or fsync the pages in memory are not to be trusted: start from the file again.
            self._discard()
            # The mark that ends a commit is written last: where it did not fit, nothing was stored.
            if is_full(error):
                raise translation(error, self._path, self._timeout_s) from error
            self._sure = False
            raise OutcomeUnknown(None) from error
        self._sure = self._sure or lasting
        self.commits.tell()
        if lasting:
            self._wal.committed(connection)

    def _roll_back(self, connection: sqlite3.Connection | None) -> None:
        if not self._process.is_here():
            return  # it is the parent's transaction
        try:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._discard()

    @contextmanager
    def _savepoint(self, connection: sqlite3.Connection) -> Iterator[None]:
        self._check_open(connection)
        with translated(self._path, self._timeout_s):
            connection.execute("SAVEPOINT inner")
        try:
            yield
            self._process.check()
        except BaseException:
            try:
                if self._process.is_here() and connection.in_transaction:
                    connection.execute("ROLLBACK TO inner")
                    connection.execute("RELEASE inner")
            except sqlite3.Error:
                self._roll_back(connection)
            raise
        with translated(self._path, self._timeout_s):
            connection.execute("RELEASE inner")

    def _check_open(self, connection: sqlite3.Connection) -> None:
        self._process.check()
        # SQLite undoes a whole transaction by itself on some errors; what followed would be stored piece by piece.
        if self._connection is not connection or not connection.in_transaction:
            raise StoreUnavailable("an earlier error undid the batch; leave it and repeat all of it")

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # ---- the write-ahead log

    def empty_log(self) -> None:
        """Inside a transaction: let no copy of what it deletes stay behind in the write-ahead log."""
        self._wal.must_empty()

    def fold(self) -> None:
        """Fold the write-ahead log back as far as readers allow; inside a transaction of this thread do nothing."""
        if self.owned() is None:
            with self._alone():
                self._wal.fold(self._current())

    # ---- a database beside it

    @contextmanager
    def _beside(self, image: bytes) -> Iterator[None]:
        """Have the database of these bytes attached inside the block, as `BESIDE`."""
        with translated(self._path, self._timeout_s):
            connection = self._ready()
            connection.execute(_ATTACH)
        try:
            with translated(self._path, self._timeout_s):
                connection.deserialize(image, name=BESIDE)
            yield
        finally:
            self._roll_back(connection)
            if self._connection is connection:
                connection.execute(_DETACH)

    # ---- forks

    @contextmanager
    def away(self) -> Iterator[None]:
        """Have no connection inside the block, and let nobody write. Raises `StoreError` where a write is under way."""
        if self.owned() is not None:
            raise StoreUnavailable("a batch of this thread is open")
        with self._turns.alone():
            if self._closed:
                yield
                return
            self._processes.acquire()
            try:
                self._discard()
                self._sure = False  # whoever opens the file anew reads what the write-ahead log holds by then
            finally:
                self._processes.release()  # other stores of this process on the same file leave as well
            yield

    def forsake(self) -> Iterable[sqlite3.Connection]:
        """In a forked child: leave the lock to the parent, and return the connection, if there is one."""
        if not self._closed:
            self._processes.forsake()
        return () if self._connection is None else (self._connection,)

    # ---- the rest

    def synchronous(self) -> str:
        """Read back how far a commit waits for the disk.

        Raises:
            UnsafeDurability: not as far as it was opened for.
        """
        own = self.owned()
        if own is not None:
            return check_durable(own, self._durability)
        with self._alone(), translated(self._path, self._timeout_s):
            connection = self._ready()
            if self._waits is not True:
                self._waiting(connection, lasting=True)
            return check_durable(connection, self._durability)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close the connection after the block, folding the write-ahead log back; where it is closed already, nothing.

        Raises:
            StoreError: it is in use; the block was not entered, and nothing was closed.
        """
        if self.owned() is not None:
            raise StoreUnavailable("a batch of this thread is open; leave it before closing the store")
        with self._turns.alone():
            yield
            if not self._closed:
                self._closed = True
                self._close()

    def _close(self) -> None:
        try:
            self._processes.acquire()
            if self._connection is not None:
                self._wal.fold(self._connection, empty=True)
        except StoreError as error:
            self._wal.degraded(str(error))
        finally:
            self._discard()
            self._processes.close()
