"""The rows that read SQLite: load and fold, one stream, the whole log."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from refold.engine.service.folds import load_refund

from .measuring import Row, each, interleaved
from .peer import application, lived
from .refunds import engine, events_of, live, new_ids, refund_stream
from .writing import BATCH, our_batch, peer_batch, raw_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .place import Place

KEPT = 200
"""Refunds that are loaded again and again, in random order."""


def _order(place: Place, things: Sequence[object]) -> list[object]:
    return Random(1).choices(things, k=place.sizes.loads)  # noqa: S311 - the same order for all


def load_and_fold(place: Place) -> Row:
    """Load a refund of eight events and fold it; the peer: `repository.get` of an aggregate of eight events."""
    ids = new_ids(KEPT)
    with engine(f"sqlite:///{place.new_file()}") as refunds:
        path = refunds.store.describe()["file"]
        with refunds.store.batch():
            for refund_id in ids:
                live(refunds, refund_id)
    store = place.ours(path)
    peer = place.closing(application(place.new_file()))
    aggregates = [lived(refund_id) for refund_id in ids]
    peer.save(*aggregates)
    raw = place.raw()
    raw.append_many(raw_batch(ids))
    ours_order, peer_order = _order(place, ids), _order(place, [one.id for one in aggregates])
    _agree(store, ids[0], peer.repository.get(aggregates[0].id))
    rates = interleaved(
        place.sizes,
        {
            "ours": lambda: each(lambda refund_id: load_refund(store, refund_id), ours_order),
            "peer": lambda: each(peer.repository.get, peer_order),
            "limit": lambda: each(lambda refund_id: raw.stream(refund_stream(refund_id)), ours_order),
        },
    )
    row = Row(name="load_and_fold", unit="refunds/s", **rates)
    row.notes.append("limit: reading the rows, nothing decoded or folded")
    row.require("peer", 5.0)
    return row


def _agree(store: object, refund_id: str, aggregate: object) -> None:
    refund = load_refund(store, refund_id)
    events = len(events_of(refund_id))
    if (refund.state, refund.version) != ("success", events) or aggregate.version != events:
        raise SystemExit(f"ours and the peer's refund differ: {refund}, {aggregate}")


def read_stream(place: Place) -> Row:
    """Read the eight events of a stream, ours with each digest checked."""
    ids = new_ids(BATCH)
    ours, peer, raw = place.ours(), place.peer(), place.raw()
    ours.append(*our_batch(ids))
    peer.recorder.insert_events(peer_batch(ids))
    raw.append_many(raw_batch(ids))
    order = _order(place, ids)
    rates = interleaved(
        place.sizes,
        {
            "ours": lambda: each(lambda one: list(ours.read_stream(refund_stream(one))), order),
            "peer": lambda: each(peer.stream, order),
            "limit": lambda: each(lambda one: raw.stream(refund_stream(one)), order),
        },
    )
    return Row(name="read_stream_sqlite", unit="streams/s", **rates)
