"""The ASGI application: webhooks, health, readiness and metrics, to be mounted in a service or run by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..service.webhooks import RETRY_AFTER_S
from .flight import InFlight
from .guarding import Guard
from .metrics import CONTENT_TYPE, Metrics
from .probing import READY, TOO_SLOW, Probe, readiness
from .receiving import Limits, Receiver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from ..ports import EventStore
    from ..service.facade import RefundEngine

_DEFAULT_LIMITS: Final = Limits()
_NOT_ALLOWED: Final = 405


def create_app(
    engine: RefundEngine,
    *,
    limits: Limits = _DEFAULT_LIMITS,
    metrics: Metrics | None = None,
    stopwatch: Callable[[], float] | None = None,
) -> Starlette:
    """Return the application that receives webhooks for `engine`; it works under any mount path.

    `POST /webhooks/{gateway}`, `GET /healthz`, `GET /readyz`, `GET /metrics`: docs/receiver.md has their statuses.
    The engine stays the caller's: close it once the application has stopped.

    Args:
        engine: its store is used from threads, so that the event loop never waits for it.
        limits: what a stranger may take.
        metrics: the ones the engine was opened with (`on_append=metrics.appended`), and that a worker may count in;
            by default new ones, which know nothing of appends.
        stopwatch: returns seconds from any fixed moment; by default the system's.

    Raises:
        InvalidSetting: the metrics belong to another application.
    """
    from ..composition import system_stopwatch  # noqa: PLC0415 - joined there, like the engine's clock

    counted = Metrics() if metrics is None else metrics
    in_flight = InFlight(limits.in_flight, stopwatch or system_stopwatch)
    counted.watch(engine.store, in_flight, engine.gateways)
    receiver = Receiver(engine, limits, counted, in_flight)
    probes = _Probes(engine.store, counted, limits.probe_s)
    templates: dict[Callable[[Request], Awaitable[Response]], str] = {
        receiver.receive: "/webhooks/{gateway}",
        _healthz: "/healthz",
        probes.readyz: "/readyz",
        probes.metrics: "/metrics",
    }
    app = Starlette(
        routes=[
            Route(path, endpoint, methods=["POST" if endpoint == receiver.receive else "GET"])
            for endpoint, path in templates.items()
        ],
        middleware=[Middleware(Guard, routes=templates, gateways=engine.gateways)],
        exception_handlers={HTTPException: _no_such_thing},
    )
    app.router.redirect_slashes = False  # a redirect would repeat the Host header
    return app


async def _healthz(_: Request) -> Response:
    """Answer that the process is alive; the store is not asked."""
    return JSONResponse({"status": "alive"})


class _Probes:
    """The endpoints that ask the store."""

    def __init__(self, store: EventStore, metrics: Metrics, seconds: float) -> None:
        self._readiness = Probe(lambda: readiness(store), seconds)
        self._page = Probe(metrics.page, seconds)

    async def readyz(self, _: Request) -> Response:
        """Answer whether webhooks can be recorded now."""
        word = await self._readiness.answer() or TOO_SLOW
        return JSONResponse({"status": word}) if word == READY else _unavailable(word)

    async def metrics(self, _: Request) -> Response:
        """Answer all metrics."""
        page = await self._page.answer()
        if page is None:
            return _unavailable(TOO_SLOW)
        return Response(page, headers={"content-type": CONTENT_TYPE})


def _unavailable(word: str) -> Response:
    return JSONResponse({"status": word}, 503, {"retry-after": str(RETRY_AFTER_S)})


async def _no_such_thing(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == _NOT_ALLOWED:
        allowed = ", ".join(sorted((error.headers or {})["Allow"].split(", ")))
        return JSONResponse({"status": "method_not_allowed"}, _NOT_ALLOWED, {"allow": allowed})
    return JSONResponse({"status": "not_found"}, 404)
