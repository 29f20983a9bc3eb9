"""Gaps: a reader never passes one over in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.errors import EventMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine.ports import StoredEvent


def dense(
    events: Iterator[StoredEvent], number: str, after: int, end: int, stream: str | None = None
) -> Iterator[StoredEvent]:
    """Yield the events as long as their numbers ("position" or "version") have no gap, up to the last one.

    Raises:
        EventMissing: they have one.
    """
    for event in events:
        if getattr(event, number) != after + 1:
            break
        after += 1
        yield event
    if after < end:
        raise EventMissing(after + 1, stream)
