"""Serving simulators on one port of this machine, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from ...engine.errors import InvalidSetting
from .books import books

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from .assembly import Simulators

REFUSED_S: Final = 5
_LOGGERS: Final = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")
_BACKLOG: Final = 128
_GRACE_S: Final = 2
_LOOKS_A_SECOND: Final = 200
_CLOSED_AFTER_S: Final = 1 / 50


class Running:
    """Simulators that are being served.

    Attributes:
        simulators: the simulators.
        host: the address they listen on.
        port: the port.
    """

    def __init__(self, sims: Simulators, host: str, port: int, server: _Server) -> None:
        self.simulators = sims
        self.host = host
        self.port = port
        self._server = server

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def url(self, name: str) -> str:
        """Return the base URL of a gateway: an adapter's target is appended to it.

        Raises:
            InvalidSetting: it is not simulated here.
        """
        return f"{self.origin}/{self.simulators[name].name}"

    def until_listening(self, timeout_s: int = 60) -> None:
        """Wait until connections are accepted; at once unless `CONNECTION_REFUSED` struck.

        Raises:
            TimeoutError: that takes more than `timeout_s` real seconds, such as with a clock that stands still.
        """
        if not self._server.listening.wait(timeout_s):
            raise TimeoutError

    def until_delivered(self, timeout_s: int = 60) -> None:
        """Wait until every webhook was acknowledged or given up.

        Raises:
            TimeoutError: that takes more than `timeout_s` real seconds, such as with a clock that stands still.
        """

        async def all_delivered() -> None:
            for name in self.simulators:
                await self.simulators[name].delivered()

        waiting = asyncio.run_coroutine_threadsafe(all_delivered(), self._server.loop)
        try:
            waiting.result(timeout_s)
        except TimeoutError:
            waiting.cancel()
            raise


@contextmanager
def serve(sims: Simulators, host: str = "127.0.0.1", port: int = 0) -> Iterator[Running]:
    """Serve simulators until the block ends; they listen when it starts.

    Args:
        sims: the simulators; served again later, they remember what happened.
        host: an address of this machine. Whoever reaches it can read the ledgers and move the play money.
        port: 0 for one that is free.

    Raises:
        InvalidSetting: the address cannot be used, such as a port that is taken.
    """
    door = _Door(host, port)
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    server = _Server(sims, door)
    thread = Thread(target=server.run_here, name="refold-simulators", daemon=True)
    try:
        thread.start()
        server.ready.wait()
        if server.failure is not None:
            raise InvalidSetting("simulators", f"they did not start: {server.failure}")
        yield Running(sims, host, door.port, server)
    finally:
        server.end()
        thread.join()
        door.close()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


_WAITS: Final = """\
# A fault leaves a request without an answer until refold gives up. The documents allow an answer 45 real seconds; on
# this machine, and only there, less may be configured, so that a trial does not stand still for that long.
post_timeout_s = 2
poll_interval_s = 2"""


def settings_toml(running: Running, *, notify_url: str | None = None) -> str:
    """Return the settings that point refold at running simulators. They hold keys: keep them in a file of mode 0600.

    Args:
        running: the simulators.
        notify_url: a URL of this machine, such as http://127.0.0.1:8080/webhooks: each gateway that has webhooks is
            told to send them to this with `/` and its name behind it, and refold to wait no longer than a trial needs.
            None: neither.
    """
    parts = []
    for name in running.simulators:
        lines = [f"[gateways.{name}]", f"base_url = {json.dumps(running.url(name))}"]
        if notify_url is not None:
            if running.simulators[name].gateway.capabilities.acknowledgement is not None:
                lines.append("notify_url = " + json.dumps(f"{notify_url.rstrip('/')}/{name}"))
            lines.append(_WAITS)
        for setting, value in running.simulators.credentials[name].items():
            if setting == "secret":
                lines.append(f'keys = [{{ id = "simulated", secret = {json.dumps(value)} }}]')
            elif setting == "private_key":
                lines.append(f'private_key = """\n{value}"""')
            else:
                lines.append(f"{setting} = {json.dumps(value)}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


# ---- the port ---------------------------------------------------------------------------------------------------


class _Door:
    """A port that stays ours while nobody listens on it: connections are then refused by the system itself."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._reserved = self._socket()
        try:
            self._reserved.bind((host, port))
        except (OSError, OverflowError) as error:
            self._reserved.close()
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise InvalidSetting(
                "port", f"{host}:{port} cannot be used ({said}); choose another, or 0 for a free one"
            ) from None
        self.port: Final[int] = self._reserved.getsockname()[1]
        _share(self._reserved)  # only now: a port that somebody else has was an error above

    def _socket(self) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    def listener(self) -> socket.socket:
        """Return a socket that listens."""
        made = self._socket()
        try:
            _share(made)
            made.bind((self._host, self.port))
            made.listen(_BACKLOG)
        except OSError:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Give the port back."""
        self._reserved.close()


def _share(one: socket.socket) -> None:
    if hasattr(socket, "SO_REUSEPORT"):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


# ---- the server -------------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """uvicorn, told to end by an event and not by signals, that can leave its port for a while."""

    def __init__(self, sims: Simulators, door: _Door) -> None:
        members = [sims[name] for name in sims]
        routes = [Mount("/_simulator", books(sims)), *(Mount(f"/{one.name}", one.app) for one in members)]
        super().__init__(
            uvicorn.Config(
                Starlette(routes=routes),
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level=logging.CRITICAL,  # an answer cut in half is an error to uvicorn
                access_log=False,
                server_header=False,
                date_header=False,
            )
        )
        self.ready = Event()
        self.listening = Event()
        self.failure: BaseException | None = None
        self._members = members
        self._pace = sims.pace
        self._door = door
        self.loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._reopening: asyncio.Task[None] | None = None
        self._shut_until: datetime | None = None

    def run_here(self) -> None:
        """Serve in this thread until `end` is called from another."""
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._serve_members())
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits
            self.failure = error
        finally:
            self.ready.set()

    async def _serve_members(self) -> None:
        for member in self._members:
            member.closing = asyncio.Event()
            member.refuse_connections = self._refuse_connections
        listener = self._door.listener()
        try:
            await self.serve(sockets=[listener])
        finally:
            listener.close()
            for member in self._members:
                member.refuse_connections = None
                await member.stop()

    async def main_loop(self) -> None:
        """Wait for the end."""
        self.listening.set()
        self.ready.set()
        await self._closing.wait()
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        for member in self._members:
            member.closing.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - closed by their owner
        """Close all connections; what is still being answered gets a moment."""
        self._stop_listening()
        await asyncio.sleep(_CLOSED_AFTER_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                while self.server_state.connections:
                    for connection in list(self.server_state.connections):
                        connection.shutdown()
                    await asyncio.sleep(1 / _LOOKS_A_SECOND)

    def end(self) -> None:
        """Let the server end; may be called from another thread, and after it ended by itself."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._closing.set)

    def _refuse_connections(self) -> None:
        self.listening.clear()
        self._stop_listening()
        self._shut_until = self._pace.after(self._pace.now(), REFUSED_S)
        if self._reopening is None:
            self._reopening = asyncio.get_running_loop().create_task(self._reopen())

    def _stop_listening(self) -> None:
        """Refuse connections from now on, and close the port a moment later.

        A connection that asyncio has accepted and not yet set up would be lost, and leak, were its server closed now.
        """
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listener in server.sockets:
                loop.remove_reader(listener.fileno())
                with suppress(OSError):  # only Linux lets a listener be shut down
                    listener.shutdown(socket.SHUT_RDWR)
            loop.call_later(_CLOSED_AFTER_S, server.close)
        self.servers = []

    async def _reopen(self) -> None:
        while self._shut_until is not None and self._pace.now() < self._shut_until:
            await self._pace.until(self._shut_until)
        listener = self._door.listener()
        try:
            self.servers = [await asyncio.get_running_loop().create_server(self._protocol, sock=listener)]
        except BaseException:
            listener.close()
            raise
        self._reopening = None
        self.listening.set()

    def _protocol(self) -> asyncio.Protocol:
        """Return what serves one connection, as uvicorn's own start makes it."""
        kind = self.config.http_protocol_class
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]
