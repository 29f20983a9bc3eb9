"""Attention: the named reasons why a person should look at a refund or a payment. Never a state."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from .evidence import Hold
from .signals import OUTCOME_BITS, UNSETTLED, State, conflicting, contradicting

if TYPE_CHECKING:
    from .refund import Refund


class Attention(StrEnum):
    """Why a person should look."""

    IN_DOUBT = "in_doubt"
    """sent, and nothing yet says that the gateway has it"""
    CONFLICT = "conflict"
    """the gateway said both outcomes with equal weight, or spoke again after a person's decision"""
    CONTRADICTED = "contradicted"
    """outcomes of different weight differ, or a rejection stands beside proof that the gateway holds the refund"""
    MISMATCH = "mismatch"
    """an authentic message named another amount, currency, account or reference than was asked"""
    UNRECOGNISED = "unrecognised"
    """the gateway used a code that is in no document"""
    OVERDUE = "overdue"
    """no outcome within the gateway's window"""
    POLLING_EXHAUSTED = "polling_exhausted"
    """the schedule of queries ended without an outcome"""
    OVER_REFUNDED = "over_refunded"
    """the refunds of a payment not known to have failed add up to more than was captured"""


def attention_of(refund: Refund) -> frozenset[Attention]:
    """Return why a person should look at the refund."""
    mask, decided, unsettled = refund.mask, refund.resolution, refund.state in UNSETTLED
    unseen = mask & OUTCOME_BITS & ~decided.seen_mask if decided is not None else 0
    hidden = decided is None and refund.state is State.CLOSED and refund.hold is Hold.UNTIL_RECONCILED
    raised = {
        Attention.IN_DOUBT: decided is None and refund.submitted and not mask,
        Attention.CONFLICT: bool(unseen) or (decided is None and conflicting(mask)),
        Attention.CONTRADICTED: decided is None and contradicting(mask),
        Attention.MISMATCH: refund.mismatched,
        Attention.UNRECOGNISED: refund.unrecognised,
        Attention.OVERDUE: (unsettled and refund.overdue) or (hidden and not refund.reconciled),
        Attention.POLLING_EXHAUSTED: unsettled and refund.exhausted,
    }
    return frozenset(reason for reason, holds in raised.items() if holds)
