"""The row of subscriptions: a consumer that reads the whole log and keeps in the store how far it is."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

from eventsourcing.persistence import Tracking
from eventsourcing.sqlite import SQLiteProcessRecorder

from .filled import filled
from .measuring import Row, interleaved
from .peer import PAGE
from .refunds import START, events_of, new_ids
from .writing import BATCH, peer_batch

if TYPE_CHECKING:
    from refold.engine.ports import EventStore

    from .measuring import Contender
    from .peer import Peer
    from .place import Place
    from .raw import Raw

CHUNK = 100
"""Events of ours that one commit covers, the default."""


def subscription(place: Place) -> Row:
    """Deliver every event of the small store to a handler that only counts; checkpoints are durable."""
    full = filled(place, place.sizes.small)
    ours, raw, peer = (
        place.ours(full.copy(place.new_file())),
        place.raw(full.copy(place.new_file())),
        place.peer(),
    )
    size = len(events_of(new_ids(1)[0]))
    for _ in range(full.events // BATCH):
        peer.recorder.insert_events(peer_batch(new_ids(BATCH // size)))
    rates = interleaved(place.sizes, {"ours": _ours(ours), "peer": _peers(peer), "limit": _limit(raw)})
    row = Row(name="subscription_sqlite", unit="events/s", **rates)
    row.notes.append(f"{full.events:,} events; a durable checkpoint every {CHUNK} events, for all three")
    row.notes.append("peer: its notifications, and its process recorder for how far it is")
    return row


def _ours(store: EventStore) -> Contender:
    names = count()

    def take() -> float:
        follower = store.subscribe(f"benchmark-{next(names)}", clock=lambda: START, chunk=CHUNK)
        began = time.perf_counter()
        handled = follower.run(lambda _: (), once=True)
        return handled.events / (time.perf_counter() - began)

    return take


def _peers(peer: Peer) -> Contender:
    recorder = SQLiteProcessRecorder(peer.datastore)
    recorder.create_table()
    names = count()

    def take() -> float:
        name = f"benchmark-{next(names)}"
        began = time.perf_counter()
        start, seen = 1, 0
        while page := recorder.select_notifications(start, PAGE):
            for place in range(0, len(page), CHUNK):
                some = page[place : place + CHUNK]
                seen += len(some)
                recorder.insert_events([], tracking=Tracking(name, some[-1].id))
            start = page[-1].id + 1
        return seen / (time.perf_counter() - began)

    return take


def _limit(raw: Raw) -> Contender:
    names = count()

    def take() -> float:
        began = time.perf_counter()
        seen = raw.follow(f"benchmark-{next(names)}", CHUNK)
        return seen / (time.perf_counter() - began)

    return take
