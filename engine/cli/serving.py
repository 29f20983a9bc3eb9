"""`refold serve`."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from contextlib import contextmanager, nullcontext
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..composition import KEY_VARIABLES
from ..errors import InvalidSetting, RefoldError
from .session import Db, session
from .working import longest_s, need_an_address, stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..ports import Gateway
    from ..service.facade import RefundEngine
    from ..service.working import WorkReport
    from ..web import Metrics
    from .output import Output
    from .session import Session

_BACKLOG: Final = 256
_MAX_PORT: Final = 65_535


def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on; else as configured, or 127.0.0.1.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=_MAX_PORT,
            help="The port to listen on, 0 takes a free one; else as configured, or 8080.",
            show_default=False,
        ),
    ] = None,
    behind_tls_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-tls-proxy", help="Listen on other than loopback addresses: TLS ends in front."
        ),
    ] = False,
    work: Annotated[
        bool, typer.Option("--work", help="Send and look up refunds too, as `refold work` does.")
    ] = False,
    db: Db = None,
) -> None:
    """Receive webhooks at /webhooks/GATEWAY until SIGTERM or Ctrl-C; also /healthz, /readyz and /metrics."""
    current = session(context)
    configured = current.settings.webhooks
    if work:
        need_an_address(current.settings)
    run = _server(current, db, work=work)
    # The port first: a store that is new stays unmade where the address is wrong.
    with _listening(
        configured.host if host is None else host,
        configured.port if port is None else port,
        behind_tls_proxy=behind_tls_proxy or configured.behind_tls_proxy,
    ) as listening:
        run(listening)


def _server(current: Session, db: str | None, *, work: bool) -> Callable[[socket.socket], None]:
    """Return what opens an engine and serves it.

    Raises:
        InvalidSetting: what it needs is not installed.
    """
    try:
        from ..web import Limits, Metrics, create_app  # noqa: PLC0415 - an extra, needed by this command only
        from ..web.server import serve as run  # noqa: PLC0415 - the same
    except ImportError as error:
        raise InvalidSetting(
            "refold serve", f"{error.name} is not installed: pip install 'refold[server]'"
        ) from None

    def opened(listening: socket.socket) -> None:
        metrics, configured = Metrics(), current.settings.webhooks
        limits = Limits(**{name: getattr(configured, name) for name in configured.LIMITS})
        with current.receiving(
            db, sends=work, on_append=metrics.appended, on_contact=metrics.contacted
        ) as engine:
            app = create_app(engine, metrics=metrics, limits=limits)
            with _working(engine, current, metrics) if work else nullcontext():
                run(app, listening, lambda: _announce(listening, engine.gateways.values(), current.output))
            current.output.say("stopped; what was acknowledged is in the store")

    return opened


@contextmanager
def _working(engine: RefundEngine, current: Session, metrics: Metrics) -> Iterator[None]:
    """Let a worker work in a thread of its own until the block ends; what it has begun it finishes."""
    stop, failures, under_way = Event(), [], 0

    def worked(report: WorkReport) -> None:
        nonlocal under_way
        under_way = report.under_way
        metrics.worked(report)

    def work() -> None:
        try:
            engine.work(stop, concurrency=current.settings.work.concurrency, on_progress=worked)
        except RefoldError as error:
            failures.append(error)
            signal.raise_signal(signal.SIGTERM)  # a receiver whose worker is gone would only look alive

    thread = Thread(target=work, name="refold-worker")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.is_alive():
            current.output.say(stopping(under_way, longest_s(engine, current.settings)))
            sys.stdout.flush()
        thread.join()
    if failures:
        raise failures[0]


def _announce(listening: socket.socket, gateways: Iterable[Gateway], output: Output) -> None:
    output.say(f"listening on {_url(listening)}; Ctrl-C or SIGTERM stops")
    for gateway in gateways:
        if gateway.capabilities.acknowledgement is None:
            output.say(f"{gateway.name}: documents no webhook")
        elif gateway.secrets:
            output.say(f"{gateway.name}: /webhooks/{gateway.name}, key ****")
        else:
            variable = KEY_VARIABLES[gateway.name]
            output.say(
                f"{gateway.name}: every webhook is refused, no key ({variable} or {variable}_FILE)", "yellow"
            )


# ---- the address -------------------------------------------------------------------------------------------------


def _listening(host: str, port: int, *, behind_tls_proxy: bool) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InvalidSetting: no such address, one that others reach without TLS, or a port that is taken.
    """
    family, address = _resolved(host, port)
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback and not behind_tls_proxy:
        raise InvalidSetting(
            "--host",
            f"{host} is reached from other machines, and webhooks carry signatures and personal data that need TLS,"
            " which refold does not speak: put a proxy in front that does, and say so with --behind-tls-proxy",
        )
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise InvalidSetting(
            "--port", f"{port} on {host} cannot be listened on: {error.strerror}; name another one, or 0"
        ) from None
    return listening


def _resolved(host: str, port: int) -> tuple[int, tuple[str | int | bytes, ...]]:
    try:
        if not host.strip():
            raise InvalidSetting("--host", "it is blank; 127.0.0.1 listens for this machine only")
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InvalidSetting("--host", f"{host!a} is no address of this machine") from None
    return family, address


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
