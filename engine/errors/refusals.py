"""The call was well-formed, and the answer is no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.masking import shown
from .base import RefoldError

if TYPE_CHECKING:
    from collections.abc import Sequence


class NotFound(RefoldError):
    """What was named is not in the log."""


class RefundNotFound(NotFound):
    """No refund of that id is in the log."""

    def __init__(self, refund_id: str) -> None:
        super().__init__(f"refund {shown(refund_id)} is not in the log; `refold list` shows those that are")
        self.refund_id = refund_id


class PaymentNotFound(NotFound):
    """No payment of that gateway and id is in the log."""

    def __init__(self, gateway: str, payment_id: str) -> None:
        super().__init__(f"payment {shown(payment_id)} of {gateway} is not in the log; register it first")
        self.gateway = gateway
        self.payment_id = payment_id


class MessageNotFound(NotFound):
    """The message body of that digest was erased or never kept."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"no message body of digest {digest} is kept: erased, or of another store")
        self.digest = digest


class Refused(RefoldError):
    """Well-formed, and the answer is no: nothing was stored."""


class RefundConflict(Refused):
    """The refund id exists with other content; `differences` names field, stored and given value."""

    def __init__(self, refund_id: str, differences: Sequence[tuple[str, str, str]]) -> None:
        listed = "; ".join(f"{name} is {stored}, given {given}" for name, stored, given in differences)
        super().__init__(f"refund {shown(refund_id)} exists otherwise: {listed}; use a new refund id")
        self.refund_id = refund_id
        self.differences = tuple(differences)


class PaymentConflict(Refused):
    """The payment is registered with another captured amount or currency."""

    def __init__(self, payment_id: str, stored: str, given: str) -> None:
        super().__init__(
            f"payment {shown(payment_id)} is registered as {stored}, given {given}; that stays:"
            " another payment needs another id"
        )
        self.payment_id = payment_id


class OverRefund(Refused):
    """`requested` is more than `available`, both integers in the minor unit of `currency`."""

    def __init__(
        self, payment_id: str, requested: int, available: int, currency: str, reason: str = ""
    ) -> None:
        kept = "what is not known to have failed stays reserved, a refusal too until a query has confirmed it"
        left = f"{available} left (minor units of {currency}; {reason or kept})"
        super().__init__(f"refund of {requested} on payment {shown(payment_id)} refused: {left}")
        self.payment_id, self.currency = payment_id, currency
        self.requested, self.available = requested, available


class SelfApproval(Refused):
    """The person who asked for a refund may not decide its outcome."""

    def __init__(self, actor: str) -> None:
        super().__init__(f"{shown(actor)} asked for this refund and may not decide it: another person must")
        self.actor = actor


class TooSoon(Refused):
    """The gateway may not be contacted about the refund for another `retry_after_s` seconds; `reason` says why."""

    def __init__(self, refund_id: str, reason: str, retry_after_s: int) -> None:
        super().__init__(f"refund {shown(refund_id)}: {reason}; try again in {retry_after_s} s")
        self.refund_id = refund_id
        self.reason = reason
        self.retry_after_s = retry_after_s


class ResendRefused(Refused):
    """The refund may have been sent already, and sending it again is not known to be safe; `reason` says why."""

    def __init__(self, refund_id: str, reason: str) -> None:
        way_out = "a later look-up or webhook may tell, or a person decides (`refold resolve`)"
        super().__init__(f"refund {shown(refund_id)} is not sent again: {reason}; {way_out}")
        self.refund_id = refund_id
        self.reason = reason


class VersionConflict(Refused):
    """Another writer was first on `stream`."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"wrong expected version: {expected} (stream: {stream}, stream version: {actual})")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class KeyReuse(Refused):
    """The idempotency key stands for other content; the digests are lower-case hex SHA-256."""

    def __init__(self, key: str, stored: str, given: str) -> None:
        super().__init__(f"key {shown(key)} stands for other content: stored digest {stored}, given {given}")
        self.key = key
        self.stored = stored
        self.given = given


class CheckpointConflict(Refused):
    """Another consumer works on the subscription `name`; its checkpoint is at `actual`, and `expected` was expected.

    `reason` says how that was noticed, where the two are equal.
    """

    def __init__(self, name: str, expected: int | None, actual: int | None, reason: str = "") -> None:
        found = reason or f"its checkpoint is {actual}, expected {expected}"
        super().__init__(
            f"subscription {shown(name)}: {found}; another consumer is at it: read its checkpoint again"
        )
        self.name, self.expected, self.actual = name, expected, actual
