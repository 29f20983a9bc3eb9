"""The one write connection of a store: calls, transactions, and what to do when they fail."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.pq import TransactionStatus

from ...engine.errors import (
    CorruptLog,
    InvalidInput,
    OutcomeUnknown,
    RefoldError,
    StoreClosed,
    StoreUnavailable,
)
from ..grouping import Turns
from .calling import CALL, CALL_INSIDE, answer, arguments
from .connection import check_durable, is_refusal, open_writer, translated, translation
from .readers import check_alive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...engine.ports import Appended
    from ..grouping import Member
    from ..request import Request
    from .address import Address
    from .connection import Connection, Durability, Settings

# The lock of all writers, in this process and in others.
_LOCK: Final = "SELECT FROM head FOR UPDATE"
_ADVANCE: Final = (
    "UPDATE head SET position = (SELECT max(position) FROM events)"
    " WHERE position < (SELECT max(position) FROM events)"
)
_HELD_AGAINST_ONE: Final = (InvalidInput, CorruptLog, StoreUnavailable)
"""Errors of a call that one of its members may have caused alone."""
_WAITS_FOR_STANDBYS: Final = "SyncRepWaitForLSN"
"""The function of the server that warns when its wait was cut short; its text comes in many languages."""


class Writer:
    """Runs one call or transaction at a time; the head row keeps out those of other processes."""

    def __init__(self, address: Address, *, timeout_s: float, durability: Durability) -> None:
        """Connect.

        Args:
            address: the server.
            timeout_s: how long a call waits for other writers, in this process and again in others.
            durability: "full" or "relaxed".
        """
        self._address = address
        self._timeout_s = timeout_s
        self._durability: Durability = durability
        self._turns: Turns[Request, Appended] = Turns(self._commit_together, timeout_s=timeout_s)
        self._owner: int | None = None
        self._closed = False
        self._unreplicated = False
        self._connection: Connection | None = self._opened()

    def _opened(self) -> Connection:
        connection = open_writer(self._address, timeout_s=self._timeout_s, durability=self._durability)
        connection.add_notice_handler(self._noticed)
        return connection

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        # The transaction stands on this server, and nobody waited until its standbys had it.
        if notice.source_function == _WAITS_FOR_STANDBYS:
            self._unreplicated = True

    # ---- calls

    def append(self, request: Request) -> Appended:
        """Append, in one call with whoever else is waiting; inside a transaction of this thread as part of that.

        Raises:
            RefoldError: why it was not appended, or may not have been.
        """
        own = self.owned()
        if own is None:
            return self._turns.run(request)
        outcome = self._called_inside(own, request)
        if isinstance(outcome, RefoldError):
            raise outcome
        return outcome

    def _commit_together(self, members: Sequence[Member[Request, Appended]]) -> None:
        if self._closed:
            raise StoreClosed
        outcomes = self.committed([member.request for member in members])
        for member, outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, RefoldError):
                member.error = outcome
            else:
                member.result = outcome

    def committed(self, requests: Sequence[Request]) -> list[Appended | RefoldError]:
        """Append all in one call that commits, and return what came of each; none fails for another."""
        try:
            return self._called(requests)
        except OutcomeUnknown as error:
            return [_unknown(each.key, error) for each in requests]
        except _HELD_AGAINST_ONE as error:
            if not is_refusal(error.__cause__):
                raise
            if len(requests) == 1:
                return [error]
        # The server undid the call: each has one of its own.
        return [outcome for each in requests for outcome in self.committed([each])]

    def _called(self, requests: Sequence[Request]) -> list[Appended | RefoldError]:
        with translated(self._address, self._timeout_s):
            told = arguments(requests)
            connection = self._current()
            with self._settled(connection):
                found = connection.execute(CALL, told, prepare=True, binary=True).fetchall()
        return [answer(request, each) for request, each in zip(requests, found, strict=True)]

    def _called_inside(self, connection: Connection, request: Request) -> Appended | RefoldError:
        """Append in the open transaction; an error undoes nothing but that."""
        self._check_open(connection)
        with translated(self._address, self._timeout_s):
            found = _inside(connection, CALL_INSIDE, arguments([request]))
        return answer(request, found)

    def call(self, function: str, told: Sequence[Any]) -> tuple[Any, ...]:
        """Call a function that writes, and commit; inside a transaction of this thread as part of that.

        Args:
            function: the SELECT that calls it and yields one row.
            told: its arguments.

        Raises:
            StoreError: it was not done.
            OutcomeUnknown: it may have been.
        """
        own = self.owned()
        if own is not None:
            self._check_open(own)
            with translated(self._address, self._timeout_s):
                return _inside(own, function, told)
        with self._alone(), translated(self._address, self._timeout_s):
            connection = self._current()
            with self._settled(connection):
                (found,) = connection.execute(function, told, prepare=True, binary=True).fetchall()
        return found

    @contextmanager
    def _settled(self, connection: Connection) -> Iterator[None]:
        """Tell what became of the commit in the block where it was not answered as it should be.

        Raises:
            StoreError: it did not happen: the server said so.
            OutcomeUnknown: the server did not say; or it did not wait for its standbys.
        """
        self._unreplicated = False
        try:
            yield
        except psycopg.Error as error:
            if is_refusal(error):
                raise translation(error, self._address, self._timeout_s) from error
            self._discard(connection)
            raise OutcomeUnknown(None, replicated=False if self._unreplicated else None) from error
        if self._unreplicated:
            raise OutcomeUnknown(None, replicated=False)

    # ---- transactions

    def owned(self) -> Connection | None:
        """Return the connection if this thread is inside a transaction."""
        return self._connection if self._owner == threading.get_ident() else None

    @contextmanager
    def transaction(self, *, locked: bool = True) -> Iterator[Connection]:
        """Commit what the block does, or undo it; inside a transaction of this thread, undo only the block.

        Args:
            locked: whether other writers wait for its end from the beginning; without, from `lock` on.
        """
        if self._owner == threading.get_ident():
            outer = self._checked()
            with self._savepoint(outer):
                yield outer
            return
        with self._alone():
            connection = self._begun(locked=locked)
            self._owner = threading.get_ident()
            try:
                yield connection
                self._check_open(connection)
                with translated(self._address, self._timeout_s):
                    connection.execute(_ADVANCE)
            except BaseException:
                self._roll_back(connection)
                raise
            finally:
                self._owner = None
            with self._settled(connection):
                connection.execute("COMMIT")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._turns.alone():
            if self._closed:
                raise StoreClosed
            yield

    def _begun(self, *, locked: bool) -> Connection:
        with translated(self._address, self._timeout_s):
            connection = self._current()
            try:
                connection.execute("BEGIN")
                if locked:
                    lock(connection)
            except BaseException:
                self._roll_back(connection)
                raise
            return connection

    def _current(self) -> Connection:
        """Return the connection, or a new one where the server ended it or an interrupt left it unfit."""
        connection = self._connection
        if connection is not None:
            try:
                check_alive(connection)
            except psycopg.Error:
                self._discard(connection)
            else:
                if connection.pgconn.transaction_status == TransactionStatus.IDLE:
                    return connection
                self._discard(connection)
        self._connection = self._opened()
        return self._connection

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            self._discard(connection)

    @contextmanager
    def _savepoint(self, connection: Connection) -> Iterator[None]:
        with translated(self._address, self._timeout_s):
            connection.execute("SAVEPOINT inner_batch")
        try:
            yield
        except BaseException:
            try:
                connection.execute("ROLLBACK TO SAVEPOINT inner_batch")
                connection.execute("RELEASE SAVEPOINT inner_batch")
            except psycopg.Error:
                self._discard(connection)
            raise
        with translated(self._address, self._timeout_s):
            connection.execute("RELEASE SAVEPOINT inner_batch")

    def _checked(self) -> Connection:
        connection = self._connection
        if connection is None:
            raise _undone()
        self._check_open(connection)
        return connection

    def _check_open(self, connection: Connection) -> None:
        # What followed on another connection would be stored piece by piece.
        status = connection.pgconn.transaction_status
        if self._connection is not connection or status != TransactionStatus.INTRANS:
            raise _undone()

    def _discard(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None
        connection.close()

    # ---- the rest

    def settings(self) -> Settings:
        """Read back how far a commit waits.

        Raises:
            UnsafeDurability: not as far as it was opened for.
        """
        own = self.owned()
        with translated(self._address, self._timeout_s):
            if own is not None:
                return check_durable(own, self._durability)
            with self._alone():
                return check_durable(self._current(), self._durability)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close the connection after the block; where it is closed already, nothing.

        Raises:
            StoreError: it is in use; the block was not entered, and nothing was closed.
        """
        if self._owner == threading.get_ident():
            raise StoreUnavailable("a batch of this thread is open; leave it before closing the store")
        with self._turns.alone():
            yield
            self._closed = True
            if self._connection is not None:
                self._discard(self._connection)


def lock(connection: Connection) -> None:
    """Keep other writers out until the transaction's end."""
    connection.execute(_LOCK)


def _inside(connection: Connection, function: str, told: Sequence[Any]) -> tuple[Any, ...]:
    """Call a function in the open transaction; an error undoes nothing but that."""
    try:
        with connection.pipeline():
            connection.execute("SAVEPOINT call", prepare=True)
            called = connection.execute(function, told, prepare=True, binary=True)
            connection.execute("RELEASE SAVEPOINT call", prepare=True)
        (found,) = called.fetchall()
    except psycopg.Error:
        if connection.pgconn.transaction_status == TransactionStatus.INERROR:
            connection.execute("ROLLBACK TO SAVEPOINT call")
            connection.execute("RELEASE SAVEPOINT call")
        raise
    return found


def _unknown(key: str | None, error: OutcomeUnknown) -> OutcomeUnknown:
    own = OutcomeUnknown(key, replicated=error.replicated)
    own.__cause__ = error.__cause__
    return own


def _undone() -> StoreUnavailable:
    return StoreUnavailable("an earlier error undid the batch; leave it and repeat all of it")
