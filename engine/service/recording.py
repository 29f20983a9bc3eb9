"""Recording: one message in, its evidence appended to the refund it speaks of, or kept in the inbox."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog

from ..domain.evidence import Evidence, Trust
from ..domain.message import Channel
from ..domain.proof import Arrival, decide_evidence
from ..domain.signals import Signal, State
from ..domain.wire import time_text
from ..errors import InvalidInput, InvalidSignature, RefoldError, UnreadableMessage
from ..ports import Write
from .contending import retried
from .folds import load_refund
from .inbox import Fact, Inbox
from .journal import advanced, load_payment, payment_stream, refund_write
from .noticing import Moves, named
from .reserving import plain_reservation
from .views import REFUNDS, refund_changes, refund_view_of_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..domain.evidence import SentRefund, Verification
    from ..domain.message import Message
    from ..domain.refund import Refund
    from ..ports import Appended, Clock, EventStore, Gateway
    from .keeping import Keeper

_Read = TypeVar("_Read")
_LOGGER: Final = logging.getLogger("refold")

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


class _Place(NamedTuple):
    """Which refund a message speaks of; the `guards` fail an append where that may have changed since."""

    refund_id: str
    guards: tuple[Write, ...] = ()


class Recorder:
    """Records answers, polls, reports and webhooks; requests are recorded by `requesting`."""

    def __init__(self, store: EventStore, keeper: Keeper, clock: Clock, moves: Moves) -> None:
        """Append to `store`; `moves` are told after a refund's state changed, once it is durable."""
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._moves = moves
        self._inbox = Inbox(store, keeper)
        self._log = structlog.wrap_logger(_LOGGER)

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
            gateway: who sent it.
            channel: how it reached us.
            message: its bytes, headers and time.
            verification: what was checked about its signature.
            refund_id: our refund number, where the caller knows which refund was asked about.
            payment_id: the payment, likewise.

        Raises:
            UnreadableMessage: it cannot be read, or names no refund. (Authentic webhooks are quarantined instead.)
            StoreError, CorruptLog: as they say.
        """
        try:
            evidence = self._evidence(gateway, channel, message)
            if payment_id is not None and evidence.payment_id is None:
                evidence = replace(evidence, payment_id=payment_id)
            fact = self._fact(gateway, channel, message, verification, evidence, refund_id=refund_id)
            return retried(lambda: self._record(gateway, refund_id, fact))
        except UnreadableMessage as error:
            if channel is Channel.WEBHOOK and verification.trust is Trust.VERIFIED:
                return self.quarantine(gateway, channel, message, verification, error.reason)
            raise

    def quarantine(
        self, gateway: Gateway, channel: Channel, message: Message, verification: Verification, reason: str
    ) -> Receipt:
        """Keep an authentic message that cannot be used, so that it is neither lost nor in the way of others."""
        key = _digest("quarantined", gateway.name, channel, body=message.body)
        appended, kept = self._inbox.quarantine(gateway.name, channel, message, verification, reason, key=key)
        outcome = Outcome.DUPLICATE if appended.duplicate else Outcome.QUARANTINED
        return Receipt(outcome=outcome, refund_id=None, position=appended.first, reason=kept)

    # ---- asking the adapter

    def verify(self, gateway: Gateway, channel: Channel, message: Message) -> Verification:
        """Let the adapter check a signature.

        Raises:
            InvalidSignature: it does not verify, or the check itself failed.
        """
        try:
            return gateway.verify(channel, message)
        except RefoldError:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter that breaks must not break the others
            self._log.error("adapter.error", gateway=gateway.name, channel=str(channel), **named(error))
            raise InvalidSignature(gateway.name, f"the check raised {type(error).__name__}") from None

    def read_request(self, gateway: Gateway, message: Message) -> SentRefund:
        """Let the adapter read back one of our requests. Raises `UnreadableMessage`."""
        return self._read(gateway, Channel.REQUEST, gateway.read_request, message)

    def _evidence(self, gateway: Gateway, channel: Channel, message: Message) -> Evidence:
        """Let the adapter read a message; an answer it breaks on leaves the outcome unknown."""
        try:
            evidence = self._read(gateway, channel, _reader(gateway, channel), message)
        except _AdapterError as error:
            if channel is Channel.WEBHOOK:
                raise
            evidence = Evidence(signal=Signal.UNCERTAIN, code=error.code, answered=False)
        said = (evidence.detail, evidence.code)
        detail, code = kept = self._keeper.texts(*said)
        return evidence if kept == said else replace(evidence, detail=detail, code=code)

    def _read(
        self, gateway: Gateway, channel: Channel, reader: Callable[[Message], _Read], message: Message
    ) -> _Read:
        try:
            return reader(message)
        except UnreadableMessage as error:
            raise UnreadableMessage(gateway.name, self._keeper.text(error.reason)) from None
        except RefoldError as error:
            raise UnreadableMessage(gateway.name, self._keeper.text(str(error))) from None
        except Exception as error:  # noqa: BLE001 - an adapter that breaks must not break the others
            self._log.error("adapter.error", gateway=gateway.name, channel=str(channel), **named(error))
            raise _AdapterError(gateway.name, type(error).__name__) from None

    # ---- appending

    def _fact(
        self,
        gateway: Gateway,
        channel: Channel,
        message: Message,
        verification: Verification,
        evidence: Evidence,
        *,
        refund_id: str | None,
    ) -> Fact:
        body, reference = self._keeper.keep(message)
        arrival = Arrival(
            channel=channel,
            time=message.received_at,
            verification=verification,
            message=reference,
            http_status=message.http_status,
            retry_after_s=None if channel is Channel.WEBHOOK else message.retry_after_s(),
            recorded_at=self.recorded_at(message),
            refund_reference=gateway.capabilities.refund_reference,
            absence=gateway.capabilities.absence,
        )
        if channel is Channel.WEBHOOK:
            key = _said(gateway.name, verification, evidence, refund_id)
        else:
            key = message_key(gateway.name, channel, message, refund_id or evidence.refund_id)
        return Fact(evidence, arrival, body, key)

    def _record(self, gateway: Gateway, refund_id: str | None, fact: Fact) -> Receipt:
        place = _Place(refund_id) if refund_id is not None else self._place(gateway, fact.evidence)
        refund = load_refund(self._store, place.refund_id)
        if refund is None or refund.gateway != gateway.name:
            appended = self._inbox.orphan(gateway.name, place.refund_id, refund, fact, place.guards)
            outcome = Outcome.DUPLICATE if appended.duplicate else Outcome.ORPHANED
            return Receipt(outcome=outcome, refund_id=place.refund_id, position=appended.first)
        time = fact.arrival.time
        events = decide_evidence(refund, fact.evidence, fact.arrival)
        after = advanced(refund, events, time)
        writes = [refund_write(refund, refund.refund_id, events, time)]
        if refund.payment_id is None and after.payment_id is not None:
            writes.append(plain_reservation(self._store, after, time))
        appended = self._store.append(
            *writes,
            key=fact.key,
            content=fact.key,
            bodies=[fact.body],
            changes=refund_changes(refund, after),
        )
        return self.receipt(appended, refund, after, fact.arrival.channel)

    def _place(self, gateway: Gateway, evidence: Evidence) -> _Place:
        """Find the refund a message speaks of by what it names. Raises `UnreadableMessage`."""
        names = () if gateway.capabilities.refund_reference else evidence.payment_names
        guards: list[Write] = []
        for name in names:
            payment = load_payment(self._store, gateway.name, name)
            if payment is not None and payment.refunds:
                return _Place(list(payment.refunds)[-1])
            version = payment.version if payment is not None else 0
            guards.append(Write(payment_stream(gateway.name, name), version))
        if names:
            return _Place(evidence.refund_id or names[0], tuple(guards))
        if evidence.refund_id is not None:
            return _Place(evidence.refund_id)
        if evidence.gateway_refund_id is not None:
            where = {"gateway": gateway.name, "gateway_refund_id": evidence.gateway_refund_id}
            for row in self._store.rows(REFUNDS, where=where, limit=1):
                return _Place(refund_view_of_row(row).refund_id)
        raise UnreadableMessage(gateway.name, "it names no refund; say which with refund_id")

    def receipt(self, appended: Appended, before: Refund | None, after: Refund, channel: Channel) -> Receipt:
        """Log what was appended, tell the hook, and say what became of the message."""
        if appended.duplicate:
            after = load_refund(self._store, after.refund_id) or after
        else:
            known = before.state if before is not None else State.CREATED
            self._moves.tell(after.refund_id, known, after.state)
        if _LOGGER.isEnabledFor(logging.INFO):  # else the line would be rendered and thrown away
            self._log.info(
                "refund.recorded",
                refund_id=after.refund_id,
                gateway=after.gateway,
                channel=str(channel),
                position=appended.first,
                state=str(after.state),
                duplicate=appended.duplicate,
            )
        return standing(after, appended.first, Outcome.DUPLICATE if appended.duplicate else Outcome.RECORDED)

    def recorded_at(self, message: Message) -> datetime | None:
        """Return the present time where it is later than the message's: the log says when it was written."""
        now = self._clock()
        return now if abs((now - message.received_at).total_seconds()) > _LATE_S else None


