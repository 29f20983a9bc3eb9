"""Schedules: how often a gateway is asked about a refund, the rarer the longer nothing is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

_SPREAD_PARTS: Final = 10
"""A wait is lengthened by up to one part in this many, so that refunds do not come due all at once."""


class Stage(NamedTuple):
    """A part of a schedule.

    Attributes:
        until_s: the age, in seconds, at which it ends.
        every_s: the seconds between two queries while it lasts.
    """

    until_s: int
    every_s: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often to ask, by how long the question has stood.

    Attributes:
        stages: in the order of their ends; after the last one the schedule is exhausted, and a person is asked.
        afterwards_s: the seconds between two queries from then on: they never stop.
    """

    stages: tuple[Stage, ...]
    afterwards_s: int

    def wait_s(self, age_s: int) -> int:
        """Return the seconds between two queries at that age, in seconds."""
        return next((stage.every_s for stage in self.stages if age_s < stage.until_s), self.afterwards_s)

    @property
    def exhausted_s(self) -> int:
        """The age, in seconds, from which on the schedule is exhausted."""
        return self.stages[-1].until_s if self.stages else 0

    def hurried(self, speed: int) -> Schedule:
        """Return the same with every duration divided by `speed`, one second at least."""
        stages = (
            Stage(max(until_s // speed, 1), max(every_s // speed, 1)) for until_s, every_s in self.stages
        )
        return Schedule(tuple(stages), max(self.afterwards_s // speed, 1))


def seconds_between(earlier: datetime, later: datetime) -> int:
    """Return the whole seconds from one moment to a later one; 0 where it is not later."""
    return max((later - earlier) // timedelta(seconds=1), 0)


def spread(wait_s: int, refund_id: str, number: int) -> timedelta:
    """Return a wait, lengthened by up to a tenth.

    By how much depends on the refund and on the query's number alone, so that every worker, and a replay, agree.
    """
    chance = int.from_bytes(sha256(f"{refund_id} {number}".encode()).digest()[:8], "big")
    return timedelta(milliseconds=1000 * wait_s + chance % (1000 * wait_s // _SPREAD_PARTS + 1))


def backoff_s(failures: int, *, first_s: int, most_s: int) -> int:
    """Return the seconds to wait after that many failures in a row: doubled each time, up to `most_s`."""
    return min(first_s << min(max(failures - 1, 0), 30), most_s)


_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

IN_DOUBT: Final = Schedule(
    (Stage(10 * _MINUTE, _MINUTE), Stage(2 * _HOUR, 10 * _MINUTE), Stage(3 * _DAY, _HOUR)), _DAY
)
"""Fast, then slow: nothing yet says that the gateway has the refund."""
PENDING: Final = Schedule(
    (Stage(_HOUR, 10 * _MINUTE), Stage(2 * _DAY, _HOUR), Stage(14 * _DAY, 6 * _HOUR)), _DAY
)
"""Slow for days: banks take their time."""
RECHECK_S: Final = (_DAY, 7 * _DAY)
"""An outcome that changes late mostly does so within days: a card account is closed, a transfer comes back."""
