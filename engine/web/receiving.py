"""Receiving: from an HTTP request to the bytes and headers of a webhook, within limits, and the answer back."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final

import structlog
from starlette.responses import Response

from ..errors import InvalidSetting
from ..service.noticing import named
from ..service.webhooks import MAX_BODY, RETRY_AFTER_S, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.types import Receive

    from ..service.facade import RefundEngine
    from ..service.webhooks import WebhookReply
    from .flight import InFlight
    from .metrics import Metrics

    RawHeaders = Iterable[tuple[bytes, bytes]]

_FORM_TYPES: Final = frozenset({b"", b"application/json", b"application/x-www-form-urlencoded"})
_MAY_REPEAT: Final = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "baggage",
        "cache-control",
        "connection",
    }
    | {"cookie", "forwarded", "pragma", "te", "tracestate", "trailer", "upgrade", "via", "warning"}
    | {"x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"}
)
"""Headers that senders or proxies may send twice and no gateway signs; any other one twice is not authentic."""
_LONGEST_LENGTH: Final = 18
"""Digits of a Content-Length that are read as a number; a longer one is too large whatever it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a stranger may take.

    Attributes:
        body_bytes: of a webhook's body, 1 to 262,144; more is 413.
        body_s: seconds until the whole body must have arrived, above 0; later is 408.
        in_flight: webhooks read or recorded at once, each with up to `body_bytes` in memory; one more is 503.
        threads: webhooks checked and recorded at once; the others wait.
        answer_s: seconds from the body's end until it must be durable, above 0; later is 503, and what still waits for
            a thread is dropped: the gateway sends it again.
        probe_s: seconds within which the store must answer `/readyz` and `/metrics`, above 0; later is 503.
    """

    body_bytes: int = MAX_BODY
    body_s: float = 10.0
    in_flight: int = 256
    threads: int = 8
    answer_s: float = 15.0
    probe_s: float = 5.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InvalidSetting: one of them is outside its range.
        """
        if not 1 <= self.body_bytes <= MAX_BODY:
            raise InvalidSetting("body_bytes", f"{self.body_bytes} is not within 1 and {MAX_BODY}")
        for name in ("body_s", "in_flight", "threads", "answer_s", "probe_s"):
            if not getattr(self, name) > 0:
                raise InvalidSetting(name, f"{getattr(self, name)} is not above 0")


class _RefusedError(Exception):
    """The request is answered without recording anything."""

    def __init__(self, reply: WebhookReply) -> None:
        super().__init__(reply.result)
        self.reply = reply


class Receiver:
    """The endpoint of webhooks."""

    def __init__(self, engine: RefundEngine, limits: Limits, metrics: Metrics, in_flight: InFlight) -> None:
        """Give what arrives within `limits` to `engine`, and count it in `metrics`."""
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._in_flight = in_flight
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="refold-webhook")
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    async def receive(self, request: Request) -> Response:
        """Answer one webhook."""
        gateway = request.path_params["gateway"]
        try:
            reply = await self._reply(gateway, request)
        except _RefusedError as refused:
            reply = refused.reply
        self._metrics.webhook(gateway, reply.result)
        return Response(reply.body, reply.status, dict(reply.headers))

    async def _reply(self, gateway: str, request: Request) -> WebhookReply:
        known = self._engine.gateways.get(gateway)
        if known is None or known.capabilities.acknowledgement is None:
            raise _RefusedError(refusal(404, "unknown_gateway"))
        headers: RawHeaders = request.scope["headers"]
        declared = _declared(headers, self._limits.body_bytes)
        _check_form(headers)
        ticket = self._in_flight.enter()
        if ticket is None:
            raise _RefusedError(_later("saturated"))
        try:
            body = await _body(request.receive, declared, self._limits)
            signed = _single(headers)
            recording = self._pool.submit(self._record, gateway, signed, body)
        except BaseException:
            self._in_flight.leave(ticket)
            raise
        # The ticket is the thread's from here: a client that leaves does not make room for more.
        recording.add_done_callback(lambda _: self._in_flight.leave(ticket))
        try:
            async with asyncio.timeout(self._limits.answer_s):
                return await asyncio.wrap_future(recording)
        except TimeoutError:
            raise _RefusedError(_later("not_stored")) from None

    def _record(self, gateway: str, headers: Mapping[str, str], body: bytes) -> WebhookReply:
        try:
            return self._engine.receive_webhook(gateway, headers, body)
        except Exception as error:  # noqa: BLE001 - nothing is known to be durable: it must be sent again
            self._log.error("webhook.failed", gateway=gateway, **named(error))
            return _later("not_stored")


def _later(result: str) -> WebhookReply:
    return refusal(503, result, {"retry-after": str(RETRY_AFTER_S)})


# ---- before the body ---------------------------------------------------------------------------------------------


def _values(headers: RawHeaders, wanted: bytes) -> list[bytes]:
    return [value.strip().lower() for name, value in headers if name.lower() == wanted]


def _declared(headers: RawHeaders, limit: int) -> int | None:
    """Return the length the request declares; None where it declares none.

    Raises:
        _RefusedError: it is no number, two of them, or above the limit.
    """
    lengths = set(_values(headers, b"content-length"))
    if not lengths:
        return None
    length = lengths.pop()
    if lengths or not length.isdigit():
        raise _RefusedError(refusal(400, "malformed"))
    if len(length) > _LONGEST_LENGTH or int(length) > limit:
        raise _RefusedError(refusal(413, "too_large"))
    return int(length)


def _check_form(headers: RawHeaders) -> None:
    for encoding in _values(headers, b"content-encoding"):
        if encoding not in {b"", b"identity"}:
            raise _RefusedError(refusal(415, "encoded"))
    for value in _values(headers, b"content-type"):
        kind = value.partition(b";")[0].strip()
        if kind not in _FORM_TYPES and not kind.startswith(b"text/"):
            raise _RefusedError(refusal(415, "unknown_type"))


# ---- the body, and after it --------------------------------------------------------------------------------------


async def _body(receive: Receive, declared: int | None, limits: Limits) -> bytes:
    """Return the body.

    Raises:
        _RefusedError: it is too large, too slow, not as long as declared, or its sender left.
    """
    read = BytesIO()  # it gives away what it holds: the body is never in memory twice
    try:
        async with asyncio.timeout(limits.body_s):
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise _RefusedError(refusal(400, "disconnected"))
                chunk = message.get("body", b"")
                if read.tell() + len(chunk) > limits.body_bytes:
                    raise _RefusedError(refusal(413, "too_large"))
                read.write(chunk)
                more = message.get("more_body", False)
    except TimeoutError:
        raise _RefusedError(refusal(408, "too_slow")) from None
    if declared is not None and read.tell() != declared:
        raise _RefusedError(refusal(400, "malformed"))
    return read.getvalue()


def _single(headers: RawHeaders) -> Mapping[str, str]:
    """Return the headers as texts, one a name.

    Raises:
        _RefusedError: one that may be signed stands twice; which of them was signed is not for us to choose.
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in found:
            found[name] = value
        elif name in _MAY_REPEAT:
            found[name] += f", {value}"
        else:
            raise _RefusedError(refusal(401, "unauthentic"))
    return found