def standing(refund: Refund, position: int, outcome: Outcome) -> Receipt:
    """Return the receipt of a message that is part of a refund."""
    return Receipt(
        outcome=outcome,
        refund_id=refund.refund_id,
        position=position,
        state=refund.state,
        attention=tuple(sorted(map(str, refund.attention))),
    )


class _AdapterError(UnreadableMessage):
    """The adapter raised something it should not."""

    def __init__(self, gateway: str, kind: str) -> None:
        super().__init__(gateway, f"adapter_error {kind}")
        self.code = f"adapter_error={kind}"


def _reader(gateway: Gateway, channel: Channel) -> Callable[[Message], Evidence]:
    if channel is Channel.API_RESPONSE:
        return gateway.read_response
    if channel in {Channel.POLL, Channel.REPORT}:
        return gateway.read_poll
    if channel is Channel.WEBHOOK:
        return gateway.read_webhook
    raise InvalidInput(f"channel {channel} carries no evidence; use request() or resolve()")


# ---- what makes a message the same message: what it names, never what we found for it


def message_key(gateway: str, channel: Channel, message: Message, refund_id: str | None) -> str:
    """Return the key of a message that is the same when all of it is, its time included: each poll is a fact."""
    headers = sorted(f"{name.lower()}:{value}" for name, value in message.headers.items())
    time = time_text(message.received_at)
    return _digest(
        "sent", gateway, channel, time, message.http_status, refund_id, *headers, body=message.body
    )


