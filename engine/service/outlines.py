"""The outlines of refunds and payments: the plain ones, of which their events' types say nearly all.

Where a refund's fold and its outline would differ, the outline must not hold: that is what the ranks leave out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..domain.attention import Attention
from ..domain.events import (
    EvidenceNotFound,
    EvidencePending,
    EvidenceSuccess,
    EvidenceUncertain,
    PaymentRegistered,
    RefundRequested,
    RefundReserved,
    SubmissionStarted,
)
from ..domain.money import currencies
from ..domain.signals import State
from ..domain.wire import UPCASTERS
from ..ports.projecting import ByRank, Entered, Joined, Learned, Outline, RowOutline, Standing
from .views import ATTENTION, PAYMENTS, REFUNDS

if TYPE_CHECKING:
    from ..domain.events import Event

_RANKS: Final[dict[type[Event], int]] = {
    RefundRequested: 0,
    EvidenceUncertain: 0,
    EvidenceNotFound: 0,
    SubmissionStarted: 1,
    EvidencePending: 2,
    EvidenceSuccess: 3,
}
"""Asked for, sent without a word from the gateway, held by it, and refunded: any other event makes a refund a case."""
_STATES: Final = (State.CREATED, State.CREATED, State.RECEIVED, State.SUCCESS)
_IN_DOUBT: Final = 1
_EVERY: Final = (0, 1, 2, 3)

_OPENING: Final = (RefundRequested.wire,)
_EVIDENCE: Final = (
    EvidencePending.wire,
    EvidenceSuccess.wire,
    EvidenceUncertain.wire,
    EvidenceNotFound.wire,
)
_START: Final = '{"v":1,'
"""All these are of their first version; one of a later version is read through an upcaster, or not at all."""
_REFUND_ID, _GATEWAY, _PAYMENT_ID, _AMOUNT = (
    Entered(field, _OPENING) for field in ("refund_id", "gateway", "payment_id", "amount_minor")
)
_CURRENCY: Final = Entered("currency", _OPENING, among=currencies())
_SORT_KEY: Final = Joined(Standing.OPENED_AT, _REFUND_ID)

_REFUND: Final = Outline(
    category="refund",
    ranks=tuple((model.wire, rank) for model, rank in _RANKS.items()),
    start=_START,
    opening=RefundRequested.wire,
    apart=Entered(
        "adopted_from", _EVIDENCE
    ),  # only the append that opens a refund adopts, before it hears more
    rows=(
        RowOutline(
            REFUNDS,
            (
                _REFUND_ID,
                _GATEWAY,
                _PAYMENT_ID,
                _AMOUNT,
                _CURRENCY,
                ByRank(tuple(map(str, _STATES))),
                ByRank(tuple(str(Attention.IN_DOUBT) if rank == _IN_DOUBT else "" for rank in _EVERY)),
                _AMOUNT,
                Learned("gateway_refund_id", _EVIDENCE, unless="claimed"),
                Standing.EVENTS,
                Standing.OPENED_AT,
                Standing.LATEST_AT,
                _SORT_KEY,
            ),
            ranks=_EVERY,
        ),
        RowOutline(ATTENTION, (str(Attention.IN_DOUBT), _REFUND_ID, _SORT_KEY), ranks=(_IN_DOUBT,)),
        RowOutline(
            PAYMENTS,
            (_GATEWAY, _PAYMENT_ID, _CURRENCY, None, _AMOUNT, ByRank((0, 0, 0, _AMOUNT)), 1),
            ranks=_EVERY,
        ),
    ),
)

_REGISTERED: Final = (PaymentRegistered.wire,)
_PAYMENT: Final = Outline(
    category="payment",
    ranks=((RefundReserved.wire, 0), (PaymentRegistered.wire, 1)),
    start=_START,
    once=PaymentRegistered.wire,
    rows=(
        RowOutline(
            PAYMENTS,
            (
                Entered("gateway", _REGISTERED),
                Entered("payment_id", _REGISTERED),
                Entered("currency", _REGISTERED, among=currencies()),
                Entered("captured_minor", _REGISTERED),
                0,
                0,
                0,
            ),
            ranks=(1,),
        ),
    ),
)


def outlines() -> tuple[Outline, ...]:
    """Return those that hold: an event that must be read through an upcaster is one that no outline knows."""
    upcast = {wire for wire, _ in UPCASTERS}
    return tuple(
        outline._replace(ranks=tuple(each for each in outline.ranks if each[0] not in upcast))
        for outline in (_PAYMENT, _REFUND)
    )
