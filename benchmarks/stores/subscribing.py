"""The row of subscriptions: a consumer that reads the whole log and keeps in the store how far it is."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from eventsourcing.persistence import Tracking
from eventsourcing.sqlite import SQLiteProcessRecorder

from .filled import filled, peer_filled
from .measuring import Row, counted, interleaved
from .peer import PAGE
from .refunds import START

if TYPE_CHECKING:
    from refold.engine.ports import EventStore

    from .measuring import Contender
    from .peer import Peer
    from .place import Place
    from .postgres.contenders import RawReader
    from .raw import Raw

CHUNK = 100
"""Events of ours that one commit covers, the default."""


def subscription(place: Place) -> Row:
    """Deliver every event of the small store to a handler that only counts; checkpoints are durable."""
    full = filled(place, place.sizes.small)
    ours, raw = place.ours(full.copy(place.new_file())), place.raw(full.copy(place.new_file()))
    peer = place.peer(peer_filled(place, place.sizes.small).copy(place.new_file()))
    rates = interleaved(place.sizes, {"ours": following(ours), "peer": _peers(peer), "limit": paging(raw)})
    row = Row(name="subscription_sqlite", unit="events/s", **rates)
    row.notes.append(f"{full.events:,} events; a durable checkpoint every {CHUNK} events, for all three")
    row.notes.append("peer: its notifications, and its process recorder for how far it is")
    return row


def following(store: EventStore) -> Contender:
    """Return what a subscription of ours does, each time under a new name."""
    names = count()

    def follow() -> int:
        follower = store.subscribe(f"benchmark-{next(names)}", clock=lambda: START, chunk=CHUNK)
        return follower.run(lambda _: (), once=True).events

    return counted(follow)


def paging(raw: Raw | RawReader) -> Contender:
    """Return what the driver alone does, each time under a new name."""
    names = count()
    return counted(lambda: raw.follow(f"benchmark-{next(names)}", CHUNK))


def _peers(peer: Peer) -> Contender:
    recorder = SQLiteProcessRecorder(peer.datastore)
    recorder.create_table()
    names = count()

    def follow() -> int:
        name = f"benchmark-{next(names)}"
        start, seen = 1, 0
        while page := recorder.select_notifications(start, PAGE):
            for place in range(0, len(page), CHUNK):
                some = page[place : place + CHUNK]
                seen += len(some)
                recorder.insert_events([], tracking=Tracking(name, some[-1].id))
            start = page[-1].id + 1
        return seen

    return counted(follow)
