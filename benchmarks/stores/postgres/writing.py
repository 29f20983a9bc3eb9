"""The rows that write to PostgreSQL: single appends, callers at once, import."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from ..measuring import Row, Threads, interleaved
from ..writing import (
    batches,
    our_batch,
    our_write,
    peer_batch,
    peer_note,
    peer_write,
    raw_batch,
    raw_write,
    turn,
)
from . import contenders

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..place import Place

FIVE_TIMES_AT = 32


def single_append(place: Place) -> Row:
    """Append one event to a new stream, durable, one caller."""
    count = place.sizes.appends
    ours, peer, raw = contenders.ours(place), contenders.peer(place), contenders.raw(place)
    unlocked = contenders.peer(place, functions=True)
    rates = interleaved(
        place.sizes,
        {
            "ours": turn(count, our_write, ours.append),
            "peer": turn(count, peer_write, peer.append),
            "limit": turn(count, raw_write, raw.append),
            "unlocked": turn(count, peer_write, unlocked.append),
        },
    )
    notes = [_unlocked_note(rates)]
    return Row(name="single_append_postgres", unit="appends/s", notes=notes, **rates)


def concurrent(place: Place, *, callers: int) -> Row:
    """Append single events from so many threads, each contender through one store of its own."""
    count = max(place.sizes.threaded // callers, 2) * callers
    ours, peer, raw = contenders.ours(place), contenders.peer(place), contenders.raw(place)
    unlocked = contenders.peer(place, functions=True)
    threads, peer_threads = Threads(callers), Threads(callers)
    rates = interleaved(
        place.sizes,
        {
            "ours": turn(count, our_write, ours.append, threads.each),
            "peer": turn(count, peer_write, peer.append, peer_threads.each),
            "limit": turn(count, raw_write, raw.append, Threads(callers).each),
            "unlocked": turn(count, peer_write, unlocked.append, Threads(callers).each),
        },
    )
    notes = [_unlocked_note(rates), peer_note(callers, rates["peer"], peer_threads)]
    row = Row(name=f"concurrent_{callers}_postgres", unit="appends/s", notes=notes, **rates)
    row.latency = threads.latency() if threads.taken_s else None
    if callers == FIVE_TIMES_AT:
        row.require("peer", 5.0)
    return row


def _unlocked_note(rates: dict[str, list[float]]) -> str:
    """Return what the peer did without its lock, and take it out of the rates."""
    return f"peer with enable_db_functions, which locks nothing: {median(rates.pop('unlocked')):,.0f}/s"


def importing(place: Place) -> Row:
    """Append 1,000 events of 125 new streams at once, one transaction each.

    The peer is the one with `enable_db_functions`: by default it sends such a batch in psycopg's pipeline mode, where
    now and then both sides wait for each other for good.
    """
    append: Callable[..., object] = contenders.ours(place).append
    peer, raw = contenders.peer(place, functions=True), contenders.raw(place)
    rates = interleaved(
        place.sizes,
        {
            "ours": batches(place, our_batch, lambda writes: append(*writes)),
            "peer": batches(place, peer_batch, peer.recorder.insert_events),
            "limit": batches(place, raw_batch, raw.append_many),
        },
    )
    return Row(name="import_postgres", unit="events/s", **rates)
