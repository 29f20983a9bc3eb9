"""Contacting: talks to a gateway about one refund, so that no crash and no silence can make it pay twice.

The intent is durable before the first byte leaves. What comes back, or does not, is appended; until then the log says
that the refund may have been sent, and whoever reads it next looks it up instead of sending it.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from ..domain.contact import (
    Action,
    Why,
    exhausted,
    may_send_again,
    next_contact,
    query_allowed_at,
    why_contact,
)
from ..domain.events import ContactFailed, SubmissionStarted
from ..domain.message import Channel
from ..domain.refund import decide_exhausted
from ..domain.schedule import seconds_between
from ..domain.wire import time_text
from ..errors import (
    InvalidInput,
    OverRefund,
    RefundNotFound,
    ResendRefused,
    TooSoon,
    Unauthentic,
    UnreadableMessage,
)
from ..ports.transport import NoAnswer, no_endpoint
from .building import as_message
from .contacted import Contacted
from .contending import retried
from .folds import load_refund
from .journal import advanced, check_outside_batch, payment_stream, refund_stream, refund_write
from .noticing import named
from .reserving import check_distinct, check_reserved, under_way
from .views import refund_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ..domain.events import Event
    from ..domain.message import HttpRequest
    from ..domain.refund import Refund
    from ..ports import Clock, Entropy, EventStore, Gateway
    from ..ports.transport import Answer, Transport
    from .building import Builder
    from .contacted import Phase
    from .keeping import Keeper
    from .recording import Recorder

_NAME_BYTES: Final = 8


class _Lease(NamedTuple):
    """The right to contact the gateway about a refund, until it ends."""

    token: int
    ends_at: datetime


_LATE: Final = NoAnswer("not_sent", "this worker stalled until its lease ended")


class Contactor:
    """Sends refunds and looks them up, one contact of a refund at a time among all workers of a store."""

    def __init__(
        self,
        store: EventStore,
        *,
        transport: Transport,
        builder: Builder,
        recorder: Recorder,
        keeper: Keeper,
        clock: Clock,
        entropy: Entropy,
        on_contact: Callable[[Contacted], None] | None,
    ) -> None:
        """Join what a contact needs.

        Args:
            store: where leases are taken and everything is appended.
            transport: sends the requests.
            builder: builds them.
            recorder: records the answers.
            keeper: makes what failures say safe to keep.
            clock: the present.
            entropy: makes this worker's name in leases.
            on_contact: told of each contact, once what came of it is durable.
        """
        self._store = store
        self._transport = transport
        self._builder = builder
        self._recorder = recorder
        self._keeper = keeper
        self._clock = clock
        self._entropy = entropy
        self._name = ""
        self._on_contact = on_contact
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    # ---- what callers ask for

    def submit(self, gateway: Gateway, refund_id: str) -> None:
        """Send a refund; one that may have been sent already is looked up first.

        Raises:
            TooSoon: the gateway, or another worker, must be waited for.
            ResendRefused: it may have been sent, and no look-up has said that the gateway does not have it.
            OverRefund: the payment's refunds add up to more than was captured.
            InvalidInput: the request cannot be built, or there is no way to the gateway.
        """
        with self._mine(gateway, refund_id) as lease:
            refund = self._load(refund_id)
            if why_contact(refund) is Why.IN_DOUBT:
                refund = self._looked_up(gateway, refund)
            if why_contact(refund) not in {Why.UNSENT, Why.IN_DOUBT}:
                return
            self._wait(refund, refund.not_before, f"{gateway.name} wants to be left alone")
            other = under_way(self._store, gateway, refund, self._clock())
            if other is not None:
                wait_s = gateway.capabilities.poll_interval_s
                raise TooSoon(refund_id, f"refund {other} of the same payment is under way", wait_s)
            self._send(gateway, refund, lease)

    def poll(self, gateway: Gateway, refund_id: str) -> None:
        """Ask the gateway about a refund, whatever its state.

        Raises:
            TooSoon: the gateway was asked just now, or another worker is asking.
            InvalidInput: the gateway has no look-up, or there is no way to it.
        """
        with self._mine(gateway, refund_id):
            if not gateway.capabilities.lookup_by_own_reference:
                raise InvalidInput(f"{gateway.name} has no look-up by our own refund number")
            refund = self._load(refund_id)
            check_distinct(self._store, gateway, refund)
            self._look_up_now(gateway, refund)

    def perform(self, gateway: Gateway, refund_id: str) -> Contacted | None:
        """Do what is due for a refund; None where nothing is, or another worker is at it.

        Raises:
            VersionConflict: something else was appended meanwhile; nothing was sent.
            StoreError, CorruptLog: as they say.
        """
        lease = self._claimed(gateway, self._load(refund_id))
        if lease is None:
            return None
        try:
            refund, now = self._load(refund_id), self._clock()
            contact = next_contact(refund, gateway.capabilities, now)
            if contact is None or (contact.due_at > now and not contact.misdated):
                return None
            if contact.action is Action.SEND and under_way(self._store, gateway, refund, now) is not None:
                return None
            return self._done_or_noted(gateway, refund, contact.action, lease)
        finally:
            self._store.release(lease.token)

    def _looked_up(self, gateway: Gateway, refund: Refund) -> Refund:
        """Return a refund that was in doubt: with an outcome, or one that is safe to send. Raises `ResendRefused`."""
        capabilities = gateway.capabilities
        if may_send_again(refund, capabilities, self._clock()):
            return refund
        if capabilities.lookup_by_own_reference:
            self._look_up_now(gateway, refund)
            refund = self._load(refund.refund_id)
            if why_contact(refund) is not Why.IN_DOUBT or may_send_again(refund, capabilities, self._clock()):
                return refund
        raise ResendRefused(refund.refund_id, _why_not(gateway))

    def _done_or_noted(self, gateway: Gateway, refund: Refund, action: Action, lease: _Lease) -> Contacted:
        try:
            if action is Action.LOOK_UP:
                return self._look_up(gateway, refund)
            return self._send(gateway, refund, lease)
        except (InvalidInput, ResendRefused, OverRefund) as error:
            # Nobody called who could correct it: it is noted where people look, and tried again ever more rarely.
            phase: Phase = "poll" if action is Action.LOOK_UP else "submit"
            failed = NoAnswer("not_sent", str(error))
            noted = self._failed(gateway, refund.refund_id, phase, failed, tried=False)
        # What may be at the gateway is not forgotten there because it cannot be sent again.
        if not (action is Action.SEND and refund.submitted and gateway.capabilities.lookup_by_own_reference):
            return noted
        if query_allowed_at(refund, gateway.capabilities) > self._clock():
            return noted
        return self._done_or_noted(gateway, self._load(refund.refund_id), Action.LOOK_UP, lease)

    # ---- one at a time

    @contextmanager
    def _mine(self, gateway: Gateway, refund_id: str) -> Iterator[_Lease]:
        """Hold a refund, so that no other worker contacts the gateway about it."""
        check_outside_batch(self._store, "talk to a gateway")
        refund = self._load(refund_id)
        if not self._transport.reaches(gateway.name):
            raise no_endpoint(gateway.name)
        lease = self._claimed(gateway, refund)
        if lease is None:
            wait_s = gateway.capabilities.post_timeout_s
            raise TooSoon(refund_id, "another worker is talking to the gateway about it", wait_s)
        try:
            yield lease
        finally:
            self._store.release(lease.token)

    def _claimed(self, gateway: Gateway, refund: Refund) -> _Lease | None:
        """Take the lease; should its holder die, it ends once the gateway may be asked again."""
        capabilities, now = gateway.capabilities, self._clock()
        name = refund_stream(refund.refund_id)
        if capabilities.one_at_a_time and refund.payment_id is not None:
            name = payment_stream(gateway.name, refund.payment_id)
        ends_at = now + timedelta(seconds=capabilities.post_timeout_s + capabilities.poll_interval_s)
        token = self._store.claim(name, holder=self._holder(), now=time_text(now), until=time_text(ends_at))
        return None if token is None else _Lease(token, ends_at)

    def _holder(self) -> str:
        """Return this worker's name; made when it is first needed, so that engines that send nothing draw nothing."""
        self._name = self._name or self._entropy(_NAME_BYTES).hex()
        return self._name

    def _load(self, refund_id: str) -> Refund:
        refund = load_refund(self._store, refund_id)
        if refund is None:
            raise RefundNotFound(refund_id)
        return refund

    def _wait(self, refund: Refund, until: datetime | None, reason: str) -> None:
        now = self._clock()
        if until is not None and until > now:
            raise TooSoon(refund.refund_id, reason, seconds_between(now, until) + 1)

    # ---- the two contacts

    def _send(self, gateway: Gateway, refund: Refund, lease: _Lease) -> Contacted:
        now = self._clock()
        check_reserved(self._store, refund)
        built = self._builder.refund_request(gateway, refund, now)
        body, reference = self._keeper.keep(as_message(built.request, now))
        intent = SubmissionStarted(
            idempotency_key=refund.refund_id,
            signed_at=built.signed_at,
            nonce=built.nonce,
            target=built.request.target,
            message=reference,
        )
        after = advanced(refund, [intent], now)
        write = refund_write(refund, refund.refund_id, [intent], now)
        # Durable before the first byte leaves; whoever appended meanwhile makes this one fail, and nothing is sent.
        self._store.append(write, bodies=[body], changes=refund_changes(refund, after))
        late = self._clock() >= lease.ends_at  # another worker may be at it by now
        answer = _LATE if late else self._exchanged(gateway, built.request)
        return self._taken(gateway, refund.refund_id, built.request, answer, intent=reference.digest)

    def _look_up_now(self, gateway: Gateway, refund: Refund) -> None:
        allowed_at = query_allowed_at(refund, gateway.capabilities)
        self._wait(refund, allowed_at, f"{gateway.name} was contacted about it just now")
        self._look_up(gateway, refund)

    def _look_up(self, gateway: Gateway, refund: Refund) -> Contacted:
        request = self._builder.query(gateway, refund, self._clock())
        contacted = self._taken(gateway, refund.refund_id, request, self._exchanged(gateway, request))
        self._append(refund.refund_id, lambda found: self._exhaustion(gateway, found))
        return contacted

    def _exchanged(self, gateway: Gateway, request: HttpRequest) -> Answer | NoAnswer:
        return self._transport.send(gateway.name, request, timeout_s=gateway.capabilities.post_timeout_s)

    def _taken(
        self,
        gateway: Gateway,
        refund_id: str,
        request: HttpRequest,
        answer: Answer | NoAnswer,
        *,
        intent: str | None = None,
    ) -> Contacted:
        """Append what came back, to a submission where there is an intent, else to a query."""
        phase: Phase = "poll" if intent is None else "submit"
        if isinstance(answer, NoAnswer):
            return self._failed(gateway, refund_id, phase, answer, intent=intent, tried=answer is not _LATE)
        message = as_message(request, self._clock(), answer)
        channel = Channel.POLL if intent is None else Channel.API_RESPONSE
        try:
            verification = self._recorder.verify(gateway, channel, message)
            self._recorder.record(gateway, channel, message, verification, refund_id=refund_id)
        except (Unauthentic, UnreadableMessage) as error:
            failed = NoAnswer("http_error", str(error))
            return self._failed(gateway, refund_id, phase, failed, intent=intent, http_status=answer.status)
        return self._told(
            Contacted(
                gateway=gateway.name,
                refund_id=refund_id,
                phase=phase,
                outcome="answered",
                http_status=answer.status,
                retry_after_s=message.retry_after_s(),
            )
        )

    def _failed(
        self,
        gateway: Gateway,
        refund_id: str,
        phase: Phase,
        failed: NoAnswer,
        *,
        intent: str | None = None,
        http_status: int | None = None,
        tried: bool = True,
    ) -> Contacted:
        """Append that no answer came: a fact about the way to the gateway, and none about the refund."""
        event = ContactFailed(
            phase=phase,
            failure=failed.failure,
            detail=self._keeper.text(failed.detail),
            http_status=http_status,
            request=intent,
        )
        self._append(refund_id, lambda _: [event])
        return self._told(
            Contacted(
                gateway=gateway.name,
                refund_id=refund_id,
                phase=phase,
                outcome=failed.failure,
                http_status=http_status,
                detail=event.detail or "",
                tried=tried,
            )
        )

    def _exhaustion(self, gateway: Gateway, refund: Refund) -> list[Event]:
        if not exhausted(refund, gateway.capabilities, self._clock()):
            return []
        return decide_exhausted(refund, refund.polls)

    def _append(self, refund_id: str, decide: Callable[[Refund], list[Event]]) -> None:
        now = self._clock()

        def attempt() -> None:
            refund = self._load(refund_id)
            events = decide(refund)
            if events:
                changes = refund_changes(refund, advanced(refund, events, now))
                self._store.append(refund_write(refund, refund_id, events, now), changes=changes)

        retried(attempt)

    def _told(self, contacted: Contacted) -> Contacted:
        # Whoever listens must not undo what is durable, nor keep the next refund from being sent.
        try:
            if self._on_contact is not None:
                self._on_contact(contacted)
        except Exception as error:  # noqa: BLE001 - as above
            self._log.error("hook.failed", refund_id=contacted.refund_id, **named(error))
        return contacted


def _why_not(gateway: Gateway) -> str:
    if not gateway.capabilities.lookup_by_own_reference:
        return f"{gateway.name} has no look-up, and may have forgotten its key"
    if gateway.capabilities.absence is None:
        return f"no answer of {gateway.name} proves that it does not have it"
    rule = gateway.capabilities.absence
    return f"{gateway.name} must first say {rule.answers} times, {rule.apart_s} s apart, that it does not have it"
