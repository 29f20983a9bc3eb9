"""Staging: served simulators with all that a spectator needs, the gateways' books included."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...engine.ports.simulation import Booked, ServedSimulators
from .assembly import NAMES, simulators
from .faults import Faults
from .scripts import outcome_rows
from .serving import serve, settings_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from .assembly import Simulators


@contextmanager
def staged(
    names: Sequence[str],
    *,
    clock: Callable[[], datetime],
    chances: Mapping[str, int],
    host: str,
    port: int,
    speed: int,
    seed: str,
    hurried: bool,
    notify_url: str | None = None,
) -> Iterator[ServedSimulators]:
    """Serve simulators of these gateways, or of all, until the block ends.

    Args:
        names: which gateways; none: all.
        clock: returns the present time with an offset.
        chances: per mille, by the fault's name.
        host: an address of this machine.
        port: 0 for one that is free.
        speed: simulated seconds a second.
        seed: what keys, numbers and faults are derived from.
        hurried: the adapters' time-outs, intervals and schedules are divided by `speed` too.
        notify_url: as `settings_toml` has it.

    Raises:
        InvalidSetting: one of these cannot be used.
    """
    faults = Faults.named(seed, dict(chances))
    made = simulators(names or NAMES, clock=clock, seed=seed, speed=speed, faults=faults, hurried=hurried)
    with serve(made, host, port) as running:
        yield ServedSimulators(
            urls={name: running.url(name) for name in made},
            settings=settings_toml(running, notify_url=notify_url),
            outcomes=outcome_rows(),
            ledger_url=f"{running.origin}/_simulator/{next(iter(made))}/ledger",
            gateways=made.gateways,
            capture=lambda gateway, payment_id, amount: made[gateway].capture(payment_id, amount),
            books=lambda: _books(made),
        )


def _books(made: Simulators) -> list[Booked]:
    told = []
    for name in made:
        ledger = made[name].ledger
        posts = list(ledger.posts)
        told += [
            Booked(
                gateway=name,
                refund_id=refund_id,
                state=refund.state,
                asked_minor=refund.amount_minor,
                moved_minor=ledger.moved(refund_id),
                requests=posts.count(refund_id),
                settled=refund.settled,
            )
            for refund_id, refund in ledger.refunds.items()
        ]
    return told
