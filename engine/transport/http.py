"""Requests over HTTPS, by httpx.

Each exchange has a connection of its own: one that is kept open may be closed by the other side at the moment a refund
is written into it, and then nobody knows whether it was sent.
"""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from ..errors import InvalidSetting
from ..ports.transport import NoAnswer, no_endpoint
from .endpoint import MAX_ANSWER
from .exchange import Broken, Exchange

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpcore

    from ..domain.events import Failure
    from ..domain.message import HttpRequest
    from ..ports.transport import Answer
    from .endpoint import Endpoint

_TIMEOUT: Final[Failure] = "timeout"
_HTTP_ERROR: Final[Failure] = "http_error"
_HEADERS: Final = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "refold",
}


class HttpTransport:
    """A `Transport` to the endpoints it is given. It follows no redirects and asks no proxy of the environment.

    Args:
        endpoints: where each gateway is, by the adapter's name.
        max_answer: bytes of the longest answer that is taken.

    Raises:
        InvalidSetting: a file of certificate authorities that cannot be used.
    """

    def __init__(self, endpoints: Mapping[str, Endpoint], *, max_answer: int = MAX_ANSWER) -> None:
        self._endpoints = dict(endpoints)
        self._max_answer = max_answer
        self._trust = {name: _trust(name, endpoint) for name, endpoint in self._endpoints.items()}

    def reaches(self, gateway: str) -> bool:
        """Tell whether it has an address of the gateway."""
        return gateway in self._endpoints

    def notify_url(self, gateway: str) -> str | None:
        """Return where the gateway shall send its webhooks; None: it is not told."""
        endpoint = self._endpoints.get(gateway)
        return None if endpoint is None else endpoint.notify_url

    def send(self, gateway: str, request: HttpRequest, *, timeout_s: int) -> Answer | NoAnswer:
        """Send a request and wait for its whole answer, `timeout_s` seconds at most, all in all.

        Only an event loop can end every kind of waiting in time (for a name, for a header that comes byte by byte), so
        this runs one; where the calling thread has one already, in a thread of its own.

        Raises:
            InvalidSetting: it has no address of the gateway.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._run(gateway, request, timeout_s)
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._run, gateway, request, timeout_s).result()

    def _run(self, gateway: str, request: HttpRequest, timeout_s: int) -> Answer | NoAnswer:
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(_NameLookup(1))
            return runner.run(self.asend(gateway, request, timeout_s=timeout_s))

    async def asend(self, gateway: str, request: HttpRequest, *, timeout_s: int) -> Answer | NoAnswer:
        """Do the same without blocking the event loop."""
        endpoint = self._endpoints.get(gateway)
        if endpoint is None:
            raise no_endpoint(gateway)
        exchange = Exchange(self._max_answer)
        sent = _Sent()
        try:
            async with asyncio.timeout(timeout_s):
                await self._exchanged(gateway, endpoint, request, exchange, sent)
            return exchange.answer()
        except TimeoutError:
            what, failure = f"nothing whole within {timeout_s} s", _TIMEOUT
        except (Broken, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            what, failure = _named(error), _HTTP_ERROR
        # No kind of error says so: all that counts is whether the first byte was about to leave.
        return exchange.broken(failure, what) if sent.begun else NoAnswer("not_sent", what)

    async def _exchanged(
        self, gateway: str, endpoint: Endpoint, request: HttpRequest, exchange: Exchange, sent: _Sent
    ) -> None:
        headers = httpx.Headers(_HEADERS)
        headers.update(request.headers)
        async with httpx.AsyncClient(
            verify=self._trust[gateway],
            proxy=endpoint.proxy,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=endpoint.connect_timeout_s),
            follow_redirects=False,
        ) as client:
            prepared = client.build_request(
                request.method,
                endpoint.base_url,
                headers=headers,
                content=request.body or None,
                extensions={"trace": sent.trace},
            )
            prepared.url = _ExactUrl(endpoint.base_url, request.target)
            try:
                async with aclosing(await client.send(prepared, stream=True)) as response:
                    exchange.began(response.status_code, response.headers.multi_items())
                    async for part in response.aiter_raw():
                        exchange.received(part)
            finally:
                await sent.close()


class _ExactUrl(httpx.URL):
    """A URL whose target goes over the wire as it was signed; httpx would write some characters in its own way.

    Its extension "target" does the same, but for the proxy's CONNECT too, which then names no host.
    """

    def __init__(self, base_url: str, target: str) -> None:
        super().__init__(base_url)
        self._target = (urlsplit(base_url).path.rstrip("/") + target).encode("ascii")

    @property
    def raw_path(self) -> bytes:
        return self._target


class _NameLookup(ThreadPoolExecutor):
    """Looks up a name; where that takes too long, nobody waits for it."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().shutdown(wait=False, cancel_futures=True)


class _Sent:
    """Notes whether the first byte of a request was about to leave, and on which connection."""

    def __init__(self) -> None:
        self.begun = False
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Take one of the events that httpcore traces. Source: HTTPX, Extensions, "trace" (read 2026-11-21)."""
        # A proxy is asked for a tunnel first: nothing of the request is in that.
        if name.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.begun = True
        elif name.endswith("connect_tcp.complete"):
            self._stream = info["return_value"]

    async def close(self) -> None:
        """Close the connection: httpcore does not, where the time is over before its TLS is up."""
        if self._stream is not None:
            await self._stream.aclose()


def _trust(name: str, endpoint: Endpoint) -> ssl.SSLContext:
    try:
        if endpoint.ca_file is None:
            return httpx.create_ssl_context(trust_env=False)
        return ssl.create_default_context(cafile=endpoint.ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InvalidSetting(f"ca_file of {name}", f"{endpoint.ca_file!a} cannot be used: {reason}") from None


def _named(error: Exception) -> str:
    """Return an error in words, without what it quotes: an answer may repeat the request, a header may be a secret."""
    text = str(error)
    if isinstance(error, httpx.LocalProtocolError | ValueError):
        text = ""
    elif isinstance(error, httpx.RemoteProtocolError):
        text = text.partition(":")[0]
    elif isinstance(error, httpx.ProxyError):
        text = text[:_STATUS_DIGITS]
    return f"{type(error).__name__}: {text}"[:_MAX_DETAIL] if text else type(error).__name__


_STATUS_DIGITS: Final = 3
_MAX_DETAIL: Final = 200
