"""Replay: compute the views again from the log alone, compare them with the live ones, and swap.

Nothing in this module has a gateway, so replay cannot reach one.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from ..domain.events import EvidenceRecorded, MessageOrphaned, MessageQuarantined, PaymentRegistered
from ..domain.refund import evolve
from ..domain.signals import State
from ..errors import CorruptLog, EventMissing, StoreError
from ..ports import Delete, Upsert
from ..service.journal import decoded, inbox_stream
from ..service.views import (
    ATTENTION,
    INBOX,
    PAYMENTS,
    REFUNDS,
    VIEWS,
    inbox_changes,
    payment_changes,
    refund_changes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..domain.refund import Refund
    from ..ports import Change, Difference, EventStore, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        events: the last position of the log.
        refunds: how many refunds were folded.
        payments: how many payments were folded.
        differences: rows that were not what the log says; they are now.
        set_aside: (stream, error) of each stream that cannot be read or folded; its rows stay as they were.
    """

    events: int
    refunds: int
    payments: int
    differences: tuple[Difference, ...]
    set_aside: tuple[tuple[str, str], ...]

    @property
    def agrees(self) -> bool:
        """Whether every view was what the log says, and all of the log was read."""
        return not self.differences and not self.set_aside

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "agrees": self.agrees,
            "events": self.events,
            "refunds": self.refunds,
            "payments": self.payments,
            "differences": [difference._asdict() for difference in self.differences],
            "set_aside": [{"stream": stream, "error": error} for stream, error in self.set_aside],
        }


def replay(store: EventStore) -> ReplayReport:
    """Rebuild all views from the log in new tables, compare them with the live ones, and swap.

    Raises:
        EventMissing: the log is not complete; the views stay as they are, for they may know what it has lost.
    """
    missing = store.first_missing()
    if missing is not None:
        raise EventMissing(missing)
    folding = _Folding(store)
    differences = store.rebuild(VIEWS, folding.changes())
    report = ReplayReport(
        events=store.head(),
        refunds=folding.refunds,
        payments=folding.payments,
        differences=tuple(differences),
        set_aside=tuple(folding.set_aside),
    )
    log = structlog.wrap_logger(logging.getLogger("refold"))
    say = log.info if report.agrees else log.warning
    say("replay.done", events=report.events, refunds=report.refunds, differences=len(differences))
    return report


class _Folding:
    """Folds stream after stream, in constant memory, into view changes."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.refunds = 0
        self.payments = 0
        self.set_aside: list[tuple[str, str]] = []

    def changes(self) -> Iterator[Change]:
        """Yield the changes that make the views; the inbox first, since refunds adopt from it."""
        for category, fold_one in (
            ("inbox", self._inbox),
            ("payment", self._payment),
            ("refund", self._refund),
        ):
            for stream in self._store.streams(category):
                try:
                    # A stream is read to its end before any of its rows is made, so that a damaged one makes none.
                    yield from list(fold_one(stream))
                except StoreError:
                    raise
                except CorruptLog as error:
                    self.set_aside.append((stream, f"{type(error).__name__}: {error}"))
                    yield from self._as_live(category, stream)
                except Exception as error:  # noqa: BLE001 - one stream that cannot be folded stops no other
                    self.set_aside.append((stream, type(error).__name__))
                    yield from self._as_live(category, stream)

    def _inbox(self, stream: str) -> Iterator[Change]:
        for stored in self._store.read_stream(stream):
            for recorded in decoded([stored]):
                if isinstance(recorded.event, MessageOrphaned | MessageQuarantined):
                    yield from inbox_changes(recorded.event, stored.time)

    def _payment(self, stream: str) -> Iterator[Change]:
        self.payments += 1
        for recorded in decoded(self._store.read_stream(stream)):
            if isinstance(recorded.event, PaymentRegistered):
                yield from payment_changes(recorded.event)

    def _refund(self, stream: str) -> Iterator[Change]:
        refund: Refund | None = None
        for recorded in decoded(self._store.read_stream(stream)):
            refund = evolve(refund, recorded)
            event = recorded.event
            if isinstance(event, EvidenceRecorded) and event.adopted_from is not None:
                yield Delete(INBOX, (event.adopted_from,))
        if refund is not None:
            self.refunds += 1
            yield from refund_changes(None, refund)

    def _as_live(self, category: str, stream: str) -> Iterator[Change]:
        """Yield the rows of a stream that cannot be read as they stand: a person must look, nothing is thrown away."""
        name = stream.removeprefix(f"{category}-")
        if category == "refund":
            yield from self._refund_as_live(name)
        elif category == "inbox":
            for row in self._store.rows(INBOX, where={"gateway": name}):
                yield Upsert(INBOX, tuple(row[column] for column in INBOX.names()))
        else:
            gateway, _, payment_id = name.partition("-")
            for row in self._store.rows(PAYMENTS, where={"gateway": gateway, "payment_id": payment_id}):
                yield Upsert(PAYMENTS, (gateway, payment_id, row["currency"], row["captured_minor"], 0, 0, 0))

    def _refund_as_live(self, refund_id: str) -> Iterator[Change]:
        row = self._store.row(REFUNDS, (refund_id,))
        if row is None:
            return
        yield Upsert(REFUNDS, tuple(row[column] for column in REFUNDS.names()))
        for kind in str(row["attention"]).split():
            yield Upsert(ATTENTION, (kind, refund_id, row["sort_key"]))
        yield from _part_of_payment(row)
        with suppress(CorruptLog):  # then the inbox stands as it was, too
            yield from list(self._adopted(row))

    def _adopted(self, row: Row) -> Iterator[Change]:
        """Yield the removal of the orphans that the refund of a row may have adopted, and that wait no longer."""
        for recorded in decoded(self._store.read_stream(inbox_stream(str(row["gateway"])))):
            orphan = recorded.event
            if not isinstance(orphan, MessageOrphaned):
                continue
            payment = {orphan.evidence.payment_id, orphan.evidence.payment_alias} - {None}
            named = orphan.refund_id == row["refund_id"] or row["payment_id"] in payment
            if named and self._store.row(INBOX, (orphan.key,)) is None:
                yield Delete(INBOX, (orphan.key,))


def _part_of_payment(row: Row) -> Iterator[Change]:
    if row["payment_id"] is None:
        return
    given_back = row["amount_minor"] if row["state"] == State.SUCCESS else 0
    key = (row["gateway"], row["payment_id"], row["currency"])
    yield Upsert(PAYMENTS, (*key, None, row["reserved_minor"], given_back, 1))
