"""Requesting: payments and refunds come into being, reserve their part of a payment and adopt what came before them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..domain.events import PaymentRegistered, RefundRequested, SubmissionStarted
from ..domain.message import Channel
from ..domain.payment import decide_register
from ..domain.refund import decide_request
from ..errors import UnreadableMessage
from ..ports import Write
from .contending import Turns, retried
from .folds import load_refund
from .inbox import Inbox
from .journal import advanced, encoded, load_payment, payment_stream, refund_write
from .recording import Outcome, Receipt, message_key, standing
from .reserving import guarded_reservation, plain_reservation
from .views import payment_changes, refund_changes

if TYPE_CHECKING:
    from datetime import datetime

    from ..domain.events import Event
    from ..domain.evidence import Verification
    from ..domain.message import Message
    from ..domain.money import Money
    from ..domain.refund import Refund
    from ..ports import Body, Clock, EventStore, Gateway
    from .keeping import Keeper
    from .recording import Recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """A refund to open, and how.

    Attributes:
        sent: the intent, where the request has left already: then the payment's guard cannot refuse it any more.
        body: the kept body of that message, with its idempotency key.
    """

    gateway: Gateway
    asked: RefundRequested
    time: datetime
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
        self._inbox = Inbox(store, keeper)
        self._turns = Turns()

    def register_payment(self, gateway: Gateway, payment_id: str, captured: Money) -> None:
        """Register what was captured of a payment; the same again changes nothing. Raises `PaymentConflict`."""
        event = PaymentRegistered(
            gateway=gateway.name,
            payment_id=payment_id,
            captured_minor=captured.minor,
            currency=captured.currency,
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
        opening = _Opening(gateway=gateway, asked=asked, time=self._clock())
        return self._opened(opening)

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
        sent = self._recorder.read_request(gateway, message)
        if refund_id is not None and refund_id != sent.refund_id and gateway.capabilities.refund_reference:
            raise UnreadableMessage(gateway.name, f"it asks for refund {sent.refund_id}, not {refund_id}")
        named = refund_id if refund_id is not None else sent.refund_id
        paid = sent.payment_id or payment_id
        amount = sent.amount or self._whole(gateway, paid)
        recorded_at = self._recorder.recorded_at(message)
        body, reference = self._keeper.keep(message)
        asked = RefundRequested(
            gateway=gateway.name,
            refund_id=named,
            payment_id=paid,
            amount_minor=amount.minor,
            currency=amount.currency,
            account=sent.account,
            reason=self._keeper.text(sent.reason) or None,
            recorded_at=recorded_at,
        )
        intent = SubmissionStarted(
            idempotency_key=named,
            trust=verification.trust,
            key_id=verification.key_id,
            message=reference,
            recorded_at=recorded_at,
        )
        key = message_key(gateway.name, Channel.REQUEST, message, named)
        opening = _Opening(
            gateway=gateway, asked=asked, time=message.received_at, sent=intent, body=body, key=key
        )
        return self._opened(opening)

    def _whole(self, gateway: Gateway, payment_id: str | None) -> Money:
        """Return the captured amount, for a request that leaves the amount out and so asks for all of it."""
        payment = load_payment(self._store, gateway.name, payment_id) if payment_id is not None else None
        if payment is None or payment.captured is None:
            raise UnreadableMessage(
                gateway.name,
                "it carries no amount, so it asks for the whole payment: register the payment first",
            )
        return payment.captured

    def _opened(self, opening: _Opening) -> Receipt:
        # All refunds of a payment are read to open one more. A batch has the store to itself, and must not wait.
        payment_id = opening.asked.payment_id
        alone = payment_id is None or self._store.in_batch
        stream = payment_stream(opening.gateway.name, payment_id or "")
        with nullcontext() if alone else self._turns.of(stream):
            return retried(lambda: self._open(opening))

    def _open(self, opening: _Opening) -> Receipt:
        refund = load_refund(self._store, opening.asked.refund_id)
        events: list[Event] = decide_request(refund, opening.asked)
        if opening.sent is not None:
            events.append(opening.sent)
        if refund is None:
            return self._open_new(opening, events)
        if not events:
            return standing(refund, refund.created_position, Outcome.DUPLICATE)
        after = advanced(refund, events, opening.time)
        write = refund_write(refund, refund.refund_id, events, opening.time)
        appended = self._store.append(
            write,
            key=opening.key,
            content=opening.key,
            bodies=_bodies(opening),
            changes=refund_changes(refund, after),
        )
        return self._recorder.receipt(appended, refund, after, Channel.REQUEST)

    def _open_new(self, opening: _Opening, events: list[Event]) -> Receipt:
        asked = advanced(None, events, opening.time)
        adopted = self._inbox.adopt(opening.gateway, asked)
        after = adopted.refund
        own = refund_write(None, after.refund_id, events, opening.time)
        writes = [own._replace(events=[*own.events, *adopted.events]), adopted.guard]
        if after.payment_id is not None:
            writes.append(self._reservation(opening, after))
        appended = self._store.append(
            *writes,
            key=opening.key,
            content=opening.key,
            bodies=_bodies(opening),
            changes=[*refund_changes(None, after), *adopted.changes],
        )
        return self._recorder.receipt(appended, None, after, Channel.REQUEST)

    def _reservation(self, opening: _Opening, refund: Refund) -> Write:
        if opening.sent is not None or opening.asked.payment_id is None:
            return plain_reservation(self._store, refund, opening.time)
        return guarded_reservation(self._store, refund, opening.time, opening.gateway.capabilities)


def _bodies(opening: _Opening) -> list[Body]:
    return [] if opening.body is None else [opening.body]
