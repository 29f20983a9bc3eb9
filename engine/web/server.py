"""The server: uvicorn with what strangers may take cut down, and a clean end on SIGTERM and SIGINT."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

HEADER_BYTES: Final = 16 * 1024
"""Of a request line and all headers."""
HEADER_S: Final = 10.0
"""Seconds from a request's first byte, or from the connection, until the last header must have arrived."""
_PART_BYTES: Final = 4 * 1024
KEEP_ALIVE_S: Final = 5
CONNECTIONS: Final = 1000
"""Open at once; one more is closed without an answer."""
LAST_REQUESTS_S: Final = 15
"""Seconds that requests under way have to finish once the process is told to stop."""

_MALFORMED: Final = b'{"status": "malformed"}'
_HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_MALFORMED)).encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"connection", b"close"),
]


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which waits for a request's headers only so long and for so many connections only."""

    header_s: ClassVar[float] = HEADER_S
    connections_most: ClassVar[int] = CONNECTIONS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_most:
            transport.close()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on; the time runs from the first byte of a request to its last header."""
        if self._deadline is None and self.conn.their_state is h11.IDLE:
            self._wait()
        # h11 limits what is incomplete only, and a whole header of any size may come at once: hence in small parts.
        while data and self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            part, data = data[:_PART_BYTES], data[_PART_BYTES:]
            super().data_received(part)
        if data and not self.transport.is_closing():
            super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP the way everything else is answered."""
        del msg
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            for event in (
                h11.Response(status_code=400, headers=_HEADERS),
                h11.Data(data=_MALFORMED),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.header_s, self._close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._deadline = None
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server; a signal ends it and is then done with."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Finish on SIGTERM and SIGINT; uvicorn's own would end the process by the same signal afterwards."""
        if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


def make_server(app: ASGIApp, **changes: Any) -> Server:  # noqa: ANN401 - uvicorn's own options, for tests
    """Return a server of `app`; run it with `server.run(sockets=[...])`."""
    options: dict[str, Any] = {
        "http": PatientProtocol,
        "ws": "none",
        "loop": "asyncio",
        "lifespan": "off",
        "interface": "asgi3",
        "log_config": None,
        "log_level": "error",
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
        "forwarded_allow_ips": "",
        "h11_max_incomplete_event_size": HEADER_BYTES,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": LAST_REQUESTS_S,
    }
    return Server(uvicorn.Config(app, **(options | changes)))


def serve(app: ASGIApp, listening: socket.socket, announce: Callable[[], None]) -> None:
    """Serve `app` on a listening socket until SIGTERM or SIGINT, and finish the requests under way.

    `announce` is called once either signal ends the server cleanly.
    """
    server = make_server(app)
    with server.capture_signals():
        announce()
        server.run(sockets=[listening])
