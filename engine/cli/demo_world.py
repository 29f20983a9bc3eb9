"""The world of the demo: simulated gateways, a webhook receiver and a worker, in this process, on loopback."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..composition import SIMULATORS_MISSING, serve_simulators
from ..domain.money import Money
from ..domain.schedule import Schedule, Stage
from ..errors import InvalidSetting
from ..service.facade import RefundEngine
from ..transport.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..ports.simulation import Booked, ServedSimulators

SPEED: Final = 60
"""Simulated seconds a second: a gateway's 45 s of time-out become one."""
SEED: Final = "p"
"""Chosen because much goes wrong: a mismatch, a conflict, doubt that is dispelled and doubt that stays."""
_FAULTS: Final[Mapping[str, int]] = {
    "timeout_before_effect": 100,
    "timeout_after_effect": 250,
    "server_error_html": 150,
    "half_response": 150,
    "connection_refused": 40,
    "webhook_duplicated": 300,
    "webhook_delayed": 200,
    "webhook_lost": 200,
    "absent_for_a_while": 300,
    "wrong_amount": 80,
}
"""Chances per mille; what strikes whom follows from the seed."""
_TIMES: Final[Mapping[str, Any]] = {
    "recheck_s": (2,),
    "pending": Schedule((Stage(60, 2),), 5),
}
"""When an outcome is looked at again, and how often what is pending: in earnest that takes hours and days."""


class Wish(NamedTuple):
    """A refund of the demo; the word at the end of its number chooses what the simulated gateway does with it."""

    gateway: str
    payment_id: str
    refund_id: str
    amount: Money


def _wish(gateway: str, payment_id: str, refund_id: str, amount: str, currency: str = "HKD") -> Wish:
    return Wish(gateway, payment_id, refund_id, Money.parse(amount, currency))


WISHES: Final = (
    _wish("evocloud", "order-8801", "c-1-settles", "260.00"),
    _wish("evocloud", "order-8802", "c-2-cancelled", "4800", "JPY"),
    _wish("evocloud", "order-8803", "c-3-reverses", "45.00", "USD"),
    _wish("evonet", "pay-5201", "n-1-settles", "30.00"),
    _wish("evonet", "pay-5201", "n-2-settles", "20.00"),
    _wish("evonet", "pay-5202", "n-3-errs", "15.50"),
    _wish("evonet", "pay-5203", "n-4-refused", "99.00"),
    _wish("easylink", "P2026110001", "l-1-settles", "52.00"),
    _wish("easylink", "P2026110002", "l-2-fails", "8.80"),
    _wish("easylink", "P2026110003", "l-3-unknown", "0.04"),
    _wish("bbmsl", "b-1-succeeds", "b-1-succeeds", "76.19"),
    _wish("bbmsl", "b-2-settles", "b-2-settles", "18.50"),
)


class World(NamedTuple):
    """What the demo plays in."""

    engine: RefundEngine
    books: Callable[[], Sequence[Booked]]
    stop: Callable[[], None]
    """Lets the worker finish what it has begun, and waits for it."""


@contextmanager
def world(url: str) -> Iterator[World]:
    """Start everything, ask for the refunds, and let the worker send them.

    Raises:
        InvalidSetting: the extra `simulators` is not installed.
    """
    with ExitStack() as stack:
        served = stack.enter_context(serve_simulators(speed=SPEED, seed=SEED, faults=_FAULTS, hurried=True))
        for gateway in served.gateways:
            gateway.capabilities = replace(gateway.capabilities, **_TIMES)  # type: ignore[misc]
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        notify = f"http://127.0.0.1:{listening.getsockname()[1]}/webhooks/"
        endpoints = {
            name: Endpoint(base_url=base_url, notify_url=notify + name)
            for name, base_url in served.urls.items()
        }
        engine = stack.enter_context(RefundEngine.open(url, gateways=served.gateways, endpoints=endpoints))
        stack.enter_context(_receiving(engine, listening))
        _ask(engine, served)
        stop = Event()
        worker = Thread(target=engine.work, args=(stop,), name="refold-worker")
        worker.start()

        def end() -> None:
            stop.set()
            worker.join()

        stack.callback(end)
        yield World(engine, served.books, end)


def _ask(engine: RefundEngine, served: ServedSimulators) -> None:
    for payment_id in dict.fromkeys(wish.payment_id for wish in WISHES):
        wishes = [wish for wish in WISHES if wish.payment_id == payment_id]
        gateway, currency = wishes[0].gateway, wishes[0].amount.currency
        captured = Money(2 * sum(wish.amount.minor for wish in wishes), currency)
        served.capture(gateway, payment_id, captured)
        engine.register_payment(gateway=gateway, payment_id=payment_id, captured=captured)
    for wish in WISHES:
        engine.request(
            gateway=wish.gateway,
            payment_id=wish.payment_id,
            refund_id=wish.refund_id,
            amount=wish.amount,
            reason="goods returned",
        )


@contextmanager
def _receiving(engine: RefundEngine, listening: socket.socket) -> Iterator[None]:
    """Serve the webhook receiver in a thread of its own until the block ends."""
    try:
        from ..web import create_app  # noqa: PLC0415 - an extra, and only when asked for
        from ..web.server import make_server  # noqa: PLC0415 - as above
    except ImportError:
        raise InvalidSetting("demo", SIMULATORS_MISSING) from None
    server = make_server(create_app(engine), log_level="critical")
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name="refold-receiver")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
