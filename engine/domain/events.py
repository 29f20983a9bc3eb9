"""The events: past tense, frozen, versioned; the wire name is pinned beside each class and tells the meaning alone.

On the wire an event is its name, the moment the fact reached us, and JSON data that starts with its version `v`.
Old versions are read through `UPCASTERS`; nothing is ever rewritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from .evidence import Hold, Trust
from .message import Channel
from .money import MAX_MINOR
from .signals import ALL_BITS, Signal, State

if TYPE_CHECKING:
    from datetime import datetime

MinorUnits = Annotated[int, Field(strict=True, gt=0, le=MAX_MINOR)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Failure = Literal["timeout", "not_sent", "http_error"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MessageRef(_Frozen):
    """Where a message's body lies: salted digest (hex SHA-256), size in bytes, and whether something was masked."""

    digest: str
    size: Whole
    masked: bool = False


class Mismatch(_Frozen):
    """One field in which a message differs from what was asked."""

    field: str
    expected: str
    seen: str


class Event(_Frozen):
    """Base of all events."""

    wire: ClassVar[str]
    version: ClassVar[int] = 1


# ---- refund-<id> ------------------------------------------------------------------------------------------------


class RefundRequested(Event):
    """Somebody asked for a refund; the amount is in minor units."""

    wire = "refund.requested"
    gateway: str
    refund_id: str
    payment_id: str | None = None
    amount_minor: MinorUnits
    currency: str
    account: str | None = None
    requested_by: str | None = None
    reason: str | None = None
    recorded_at: AwareDatetime | None = None


class SubmissionStarted(Event):
    """The intent: these exact bytes, under this idempotency key, are about to leave (or are known to have left).

    Attributes:
        signed_at, nonce: what the request was built with; with them a retry is the same bytes again.
        target: path and query it is sent to.
    """

    wire = "refund.submission_started"
    idempotency_key: str
    signed_at: AwareDatetime | None = None
    nonce: str | None = None
    target: str | None = None
    trust: Trust | None = None
    key_id: str | None = None
    message: MessageRef
    recorded_at: AwareDatetime | None = None


class ContactFailed(Event):
    """The gateway could not be asked or did not answer; this says nothing about the refund.

    Attributes:
        failure: `not_sent` where it is certain that no byte left; the others leave the outcome unknown.
        request: digest of the intent's message, where there was one.
    """

    wire = "refund.contact_failed"
    phase: Literal["submit", "poll"]
    failure: Failure
    detail: str | None = None
    http_status: Whole | None = None
    request: str | None = None


class PollingExhausted(Event):
    """The schedule of queries ended without an outcome; the state does not change."""

    wire = "refund.polling_exhausted"
    polls: Whole


class OutcomeOverdue(Event):
    """The gateway's window passed without an outcome; the state does not change."""

    wire = "refund.overdue"
    due_at: AwareDatetime


class RefundResolved(Event):
    """A person decided, having seen the evidence of `seen_mask`."""

    wire = "refund.resolved"
    outcome: Literal[State.SUCCESS, State.FAILED, State.CLOSED]
    actor: str
    reason: str
    seen_mask: Annotated[int, Field(strict=True, ge=0, le=ALL_BITS)]


class EvidenceRecorded(Event):
    """What one message said. One subclass, hence one wire name, a signal.

    Attributes:
        claimed: what the message said by itself, where a mismatch left less of it.
        payment_alias: the payment's other name at the gateway.
        cites: versions, in this stream, of the answers it was concluded from (a rejection concluded from absence).
        adopted_from: key of the orphan this was, before its refund was known.
        retry_after_s: how many seconds the gateway wants to be left alone.
        recorded_at: when it was appended, where that is not when it reached us (imports).
    """

    signal: ClassVar[Signal]
    channel: Channel
    code: str
    claimed: Signal | None = None
    amount_minor: Whole | None = None
    currency: str | None = None
    account: str | None = None
    payment_id: str | None = None
    payment_alias: str | None = None
    gateway_refund_id: str | None = None
    gateway_time: AwareDatetime | None = None
    detail: str | None = None
    hold: Hold | None = None
    unanswered: bool | None = None
    http_status: Whole | None = None
    retry_after_s: Whole | None = None
    trust: Trust
    key_id: str | None = None
    message: MessageRef | None = None
    cites: tuple[Whole, ...] | None = None
    adopted_from: str | None = None
    recorded_at: AwareDatetime | None = None


