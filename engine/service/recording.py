"""Recording: one message in, its evidence appended to the refund it speaks of, or kept in the inbox."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog

from ..domain.events import EvidenceRecorded, MessageOrphaned, MessageQuarantined, RefundReserved, time_text
from ..domain.evidence import Evidence, Hold, Trust
from ..domain.message import Channel
from ..domain.refund import Arrival, decide_evidence
from ..domain.signals import Signal
from ..errors import InvalidInput, RefoldError, UnreadableMessage
from ..ports import Write
from .journal import advanced, encoded, inbox_stream, load_refund, payment_stream, refund_stream, refund_write, retried
from .views import REFUNDS, inbox_changes, refund_changes

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..domain.evidence import Verification
    from ..domain.message import Message
    from ..domain.refund import Refund
    from ..domain.signals import State
    from ..ports import Appended, Body, Clock, EventStore, Gateway
    from .keeping import Keeper

    MoveHook = Callable[[str, State, State], None]
    """Called with refund id, state before and state after."""

_LATE_S: Final = 1.0
"""A fact appended more than this many seconds after it reached us carries when it was appended."""


class Outcome(StrEnum):
    """What became of a message."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    ORPHANED = "orphaned"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a message.

    Attributes:
        refund_id: the refund it was recorded for, or names.
        position: of its first event in the log.
        state: the refund's state afterwards; None where the message is not part of a refund.
        attention: why a person should look at the refund now, sorted.
        reason: why it was quarantined.
    """

    outcome: Outcome
    refund_id: str | None
    position: int
    state: State | None = None
    attention: tuple[str, ...] = ()
    reason: str = ""


class Recorder:
    """Records answers, polls, reports and webhooks; requests are recorded by `requesting`."""

    def __init__(self, store: EventStore, keeper: Keeper, clock: Clock, on_move: MoveHook | None = None) -> None:
        """Append to `store`; `on_move` is called after a refund's state changed, once it is durable."""
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._on_move = on_move
        self._log = structlog.get_logger("refold")

    def record(
        self,
        gateway: Gateway,
        channel: Channel,
        message: Message,
        verification: Verification,
        *,
        refund_id: str | None = None,
        payment_id: str | None = None,
    ) -> Receipt:
        """Append what an answer, poll, report or webhook says; once, however often it arrives.

        Args:
            verification: what was checked about its signature.
            refund_id: our refund number, where the caller knows which refund was asked about.
            payment_id: the payment, likewise.

        Raises:
            UnreadableMessage: it cannot be read, or names no refund. (Authentic webhooks are quarantined instead.)
            StoreError, CorruptLog: as they say.
        """
        try:
            evidence = self.read(gateway, channel, message)
        except UnreadableMessage as error:
            if channel is Channel.WEBHOOK and verification.trust is Trust.VERIFIED:
                return self.quarantine(gateway, channel, message, verification, error.reason)
            raise
        if payment_id is not None and evidence.payment_id is None:
            evidence = replace(evidence, payment_id=payment_id)
        found = refund_id or self._refund_named(gateway, evidence)
        if found is None:
            if channel is Channel.WEBHOOK and verification.trust is Trust.VERIFIED:
                return self.quarantine(gateway, channel, message, verification, "it names no refund")
            raise UnreadableMessage(gateway.name, "it names no refund; say which with refund_id")
        key = message_key(gateway.name, channel, message, evidence, verification, found)
        body, reference = self._keeper.keep(message)
        arrival = Arrival(
            channel=channel,
            time=message.received_at,
            verification=verification,
            message=reference,
            http_status=message.http_status,
            recorded_at=self.recorded_at(message),
            refund_reference=gateway.capabilities.refund_reference,
            absence=gateway.capabilities.absence,
        )
        evidence = replace(evidence, detail=self._keeper.text(evidence.detail), code=self._keeper.text(evidence.code))
        return retried(lambda: self._record(gateway, found, evidence, arrival, body, key))

    def read(self, gateway: Gateway, channel: Channel, message: Message) -> Evidence:
        """Let the adapter read a message; whatever else it raises becomes a refusal or an unknown outcome."""
        reader = _reader(gateway, channel)
        try:
            return reader(message)
        except RefoldError:
            raise
        except Exception as error:
            self._log.exception("adapter.error", gateway=gateway.name, channel=str(channel), error=type(error).__name__)
            if channel is Channel.WEBHOOK:
                raise UnreadableMessage(gateway.name, f"adapter_error {type(error).__name__}") from error
            return Evidence(signal=Signal.UNCERTAIN, code=f"adapter_error={type(error).__name__}", answered=False)

    def _refund_named(self, gateway: Gateway, evidence: Evidence) -> str | None:
        name = gateway.name
        if gateway.capabilities.refund_reference:
            if evidence.refund_id is not None:
                return evidence.refund_id
        elif evidence.payment_id is not None:
            where = {"gateway": name, "payment_id": evidence.payment_id}
            ids = [str(row["refund_id"]) for row in self._store.rows(REFUNDS, where=where, order="sort_key")]
            return ids[-1] if ids else evidence.refund_id
        if evidence.gateway_refund_id is not None:
            where = {"gateway": name, "gateway_refund_id": evidence.gateway_refund_id}
            for row in self._store.rows(REFUNDS, where=where, limit=1):
                return str(row["refund_id"])
        return None

    def _record(
        self, gateway: Gateway, refund_id: str, evidence: Evidence, arrival: Arrival, body: Body, key: str
    ) -> Receipt:
        refund = load_refund(self._store, refund_id)
        if refund is None or refund.gateway != gateway.name:
            return self._orphan(gateway, refund, refund_id, evidence, arrival, body, key)
        events = decide_evidence(refund, evidence, arrival)
        after = advanced(refund, events, arrival.time)
        writes = [refund_write(refund, refund_id, events, arrival.time)]
        if refund.payment_id is None and after.payment_id is not None:
            writes.append(self._late_reservation(after, arrival.time))
        appended = self._store.append(
            *writes, key=key, content=key, bodies=[body], changes=refund_changes(refund, after)
        )
        return self.receipt(appended, refund, after, arrival.channel)

    def _late_reservation(self, refund: Refund, time: datetime) -> Write:
        """Reserve a part of the payment a gateway has named, for a refund that was requested without it."""
        payment_id = refund.payment_id or ""
        stream = payment_stream(refund.gateway, payment_id)
        event = RefundReserved(
            gateway=refund.gateway,
            payment_id=payment_id,
            refund_id=refund.refund_id,
            amount_minor=refund.amount.minor,
            currency=refund.amount.currency,
        )
        return Write(stream, self._store.version(stream), encoded([event], time))

    def _orphan(
        self,
        gateway: Gateway,
        other: Refund | None,
        refund_id: str,
        evidence: Evidence,
        arrival: Arrival,
        body: Body,
        key: str,
    ) -> Receipt:
        """Keep a message for a refund we do not know, unless the refund appears in this very moment."""
        event = MessageOrphaned(
            key=key,
            gateway=gateway.name,
            refund_id=refund_id,
            stated_refund_id=evidence.refund_id,
            signal=evidence.signal,
            evidence=_as_stated(evidence, arrival),
        )
        appended = self._store.append(
            Write(inbox_stream(gateway.name), None, encoded([event], arrival.time)),
            Write(refund_stream(refund_id), other.version if other is not None else 0),
            key=key,
            content=key,
            bodies=[body],
            changes=inbox_changes(event, time_text(arrival.time)),
        )
        outcome = Outcome.DUPLICATE if appended.duplicate else Outcome.ORPHANED
        self._log.info(
            "message.orphaned",
            refund_id=refund_id,
            gateway=gateway.name,
            channel=str(arrival.channel),
            position=appended.first,
            duplicate=appended.duplicate,
        )
        return Receipt(outcome=outcome, refund_id=refund_id, position=appended.first)

    def quarantine(
        self, gateway: Gateway, channel: Channel, message: Message, verification: Verification, reason: str
    ) -> Receipt:
        """Keep an authentic message that cannot be used, so that it is neither lost nor in the way of others."""
        body, reference = self._keeper.keep(message)
        key = _digest("quarantined", gateway.name, channel, message.body)
        event = MessageQuarantined(
            key=key,
            gateway=gateway.name,
            channel=channel,
            reason=self._keeper.text(reason),
            trust=verification.trust,
            key_id=verification.key_id,
            message=reference,
        )
        appended = self._store.append(
            Write(inbox_stream(gateway.name), None, encoded([event], message.received_at)),
            key=key,
            content=key,
            bodies=[body],
            changes=inbox_changes(event, time_text(message.received_at)),
        )
        self._log.warning(
            "message.quarantined",
            gateway=gateway.name,
            channel=str(channel),
            position=appended.first,
            reason=event.reason,
            duplicate=appended.duplicate,
        )
        outcome = Outcome.DUPLICATE if appended.duplicate else Outcome.QUARANTINED
        return Receipt(outcome=outcome, refund_id=None, position=appended.first, reason=event.reason)

    def receipt(self, appended: Appended, before: Refund | None, after: Refund, channel: Channel) -> Receipt:
        """Log what was appended, tell the hook, and say what became of the message."""
        if appended.duplicate:
            after = load_refund(self._store, after.refund_id) or after
        elif before is not None and before.state is not after.state and self._on_move is not None:
            self._on_move(after.refund_id, before.state, after.state)
        outcome = Outcome.DUPLICATE if appended.duplicate else Outcome.RECORDED
        self._log.info(
            "refund.recorded",
            refund_id=after.refund_id,
            gateway=after.gateway,
            channel=str(channel),
            position=appended.first,
            state=str(after.state),
            duplicate=appended.duplicate,
        )
        return Receipt(
            outcome=outcome,
            refund_id=after.refund_id,
            position=appended.first,
            state=after.state,
            attention=tuple(sorted(map(str, after.attention))),
        )

    def recorded_at(self, message: Message) -> datetime | None:
        """Return the present time where it is later than the message's: the log says when it was written."""
        now = self._clock()
        return now if abs((now - message.received_at).total_seconds()) > _LATE_S else None


