"""Attention: the named reasons why a person should look at a refund or a payment. Never a state."""

from __future__ import annotations

from enum import StrEnum


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
