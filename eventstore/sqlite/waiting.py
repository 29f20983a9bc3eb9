"""Waiting for commits: those of this store at once, those of others by a cheap look at the file."""

from __future__ import annotations

import threading
import time
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_S: Final = 0.02
"""Seconds between two looks at the file, which cost some microseconds each."""
_LOOK_AGAIN_S: Final = 1.0
"""Seconds after which is looked in any case: the file may have been replaced."""


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
    look: Callable[[], object],
    commits: Commits,
    *,
    timeout_s: float | None,
    stop: threading.Event | None,
) -> bool:
    """Wait until `reached` says so, and ask it after every commit of this or another process.

    Args:
        reached: what is waited for.
        look: returns something else after others have changed the file.
        commits: those of this store.
        timeout_s: how long to wait at most; None: for ever.
        stop: ends the wait soon after it is set.
    """
    until = time.monotonic() + (inf if timeout_s is None else timeout_s)
    last, look_again_at = None, -inf
    while True:
        found, now = (commits.count, look()), time.monotonic()
        if found != last or now >= look_again_at:
            if reached():
                return True
            last, look_again_at = found, now + _LOOK_AGAIN_S
        if now >= until or (stop is not None and stop.is_set()):
            return False
        commits.wait(found[0], min(until - now, _POLL_S))
