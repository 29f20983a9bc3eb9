"""The rows that read PostgreSQL: one stream, and the log in order, at 10^5 events and at 10^6."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from ..growing import reading, sizes
from ..measuring import Row, each, interleaved
from ..refunds import refund_stream
from . import contenders
from .filled import filled, peer_filled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..measuring import Contender
    from ..place import Place


def _rows(place: Place, name: str, unit: str, turns: dict[str, Contender]) -> list[Row]:
    """Measure both sizes in one run, all taking turns; the peer is there at 10^5 events only."""
    rates = interleaved(place.sizes, turns)
    return [
        Row(
            name=name if size == "1e5" else f"{name}_at_{size}",
            unit=unit,
            ours=rates[f"{size} ours"],
            peer=rates.get(f"{size} peer"),
            limit=rates[f"{size} limit"],
            notes=[f"{filled(place, events).events:,} events"],
        )
        for size, events in sizes(place).items()
    ]


def _streams(place: Place, refunds: Sequence[str], read: Callable[[str], Any]) -> Contender:
    order = Random(1)  # noqa: S311 - where it reads matters to nobody
    return lambda: each(read, order.choices(refunds, k=place.sizes.loads))


def read_stream(place: Place) -> list[Row]:
    """Read a stream of eight events that lie 250 positions apart, ours with each digest checked."""
    turns = {}
    for size, events in sizes(place).items():
        full = filled(place, events)
        raw = contenders.raw_reader(place, full.bare(place))  # first: what is copied has no connections
        ours = contenders.ours(place, full.name)
        turns[f"{size} ours"] = _streams(
            place, full.refunds, lambda one, ours=ours: list(ours.read_stream(refund_stream(one)))
        )
        turns[f"{size} limit"] = _streams(
            place, full.refunds, lambda one, raw=raw: raw.stream(refund_stream(one))
        )
    saved = peer_filled(place, place.sizes.small)
    turns["1e5 peer"] = _streams(place, saved.refunds, contenders.peer(place, saved.name).stream)
    return _rows(place, "read_stream_postgres", "streams/s", turns)


def read_all(place: Place) -> list[Row]:
    """Read the log in order, ours with each digest checked; of the large one only as much as the small one has."""
    turns = {}
    for size, events in sizes(place).items():
        full = filled(place, events)
        after = full.events - filled(place, place.sizes.small).events
        raw = contenders.raw_reader(place, full.bare(place))  # first: what is copied has no connections
        ours = contenders.ours(place, full.name)
        turns[f"{size} ours"] = reading(partial(ours.read_all, after=after))
        turns[f"{size} limit"] = reading(partial(raw.all, after))
    peer = contenders.peer(place, peer_filled(place, place.sizes.small).name)
    turns["1e5 peer"] = reading(peer.all)
    return _rows(place, "read_all_postgres", "events/s", turns)
