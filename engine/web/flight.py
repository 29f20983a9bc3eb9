"""What is under way: how many webhooks, since when, and no more than so many."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class InFlight:
    """The webhooks being read or recorded; safe to share between threads."""

    def __init__(self, most: int, stopwatch: Callable[[], float]) -> None:
        """Let `most` in at once; `stopwatch` returns seconds from any fixed moment."""
        self._most = most
        self._stopwatch = stopwatch
        self._lock = threading.Lock()
        self._since: dict[object, float] = {}

    def enter(self) -> object | None:
        """Return a ticket; None where so many are under way already."""
        with self._lock:
            if len(self._since) >= self._most:
                return None
            ticket = object()
            self._since[ticket] = self._stopwatch()
            return ticket

    def leave(self, ticket: object) -> None:
        """Give a ticket back; again, it changes nothing."""
        with self._lock:
            self._since.pop(ticket, None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._since)

    def oldest_s(self) -> float:
        """Return the age of the oldest in seconds; 0 where there is none."""
        with self._lock:
            first = next(iter(self._since.values()), None)
        return 0.0 if first is None else max(self._stopwatch() - first, 0.0)