def _reader(gateway: Gateway, channel: Channel) -> Callable[[Message], Evidence]:
    if channel is Channel.API_RESPONSE:
        return gateway.read_response
    if channel in {Channel.POLL, Channel.REPORT}:
        return gateway.read_poll
    if channel is Channel.WEBHOOK:
        return gateway.read_webhook
    raise InvalidInput(f"channel {channel} carries no evidence; use request() or resolve()")


def message_key(
    gateway: str,
    channel: Channel,
    message: Message,
    evidence: Evidence | None,
    verification: Verification,
    refund_id: str,
) -> str:
    """Return what makes a message the same message.

    A webhook is the same when it says the same about the same object, whatever its time stamps (senders retry); any
    other message when all of it is the same, its time included (each poll is a fact of its own).
    """
    if channel is Channel.WEBHOOK and evidence is not None:
        said = (evidence.gateway_refund_id, evidence.code, evidence.amount_minor, evidence.currency, evidence.account)
        return _digest("said", gateway, verification.trust, refund_id, evidence.refund_id, *said)
    headers = sorted(f"{name.lower()}:{value}" for name, value in message.headers.items())
    return _digest(
        "sent", gateway, channel, time_text(message.received_at), message.http_status, refund_id, *headers, message.body
    )


def _digest(*parts: object) -> str:
    found = sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else f"{type(part).__name__} {part}".encode(errors="surrogatepass")
        found.update(f"{len(raw)}:".encode() + raw)
    return found.hexdigest()


def _as_stated(evidence: Evidence, arrival: Arrival) -> EvidenceRecorded:
    return EvidenceRecorded(
        channel=arrival.channel,
        code=evidence.code,
        amount_minor=evidence.amount_minor,
        currency=evidence.currency,
        account=evidence.account,
        payment_id=evidence.payment_id,
        gateway_refund_id=evidence.gateway_refund_id,
        gateway_time=evidence.gateway_time,
        detail=evidence.detail or None,
        hold=evidence.hold if evidence.hold is not Hold.NONE else None,
        unanswered=None if evidence.answered else True,
        http_status=arrival.http_status,
        trust=arrival.verification.trust,
        key_id=arrival.verification.key_id,
        message=arrival.message,
        recorded_at=arrival.recorded_at,
    )

