"""Waiting for commits: the server tells who listens; a look now and then stands behind it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
from psycopg import sql

from ...engine.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .connection import Connection
    from .readers import Readers

_POLL_S: Final = 0.5
"""Seconds after which is looked in any case: what the server tells can be lost, an event cannot."""
_LOOK_FOR_STOP_S: Final = 0.02
"""Seconds between two looks at the event that ends a wait; the server is not asked for it."""
_CHANNEL: Final = "SELECT 'refold_' || to_regnamespace(quote_ident(current_schema()))::oid"
_LISTEN: Final = sql.SQL("LISTEN {}")
_PATIENCE: Final = "SELECT set_config('lock_timeout', %s, true)"
# Who commits gets this lock alone, and then tells nobody (ddl.py). Once it is had here, every later commit is told.
_SHARE: Final = (
    "SELECT pg_advisory_lock_shared("
    "x'7265666f'::int, to_regnamespace(quote_ident(current_schema()))::oid::int)"
)
_END: Final = "UNLISTEN *; SELECT pg_advisory_unlock_all()"


class _Wait(NamedTuple):
    """What one thread waits for, and how long."""

    reached: Callable[[], bool]
    until_s: float
    stop: threading.Event | None

    def is_over(self) -> bool:
        """Tell whether there is no time left."""
        return self.left_s() <= 0 or (self.stop is not None and self.stop.is_set())

    def left_s(self) -> float:
        """Return how long it may go on."""
        return self.until_s - time.monotonic()

    def slice_s(self, most_s: float) -> float:
        """Return how long it may go on without a look at what ends it."""
        look_s = inf if self.stop is None else _LOOK_FOR_STOP_S
        return max(0, min(self.left_s(), look_s, most_s))


class Waiting:
    """Lets the threads of a store wait; one of them listens, and wakes the others.

    A connection listens only while somebody reads what arrives: the server would have to keep what nobody takes.
    """

    def __init__(self, readers: Readers, *, timeout_s: float) -> None:
        """Listen to nothing yet.

        Args:
            readers: lend the connection.
            timeout_s: how long it may take to begin to listen.
        """
        self._readers = readers
        self._timeout_s = timeout_s
        self._listens = threading.Lock()
        """Held by the thread that listens for all."""
        self._changed = threading.Condition()
        self._told = 0

    def until(
        self, reached: Callable[[], bool], *, timeout_s: float | None, stop: threading.Event | None
    ) -> bool:
        """Wait until `reached` says so, and ask it after every commit of this or another process.

        Args:
            reached: what is waited for.
            timeout_s: how long to wait at most; None: for ever.
            stop: ends the wait soon after it is set.
        """
        wait = _Wait(reached, time.monotonic() + (inf if timeout_s is None else timeout_s), stop)
        while True:
            told = self._told
            if reached():
                return True
            if wait.is_over():
                return False
            if not self._listens.acquire(blocking=False):
                self._follow(wait, told, inf)
            elif not self._listened(wait):
                self._follow(wait, self._told, _POLL_S)

    def _tell(self) -> None:
        with self._changed:
            self._told += 1
            self._changed.notify_all()

    def _follow(self, wait: _Wait, told: int, most_s: float) -> None:
        """Wait until another thread tells something."""
        until_s = time.monotonic() + most_s
        with self._changed:
            while self._told == told and not wait.is_over():
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    return
                slice_s = wait.slice_s(left_s)
                self._changed.wait(None if slice_s == inf else slice_s)

    # ---- the thread that listens

    def _listened(self, wait: _Wait) -> bool:
        """Listen for all until the wait is over or the connection is lost; tell whether it began to."""
        began = False
        try:
            with self._readers.one() as connection, self._listening(connection, wait.left_s()):
                began = True
                self._listen(connection, wait)
        except StoreError:
            pass  # whether the server is there at all, the next look shows
        finally:
            self._listens.release()
            self._tell()  # another one has to listen now
        return began

    def _listen(self, connection: Connection, wait: _Wait) -> None:
        while True:
            self._tell()
            if wait.reached():
                return
            until_s = time.monotonic() + _POLL_S
            while (left_s := until_s - time.monotonic()) > 0:
                if wait.is_over():
                    return
                if list(connection.notifies(timeout=wait.slice_s(left_s), stop_after=1)):
                    break

    @contextmanager
    def _listening(self, connection: Connection, patience_s: float) -> Iterator[None]:
        """Have the connection told of every commit after the beginning of the block."""
        patience_ms = max(1, round(1000 * min(self._timeout_s, patience_s)))
        (channel,) = connection.execute(_CHANNEL).fetchall()[0]
        listen = _LISTEN.format(sql.Identifier(channel))
        try:
            with connection.pipeline(), connection.transaction():
                connection.execute(_PATIENCE, (str(patience_ms),))
                connection.execute(listen)
                connection.execute(_SHARE)
            yield
        finally:
            try:
                connection.execute(_END)
            except psycopg.Error:
                connection.close()
