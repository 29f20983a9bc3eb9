"""Replay: compute the views again from the log alone, compare them with the live ones, and swap.

Nothing in this module has a gateway, so replay cannot reach one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from ..errors import EventMissing
from .projecting import Folding

if TYPE_CHECKING:
    from ..ports import Difference, EventStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        events: the last position of the log.
        refunds: how many refunds were folded.
        payments: how many payments were folded.
        differences: rows that were not what the log says; they are now.
        set_aside: (stream, error) of each stream that cannot be read or folded; its rows stay as they were.
    """

    events: int
    refunds: int
    payments: int
    differences: tuple[Difference, ...]
    set_aside: tuple[tuple[str, str], ...]

    @property
    def agrees(self) -> bool:
        """Whether every view was what the log says, and all of the log was read."""
        return not self.differences and not self.set_aside

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "agrees": self.agrees,
            "events": self.events,
            "refunds": self.refunds,
            "payments": self.payments,
            "differences": [difference._asdict() for difference in self.differences],
            "set_aside": [{"stream": stream, "error": error} for stream, error in self.set_aside],
        }


def replay(store: EventStore) -> ReplayReport:
    """Fill new tables from the log, each event's digest checked, compare them with the live ones, and swap.

    Raises:
        EventMissing: the log is not complete; the views stay as they are, for they may know what it has lost.
    """
    missing = store.first_missing()
    if missing is not None:
        raise EventMissing(missing)
    folding = Folding(store)
    differences = store.rebuild(folding)
    report = ReplayReport(
        events=store.head(),
        refunds=folding.refunds,
        payments=folding.payments,
        differences=tuple(differences),
        set_aside=tuple(folding.set_aside),
    )
    log = structlog.wrap_logger(logging.getLogger("refold"))
    say = log.info if report.agrees else log.warning
    say("replay.done", events=report.events, refunds=report.refunds, differences=len(differences))
    return report
