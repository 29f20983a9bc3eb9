"""The log says in which mode the store was written: whoever audits it must know which events a power cut could take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..domain.events import DurabilityChosen
from ..ports import Write
from .contending import retried
from .journal import decoded, encoded

if TYPE_CHECKING:
    from ..ports import Clock, EventStore

_STREAM: Final = "store-durability"
_SAFE: Final = "full"


def note_durability(store: EventStore, mode: str, clock: Clock) -> None:
    """Append the mode the store is written in from here on, where it is not the one before it (at first: full)."""

    def attempt() -> None:
        chosen = [recorded.event for recorded in decoded(store.read_stream(_STREAM))]
        modes = [event.mode for event in chosen if isinstance(event, DurabilityChosen)]
        if mode != (modes[-1] if modes else _SAFE):
            store.append(Write(_STREAM, len(chosen), encoded([DurabilityChosen(mode=mode)], clock())))

    retried(attempt)
