"""The simulators' time: delays in simulated seconds, several of which pass in a real one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

from ...engine.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_MAX_SPEED: Final = 1_000_000
_NOTHING: Final = timedelta()
_LOOKS_A_SECOND: Final = 100


class Pace:
    """The clock, and how fast simulated delays pass on it; times in messages are the clock's own.

    Args:
        clock: returns the present time with an offset.
        speed: simulated seconds that pass in one second of the clock, 1 to 1,000,000.

    Raises:
        InvalidSetting: another speed.
    """

    def __init__(self, clock: Callable[[], datetime], speed: int) -> None:
        if type(speed) is not int or not 1 <= speed <= _MAX_SPEED:
            raise InvalidSetting("speed", "a whole number of simulated seconds a second, 1 to 1000000")
        self.now = clock
        self._speed = speed
        self._waiting: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._order = count()
        self._ticker: asyncio.Task[None] | None = None

    def after(self, since: datetime, simulated_s: int) -> datetime:
        """Return the clock's time at which a simulated delay has passed."""
        return since + timedelta(seconds=simulated_s) / self._speed

    def passed(self, since: datetime, simulated_s: int) -> bool:
        """Tell whether a simulated delay has passed."""
        return self.now() >= self.after(since, simulated_s)

    async def until(self, due: datetime) -> None:
        """Wait until the clock shows `due`."""
        if self.now() >= due:
            return
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        heappush(self._waiting, (due, next(self._order), woken))
        if self._ticker is None or self._ticker.done() or self._ticker.get_loop() is not loop:
            self._ticker = loop.create_task(self._tick())
        await woken

    async def _tick(self) -> None:
        """Look at the clock again and again while anybody waits: a test moves its clock by hand and tells nobody."""
        while self._waiting:
            due, _, woken = self._waiting[0]
            left = due - self.now()
            if left > _NOTHING and not woken.done():
                await asyncio.sleep(min(left.total_seconds(), 1 / _LOOKS_A_SECOND))
                continue
            heappop(self._waiting)
            if not woken.done():
                woken.set_result(None)
