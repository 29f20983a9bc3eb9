"""The agenda: which refunds are to be contacted about, and when; read from the log and kept up with it."""

from __future__ import annotations

import heapq
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from ..domain.contact import Why, next_contact
from ..domain.signals import State
from ..domain.wire import time_text
from ..errors import CorruptLog, EventCorrupt, RowCorrupt
from .folds import load_refund
from .views import REFUNDS, refund_view_of_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from ..ports import Clock, EventStore, Gateway

_CATEGORY: Final = "refund"
_OPEN: Final = (State.CREATED, State.RECEIVED, State.FAILED)
_LOOK_BACK: Final = timedelta(days=1)
_SET_ASIDE: Final = timedelta(minutes=10)
"""How long a refund that cannot be worked on is left alone."""


class Agenda:
    """The refunds that something is to be done about, the next one first."""

    def __init__(self, store: EventStore, gateways: Mapping[str, Gateway], clock: Clock) -> None:
        """Plan for the refunds of these gateways."""
        self._store = store
        self._gateways = gateways
        self._clock = clock
        self._read: int | None = None
        self._due: dict[str, tuple[datetime, str]] = {}
        able = [gateway.capabilities for gateway in gateways.values()]
        rechecks = [age_s for each in able for age_s in each.recheck_s]
        self._looked_back = timedelta(seconds=2 * max(rechecks, default=0)) + _LOOK_BACK
        self._pending_for = timedelta(seconds=max((each.pending.exhausted_s for each in able), default=0))
        self._heaps: dict[tuple[bool, str], list[tuple[datetime, str]]] = {}
        """By whether it is a recheck, and by gateway."""
        self._settled: set[str] = set()
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    def __len__(self) -> int:
        """Return how many refunds something is to be done about."""
        return len(self._due)

    @property
    def rechecks(self) -> int:
        """How many of them have an outcome, which is to be looked at again some day."""
        return len(self._settled & self._due.keys())

    def catch_up(self) -> None:
        """Take in what was appended since the last time, by whomever. Raises `StoreError`."""
        if self._read is None:
            read = self._store.head()
            changed = set(self._open_refunds())
        else:
            read, changed = self._changed_since(self._read)
        for refund_id in changed:
            self.plan(refund_id)
        self._read = read  # last: should the store fail on the way, all of it is read again

    def _changed_since(self, position: int) -> tuple[int, set[str]]:
        changed: set[str] = set()
        head = self._store.head()
        while position < head:
            try:
                for event in self._store.read_category(_CATEGORY, after=position):
                    changed.add(event.stream.partition("-")[2])
                    position = event.position
                position = max(position, head)
            except EventCorrupt as error:  # told of by whoever works on that refund; the others go on
                self._log.error("event.corrupt", position=error.position, stream=error.stream)
                position = error.position
        return position, changed

    def _open_refunds(self) -> Iterator[str]:
        settled_since = self._clock() - self._looked_back
        damaged: RowCorrupt | None = None
        requested_since = f"{time_text(settled_since - self._pending_for)} "
        for state in State:
            # What has an outcome is looked at again for some days only, unless its amount is held. The outcome may
            # have come long after the request.
            recent = None if state in _OPEN else requested_since
            for row in self._store.rows(REFUNDS, where={"state": str(state)}, order="sort_key", after=recent):
                try:
                    view = refund_view_of_row(row)
                except RowCorrupt as error:
                    damaged = error
                    continue
                if view.gateway not in self._gateways:
                    continue
                if state in _OPEN or view.updated_at >= settled_since:
                    yield view.refund_id
        if damaged is not None:  # the log tells of it all the same, at the cost of reading every refund
            self._log.error("row.corrupt", reason=str(damaged))
            for stream in self._store.streams(_CATEGORY):
                yield stream.partition("-")[2]

    def plan(self, refund_id: str) -> None:
        """Find out anew what is to be done about a refund, and when."""
        try:
            refund = load_refund(self._store, refund_id)
        except CorruptLog as error:
            self._log.error("refund.unreadable", refund_id=refund_id, error=type(error).__name__)
            self._due.pop(refund_id, None)
            return
        gateway = self._gateways.get(refund.gateway) if refund is not None else None
        if refund is None or gateway is None:
            return
        contact = next_contact(refund, gateway.capabilities, self._clock())
        self._settled.discard(refund_id)
        if contact is None:
            self._due.pop(refund_id, None)
        else:
            if contact.why is Why.RECHECK:
                self._settled.add(refund_id)
            self._set(refund_id, contact.due_at, gateway.name)

    def put_off(self, refund_id: str, gateway: str, until: datetime) -> None:
        """Leave a refund alone until then, unless something new is appended to it."""
        self._set(refund_id, until, gateway)

    def set_aside(self, refund_id: str, gateway: str) -> None:
        """Leave a refund alone for a while that could not be worked on."""
        self._set(refund_id, self._clock() + _SET_ASIDE, gateway)

    def take_due(
        self,
        now: datetime,
        wanted: Callable[[str, str], bool],
        has_room: Callable[[str], bool] = lambda _: True,
    ) -> Iterator[tuple[str, str]]:
        """Yield refund and gateway of what is due and wanted; what is yielded is off the agenda.

        Rechecks come last: what has no outcome must not wait for what has one. Of a gateway that has no room nothing
        is looked at, so that a long queue costs nothing.
        """
        for (_, gateway), heap in sorted(self._heaps.items()):
            unwanted = []
            try:
                while heap and heap[0][0] <= now and has_room(gateway):
                    due_at, refund_id = heapq.heappop(heap)
                    if self._due.get(refund_id) != (due_at, gateway):
                        continue  # it was planned anew since
                    if wanted(refund_id, gateway):
                        del self._due[refund_id]
                        yield refund_id, gateway
                    else:
                        unwanted.append((due_at, refund_id))
            finally:
                for entry in unwanted:
                    heapq.heappush(heap, entry)

    def is_due(self, refund_id: str, now: datetime) -> bool:
        """Tell whether something is to be done about a refund now."""
        return refund_id in self._due and self._due[refund_id][0] <= now

    def next_due(self) -> datetime | None:
        """Return when the next thing is due; None where nothing is to be done."""
        firsts = [self._first(gateway, heap) for (_, gateway), heap in self._heaps.items()]
        return min((first for first in firsts if first is not None), default=None)

    def _first(self, gateway: str, heap: list[tuple[datetime, str]]) -> datetime | None:
        while heap:
            due_at, refund_id = heap[0]
            if self._due.get(refund_id) == (due_at, gateway):
                return due_at
            heapq.heappop(heap)
        return None

    def _set(self, refund_id: str, due_at: datetime, gateway: str) -> None:
        if self._due.get(refund_id) != (due_at, gateway):
            self._due[refund_id] = (due_at, gateway)
            heap = self._heaps.setdefault((refund_id in self._settled, gateway), [])
            heapq.heappush(heap, (due_at, refund_id))
