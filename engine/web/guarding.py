"""Guarding: what every answer carries, the access log, and no exception that reaches the server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import structlog

from ..service.noticing import named
from ..service.webhooks import RETRY_AFTER_S, refusal

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Guard:
    """Wraps all routes: the last to see an answer and the last to see an error."""

    def __init__(self, app: ASGIApp, *, routes: Mapping[Any, str], gateways: Container[str]) -> None:
        """Log the templates that `routes` has for each endpoint, and path parameters only where they are `gateways`."""
        self._app = app
        self._routes = routes
        self._gateways = gateways
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and whatever comes of it back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - an answer that says "again" serves the sender better than none
            self._log.error("request.failed", route=self._route(scope), **named(error))
            await exchange.apologise()
        self._note(scope, exchange.status)

    def _note(self, scope: Scope, status: int | None) -> None:
        method = scope["method"]
        gateway = scope.get("path_params", {}).get("gateway")
        self._log.info(
            "request.answered",
            method=method if method in _METHODS else "other",
            route=self._route(scope),
            status=status,
            **({"gateway": gateway} if gateway in self._gateways else {}),
        )

    def _route(self, scope: Scope) -> str:
        return self._routes.get(scope.get("endpoint"), "none")


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.status: int | None = None
        self._receive = receive
        self._send = send
        names = {name.lower() for name, _ in scope["headers"]}
        has_body = b"content-length" in names or b"transfer-encoding" in names
        self._unread = has_body and str(scope.get("http_version", "1.1")).startswith("1")

    async def receive(self) -> Message:
        """Take a part of the request."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            # Without it a server would go on reading what nobody wants.
            closing = [(b"connection", b"close")] if self._unread else []
            message = {**message, "headers": [*message.get("headers", ()), *_ALWAYS, *closing]}
        await self._send(message)

    async def apologise(self) -> None:
        """Answer after an error, as far as that is still possible."""
        if self.status is not None:
            return
        reply = refusal(503, "failed", {"retry-after": str(RETRY_AFTER_S)})
        headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        length = (b"content-length", str(len(reply.body)).encode())
        try:
            start = {"type": "http.response.start", "status": reply.status, "headers": [*headers, length]}
            await self.send(start)
            await self._send({"type": "http.response.body", "body": reply.body})
        except Exception:  # noqa: BLE001, S110 - nobody is there to be told; the error itself is in the log
            pass
