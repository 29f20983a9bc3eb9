"""The log is damaged or not understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.masking import shown
from .base import RefoldError

if TYPE_CHECKING:
    from collections.abc import Sequence


class CorruptLog(RefoldError):
    """The log is damaged or not understood: stop moving money on it."""


class EventCorrupt(CorruptLog):
    """The stored bytes of the event at `position` do not match their digest (lower-case hex SHA-256)."""

    def __init__(self, position: int, stream: str, stored: str, computed: str) -> None:
        super().__init__(f"event {position} ({stream}) is damaged: digest {stored}, computed {computed}")
        self.position, self.stream = position, stream


class EventMissing(CorruptLog):
    """The log (`stream` is None) or a stream has a gap: its event `number`, a position or a version, is not there."""

    def __init__(self, number: int, stream: str | None = None) -> None:
        if stream is None:
            named, way = f"event {number} of the log", "restore a backup, and ingest what came after it"
        else:
            named, way = f"event {number} of stream {stream}", "`refold replay` tells what is left"
        super().__init__(f"{named} is missing, later ones may be there; {way}")
        self.number, self.stream = number, stream


class EventUnreadable(CorruptLog):
    """No model of this refold reads the event type and version."""

    def __init__(self, event_type: str, reason: str) -> None:
        super().__init__(f"event type {shown(event_type)} cannot be read: {reason}")
        self.event_type = event_type


class RowCorrupt(CorruptLog):
    """A row of `view`, a table computed from the log, is damaged; what the log says is another matter."""

    def __init__(self, view: str, key: Sequence[object] = ()) -> None:
        which = f"the row {shown(' '.join(map(str, key)))}" if key else "a row"
        super().__init__(
            f"{which} of the table {view} is damaged; `refold replay` makes it again from the log, as far as that"
            " can be read"
        )
        self.view, self.key = view, tuple(key)


class IllegalMove(CorruptLog):
    """The lifecycle has no move from `source` to `target`."""

    def __init__(self, refund_id: str, source: str, target: str) -> None:
        super().__init__(f"refund {shown(refund_id)}: the lifecycle has no move from {source} to {target}")
        self.source, self.target = source, target
