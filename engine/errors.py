r"""Every error refold raises on purpose, as one tree split by what the caller can do.

RefoldError
├── InvalidInput                 the call or the message is wrong: correct it and call again
│   ├── InvalidAmount            not an amount of money in minor units, or too precise for its currency
│   ├── InvalidIdentifier        an id outside ^[\x21-\x7e]{1,128}$
│   ├── InvalidText              a note or reason that cannot be kept
│   ├── InvalidSetting           a URL, key or option that cannot be used
│   ├── UnknownGateway           no adapter of that name is configured
│   ├── UnreadableMessage        the bytes are not what the gateway documents
│   └── UnusableLine             one line of a message log; carries its number
├── NotFound                     what was named is not in the log
│   ├── RefundNotFound
│   ├── PaymentNotFound
│   └── MessageNotFound          the body was erased or never kept
├── Refused                      well-formed, and the answer is no: nothing was stored
│   ├── RefundConflict           the refund id exists with other content
│   ├── PaymentConflict          the payment is registered with other content
│   ├── OverRefund               more than the payment has left
│   ├── SelfApproval             the person who asked for a refund may not decide it
│   ├── TooSoon                  the gateway may not be contacted about the refund yet; it says when
│   ├── ResendRefused            it may have been sent already, and sending it again is not safe
│   ├── VersionConflict          another writer was first: read again and decide again
│   └── KeyReuse                 the idempotency key stands for other content
├── Unauthentic                  the message does not prove where it comes from: never appended
│   ├── InvalidSignature
│   └── StaleMessage             signed too long ago, or in the future
├── StoreError                   the store cannot do it now: nothing was stored, retry with the same ids
│   ├── StoreBusy
│   ├── StoreFull
│   ├── StoreReadOnly
│   ├── StoreUnavailable
│   ├── StoreClosed
│   ├── UnsafeDurability         the store would lose acknowledged events in a power cut
│   ├── SchemaTooNew             written by a newer refold: upgrade
│   └── OutcomeUnknown           the commit may or may not have happened: read the key again
└── CorruptLog                   the log is damaged or not understood: stop moving money on it
    ├── EventCorrupt             stored bytes do not match their digest
    ├── EventMissing             a position or version is not there
    ├── EventUnreadable          no model reads this event type and version
    └── IllegalMove              the log asks for a move the lifecycle does not have
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .domain.masking import mask_text, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CorruptLog",
    "EventCorrupt",
    "EventMissing",
    "EventUnreadable",
    "IllegalMove",
    "InvalidAmount",
    "InvalidIdentifier",
    "InvalidInput",
    "InvalidSetting",
    "InvalidSignature",
    "InvalidText",
    "KeyReuse",
    "MessageNotFound",
    "NotFound",
    "OutcomeUnknown",
    "OverRefund",
    "PaymentConflict",
    "PaymentNotFound",
    "RefoldError",
    "RefundConflict",
    "RefundNotFound",
    "Refused",
    "ResendRefused",
    "SchemaTooNew",
    "SelfApproval",
    "StaleMessage",
    "StoreBusy",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
    "TooSoon",
    "Unauthentic",
    "UnknownGateway",
    "UnreadableMessage",
    "UnsafeDurability",
    "UnusableLine",
    "VersionConflict",
]


class RefoldError(Exception):
    """Base of every error refold raises on purpose; its message holds no full card number."""

    def __init__(self, message: str = "") -> None:
        super().__init__(mask_text(message))


class InvalidInput(RefoldError):
    """The call or the message is wrong: correct it and call again."""


class InvalidAmount(InvalidInput):
    """`value` is not an amount of money; `reason` says why."""

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(f"amount {shown(value)} refused: {reason}")
        self.reason = reason


class InvalidIdentifier(InvalidInput):
    """`value` cannot be an identifier of kind `name`."""

    def __init__(self, name: str, value: object) -> None:
        super().__init__(f"{name} {shown(value)} refused: 1 to 128 printable ASCII characters, no blanks")
        self.name = name


class InvalidText(InvalidInput):
    """The text field `name` cannot be kept; `reason` says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} refused: {reason}")
        self.name = name
        self.reason = reason


