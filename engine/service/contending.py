"""Contending: callers that write one stream at once. Nothing is lost without it; with it they cost each other less."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakValueDictionary

from ..errors import VersionConflict
from ..ports.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

_TRIES: Final = 100
_AT_ONCE: Final = 3
"""Tries before the first pause."""
_PAUSE_S: Final = 0.001
_LONGEST_S: Final = 0.064
_PATIENCE_S: Final = 1.0
"""How long to wait for a turn: it comes on top of what a caller waits for the store."""


def retried(attempt: Callable[[], Result]) -> Result:
    """Decide and append again for as long as other writers are first, after pauses that grow.

    Raises:
        VersionConflict: they were a hundred times in a row.
    """
    pause_s = _PAUSE_S
    for tried in range(1, _TRIES):
        try:
            return attempt()
        except VersionConflict:
            if tried < _AT_ONCE:
                continue
        threading.Event().wait(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_S)
    return attempt()


class Turns:
    """Who writes a stream, one thread of this process after the other; safe to share between threads.

    The versions that appends are guarded by are what keeps decisions right. A turn only saves those who would read much
    and be refused: whoever gets none in time goes on without.
    """

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._process = Process()
        self._lock = threading.Lock()
        self._turns: WeakValueDictionary[str, threading.RLock] = WeakValueDictionary()

    @contextmanager
    def of(self, stream: str) -> Iterator[None]:
        """Wait for the turn at a stream, and hold it."""
        if not self._process.is_here():
            yield  # a lock may be held for good in a forked child, which the store refuses anyway
            return
        with self._lock:
            turn = self._turns.setdefault(stream, threading.RLock())
        taken = turn.acquire(timeout=_PATIENCE_S)
        try:
            yield
        finally:
            if taken:
                turn.release()
