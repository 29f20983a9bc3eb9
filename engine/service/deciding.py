"""Deciding: what people, and the clock, add to what the gateways say."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from ..domain.attention import Attention
from ..domain.message import Channel
from ..domain.refund import decide_overdue, decide_resolution
from ..domain.signals import State
from ..errors import CorruptLog, RefundNotFound, RowCorrupt
from .contending import retried
from .folds import load_refund
from .journal import advanced, refund_write
from .views import REFUNDS, refund_changes, refund_view_of_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from ..domain.events import Event
    from ..domain.refund import Refund
    from ..ports import Clock, EventStore, Gateway, Row
    from .keeping import Keeper
    from .recording import Recorder
    from .views import RefundView

_PAGE: Final = 500


class Decider:
    """Appends decisions to refunds."""

    def __init__(self, store: EventStore, keeper: Keeper, clock: Clock, recorder: Recorder) -> None:
        """Append to `store`; receipts are made by `recorder`."""
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._recorder = recorder
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    def resolve(self, refund_id: str, outcome: State, actor: str, reason: str) -> None:
        """Record a person's decision."""
        kept = self._keeper.note("reason", reason)
        self._decide(refund_id, lambda refund: decide_resolution(refund, outcome, actor, kept))

    def mark_overdue(self, gateways: Mapping[str, Gateway]) -> list[str]:
        """Raise `overdue` for each refund without an outcome within its gateway's window; return their ids."""
        return list(self.marking_overdue(gateways))

    def marking_overdue(self, gateways: Mapping[str, Gateway]) -> Iterator[str]:
        """Do the same one by one: each id is yielded once it is durable."""
        for state in (State.CREATED, State.RECEIVED):
            for view in self._unsettled(state):
                if Attention.OVERDUE in view.attention or view.gateway not in gateways:
                    continue
                window = timedelta(seconds=gateways[view.gateway].capabilities.outcome_window_s)
                if self._marked(view, window):
                    yield view.refund_id

    def _marked(self, view: RefundView, window: timedelta) -> bool:
        now = self._clock()
        if now - view.requested_at <= window:
            return False
        due_at = view.requested_at + window
        try:
            return self._decide(view.refund_id, lambda refund: decide_overdue(refund, now, due_at))
        except CorruptLog as error:
            # One damaged refund must not keep all others from being looked at.
            self._log.error(
                "refund.unreadable",
                refund_id=view.refund_id,
                gateway=view.gateway,
                error=type(error).__name__,
            )
            return False

    def _unsettled(self, state: State) -> Iterator[RefundView]:
        after: str | None = None
        while True:
            where = {"state": str(state)}
            page = list(self._store.rows(REFUNDS, where=where, order="sort_key", after=after, limit=_PAGE))
            yield from self._readable(page)
            if len(page) < _PAGE:
                return
            after = str(page[-1]["sort_key"])

    def _readable(self, rows: Iterable[Row]) -> Iterator[RefundView]:
        for row in rows:
            try:
                yield refund_view_of_row(row)
            except RowCorrupt as error:
                self._log.error("refund.unreadable", refund_id=row["refund_id"], error=type(error).__name__)

    def _decide(self, refund_id: str, decide: Callable[[Refund], list[Event]]) -> bool:
        now: datetime = self._clock()

        def attempt() -> bool:
            refund = load_refund(self._store, refund_id)
            if refund is None:
                raise RefundNotFound(refund_id)
            events = decide(refund)
            if not events:
                return False
            after = advanced(refund, events, now)
            write = refund_write(refund, refund_id, events, now)
            appended = self._store.append(write, changes=refund_changes(refund, after))
            self._recorder.receipt(appended, refund, after, Channel.OPERATOR)
            return True

        return retried(attempt)
