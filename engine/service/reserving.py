"""Reserving: a refund's part of its payment, appended with what makes it one, and checked before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.events import RefundReserved
from ..domain.payment import decide_reserve
from ..domain.schedule import seconds_between
from ..domain.signals import UNSETTLED
from ..errors import InvalidInput, OverRefund
from ..ports import Write
from .folds import load_refund
from .journal import encoded, load_payment, payment_stream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..domain.payment import Payment
    from ..domain.refund import Refund
    from ..ports import Capabilities, EventStore, Gateway


def guarded_reservation(
    store: EventStore, refund: Refund, time: datetime, capabilities: Capabilities
) -> Write:
    """Reserve a part for a refund that is still to be sent.

    Raises:
        OverRefund: more than the payment has left, or a second refund where the gateway takes one.
        InvalidAmount: the payment is in another currency.
    """
    payment = load_payment(store, refund.gateway, refund.payment_id or "")
    holding = _holding(store, payment)
    if holding and not capabilities.several:
        reason = f"{refund.gateway} takes one refund a payment, and this one has it"
        raise OverRefund(refund.payment_id or "", refund.amount.minor, 0, refund.amount.currency, reason)
    taken = _taken(payment, holding, refund) if payment is not None else 0
    return _write(payment, refund, taken, time, guard=True)


def plain_reservation(store: EventStore, refund: Refund, time: datetime) -> Write:
    """Reserve a part for a refund that was already sent, or whose payment is only known now: a fact, never refused."""
    return _write(load_payment(store, refund.gateway, refund.payment_id or ""), refund, 0, time, guard=False)


def _write(payment: Payment | None, refund: Refund, taken: int, time: datetime, *, guard: bool) -> Write:
    event = RefundReserved(
        gateway=refund.gateway,
        payment_id=refund.payment_id or "",
        refund_id=refund.refund_id,
        amount_minor=refund.amount.minor,
        currency=refund.amount.currency,
    )
    decided = decide_reserve(payment, event, taken, guard=guard)
    version = payment.version if payment is not None else 0
    return Write(payment_stream(event.gateway, event.payment_id), version, encoded(decided, time))


def _holding(store: EventStore, payment: Payment | None) -> list[Refund]:
    """Return the payment's refunds that hold a part of it, folded from their own streams."""
    found = (load_refund(store, refund_id) for refund_id in (payment.refunds if payment is not None else ()))
    return [refund for refund in found if refund is not None and refund.reserved]


def _taken(payment: Payment, holding: Sequence[Refund], asked: Refund) -> int:
    """Return what refunds hold of their payment, in its minor unit.

    Raises:
        OverRefund: that of another currency cannot be told: who knows what the gateway made of it.
    """
    captured = payment.captured
    for refund in holding:
        if captured is not None and refund.amount.currency != captured.currency:
            other = f"{refund.refund_id} of the same payment holds {refund.amount}"
            reason = f"{other}, and what that leaves cannot be told: a person must look"
            raise OverRefund(payment.payment_id, asked.amount.minor, 0, captured.currency, reason)
    return sum(refund.amount.minor for refund in holding)


def check_reserved(store: EventStore, refund: Refund) -> None:
    """Check, before a refund is sent for the first time, that its payment has room for all that its refunds hold.

    Raises:
        OverRefund: it has not: refunds that were sent by other ways have taken it.
    """
    if refund.sent or refund.payment_id is None:
        return
    payment = load_payment(store, refund.gateway, refund.payment_id)
    if payment is None or payment.captured is None:
        return
    asked, captured = refund.amount, payment.captured
    holding = [other for other in _holding(store, payment) if other.refund_id != refund.refund_id]
    others = _taken(payment, holding, refund)
    if captured.currency != asked.currency or others + asked.minor > captured.minor:
        raise OverRefund(refund.payment_id, asked.minor, max(captured.minor - others, 0), captured.currency)


def under_way(store: EventStore, gateway: Gateway, refund: Refund, now: datetime) -> str | None:
    """Return another refund of the same payment that keeps the gateway from taking this one; None: there is none.

    After the gateway's window nothing can be under way any more: what is still in doubt then does not block the others.
    """
    capabilities = gateway.capabilities
    if not capabilities.one_at_a_time or refund.payment_id is None:
        return None
    payment = load_payment(store, gateway.name, refund.payment_id)
    for refund_id in payment.refunds if payment is not None else ():
        other = load_refund(store, refund_id) if refund_id != refund.refund_id else None
        if other is None or other.state not in UNSETTLED or other.submitted_at is None:
            continue
        if seconds_between(other.submitted_at, now) < capabilities.outcome_window_s:
            return refund_id
    return None


def check_distinct(store: EventStore, gateway: Gateway, refund: Refund) -> None:
    """Check that a look-up can only speak of this refund.

    Raises:
        InvalidInput: the gateway knows refunds by their payment alone, and this payment has a later one.
    """
    if gateway.capabilities.refund_reference or refund.payment_id is None:
        return
    payment = load_payment(store, gateway.name, refund.payment_id)
    last = list(payment.refunds)[-1] if payment is not None and payment.refunds else refund.refund_id
    if last != refund.refund_id:
        raise InvalidInput(
            f"{gateway.name} knows refunds by their payment alone, and {last} is a later one of the same payment:"
            f" an answer could not be told to speak of {refund.refund_id}"
        )
