"""What all four simulators do alike: an ASGI application, the order of the checks, the faults, the ledger."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ...engine.domain.money import Money
from .delivery import Delivery, Notification, Posting, Rules
from .faults import Fault, derived, derived_digits
from .ledger import Ledger, Record
from .scripts import Answer, outcome_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from ...engine.ports import Gateway
    from .faults import Faults
    from .pace import Pace
    from .scripts import Outcome, Stage

ABSENT_S: Final = 90
_HTML: Final = b"<html><head><title>%d</title></head><body><h1>Service unavailable</h1></body></html>\n"
_HTML_STATUSES: Final = (502, 503)
_NO_CURRENCY: Final = "HKD"
"""Ours: an unknown payment needs a currency even where the refund request names none."""


class Kind(StrEnum):
    """What a call asks for."""

    REFUND = "refund"
    QUERY = "query"


class Refusal(StrEnum):
    """Why a call is refused; each gateway has its own code for it."""

    SIGNATURE = "the signature is absent or wrong"
    MALFORMED = "a required field is missing or wrong"
    NO_SUCH_PATH = "no such path or method"
    NO_PAYMENT = "the payment is not known"
    DUPLICATE = "the refund number exists"
    IN_PROGRESS = "another refund of the payment is in progress"
    TOO_MUCH = "more than is left of the captured amount"
    REFUSED = "the business says no"
    INTERNAL = "an internal error"
    NOT_FOUND = "the refund is not known"


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived; `target` is the path below the simulator's own, with its query."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an authentic call asks for."""

    kind: Kind
    refund_id: str
    payment_id: str = ""
    amount: Money | None = None
    notify_url: str = ""
    echoed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Simulator(ABC):
    """One gateway: call `app` over ASGI, read `ledger`.

    Args:
        gateway: our adapter that has the same keys: the client of this simulator.
        pace: the clock and the speed.
        seed: what all numbers are derived from.
        faults: what goes wrong.
        any_payment_minor: an unknown payment counts as captured with this amount; None: it is not found.
        any_host: send webhooks to any host, not only to this machine.
    """

    name: ClassVar[str]
    rules: ClassVar[Rules]
    late_failures: ClassVar[bool] = True

    def __init__(
        self,
        gateway: Gateway,
        *,
        pace: Pace,
        seed: str,
        faults: Faults,
        any_payment_minor: int | None,
        any_host: bool,
    ) -> None:
        self.gateway = gateway
        self.ledger = Ledger(pace)
        self.closing = asyncio.Event()
        self.refuse_connections: Callable[[], None] | None = None
        self._pace = pace
        self._seed = seed
        self._faults = faults
        self._any_payment_minor = any_payment_minor
        self._occurrences: Counter[tuple[str, ...]] = Counter()
        self._delivery = Delivery(self.name, self.rules, pace, faults, any_host=any_host)

    @property
    def app(self) -> Simulator:
        """The ASGI application."""
        return self

    @property
    def notifications(self) -> Sequence[Notification]:
        """Every webhook, and what became of it."""
        return tuple(self._delivery.notifications)

    def capture(self, payment_id: str, amount: Money) -> None:
        """Let a payment exist with that captured amount.

        Raises:
            InvalidSetting: it exists with another one.
        """
        self.ledger.capture(payment_id, amount)

    async def delivered(self) -> None:
        """Wait until every webhook was acknowledged or given up."""
        await self._delivery.idle()

    async def stop(self) -> None:
        """End what is still being delivered."""
        await self._delivery.stop()

    # ---- the API: each gateway's own

    @abstractmethod
    def _understood(self, call: Call) -> Asked | Refusal:
        """Check the signature and read the call."""

    @abstractmethod
    def _answer(self, call: Call, asked: Asked, record: Record, amount: Money) -> Reply:
        """Return the signed answer about a refund, as it is shown now, with that amount."""

    @abstractmethod
    def _refused(self, call: Call, refusal: Refusal, asked: Asked | None) -> Reply:
        """Return the answer that refuses a call."""

    @abstractmethod
    def _notification(self, asked: Asked, record: Record, stage: Stage) -> Posting:
        """Return the signed webhook about a stage of a refund."""

    # ---- refunds

    def _refund(self, call: Call, asked: Asked) -> Reply:
        refusal = self._objection(asked)
        if refusal is not None:
            return self._refused(call, refusal, asked)
        amount = asked.amount or self._rest(asked.payment_id)
        outcome = self._outcome(asked, amount)
        if outcome.answer is Answer.REFUSED:
            return self._refused(call, Refusal.REFUSED, asked)
        record = self._accept(asked, amount, outcome)
        if outcome.answer is Answer.INTERNAL_ERROR:
            return self._refused(call, Refusal.INTERNAL, asked)
        return self._answer(call, asked, record, self._told_amount(record))

    def _objection(self, asked: Asked) -> Refusal | None:
        """Return why a refund cannot be made: this order is ours, the documents are silent."""
        if self._exists(asked):
            return Refusal.DUPLICATE
        captured = self._payment(asked)
        if captured is None:
            return Refusal.NO_PAYMENT
        if asked.amount is not None and asked.amount.currency != captured.currency:
            return Refusal.MALFORMED
        left = self.ledger.available_minor(asked.payment_id)
        return Refusal.TOO_MUCH if left < (asked.amount.minor if asked.amount else 1) else None

    def _exists(self, asked: Asked) -> bool:
        return self.ledger.record(asked.refund_id) is not None

    def _payment(self, asked: Asked) -> Money | None:
        known = self.ledger.captured(asked.payment_id)
        if known is None and self._any_payment_minor is not None:
            currency = asked.amount.currency if asked.amount else _NO_CURRENCY
            known = Money(self._any_payment_minor, currency)
            self.ledger.capture(asked.payment_id, known)
        return known

    def _rest(self, payment_id: str) -> Money:
        """Return what is left to refund, where a request names no amount."""
        currency = self.ledger.payments[payment_id].currency
        return Money(self.ledger.available_minor(payment_id), currency)

    def _outcome(self, asked: Asked, amount: Money) -> Outcome:
        outcome = outcome_for(self.name, asked.refund_id, amount.minor)
        late = self.late_failures and self._struck(Fault.LATE_FAILURE, asked.refund_id)
        return outcome.failing_later() if late else outcome

    def _accept(self, asked: Asked, amount: Money, outcome: Outcome) -> Record:
        number = self._number("refund", asked.refund_id, str(len(self.ledger.of_payment(asked.payment_id))))
        record = self.ledger.add(
            Record(asked.refund_id, asked.payment_id, amount, number, self._pace.now(), outcome)
        )
        for stage in outcome.stages:
            if asked.notify_url and stage.notifies:
                self._delivery.schedule(
                    asked.refund_id,
                    asked.notify_url,
                    self._pace.after(record.created_at, stage.after_s),
                    lambda stage=stage: self._notification(asked, record, stage),  # type: ignore[misc]
                )
        return record

    def _told_amount(self, record: Record) -> Money:
        minor, currency = record.amount.minor, record.amount.currency
        if not self._struck(Fault.WRONG_AMOUNT, record.refund_id):
            return record.amount
        return Money(minor // 10 or minor + 1, currency)

    # ---- queries

    def _query(self, call: Call, asked: Asked) -> Reply:
        record = self.ledger.record(asked.refund_id)
        if record is None or self._absent(record):
            return self._refused(call, Refusal.NOT_FOUND, asked)
        return self._answer(call, asked, record, record.amount)

    def _absent(self, record: Record) -> bool:
        """Tell whether queries do not find the refund yet: decided once for each refund."""
        struck = self._faults.strikes(Fault.ABSENT_FOR_A_WHILE, self.name, record.refund_id, 0)
        return struck and not self._pace.passed(record.created_at, ABSENT_S)

    # ---- numbers that depend on the seed alone

    def _number(self, *parts: str, length: int = 20) -> str:
        return derived_digits(length, self._seed, self.name, *parts)

    def _nonce(self) -> str:
        self._occurrences["nonce",] += 1
        return derived(self._seed, self.name, "nonce", str(self._occurrences["nonce",]))[:32]

    def _struck(self, fault: Fault, refund_id: str, kind: Kind = Kind.REFUND) -> bool:
        """Tell whether a fault strikes now, and count the occurrence."""
        nth = self._occurrences[fault, kind, refund_id]
        self._occurrences[fault, kind, refund_id] += 1
        return self._faults.strikes(fault, self.name, refund_id, nth)

    # ---- HTTP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI asks for it."""
        if scope["type"] != "http":
            raise RuntimeError(f"{self.name}: a simulator speaks HTTP, not {scope['type']}")
        request = Request(scope, receive)
        with suppress(ClientDisconnect):
            call = Call(request.method, _target(scope), request.headers, await request.body())
            await self._serve(call, scope, receive, send)

    async def _serve(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        asked = self._understood(call)
        if isinstance(asked, Refusal):
            await _respond(self._refused(call, asked, None), scope, receive, send)
            return
        if asked.kind is Kind.REFUND:
            self.ledger.posted(asked.refund_id)
            perform, faults = self._refund, _ON_REFUND
        else:
            self.ledger.queried(asked.refund_id)
            perform, faults = self._query, _ON_QUERY
        struck = next((fault for fault in faults if self._struck(fault, asked.refund_id, asked.kind)), None)
        page, before = self._page(asked) if struck is Fault.SERVER_ERROR_HTML else (None, False)
        if before or struck is Fault.TIMEOUT_BEFORE_EFFECT:
            reply = page
        else:
            reply = perform(call, asked)
            reply = page or (None if struck is Fault.TIMEOUT_AFTER_EFFECT else reply)
        if reply is None:
            await self._silence(receive)
        elif struck is Fault.HALF_RESPONSE:
            await _respond_half(reply, send)
        else:
            closed = struck is Fault.CONNECTION_REFUSED and self.refuse_connections is not None
            if closed and self.refuse_connections is not None:
                self.refuse_connections()
            await _respond(reply, scope, receive, send, close=closed)

    def _page(self, asked: Asked) -> tuple[Reply, bool]:
        """Return a proxy's page instead of an answer, and whether it comes before the effect."""
        nth = self._occurrences[Fault.SERVER_ERROR_HTML, asked.kind, asked.refund_id]
        drawn = int(derived(self._faults.seed, self.name, "page", asked.kind, asked.refund_id, str(nth)), 16)
        status = _HTML_STATUSES[drawn & 1]
        headers = {"Content-Type": "text/html"} | ({"Retry-After": "1"} if drawn & 2 else {})
        return Reply(status, headers, _HTML % status), bool(drawn & 4)

    async def _silence(self, receive: Receive) -> None:
        """Say nothing until the client has gone, or the server ends."""

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        waits: tuple[Awaitable[object], ...] = (gone(), self.closing.wait())
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


_ON_QUERY: Final[tuple[Fault, ...]] = (Fault.CONNECTION_REFUSED, Fault.SERVER_ERROR_HTML, Fault.HALF_RESPONSE)
_ON_REFUND: Final[tuple[Fault, ...]] = (Fault.TIMEOUT_BEFORE_EFFECT, Fault.TIMEOUT_AFTER_EFFECT, *_ON_QUERY)


def _target(scope: Scope) -> str:
    """Return path and query as they came over the wire, below the path that the application is mounted at."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0].decode("ascii", "replace").removeprefix(scope.get("root_path", ""))
    query = scope["query_string"].decode("ascii", "replace")
    return f"{path}?{query}" if query else path


async def _respond(reply: Reply, scope: Scope, receive: Receive, send: Send, *, close: bool = False) -> None:
    headers = dict(reply.headers) | ({"Connection": "close"} if close else {})
    await Response(reply.body, reply.status, headers)(scope, receive, send)


async def _respond_half(reply: Reply, send: Send) -> None:
    headers = {**reply.headers, "Content-Length": str(len(reply.body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    half = reply.body[: len(reply.body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})
