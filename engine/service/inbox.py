"""The inbox: messages that are not part of a refund. Orphans wait for theirs, all others for a person."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import structlog

from ..domain.events import EvidenceRecorded, MessageOrphaned, MessageQuarantined
from ..domain.evidence import Evidence, Hold, Verification
from ..domain.proof import Arrival, decide_evidence
from ..domain.wire import time_text
from ..errors import CorruptLog
from ..ports import Delete, Write
from .journal import advanced, decoded, encoded, inbox_stream, refund_stream
from .views import INBOX, ORPHANED, check_inbox_row, inbox_changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ..domain.message import Channel, Message
    from ..domain.refund import Refund
    from ..ports import Appended, Body, Change, EventStore, Gateway, NewEvent
    from .keeping import Keeper


class Fact(NamedTuple):
    """One message, ready to be appended: what it says, how it reached us, its kept body, and what makes it the same."""

    evidence: Evidence
    arrival: Arrival
    body: Body
    key: str


class Adopted(NamedTuple):
    """What a new refund takes over.

    Attributes:
        refund: the refund after it.
        events: what to append behind its request; each keeps the time at which it reached us.
        changes: what that changes in the inbox.
        guard: fails the append where another orphan arrived since.
    """

    refund: Refund
    events: Sequence[NewEvent]
    changes: Sequence[Change]
    guard: Write


class Inbox:
    """Keeps messages beside the refunds, and hands orphans over."""

    def __init__(self, store: EventStore, keeper: Keeper) -> None:
        """Append to `store` what `keeper` made safe."""
        self._store = store
        self._keeper = keeper
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    def orphan(
        self, gateway: str, refund_id: str, other: Refund | None, fact: Fact, guards: Sequence[Write]
    ) -> Appended:
        """Keep a message for a refund we do not know, unless the refund appears in this very moment.

        Args:
            gateway: its name.
            refund_id: the refund it was received for.
            other: the refund of that number at another gateway.
            fact: what the message says.
            guards: fail the append where the message may have found its refund since.
        """
        evidence, arrival, body, key = fact
        event = MessageOrphaned(
            key=key,
            gateway=gateway,
            refund_id=refund_id,
            stated_refund_id=evidence.refund_id,
            signal=evidence.signal,
            claims=evidence.claims,
            evidence=_as_stated(evidence, arrival),
        )
        appended = self._store.append(
            Write(inbox_stream(gateway), None, encoded([event], arrival.time)),
            Write(refund_stream(refund_id), other.version if other is not None else 0),
            *guards,
            key=key,
            content=key,
            bodies=[body],
            changes=inbox_changes(event, time_text(arrival.time)),
        )
        self._log.info(
            "message.orphaned",
            refund_id=refund_id,
            gateway=gateway,
            channel=str(arrival.channel),
            position=appended.first,
            duplicate=appended.duplicate,
        )
        return appended

    def quarantine(
        self,
        gateway: str,
        channel: Channel,
        message: Message,
        verification: Verification,
        reason: str,
        *,
        key: str,
    ) -> tuple[Appended, str]:
        """Keep an authentic message that cannot be used; return the reason as it was kept."""
        body, reference = self._keeper.keep(message)
        event = MessageQuarantined(
            key=key,
            gateway=gateway,
            channel=channel,
            reason=self._keeper.text(reason),
            trust=verification.trust,
            key_id=verification.key_id,
            message=reference,
        )
        appended = self._store.append(
            Write(inbox_stream(gateway), None, encoded([event], message.received_at)),
            key=key,
            content=key,
            bodies=[body],
            changes=inbox_changes(event, time_text(message.received_at)),
        )
        self._log.warning(
            "message.quarantined",
            gateway=gateway,
            channel=str(channel),
            position=appended.first,
            reason=event.reason,
            duplicate=appended.duplicate,
        )
        return appended, event.reason

    def adopt(self, gateway: Gateway, refund: Refund) -> Adopted:
        """Take over the orphans that speak of a refund which is about to be opened, in the order of the log."""
        # The version is read first: an orphan that arrives after it fails the append, and we look again.
        guard = Write(inbox_stream(gateway.name), self._store.version(inbox_stream(gateway.name)))
        events: list[NewEvent] = []
        changes: list[Change] = []
        for time, orphan in self._orphans(gateway, refund) if guard.expected else ():
            decided = decide_evidence(refund, _evidence_of(orphan), _arrival_of(gateway, orphan, time))
            refund = advanced(refund, decided, time)
            events += encoded(decided, time)
            changes.append(Delete(INBOX, (orphan.key,)))
        return Adopted(refund, events, changes, guard)

    def _orphans(self, gateway: Gateway, refund: Refund) -> Iterator[tuple[datetime, MessageOrphaned]]:
        by_payment = None if gateway.capabilities.refund_reference else refund.payment_id
        wheres = [{"refund_id": refund.refund_id}]
        if by_payment is not None:
            wheres += [{"payment_id": by_payment}, {"payment_alias": by_payment}]
        keys = {
            str(check_inbox_row(row)["key"]): None
            for where in wheres
            for row in self._store.rows(INBOX, where={"gateway": gateway.name, "kind": ORPHANED, **where})
        }
        positions = {key: settled.first for key in keys if (settled := self._store.settle(key)) is not None}
        for key, position in sorted(positions.items(), key=lambda found: found[1]):
            orphan, time = self._orphan_at(position, key)
            # Matched by payment alone: not where the caller had said that it speaks of another refund.
            if orphan.refund_id in {refund.refund_id, orphan.stated_refund_id, by_payment}:
                yield time, orphan

    def _orphan_at(self, position: int, key: str) -> tuple[MessageOrphaned, datetime]:
        found = next(decoded(self._store.read_all(after=position - 1)), None)
        if found is None or not isinstance(found.event, MessageOrphaned) or found.event.key != key:
            raise CorruptLog(f"position {position} should hold the orphan {key}, and does not")
        return found.event, found.time


# ---- an orphan's evidence, kept and given back -----------------------------------------------------------------


def _as_stated(evidence: Evidence, arrival: Arrival) -> EvidenceRecorded:
    return EvidenceRecorded(
        channel=arrival.channel,
        code=evidence.code,
        amount_minor=evidence.amount_minor,
        currency=evidence.currency,
        account=evidence.account,
        payment_id=evidence.payment_id,
        payment_alias=evidence.payment_alias,
        gateway_refund_id=evidence.gateway_refund_id,
        gateway_time=evidence.gateway_time,
        detail=evidence.detail or None,
        hold=evidence.hold if evidence.hold is not Hold.NONE else None,
        unanswered=None if evidence.answered else True,
        http_status=arrival.http_status,
        trust=arrival.verification.trust,
        key_id=arrival.verification.key_id,
        message=arrival.message,
        recorded_at=arrival.recorded_at,
    )


def _evidence_of(orphan: MessageOrphaned) -> Evidence:
    stated = orphan.evidence
    return Evidence(
        signal=orphan.signal,
        claims=orphan.claims,
        code=stated.code,
        refund_id=orphan.stated_refund_id,
        payment_id=stated.payment_id,
        payment_alias=stated.payment_alias,
        gateway_refund_id=stated.gateway_refund_id,
        amount_minor=stated.amount_minor,
        currency=stated.currency,
        account=stated.account,
        gateway_time=stated.gateway_time,
        detail=stated.detail or "",
        hold=stated.hold or Hold.NONE,
        answered=not stated.unanswered,
    )


def _arrival_of(gateway: Gateway, orphan: MessageOrphaned, time: datetime) -> Arrival:
    stated = orphan.evidence
    return Arrival(
        channel=stated.channel,
        time=time,
        verification=Verification(stated.trust, stated.key_id),
        message=stated.message,
        http_status=stated.http_status,
        adopted_from=orphan.key,
        recorded_at=stated.recorded_at,
        refund_reference=gateway.capabilities.refund_reference,
        absence=gateway.capabilities.absence,
    )