def _said(gateway: str, verification: Verification, evidence: Evidence, refund_id: str | None) -> str:
    """Return the key of a webhook: it says the same about the same object, whatever its times (senders retry)."""
    return _digest(
        "said",
        gateway,
        verification.trust,
        refund_id or evidence.refund_id,
        evidence.refund_id,
        evidence.payment_id,
        evidence.gateway_refund_id,
        evidence.signal,
        evidence.code,
        evidence.amount_minor,
        evidence.currency,
        evidence.account,
        *(("payment_alias", evidence.payment_alias) if evidence.payment_alias is not None else ()),
        *(("claims", evidence.claims) if evidence.claims is not None else ()),
    )


def _digest(*parts: object, body: bytes | None = None) -> str:
    """Return the SHA-256 over the parts: each is its length in bytes, a colon, the name of its type, and its text.

    A body comes last and stands for itself. Keys in logs that exist were made so: not one byte of it may ever change.
    """
    framed = "".join(
        [
            "13:NoneType None"
            if part is None
            else f"{len(part) + 4}:str {part}"
            if type(part) is str
            else _framed(part)
            for part in parts
        ]
    )
    if not framed.isascii():  # then characters and bytes are not as many
        framed = "".join(map(_framed, parts))
    said = framed.encode()
    return sha256(said if body is None else b"%b%d:%b" % (said, len(body), body)).hexdigest()


def _framed(part: object) -> str:
    text = f"{type(part).__name__} {part}"
    return f"{len(text.encode())}:{text}"
