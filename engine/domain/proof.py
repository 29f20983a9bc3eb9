"""Proof: what one message proves about the refund it reached, decided into events.

A decision returns the events to append. Authentic is not valid: a message that names something else than was asked
proves at most that the gateway holds a refund.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .events import EVIDENCE, EvidenceMismatched, Mismatch, Recorded
from .evidence import Hold
from .message import Channel
from .refund import evolve
from .signals import HELD_BITS, REJECTED_BIT, Signal, bit

if TYPE_CHECKING:
    from datetime import datetime

    from .events import Event, MessageRef
    from .evidence import AbsenceRule, Evidence, Verification
    from .refund import Refund


class Arrival(NamedTuple):
    """How one piece of evidence reached us.

    Attributes:
        refund_reference: messages of this gateway carry our refund number.
        absence: the gateway's rule on repeated `not_found` answers.
    """

    channel: Channel
    time: datetime
    verification: Verification
    message: MessageRef | None
    http_status: int | None = None
    retry_after_s: int | None = None
    adopted_from: str | None = None
    recorded_at: datetime | None = None
    refund_reference: bool = True
    absence: AbsenceRule | None = None


def decide_evidence(refund: Refund, evidence: Evidence, arrival: Arrival) -> list[Event]:
    """Record what a message says; where it differs from what was asked it proves at most `pending`.

    What only the gateway has named (its own number, a payment the request left out) caps nothing: which of two
    names came first must not decide the state.
    """
    mismatches = _mismatches(refund, evidence, arrival)
    learned = {"gateway_refund_id"} if refund.payment_asked else {"gateway_refund_id", "payment_id"}
    capping = [mismatch for mismatch in mismatches if mismatch.field not in learned]
    said = (evidence.claims or evidence.signal) if capping else evidence.signal
    signal = _capped(said) if capping else said
    event = EVIDENCE[signal](
        channel=arrival.channel,
        code=evidence.code,
        claimed=said if capping else None,
        amount_minor=evidence.amount_minor,
        currency=evidence.currency,
        account=evidence.account,
        payment_id=evidence.payment_id,
        payment_alias=evidence.payment_alias,
        gateway_refund_id=evidence.gateway_refund_id,
        gateway_time=evidence.gateway_time,
        detail=evidence.detail or None,
        hold=None
        if capping or evidence.hold is Hold.NONE or arrival.channel is Channel.REPORT
        else evidence.hold,
        unanswered=None if evidence.answered else True,
        http_status=arrival.http_status,
        retry_after_s=arrival.retry_after_s,
        trust=arrival.verification.trust,
        key_id=arrival.verification.key_id,
        message=arrival.message,
        adopted_from=arrival.adopted_from,
        recorded_at=arrival.recorded_at,
    )
    decided: list[Event] = [event]
    if mismatches:
        decided.append(EvidenceMismatched(claimed=said, fields=tuple(mismatches)))
    elif arrival.channel in {Channel.POLL, Channel.API_RESPONSE}:
        recorded = Recorded(0, refund.version + 1, arrival.time, event)
        decided.extend(_conclude_absence(evolve(refund, recorded), arrival))
    return decided


def _mismatches(refund: Refund, evidence: Evidence, arrival: Arrival) -> list[Mismatch]:
    # A payment may have two names: it is the one asked for where either is, and another one where `payment_id` says so.
    paid = refund.payment_id if refund.payment_id in evidence.payment_names else evidence.payment_id
    compared = [
        ("amount_minor", refund.amount.minor, evidence.amount_minor),
        ("currency", refund.amount.currency, evidence.currency),
        ("account", refund.account, evidence.account),
        ("gateway_refund_id", refund.gateway_refund_id, evidence.gateway_refund_id),
        ("refund_id", refund.refund_id, evidence.refund_id)
        if arrival.refund_reference
        else ("payment_id", refund.payment_id, paid),
    ]
    return [
        Mismatch(field=field, expected=str(expected), seen=str(seen))
        for field, expected, seen in compared
        if expected is not None and seen is not None and expected != seen
    ]


def _capped(signal: Signal) -> Signal:
    """Return what is left of a signal whose message named something else than was asked."""
    if signal is Signal.REJECTED:
        return Signal.UNCERTAIN
    return Signal.PENDING if bit(signal) & HELD_BITS else signal


def _conclude_absence(refund: Refund, arrival: Arrival) -> list[Event]:
    """Conclude a rejection from repeated `not_found` polls, by the gateway's rule, citing the answers.

    It looks at the times of the messages, so that the last of them to be recorded completes the proof, whichever
    it is: polls count from the last submission on, and that submission must have been answered.
    """
    rule, since, answered_at = arrival.absence, refund.submitted_at, refund.answered_at
    if rule is None or answered_at is None or refund.mask & REJECTED_BIT:
        return []
    polls = [(version, time) for version, time in refund.absent if since is None or time >= since]
    if len(polls) < rule.answers or (since is not None and answered_at < since):
        return []
    times = [time for _, time in polls]
    if (max(times) - min(times)).total_seconds() < rule.apart_s:
        return []
    return [
        EVIDENCE[Signal.REJECTED](
            channel=Channel.POLL,
            code=f"not_found x{len(polls)}",
            trust=arrival.verification.trust,
            cites=tuple(version for version, _ in polls),
            recorded_at=arrival.recorded_at,
        )
    ]
