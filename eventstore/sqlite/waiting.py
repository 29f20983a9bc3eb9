"""Waiting for commits: those of this store at once, those of others by a cheap look at the file."""

from __future__ import annotations

import threading
import time
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

_POLL_S: Final = 0.02
"""Seconds between two looks at the file, which cost some microseconds each."""
_LOOK_AGAIN_S: Final = 1.0
"""Seconds after which is looked in any case: the file may have been replaced."""
_DATA_VERSION: Final = "PRAGMA data_version"


class Commits:
    """Counts the commits of one store, and wakes those who wait for the next one."""

    def __init__(self) -> None:
        """Count from zero."""
        self.count = 0
        self._waiting = 0
        self._changed = threading.Condition()

    def tell(self) -> None:
        """Count a commit; only one thread at a time does. It costs nothing while nobody waits."""
        self.count += 1
        if self._waiting:  # who comes now sees the new count
            with self._changed:
                self._changed.notify_all()

    def wait(self, seen: int, timeout_s: float) -> None:
        """Return when there is one more than were `seen`, or the time is over."""
        with self._changed:
            self._waiting += 1
            try:
                if self.count == seen:
                    self._changed.wait(timeout_s)
            finally:
                self._waiting -= 1


def wait_until(
    reached: Callable[[], bool],
    connection: sqlite3.Connection,
    commits: Commits,
    *,
    timeout_s: float | None,
    stop: threading.Event | None,
) -> bool:
    """Wait until `reached` says so, and ask it after every commit of this or another process.

    Args:
        reached: what is waited for.
        connection: is used by nobody else meanwhile; it says whether others have changed the file.
        commits: those of this store.
        timeout_s: how long to wait at most; None: for ever.
        stop: ends the wait soon after it is set.
    """
    until = time.monotonic() + (inf if timeout_s is None else timeout_s)
    while True:
        seen, version = commits.count, _version(connection)
        if reached():
            return True
        look_again_at = time.monotonic() + _LOOK_AGAIN_S
        while (seen, version) == (commits.count, _version(connection)):
            now = time.monotonic()
            if now >= until or (stop is not None and stop.is_set()):
                return False
            if now >= look_again_at:
                break
            commits.wait(seen, min(until - now, _POLL_S))


def _version(connection: sqlite3.Connection) -> int:
    found: int = connection.execute(_DATA_VERSION).fetchone()[0]
    return found
