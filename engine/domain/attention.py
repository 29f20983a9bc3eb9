"""Attention: the named reasons why a person should look at a refund or a payment. Never a state."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

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
    reasons = _of_evidence(refund)
    if refund.mismatched:
        reasons.append(Attention.MISMATCH)
    if refund.unrecognised:
        reasons.append(Attention.UNRECOGNISED)
    if (refund.overdue or refund.exhausted) and refund.state in UNSETTLED:
        if refund.overdue:
            reasons.append(Attention.OVERDUE)
        if refund.exhausted:
            reasons.append(Attention.POLLING_EXHAUSTED)
    return frozenset(reasons)


def _of_evidence(refund: Refund) -> list[Attention]:
    mask, decided = refund.mask, refund.resolution
    if decided is not None:
        return [Attention.CONFLICT] if mask & OUTCOME_BITS & ~decided.seen_mask else []
    reasons: list[Attention] = []
    if not mask and refund.submitted:
        reasons.append(Attention.IN_DOUBT)
    if conflicting(mask):
        reasons.append(Attention.CONFLICT)
    if contradicting(mask):
        reasons.append(Attention.CONTRADICTED)
    if refund.unproven and not refund.reconciled and refund.state is State.CLOSED:
        reasons.append(Attention.OVERDUE)
    return reasons
