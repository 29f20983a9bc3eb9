"""Agreement: compare each refund's row with its log, reading only; replay compares everything, and repairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.refund import fold
from ..errors import CorruptLog, EventMissing, RowCorrupt
from ..service.journal import decoded
from ..service.views import REFUNDS, refund_view, refund_view_of_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ports import EventStore

_TRIES = 3
"""A refund can move between reading its log and its row: differences are looked at again."""


def disagreements(store: EventStore) -> Iterator[tuple[str, CorruptLog | None]]:
    """Yield (stream, error) of each refund whose row is not what its log says; the error where it cannot be read.

    Raises:
        EventMissing: the log is not complete, so no row can be judged by it.
    """
    missing = store.first_missing()
    if missing is not None:
        raise EventMissing(missing)
    for stream in store.streams("refund"):
        try:
            if not any(_agrees(store, stream) for _ in range(_TRIES)):
                yield stream, None
        except CorruptLog as error:
            yield stream, error


def _agrees(store: EventStore, stream: str) -> bool:
    refund = fold(decoded(store.read_stream(stream)))
    try:
        row = store.row(REFUNDS, (stream.removeprefix("refund-"),))
        return refund is not None and row is not None and refund_view_of_row(row) == refund_view(refund)
    except RowCorrupt:
        return False
