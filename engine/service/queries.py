"""Queries: what a payment service asks the engine; nothing here writes, but for what repairs the views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..audit import history as timelines
from ..audit.projecting import rebuild
from ..audit.replay import replay
from ..domain.attention import Attention
from ..domain.identifiers import identifier
from ..domain.signals import State
from . import arguments, finding
from .backing import back_up
from .views import refund_view

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from datetime import datetime

    from ..audit.history import HistoryEntry
    from ..audit.projecting import Rebuilt
    from ..audit.replay import ReplayReport
    from ..ports import EventStore, Row
    from ..ports.backup import Backup, OnProgress
    from .views import PaymentView, RefundView


class Queries:
    """What can be asked of a store with refunds."""

    store: EventStore
    """Where everything is kept."""

    def refund(self, refund_id: str, as_of: int | datetime | None = None) -> RefundView:
        """Return a refund folded from the log: now, as of a position, or as of a moment.

        Raises:
            RefundNotFound: it is not in the log, or was not then.
        """
        then = arguments.as_of(as_of)
        return refund_view(timelines.refund_as_of(self.store, identifier("refund_id", refund_id), then))

    def history(self, refund_id: str) -> list[HistoryEntry]:
        """Return a refund's timeline: each event, and the state and attention after it.

        Raises:
            RefundNotFound: it is not in the log.
        """
        return list(timelines.history(self.store, identifier("refund_id", refund_id)))

    def find(
        self,
        *,
        state: State | str | None = None,
        gateway: str | None = None,
        payment_id: str | None = None,
        attention: Attention | str | None = None,
        limit: int | None = None,
    ) -> Iterator[RefundView]:
        """Yield refunds in the order in which they were asked for; those that match all given criteria.

        Raises:
            InvalidInput: an unknown state or attention, or a limit below 1.
            RowCorrupt: a row is damaged; after all others were yielded, here as in the calls below.
        """
        where: dict[str, str] = {}
        if state is not None:
            where["state"] = str(arguments.member(State, "state", state))
        if gateway is not None:
            where["gateway"] = identifier("gateway", gateway)
        if payment_id is not None:
            where["payment_id"] = identifier("payment_id", payment_id)
        most = arguments.limit(limit)
        if attention is None:
            return finding.find(self.store, where, most)
        kind = arguments.member(Attention, "attention", attention)
        return finding.find_in_attention(self.store, kind, where, most)

    def needing_attention(self) -> Iterator[RefundView]:
        """Yield every refund a person should look at, once each, in the order of the refund ids."""
        return finding.needing_attention(self.store)

    def payment(self, gateway: str, payment_id: str) -> PaymentView:
        """Return a payment with what its refunds take. Raises `PaymentNotFound`."""
        return finding.payment(
            self.store, identifier("gateway", gateway), identifier("payment_id", payment_id)
        )

    def payments(self, *, over_refunded: bool = False) -> Iterator[PaymentView]:
        """Yield payments; with `over_refunded` only those whose refunds add up to more than was captured, or may."""
        return finding.payments(self.store, over_refunded=over_refunded)

    def inbox(self) -> Iterator[Row]:
        """Yield the messages that are not part of a refund: `orphaned` and `quarantined`."""
        return finding.inbox(self.store)

    # ---- audit

    def replay(self) -> ReplayReport:
        """Rebuild all views from the log, compare them with the live ones, swap, and report every difference.

        It has no gateway, so it can never call one.
        """
        return replay(self.store)

    def rebuild(self) -> Rebuilt:
        """Make all views again from the log, as fast as the store can, while others write.

        Nothing is compared, and an event of which its type says enough is not read, so no digest is checked: that is
        what `replay` is for. An engine does this by itself where it opens a store whose views are of another version.
        """
        return rebuild(self.store)

    def backup(self, target: str | os.PathLike[str], *, on_progress: OnProgress | None = None) -> Backup:
        """Copy the store into a new file while others write, and read the copy completely before it gets its name.

        What is appended meanwhile may be missing: the copy is the log as it was at one moment, from position 1 on.
        It can be read by this user alone.

        Args:
            target: the file to make; its folder must be there.
            on_progress: called with `copying` and bytes, then with `checking` and events: how many of how many.

        Raises:
            InvalidInput: there is a file of that name or no such folder, or the store is none that copies itself.
            CorruptLog: the store is damaged; nothing has that name.
            StoreError: the store cannot be read, or there is no room for the copy.
        """
        return back_up(self.store, target, on_progress=on_progress)
