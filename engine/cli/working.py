"""`refold work`: a worker in the terminal, with what it does and what lies before it."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..errors import InvalidSetting
from .contacting import tell_trouble, trouble
from .output import counted, plain
from .rendering import moment
from .session import AsJson, Db, session
from .tables import Column, cell, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from ..service.contacted import Contacted
    from ..service.facade import RefundEngine
    from ..service.working import WorkReport
    from ..settings import Settings
    from .output import Output

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_COLUMNS: Final = (Column("gateway"), Column("contact"), Column("outcome"), Column("count", right=True))
_LOOKS_A_SECOND: Final = 4


def work(
    context: typer.Context,
    *,
    once: Annotated[bool, typer.Option("--once", help="Stop as soon as nothing is due.")] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Contacts at once with each gateway; else as configured.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """Send and look up what is due, again and again, until SIGTERM or Ctrl-C.

    What is under way is finished then. Any number of workers may run on one store.
    """
    current = session(context)
    output, settings = current.output, current.settings
    need_an_address(settings)
    display = _Display(output)
    with _stopped_by_signals() as stop, current.contacting(db, on_contact=display.trouble) as engine:
        if not as_json:
            display.start(settings.sending_to())
            display.tell_when(stop, longest_s(engine, settings))
        try:
            report = engine.work(
                stop,
                once=once,
                concurrency=settings.work.concurrency if concurrency is None else concurrency,
                on_progress=None if as_json else display.show,
            )
        finally:
            display.stop()
    if as_json:
        output.json(report_json(report))
    else:
        output.show(Group(*_sheet(report, output.out.width)))
        output.say(f"stopped after {_counts(report)}" if stop.is_set() else f"done: {_counts(report)}")


def need_an_address(settings: Settings) -> None:
    """Raise `InvalidSetting` unless at least one gateway can be contacted."""
    if not settings.sending_to():
        raise InvalidSetting(
            "gateways",
            "none has a base_url, so there is nothing to work on; give one in refold.toml, such as"
            " [gateways.evonet] base_url, or as REFOLD_GATEWAYS__EVONET__BASE_URL",
        )


def longest_s(engine: RefundEngine, settings: Settings) -> int:
    """Return how many seconds the slowest of the gateways that are contacted may take to answer."""
    named = settings.sending_to()
    return max(engine.gateways[name].capabilities.post_timeout_s for name in named)


def stopping(under_way: int, longest: int) -> str:
    """Return what is waited for once a worker is told to stop."""
    if not under_way:
        return "stopping: no contact is under way"
    return f"stopping: {counted(under_way, 'contact')} under way, the longest takes up to {longest} s"


@contextmanager
def _stopped_by_signals() -> Iterator[Event]:
    """Set an event on SIGTERM and SIGINT, instead of breaking off what is under way."""
    stop = Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in _STOPPING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---- progress -------------------------------------------------------------------------------------------------------


class _Display:
    """Shows what a worker does: in place on a terminal, else as a line for each change."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = ""
        self._live: Live | None = None
        self._under_way = 0
        self._ended, self._stop = Event(), Event()
        self._teller: Thread | None = None

    def start(self, gateways: tuple[str, ...]) -> None:
        """Say what the worker works for."""
        self._output.say(f"working for {', '.join(gateways)}; Ctrl-C or SIGTERM stops")
        if self._output.out.is_terminal:
            self._live = Live(
                console=self._output.out,
                refresh_per_second=_LOOKS_A_SECOND,
                transient=True,
                redirect_stderr=False,
            )
            self._live.start()

    def tell_when(self, stop: Event, longest: int) -> None:
        """Say what is waited for as soon as the worker is told to stop; a signal's handler itself may not print."""

        def tell() -> None:
            while not stop.wait(1 / _LOOKS_A_SECOND):
                if self._ended.is_set():
                    return
            self._output.say(stopping(self._under_way, longest))
            sys.stdout.flush()

        self._stop, self._teller = stop, Thread(target=tell, name="refold-stopping", daemon=True)
        self._teller.start()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        self._ended.set()
        if self._teller is not None and self._stop.is_set():
            self._teller.join()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, report: WorkReport) -> None:
        """Show a report, if it is not what was shown last."""
        self._under_way = report.under_way
        line = _counts(report)
        if self._live is not None:
            self._live.update(Group(*_sheet(report, self._output.out.width), Text(line)))
        elif line != self._last:
            self._output.say(line)
        self._last = line

    def trouble(self, told: Contacted) -> None:
        """Show a contact that did not go well; above what is shown in place, where there is such."""
        if self._live is not None and not told.healthy:
            self._output.show(Text(self._output.guarded(trouble(told)), "yellow"))
        else:
            tell_trouble(told, self._output)


def _sheet(report: WorkReport, width: int) -> list[RenderableType]:
    rows = [
        (cell(gateway), cell(phase), cell(outcome), cell(count))
        for (gateway, phase, outcome), count in sorted(report.contacts.items())
    ]
    return [table(_COLUMNS, rows, width)] if rows else []


def _counts(report: WorkReport) -> str:
    parts = [
        counted(report.contacts.total(), "contact"),
        f"{report.under_way} under way",
        f"{report.waiting} waiting",
    ]
    parts += [
        f"{name} left alone until {moment(until)} UTC" for name, until in sorted(report.resting.items())
    ]
    return plain(", ".join(parts))


def report_json(report: WorkReport) -> dict[str, Any]:
    """Return a report as JSON."""
    return {
        "contacts": [
            {"gateway": gateway, "phase": phase, "outcome": outcome, "count": count}
            for (gateway, phase, outcome), count in sorted(report.contacts.items())
        ],
        "under_way": report.under_way,
        "waiting": report.waiting,
        "rechecks": report.rechecks,
        "late_s": report.late_s,
        "resting": {name: until.isoformat() for name, until in sorted(report.resting.items())},
    }
