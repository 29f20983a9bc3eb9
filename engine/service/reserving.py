"""Reserving: a refund's part of its payment, appended together with what makes it one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.events import RefundReserved
from ..domain.payment import decide_reserve
from ..errors import OverRefund
from ..ports import Write
from .journal import encoded, load_payment, load_refund, payment_stream

if TYPE_CHECKING:
    from datetime import datetime

    from ..domain.payment import Payment
    from ..domain.refund import Refund
    from ..ports import Capabilities, EventStore


def guarded_reservation(
    store: EventStore, refund: Refund, time: datetime, capabilities: Capabilities
) -> Write:
    """Reserve a part for a refund that is still to be sent.

    Raises:
        OverRefund: more than the payment has left, or a second refund where the gateway takes one.
        InvalidAmount: the payment is in another currency.
    """
    payment = load_payment(store, refund.gateway, refund.payment_id or "")
    taken = _taken(store, payment)
    if taken and not capabilities.several:
        raise OverRefund(refund.payment_id or "", refund.amount.minor, 0, refund.amount.currency)
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


def _taken(store: EventStore, payment: Payment | None) -> int:
    """Return what the payment's refunds hold, folded from their own streams."""
    found = (load_refund(store, refund_id) for refund_id in (payment.refunds if payment is not None else ()))
    return sum(refund.amount.minor for refund in found if refund is not None and refund.reserved)
