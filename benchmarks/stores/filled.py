"""Stores that hold 10^5 and 10^6 events, made once a run and copied for each row that needs one.

Many refunds are under way at once, as in a service: a refund's events lie 250 positions apart. The raw file is a copy
of ours without its triggers. The peer's file has the same events in the same order. postgres/filled.py has the same on
PostgreSQL.
"""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from refold.engine.composition import open_store
from refold.engine.ports import Write

from .peer import Peer, application, lived, stored_event
from .refunds import events_of, new_ids, payment_stream, refund_stream, reservation_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from refold.engine.ports import EventStore

    from .place import Place

UNDER_WAY = 250


class Filled(NamedTuple):
    """A closed store: its file, the refunds in it, and its events."""

    path: Path
    refunds: Sequence[str]
    events: int

    def copy(self, path: Path) -> Path:
        """Copy the file."""
        shutil.copyfile(self.path, path)
        return path


def fill(store: EventStore, events: int) -> list[str]:
    """Append the lives of so many refunds that the store holds at least as many events; return their numbers."""
    ids: list[str] = []
    while store.head() < events:
        some = new_ids(UNDER_WAY)
        lives = {refund_id: events_of(refund_id) for refund_id in some}
        with store.batch():
            for step in range(len(lives[some[0]])):
                store.append(*(Write(refund_stream(each), step, [lives[each][step]]) for each in some))
            store.append(*(Write(payment_stream(each), 0, [reservation_of(each)]) for each in some))
        ids += some
    return ids


@cache
def filled(place: Place, events: int) -> Filled:
    """Return a store with as many events, made at the first call; a larger one goes on from the small one."""
    path, ids = place.new_file(), []
    if events > place.sizes.small:
        smaller = filled(place, place.sizes.small)
        smaller.copy(path)
        ids += smaller.refunds
    store = open_store(f"sqlite:///{path}")
    try:
        ids += fill(store, events)
        return Filled(path, ids, store.head())
    finally:
        store.close()


@cache
def peer_filled(place: Place, events: int) -> Filled:
    """Return a file of the peer's recorder with the same events as the store of that size, made at the first call."""
    path, full = place.new_file(), filled(place, events)
    peer = Peer(path)
    try:
        for at in range(0, len(full.refunds), UNDER_WAY):
            _fill_peer(peer, full.refunds[at : at + UNDER_WAY])
        return Filled(path, full.refunds, full.events)
    finally:
        peer.close()


def _fill_peer(peer: Peer, some: Sequence[str]) -> None:
    lives = {refund_id: events_of(refund_id) for refund_id in some}
    for version in range(1, len(lives[some[0]]) + 1):
        peer.recorder.insert_events([stored_event(each, version, lives[each][version - 1]) for each in some])
    peer.recorder.insert_events([stored_event(uuid4().hex, 1, reservation_of(each)) for each in some])


@cache
def application_filled(place: Place, events: int) -> Filled:
    """Return a file of the peer's application with about as many events of whole refunds, made at the first call."""
    path, ids = place.new_file(), new_ids(events // len(events_of(new_ids(1)[0])))
    app = application(path)
    try:
        for at in range(0, len(ids), UNDER_WAY):
            app.save(*map(lived, ids[at : at + UNDER_WAY]))
        return Filled(path, ids, app.recorder.max_notification_id())
    finally:
        app.close()
