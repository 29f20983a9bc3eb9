"""Gaps: a reader never passes one over in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.errors import EventMissing
from ..engine.ports import StoredEvent
from .codec import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def dense(
    events: Iterable[StoredEvent], number: str, after: int, end: int, stream: str | None = None
) -> Iterator[StoredEvent]:
    """Check and yield the events as long as their numbers ("position" or "version") have no gap, up to the last one.

    Raises:
        EventCorrupt: the bytes of one do not match its digest.
        EventMissing: the numbers have a gap.
    """
    place = StoredEvent._fields.index(number)
    for event in events:
        if checked(event)[place] != after + 1:
            break
        after += 1
        yield event
    if after < end:
        raise EventMissing(after + 1, stream)
