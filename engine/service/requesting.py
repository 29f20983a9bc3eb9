"""Requesting: payments and refunds come into being, reserve their part of a payment and adopt what came before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..domain.events import (
    EvidenceRecorded,
    MessageOrphaned,
    PaymentRegistered,
    RefundRequested,
    RefundReserved,
    SubmissionStarted,
)
from ..domain.evidence import Evidence, Hold, Verification
from ..domain.message import Channel
from ..domain.payment import decide_register, decide_reserve
from ..domain.refund import Arrival, decide_evidence, decide_request
from ..errors import CorruptLog, OverRefund, UnreadableMessage
from ..ports import Delete, Write
from .journal import (
    advanced,
    decoded,
    encoded,
    inbox_stream,
    load_payment,
    load_refund,
    payment_stream,
    refund_stream,
    refund_write,
    retried,
)
from .recording import Outcome, Receipt, message_key
from .views import INBOX, payment_changes, refund_changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ..domain.events import Event
    from ..domain.message import Message
    from ..domain.money import Money
    from ..domain.payment import Payment
    from ..domain.refund import Refund
    from ..ports import Body, Change, Clock, EventStore, Gateway, NewEvent
    from .keeping import Keeper
    from .recording import Recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """A refund to open, and how.

    Attributes:
        guard: refuse it where the payment has not enough left; False for one that was already sent.
        sent: the intent, where the request has left; with its kept body and idempotency key.
    """

    gateway: Gateway
    asked: RefundRequested
    time: datetime
    guard: bool
    sent: SubmissionStarted | None = None
    body: Body | None = None
    key: str | None = None


class Requester:
    """Opens refunds and registers payments."""

    def __init__(self, store: EventStore, keeper: Keeper, clock: Clock, recorder: Recorder) -> None:
        """Append to `store`; receipts are made by `recorder`."""
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._recorder = recorder

    def register_payment(self, gateway: Gateway, payment_id: str, captured: Money) -> None:
        """Register what was captured of a payment; the same again changes nothing. Raises `PaymentConflict`."""
        event = PaymentRegistered(
            gateway=gateway.name, payment_id=payment_id, captured_minor=captured.minor, currency=captured.currency
        )
        stream = payment_stream(gateway.name, payment_id)

        def attempt() -> None:
            payment = load_payment(self._store, gateway.name, payment_id)
            events = decide_register(payment, event)
            if events:
                version = payment.version if payment is not None else 0
                write = Write(stream, version, encoded(events, self._clock()))
                self._store.append(write, changes=payment_changes(event))

        retried(attempt)

    def request(self, gateway: Gateway, asked: RefundRequested) -> Receipt:
        """Open a refund that is to be sent; the same again changes nothing.

        Raises:
            RefundConflict, OverRefund, InvalidAmount: as they say; nothing was stored.
        """
        opening = _Opening(gateway=gateway, asked=asked, time=self._clock(), guard=True)
        return retried(lambda: self._open(opening))

    def record_request(
        self,
        gateway: Gateway,
        message: Message,
        verification: Verification,
        *,
        refund_id: str | None = None,
        payment_id: str | None = None,
    ) -> Receipt:
        """Record a refund request that has left; it opens the refund unless it is known.

        It is a fact and not refused where the payment has not enough left: then `over_refunded` is raised.

        Raises:
            UnreadableMessage: it cannot be read, or lacks what a refund needs.
            RefundConflict: the refund id exists with other content.
        """
        sent = gateway.read_request(message)
        if refund_id is not None and refund_id != sent.refund_id and gateway.capabilities.refund_reference:
            raise UnreadableMessage(gateway.name, f"it asks for refund {sent.refund_id}, not {refund_id}")
        named = refund_id if refund_id is not None else sent.refund_id
        paid = sent.payment_id or payment_id
        amount = sent.amount or self._whole(gateway, paid)
        recorded_at = self._recorder.recorded_at(message)
        body, reference = self._keeper.keep(message)
        key = message_key(gateway.name, Channel.REQUEST, message, None, verification, named)
        opening = _Opening(
            gateway=gateway,
            asked=RefundRequested(
                gateway=gateway.name,
                refund_id=named,
                payment_id=paid,
                amount_minor=amount.minor,
                currency=amount.currency,
                account=sent.account,
                reason=self._keeper.text(sent.reason) or None,
                recorded_at=recorded_at,
            ),
            time=message.received_at,
            guard=False,
            sent=SubmissionStarted(
                idempotency_key=named,
                trust=verification.trust,
                key_id=verification.key_id,
                message=reference,
                recorded_at=recorded_at,
            ),
            body=body,
            key=key,
        )
        return retried(lambda: self._open(opening))

    def _whole(self, gateway: Gateway, payment_id: str | None) -> Money:
        """Return the captured amount, for a request that leaves the amount out and so asks for all of it."""
        payment = load_payment(self._store, gateway.name, payment_id) if payment_id is not None else None
        if payment is None or payment.captured is None:
            raise UnreadableMessage(
                gateway.name, "it carries no amount, so it asks for the whole payment: register the payment first"
            )
        return payment.captured

    def _open(self, opening: _Opening) -> Receipt:
        asked, store = opening.asked, self._store
        refund = load_refund(store, asked.refund_id)
        events: list[Event] = decide_request(refund, asked)
        if opening.sent is not None:
            events.append(opening.sent)
        if refund is not None and not events:
            return self._standing(refund)
        after = advanced(refund, events, opening.time)
        writes: list[Write] = []
        changes: list[Change] = []
        if refund is None:
            if asked.payment_id is not None:
                writes.append(self._reservation(opening))
            adopted = self._adopt(opening, after)
            # Guards that no orphan of this refund arrives between looking for them and the append.
            writes.append(Write(inbox_stream(asked.gateway), adopted.inbox_version))
            changes += adopted.changes
            after = adopted.refund
            writes.append(_opening_write(opening, events, adopted.events))
        else:
            writes.append(refund_write(refund, asked.refund_id, events, opening.time))
        appended = store.append(
            *writes,
            key=opening.key,
            content=opening.key,
            bodies=[opening.body] if opening.body is not None else [],
            changes=[*refund_changes(refund, after), *changes],
        )
        return self._recorder.receipt(appended, refund, after, Channel.REQUEST)

    def _standing(self, refund: Refund) -> Receipt:
        return Receipt(
            outcome=Outcome.DUPLICATE,
            refund_id=refund.refund_id,
            position=refund.created_position,
            state=refund.state,
            attention=tuple(sorted(map(str, refund.attention))),
        )

    # ---- the payment's part

    def _reservation(self, opening: _Opening) -> Write:
        asked = opening.asked
        payment_id = asked.payment_id or ""
        payment = load_payment(self._store, asked.gateway, payment_id)
        event = RefundReserved(
            gateway=asked.gateway,
            payment_id=payment_id,
            refund_id=asked.refund_id,
            amount_minor=asked.amount_minor,
            currency=asked.currency,
        )
        taken = self._taken(payment) if opening.guard and payment is not None else 0
        if opening.guard and taken and not opening.gateway.capabilities.several:
            raise OverRefund(payment_id, asked.amount_minor, 0, asked.currency)
        decided = decide_reserve(payment, event, taken, guard=opening.guard)
        version = payment.version if payment is not None else 0
        return Write(payment_stream(asked.gateway, payment_id), version, encoded(decided, opening.time))

    def _taken(self, payment: Payment) -> int:
        """Return what the payment's refunds hold, folded from their own streams."""
        found = (load_refund(self._store, refund_id) for refund_id in payment.refunds)
        return sum(refund.amount.minor for refund in found if refund is not None and refund.reserved)

    # ---- what came before

    def _adopt(self, opening: _Opening, refund: Refund) -> _Adopted:
        """Take over the orphans that name this refund, in the order in which they arrived."""
        gateway = opening.gateway
        version = self._store.version(inbox_stream(gateway.name))
        events: list[NewEvent] = []
        changes: list[Change] = []
        for orphan, time in self._orphans(gateway, refund) if version else ():
            decided = decide_evidence(refund, _evidence_of(orphan), _arrival_of(gateway, orphan, time))
            refund = advanced(refund, decided, time)
            events += encoded(decided, time)
            changes.append(Delete(INBOX, (orphan.key,)))
        return _Adopted(refund, events, changes, version)

    def _orphans(self, gateway: Gateway, refund: Refund) -> Iterator[tuple[MessageOrphaned, datetime]]:
        wheres = [{"refund_id": refund.refund_id}]
        if not gateway.capabilities.refund_reference and refund.payment_id is not None:
            wheres.append({"payment_id": refund.payment_id})
        keys = {
            str(row["key"]): None
            for where in wheres
            for row in self._store.rows(INBOX, where={"gateway": gateway.name, "kind": "orphaned", **where})
        }
        found = [(settled.first, key) for key in keys if (settled := self._store.settle(key)) is not None]
        for position, _ in sorted(found):
            for recorded in decoded(self._store.read_category("inbox", after=position - 1)):
                if not isinstance(recorded.event, MessageOrphaned):
                    raise CorruptLog(f"position {position} holds no orphan, though the inbox names it")
                yield recorded.event, recorded.time
                break


@dataclass(frozen=True, slots=True)
class _Adopted:
    refund: Refund
    events: Sequence[NewEvent]
    changes: Sequence[Change]
    inbox_version: int


def _opening_write(opening: _Opening, events: Sequence[Event], adopted: Sequence[NewEvent]) -> Write:
    """Return the write that opens a refund's stream; what was adopted keeps the time it reached us."""
    return Write(refund_stream(opening.asked.refund_id), 0, [*encoded(events, opening.time), *adopted])


def _evidence_of(orphan: MessageOrphaned) -> Evidence:
    stated = orphan.evidence
    return Evidence(
        signal=orphan.signal,
        code=stated.code,
        refund_id=orphan.stated_refund_id,
        payment_id=stated.payment_id,
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
    stated: EvidenceRecorded = orphan.evidence
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

