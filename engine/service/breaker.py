"""Breakers: a gateway that does not answer is left alone for a while, so that refunds do not wear out on it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ..domain.schedule import backoff_s

if TYPE_CHECKING:
    from datetime import datetime

FAILURES: Final = 5
"""Contacts in a row without a healthy answer, after which the gateway is left alone."""
FIRST_S: Final = 15
MOST_S: Final = 600


class Breaker:
    """The circuit breaker of one gateway: closed; open until a moment; then one contact tells which it is.

    Args:
        first_s: seconds it is open at first; each time that contact fails, twice as long.
        most_s: seconds it is open at most.
    """

    def __init__(self, *, first_s: int = FIRST_S, most_s: int = MOST_S) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0
        self._probing = False
        self._rests_until: datetime | None = None
        self.open_until: datetime | None = None
        """The gateway is left alone until then; None: it is not."""

    def rests(self, now: datetime) -> bool:
        """Tell whether `allows` would refuse; asking changes nothing."""
        return self.open_until is not None and (now < self.open_until or self._probing)

    def allows(self, now: datetime) -> bool:
        """Tell whether the gateway may be contacted; after an opening, the first to ask is the one that tries."""
        if self.rests(now):
            return False
        self._probing = self.open_until is not None and self._failures >= FAILURES
        return True

    def note(self, now: datetime, *, healthy: bool, retry_after_s: int | None = None) -> None:
        """Take what came of a contact.

        Args:
            now: the present.
            healthy: the gateway is there and takes requests.
            retry_after_s: how many seconds it wants to be left alone.
        """
        if retry_after_s:
            # What the gateway itself wants, no contact that was under way meanwhile takes back.
            until = now + timedelta(seconds=retry_after_s)
            self._rests_until = until if self._rests_until is None else max(self._rests_until, until)
        begun_before = self.open_until is not None and now < self.open_until and self._failures >= FAILURES
        if not healthy and begun_before:  # it tells nothing new, so that nothing is doubled
            self.open_until = self._latest(self.open_until, now)
            return
        self._probing = False
        self._failures = 0 if healthy else self._failures + 1
        opened_until = None
        if self._failures >= FAILURES:
            times = self._failures - FAILURES + 1
            opened_until = now + timedelta(
                seconds=backoff_s(times, first_s=self._first_s, most_s=self._most_s)
            )
        self.open_until = self._latest(opened_until, now)

    def _latest(self, opened_until: datetime | None, now: datetime) -> datetime | None:
        moments = (opened_until, self._rests_until)
        return max((moment for moment in moments if moment is not None and moment > now), default=None)

    def forget_probe(self) -> None:
        """Take back that somebody tries: nothing was contacted after all."""
        self._probing = False
