"""The rows that show how appends to PostgreSQL grow dearer: at 10^5 and 10^6 events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..growing import append_rows, our_appends, raw_appends, sizes
from . import contenders
from .filled import filled

if TYPE_CHECKING:
    from ..measuring import Row
    from ..place import Place


def appending(place: Place) -> list[Row]:
    """Append to copies of the small and the large store, ours and the driver."""
    turns = {}
    for size, events in sizes(place).items():
        full = filled(place, events)
        ours = contenders.ours(place, full.copy(place))
        turns[f"{size} ours"] = our_appends(place, ours, full.refunds)
        turns[f"{size} limit"] = raw_appends(place, contenders.raw(place, full.bare(place)), full.refunds)
    return append_rows(place, "append_postgres", turns)
