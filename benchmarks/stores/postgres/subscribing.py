"""The row of subscriptions on PostgreSQL: a consumer that reads the whole log and keeps in the store how far it is."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresProcessRecorder

from ..measuring import Row, counted, interleaved
from ..subscribing import CHUNK, following, paging
from . import contenders
from .filled import filled, peer_filled

if TYPE_CHECKING:
    from ..measuring import Contender
    from ..place import Place
    from .contenders import PeerPostgres


def subscription(place: Place) -> Row:
    """Deliver every event of the small store to a handler that only counts; checkpoints are durable."""
    full, saved = filled(place, place.sizes.small), peer_filled(place, place.sizes.small)
    ours = contenders.ours(place, full.copy(place))
    raw = contenders.raw_reader(place, full.bare(place))
    peer = contenders.peer(place, saved.copy(place))
    rates = interleaved(
        place.sizes,
        {"ours": following(ours), "peer": following_peer(peer, saved.events), "limit": paging(raw)},
    )
    row = Row(name="subscription_postgres", unit="events/s", **rates)
    row.notes.append(f"{full.events:,} events; a durable checkpoint every {CHUNK} events, for all three")
    row.notes.append("peer: its own subscription, and its process recorder for how far it is")
    return row


def following_peer(peer: PeerPostgres, events: int) -> Contender:
    """Return what follows its subscription, which waits for more at the end: `events` are all there are."""
    recorder = PostgresProcessRecorder(peer.datastore)
    recorder.create_table()
    names = count()

    def follow() -> int:
        name = f"benchmark-{next(names)}"
        with recorder.subscribe() as notifications:
            for seen, notification in enumerate(notifications, 1):
                if seen % CHUNK == 0 or seen == events:
                    recorder.insert_tracking(Tracking(name, notification.id))
                if seen == events:
                    break
        return events

    return counted(follow)