class InvalidSetting(InvalidInput):
    """A URL, key or option cannot be used; `reason` says why and what to write instead."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class UnknownGateway(InvalidInput):
    """No adapter of that name is configured."""

    def __init__(self, name: object, known: Sequence[str]) -> None:
        super().__init__(f"gateway {shown(name)} is not configured; configured: {', '.join(known) or 'none'}")


class UnreadableMessage(InvalidInput):
    """The bytes are not what the gateway documents; `reason` is one short clause."""

    def __init__(self, gateway: str, reason: str) -> None:
        super().__init__(f"{gateway} message cannot be read: {reason}")
        self.gateway = gateway
        self.reason = reason


class UnusableLine(InvalidInput):
    """Line `number` (from 1) of a message log cannot be used; `reason` says why."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")
        self.number = number
        self.reason = reason


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
        super().__init__(f"payment {shown(payment_id)} is registered as {stored}, given {given}")
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


class Unauthentic(RefoldError):
    """The message does not prove where it comes from: it is never appended."""


class InvalidSignature(Unauthentic):
    """The signature is absent, malformed or wrong; which of them is for our log only."""

    def __init__(self, gateway: str, reason: str) -> None:
        super().__init__(f"{gateway} signature refused: {reason}")
        self.gateway = gateway
        self.reason = reason


class StaleMessage(Unauthentic):
    """The signed time of the message is `offset_s` seconds away from now (negative: in the past)."""

    def __init__(self, gateway: str, offset_s: float, tolerance_s: int) -> None:
        super().__init__(f"{gateway} message signed {offset_s:+.0f} s from now; {tolerance_s} s are accepted")
        self.gateway = gateway
        self.offset_s = offset_s


class StoreError(RefoldError):
    """The store cannot do it now: nothing was stored, and the same call with the same ids is safe to repeat."""


class StoreBusy(StoreError):
    """Another writer held the store longer than `timeout_s`."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"the store was locked for more than {timeout_s:g} s; retry with the same ids")
        self.timeout_s = timeout_s


class StoreFull(StoreError):
    """No space is left; reading still works."""

    def __init__(self) -> None:
        super().__init__("no space left for the store; free some and repeat the call, nothing was stored")


class StoreReadOnly(StoreError):
    """The file, directory or server does not accept writes; reading still works."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the store {where} is read-only; nothing was stored")


class StoreUnavailable(StoreError):
    """The store cannot be reached or used; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"store unavailable: {reason}")
        self.reason = reason


class StoreClosed(StoreError):
    """The store was closed; open it again."""

    def __init__(self) -> None:
        super().__init__("the store is closed; open it again")


class UnsafeDurability(StoreError):
    """The store would lose acknowledged events in a power cut; `setting` is what was found."""

    def __init__(self, setting: str) -> None:
        super().__init__(f'unsafe durability: {setting}; correct it, or pass durability="relaxed" on purpose')
        self.setting = setting


class SchemaTooNew(StoreError):
    """The store was written by a newer refold; `found` and `known` are schema numbers."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"store schema {found} is newer than {known}, all this refold knows: upgrade it")
        self.found, self.known = found, known


class OutcomeUnknown(StoreError):
    """The commit may or may not have happened: `store.settle(key)` tells."""

    def __init__(self, key: str | None) -> None:
        named = f"settle key {shown(key)}" if key else "read the streams again"
        super().__init__(f"the commit may or may not have happened: {named} before anything else")
        self.key = key


class CorruptLog(RefoldError):
    """The log is damaged or not understood: stop moving money on it."""


class EventCorrupt(CorruptLog):
    """The stored bytes of the event at `position` do not match their digest (lower-case hex SHA-256)."""

    def __init__(self, position: int, stream: str, stored: str, computed: str) -> None:
        super().__init__(f"event {position} ({stream}) is damaged: digest {stored}, computed {computed}")
        self.position, self.stream = position, stream


class EventMissing(CorruptLog):
    """The log (`stream` is None) or a stream has a gap: its event `number`, a position or a version, is not there."""

    def __init__(self, number: int, stream: str | None = None) -> None:
        named = f"event {number} of the log" if stream is None else f"event {number} of stream {stream}"
        super().__init__(f"{named} is missing, later ones may be there; `refold replay` tells what is left")
        self.number, self.stream = number, stream


class EventUnreadable(CorruptLog):
    """No model of this refold reads the event type and version."""

    def __init__(self, event_type: str, reason: str) -> None:
        super().__init__(f"event type {shown(event_type)} cannot be read: {reason}")
        self.event_type = event_type


class IllegalMove(CorruptLog):
    """The lifecycle has no move from `source` to `target`."""

    def __init__(self, refund_id: str, source: str, target: str) -> None:
        super().__init__(f"refund {shown(refund_id)}: the lifecycle has no move from {source} to {target}")
        self.source, self.target = source, target