class EvidenceRejected(EvidenceRecorded):
    """The gateway refused the request."""

    wire = "evidence.rejected"
    signal = Signal.REJECTED


class EvidencePending(EvidenceRecorded):
    """The gateway holds the refund."""

    wire = "evidence.pending"
    signal = Signal.PENDING


class EvidenceClosed(EvidenceRecorded):
    """The gateway closed the refund without refunding."""

    wire = "evidence.closed"
    signal = Signal.CLOSED


class EvidenceFailed(EvidenceRecorded):
    """The refund failed."""

    wire = "evidence.failed"
    signal = Signal.FAILED


class EvidenceSuccess(EvidenceRecorded):
    """The money moved."""

    wire = "evidence.success"
    signal = Signal.SUCCESS


class EvidenceReversed(EvidenceRecorded):
    """A documented late failure after success."""

    wire = "evidence.reversed"
    signal = Signal.REVERSED


class EvidenceRecovered(EvidenceRecorded):
    """A documented late success after failure."""

    wire = "evidence.recovered"
    signal = Signal.RECOVERED


class EvidenceUncertain(EvidenceRecorded):
    """An answer that does not tell the outcome."""

    wire = "evidence.uncertain"
    signal = Signal.UNCERTAIN


class EvidenceNotFound(EvidenceRecorded):
    """The gateway does not know the refund (yet)."""

    wire = "evidence.not_found"
    signal = Signal.NOT_FOUND


class EvidenceUnrecognised(EvidenceRecorded):
    """A code that is in no document."""

    wire = "evidence.unrecognised"
    signal = Signal.UNRECOGNISED


class EvidenceMismatched(Event):
    """The message recorded just before it named something else than was asked; no effect on the state."""

    wire = "evidence.mismatched"
    claimed: Signal
    fields: tuple[Mismatch, ...]


# ---- payment-<gateway>-<id> -------------------------------------------------------------------------------------


class PaymentRegistered(Event):
    """The payment and what was captured of it, in minor units."""

    wire = "payment.registered"
    gateway: str
    payment_id: str
    captured_minor: MinorUnits
    currency: str


class RefundReserved(Event):
    """A refund took its part of the payment, in minor units."""

    wire = "payment.refund_reserved"
    gateway: str
    payment_id: str
    refund_id: str
    amount_minor: MinorUnits
    currency: str


# ---- inbox-<gateway> --------------------------------------------------------------------------------------------


class MessageOrphaned(Event):
    """A readable message for a refund we do not know; adopted when the refund appears.

    Attributes:
        key: the message's idempotency key.
        refund_id: the refund it was received for.
        stated_refund_id: the refund the message itself names.
        claims: what it says beside a field that cannot be read; `signal` is then unrecognised.
        evidence: what it said, as it will be held against the request.
    """

    wire = "inbox.orphaned"
    key: str
    gateway: str
    refund_id: str
    stated_refund_id: str | None = None
    signal: Signal
    claims: Signal | None = None
    evidence: EvidenceRecorded


class MessageQuarantined(Event):
    """An authentic message that cannot be used."""

    wire = "inbox.quarantined"
    key: str
    gateway: str
    channel: Channel
    reason: str
    trust: Trust
    key_id: str | None = None
    message: MessageRef


# ---- store-durability -------------------------------------------------------------------------------------------


class DurabilityChosen(Event):
    """The store was opened in a mode that can lose acknowledged events, on purpose, or back in the safe one."""

    wire = "store.durability_chosen"
    mode: str


EVENTS: Final[tuple[type[Event], ...]] = (
    RefundRequested,
    SubmissionStarted,
    ContactFailed,
    PollingExhausted,
    OutcomeOverdue,
    RefundResolved,
    *EvidenceRecorded.__subclasses__(),  # one a signal
    EvidenceMismatched,
    PaymentRegistered,
    RefundReserved,
    MessageOrphaned,
    MessageQuarantined,
    DurabilityChosen,
)
EVIDENCE: Final = {model.signal: model for model in EVENTS if issubclass(model, EvidenceRecorded)}


class Recorded(NamedTuple):
    """An event as the fold sees it: where it stands and when the fact reached us."""

    position: int
    version: int
    time: datetime
    event: Event
