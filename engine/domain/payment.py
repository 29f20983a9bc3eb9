"""The payment on one screen: what was captured, which refunds reserve parts of it, and the over-refund guard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import InvalidAmount, OverRefund, PaymentConflict
from .events import PaymentRegistered, RefundReserved
from .identifiers import identifier
from .money import Money

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .events import Event, Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What the log says about one payment.

    Attributes:
        captured: None until the payment is registered: then no guard applies.
        refunds: minor units by refund id, in the order they were reserved.
    """

    gateway: str
    payment_id: str
    captured: Money | None
    refunds: Mapping[str, int]
    version: int


def evolve(payment: Payment | None, recorded: Recorded) -> Payment | None:
    """Return the payment after one event of its stream."""
    event = recorded.event
    if not isinstance(event, PaymentRegistered | RefundReserved):
        return payment
    if payment is None:
        payment = Payment(
            gateway=event.gateway,
            payment_id=event.payment_id,
            captured=None,
            refunds={},
            version=recorded.version,
        )
    if isinstance(event, PaymentRegistered):
        return replace(
            payment, captured=Money(event.captured_minor, event.currency), version=recorded.version
        )
    return replace(
        payment, refunds={**payment.refunds, event.refund_id: event.amount_minor}, version=recorded.version
    )


def fold(history: Iterable[Recorded], payment: Payment | None = None) -> Payment | None:
    """Return the payment after its events; None for no events."""
    for recorded in history:
        payment = evolve(payment, recorded)
    return payment


def decide_register(payment: Payment | None, registered: PaymentRegistered) -> list[Event]:
    """Register what was captured, or nothing where the same is registered.

    Raises:
        PaymentConflict: another amount or currency is registered.
    """
    identifier("payment_id", registered.payment_id)
    given = Money(registered.captured_minor, registered.currency)
    if payment is None or payment.captured is None:
        return [registered]
    if payment.captured != given:
        raise PaymentConflict(registered.payment_id, str(payment.captured), str(given))
    return []


def decide_reserve(
    payment: Payment | None, reserved: RefundReserved, taken_minor: int, *, guard: bool = True
) -> list[Event]:
    """Take a refund's part of the payment.

    Args:
        payment: as the log has it; None where nothing is known.
        reserved: the part to take.
        taken_minor: what the payment's other refunds hold, in its minor unit.
        guard: False for a refund that was already sent (imports): a fact is recorded, not refused.

    Raises:
        OverRefund: more than is left.
        InvalidAmount: the payment is in another currency.
    """
    if guard and payment is not None and payment.captured is not None:
        captured = payment.captured
        if captured.currency != reserved.currency:
            asked = str(Money(reserved.amount_minor, reserved.currency))
            raise InvalidAmount(asked, f"the payment is in {captured.currency}")
        available = captured.minor - taken_minor
        if reserved.amount_minor > available:
            raise OverRefund(reserved.payment_id, reserved.amount_minor, max(available, 0), captured.currency)
    return [reserved]
