"""`refold demo`: a dozen refunds over four simulated gateways where things go wrong, watched, and then explained."""

from __future__ import annotations

import logging
import shlex
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Group
from rich.live import Live

from ..composition import system_clock
from ..domain.signals import TERMINAL, State
from ..errors import Refused
from ..service.facade import RefundEngine
from .auditing import replay_lines
from .deciding import show_attention
from .demo_world import SPEED, world
from .rendering import refund_tables, timeline
from .session import session, store_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from ..ports.simulation import Booked
    from ..service.views import RefundView
    from .demo_world import World
    from .output import Output

_LOOK_S: Final = 0.2
_AT_MOST: Final = timedelta(seconds=14)
_QUIET: Final = timedelta(seconds=4)
"""No state has changed for so long: all that can happen in the demo has happened."""
_STORIES: Final = 2


def demo(
    context: typer.Context,
    db: Annotated[
        str | None,
        typer.Option(
            "--db", metavar="URL", help="Keep the store here; otherwise nothing is left.", show_default=False
        ),
    ] = None,
) -> None:
    """Send a dozen refunds to four simulated gateways where things go wrong, and show what became of them."""
    current = session(context)
    # REFOLD_DB is not asked: it names a store with real refunds.
    kept = db or current.db
    with _store(kept) as url, _quiet():
        agrees = _tell(url, current.output)
    _next_steps(current.output, kept)
    raise typer.Exit(0 if agrees else 1)


@contextmanager
def _store(kept: str | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="refold-demo-") as folder:
        url = store_url(kept if kept is not None else str(Path(folder) / "demo.db"))
        with RefundEngine.open(url, gateways=()) as engine:
            if engine.store.head():
                raise Refused(
                    "the demo needs a store of its own, and this one holds events; give --db a new file"
                )
        yield url


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings about the faults off the terminal: they are what the demo is about."""
    logger = logging.getLogger("refold")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


# ---- the story ----------------------------------------------------------------------------------------------


def _tell(url: str, output: Output) -> bool:
    """Play and print the demo, and return whether the replay at its end agrees."""
    output.say("refold demo", "bold")
    output.prose(
        "Four gateways are simulated on this machine. They speak the real protocols, and they time out, answer with"
        " half a page, echo wrong amounts, and send webhooks late, twice or never. A worker sends a dozen refunds and"
        f" looks up what it does not know; a receiver takes the webhooks. Time runs {SPEED} times as fast."
    )
    with world(url) as there:
        _title(output, "1. The refunds, while they are under way", "refold work, refold serve")
        _watch(there, output)
        there.stop()
        _books(there, output)
        _stories(there.engine, output)
        _title(output, "4. What needs a person, and why", "refold attention")
        show_attention(there.engine, output)
        _title(output, "5. The same again, from the log alone", "refold replay")
        report = there.engine.replay()
        for found in replay_lines(report):
            output.prose(found)
        return report.agrees and not _wrong(there.books(), list(there.engine.find()))


def _title(output: Output, title: str, command: str) -> None:
    output.say()
    output.say(title, "bold cyan")
    output.say(f"$ {command}", "dim")


# ---- watching


def _watch(there: World, output: Output) -> None:
    """Show the refunds until nothing happens to them any more."""
    if not output.out.is_terminal:
        _wait(there, lambda: None)
        for made in _tables(there, output):
            output.show(made)
        return
    with Live(console=output.out, auto_refresh=False) as live:
        _wait(there, lambda: live.update(Group(*_tables(there, output)), refresh=True))


def _tables(there: World, output: Output) -> list[Group]:
    return [Group(made) for made, _ in refund_tables(there.engine.find(), output.out.width)]


def _wait(there: World, show: Callable[[], None]) -> None:
    began = last = system_clock()
    seen, look = None, Event()
    while not _over(there, began, last):
        show()
        look.wait(_LOOK_S)
        now = [(view.state, view.attention) for view in there.engine.find()]
        if now != seen:
            seen, last = now, system_clock()
    show()


def _over(there: World, began: datetime, last: datetime) -> bool:
    now = system_clock()
    if now - began >= _AT_MOST:
        return True
    if now - last < _QUIET or not all(booked.settled for booked in there.books()):
        return False
    return all(view.state in TERMINAL or view.attention for view in there.engine.find())


# ---- explaining


def _books(there: World, output: Output) -> None:
    books, views = there.books(), list(there.engine.find())
    _title(output, "2. What the gateways' own books say", "refold simulate keeps them")
    requests = sum(booked.requests for booked in books)
    output.prose(
        f"{len(views)} refunds were asked for; the gateways hold {len(books)} of them and got {requests} requests."
        f" Paid twice: {sum(booked.moved_minor > booked.asked_minor for booked in books)}."
    )
    wrong = _wrong(books, views)
    if not wrong:
        output.prose(
            "Each refund is what its gateway's books say, or a person is asked to look at it.", style="green"
        )
    for refund_id in wrong:
        output.prose(f"{refund_id} is neither what the books say nor in attention", style="bold red")


def _wrong(books: Sequence[Booked], views: Sequence[RefundView]) -> list[str]:
    truth = {booked.refund_id: booked for booked in books}
    wrong = []
    for view in views:
        booked = truth.get(view.refund_id)
        agrees = str(view.state) == (booked.state if booked is not None else "failed")
        paid_twice = booked is not None and booked.moved_minor > booked.asked_minor
        if paid_twice or not (agrees or view.attention):
            wrong.append(view.refund_id)
    return wrong


def _stories(engine: RefundEngine, output: Output) -> None:
    """Show the timelines with most to tell: first those in which doubt was dispelled."""
    told = []
    for view in engine.find():
        entries = engine.history(view.refund_id)
        doubted = any("in_doubt" in entry.attention for entry in entries)
        solved = doubted and view.state is State.SUCCESS and not view.attention
        told.append((solved, len(entries), view.refund_id, entries))
    told.sort(key=lambda story: story[:2], reverse=True)
    for number, (_, _, refund_id, entries) in enumerate(told[:_STORIES]):
        if number == 0:
            _title(output, "3. How two of them went", f"refold history {refund_id}")
        else:
            output.say(f"$ refold history {refund_id}", "dim")
        for line in timeline(entries, output.out.width):
            output.show(line)


def _next_steps(output: Output, kept: str | None) -> None:
    store = shlex.quote(kept or "demo.db")
    steps = [
        (f"refold list --db {store}", "all of them"),
        (f"refold history c-3-reverses --db {store}", "a success that was taken back"),
        (
            f"refold resolve c-3-reverses failed --actor kim --reason 'statement' --db {store}",
            "a person decides",
        ),
        ("refold simulate --all-faults 100", "the same gateways, for your own tests"),
    ]
    if kept is None:
        steps.insert(0, (f"refold demo --db {store}", "keeps the store, for the commands below"))
    output.say()
    output.say("Try next", "bold cyan")
    for command, why in steps:
        output.say(f"  {command}")
        output.say(f"      {why}", "dim")
