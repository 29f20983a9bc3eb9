"""Accumulating: what one piece of evidence changes of a refund's fields. It only ever adds; the order cannot matter."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .events import EVIDENCE
from .evidence import Hold
from .message import Channel
from .signals import ENDING_BITS, Signal, bit

if TYPE_CHECKING:
    from datetime import datetime

    from .events import EvidenceRecorded

Fields = dict[str, Any]
"""The fields of a refund that nobody has seen yet, by their names."""

_CONFIRMING: Final = frozenset(
    {Signal.REJECTED, Signal.NOT_FOUND, Signal.FAILED, Signal.CLOSED, Signal.REVERSED}
)


class _Meaning(NamedTuple):
    """What a type of evidence adds to the mask, and whether it says that no money moved."""

    bit: int
    no_money_moved: bool


_MEANT: Final = {model: _Meaning(bit(signal), signal in _CONFIRMING) for signal, model in EVIDENCE.items()}
# A member costs ten times as much to find through its class, which the fold would do a dozen times an event.
_API_RESPONSE, _POLL, _REPORT, _WEBHOOK = (
    Channel.API_RESPONSE,
    Channel.POLL,
    Channel.REPORT,
    Channel.WEBHOOK,
)
_NOT_FOUND, _PENDING, _REJECTED = Signal.NOT_FOUND, Signal.PENDING, Signal.REJECTED
_UNCERTAIN, _UNRECOGNISED = Signal.UNCERTAIN, Signal.UNRECOGNISED
_UNTIL_QUERY, _UNTIL_RECONCILED = Hold.UNTIL_QUERY, Hold.UNTIL_RECONCILED


def take_evidence(refund: Fields, event: EvidenceRecorded, time: datetime, version: int) -> None:
    """Take in what a message said: at `time`, and as that version of the refund's stream."""
    channel, said = event.channel, _MEANT[type(event)].bit
    refund["mask"] |= said
    if event.signal is _UNRECOGNISED:
        refund["unrecognised"] = True
    if event.claimed is None:  # a message that names something else says nothing about our submission
        refund["payment_id"] = refund["payment_id"] or event.payment_id or None
        refund["gateway_refund_id"] = refund["gateway_refund_id"] or event.gateway_refund_id or None
    if channel is _WEBHOOK:
        refund["spoken_of"] = True
    elif channel is _API_RESPONSE:
        _take_response(refund, event, time)
    elif channel is _POLL:
        _take_poll(refund, event, time, version)
    _take_doubt(refund, event, time)
    _take_moments(refund, event, said, time)


def _take_response(refund: Fields, event: EvidenceRecorded, time: datetime) -> None:
    refund["spoken_of"] = True
    if event.claimed is None and not event.unanswered:
        later(refund, "answered_at", time)
    if event.signal is _REJECTED:
        later(refund, "refused_at", time)


def _take_doubt(refund: Fields, event: EvidenceRecorded, time: datetime) -> None:
    """Take in what keeps the amount reserved, and what, about the refund that was asked, sets it free."""
    channel, hold = event.channel, event.hold
    freeing = event.claimed is None and _MEANT[type(event)].no_money_moved
    if hold is _UNTIL_RECONCILED:
        refund["unproven"] = True
    if hold is _UNTIL_QUERY:
        later(refund, "doubted_at", time)
    elif freeing and (channel is _POLL or channel is _REPORT):
        later(refund, "confirmed_at", time)
    if freeing and channel is _REPORT:
        refund["reconciled"] = True


def _take_poll(refund: Fields, event: EvidenceRecorded, time: datetime, version: int) -> None:
    if event.cites is None:
        refund["polls"] += 1
        later(refund, "polled_at", time)
        if event.signal is not _UNCERTAIN:
            later(refund, "heard_at", time)
    if event.signal is _NOT_FOUND and event.claimed is None:
        refund["absent"] += ((version, time),)


def _take_moments(refund: Fields, event: EvidenceRecorded, said: int, time: datetime) -> None:
    """Take in what an event changes of that by which the next contact is planned, whoever said it."""
    if event.retry_after_s is not None:
        later(refund, "not_before", time + timedelta(seconds=event.retry_after_s))
    if event.signal is _PENDING:
        known = refund["pending_at"]
        refund["pending_at"] = time if known is None else min(known, time)
    ended = said & ENDING_BITS
    if ended:
        first = dict(refund["endings"])
        first[ended] = min(first.get(ended, time), time)
        refund["endings"] = tuple(sorted(first.items()))


def later(refund: Fields, name: str, time: datetime) -> None:
    """Let that moment be `time`, unless a later one is known."""
    known = refund[name]
    if known is None or time > known:
        refund[name] = time
