"""Evidence: what one message says about one refund, after an adapter read it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from .money import Money
    from .signals import Signal


class Hold(StrEnum):
    """How long an amount stays reserved although the refund rests at failed or closed."""

    NONE = "none"
    UNTIL_QUERY = "until_query"
    """until a later poll has confirmed that the gateway did not refund"""
    UNTIL_RECONCILED = "until_reconciled"
    """until a settlement report or a person has confirmed it; raises attention `overdue`"""


class Trust(StrEnum):
    """What was checked about a message's signature."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a signature check that did not fail.

    Attributes:
        trust: verified, or unverified because no key is configured, no signature is present, or what the
            signature covers (such as the request's path) is unknown.
        key_id: the id of the key that verified it.
    """

    trust: Trust
    key_id: str | None = None


UNVERIFIED = Verification(Trust.UNVERIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one message says about one refund.

    Attributes:
        signal: the meaning, from the adapter's table.
        claims: what the message says beside a field that cannot be read; `signal` is then unrecognised.
        code: the gateway's own words, as `field=value`, such as `refund.status=Success` or `state=2`.
        refund_id: our refund number, where the message carries it.
        payment_id: the original transaction, where the message carries it.
        payment_alias: the payment's other name at the gateway, where it has two and the message carries it.
        gateway_refund_id: the gateway's number of the refund.
        amount_minor: the refund's amount in minor units (of `currency`, else of the request's currency).
        currency: ISO 4217, where the message carries it.
        account: the merchant's account at the gateway, where the message carries it.
        gateway_time: when the gateway says it happened.
        detail: the gateway's message for people; never interpreted.
        hold: how long the amount stays reserved although the refund rests.
        answered: False where no application of the gateway spoke: a proxy's page, half a body, a 5xx.
    """

    signal: Signal
    claims: Signal | None = None
    code: str
    refund_id: str | None = None
    payment_id: str | None = None
    payment_alias: str | None = None
    gateway_refund_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    account: str | None = None
    gateway_time: datetime | None = None
    detail: str = ""
    hold: Hold = Hold.NONE
    answered: bool = True

    @property
    def payment_names(self) -> tuple[str, ...]:
        """Every name by which the message names the payment, the first one first."""
        names = (self.payment_id, self.payment_alias)
        return tuple(dict.fromkeys(name for name in names if name is not None))


class AbsenceRule(NamedTuple):
    """When repeated `not_found` answers prove that the gateway has no such refund.

    Attributes:
        answers: how many polls must say so, after a submission that the gateway answered.
        apart_s: the least time between the first and the last of them, in seconds.
    """

    answers: int
    apart_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRefund:
    """What one of our own refund requests says, read back from its bytes.

    Attributes:
        refund_id: our refund number.
        payment_id: the original transaction; None where only the path carried it.
        amount: None where the gateway lets the request leave it out (the whole payment).
        account: the merchant's account at the gateway, where the request carries it.
        reason: the text sent along.
    """

    refund_id: str
    payment_id: str | None
    amount: Money | None
    account: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundOrder:
    """What an adapter needs to build a refund request or a query for it.

    Attributes:
        refund_id: our refund number: also the idempotency key where the gateway takes one.
        payment_id: the original transaction as the gateway names it.
        amount: how much to give back.
        reason: text for the gateway.
        gateway_refund_id: the gateway's number, where already known (queries).
        notify_url: where the gateway shall send its webhook.
        requested_at: the business time sent along; the same on every retry, so that the bytes are.
    """

    refund_id: str
    payment_id: str
    amount: Money
    requested_at: datetime
    reason: str = ""
    gateway_refund_id: str | None = None
    notify_url: str | None = None
