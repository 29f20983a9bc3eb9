"""`refold replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from .output import plain
from .session import AsJson, Db, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..audit.replay import ReplayReport

_LISTED: Final = 20


def replay(context: typer.Context, as_json: AsJson = False, db: Db = None) -> None:
    """Compute every table again from the log alone, and report each row that was not what the log says."""
    current = session(context)
    output = current.output
    with current.deciding(db) as engine:
        report = engine.replay()
    if as_json:
        output.json(report.to_json())
    else:
        for line in replay_lines(report):
            output.say(line)
    raise typer.Exit(5 if report.set_aside else 0 if report.agrees else 1)


def replay_lines(report: ReplayReport) -> Iterator[str]:
    """Yield what a replay found, in words."""
    folded = f"{report.events} events folded again: {report.refunds} refunds, {report.payments} payments"
    if report.agrees:
        yield f"{folded}. The tables agree with the log."
        return
    yield f"{folded}."
    for stream, error in report.set_aside[:_LISTED]:
        yield f"set aside: {stream}: {error}"
    for view, key, live, rebuilt in report.differences[:_LISTED]:
        name = " ".join(plain(part) for part in key)
        yield f"differed and is repaired: {view} {name}: {_changes(live, rebuilt)}"
    more = max(len(report.differences) - _LISTED, 0) + max(len(report.set_aside) - _LISTED, 0)
    if more:
        yield f"and {more} more; --json lists all"


def _changes(live: object, rebuilt: object) -> str:
    if not isinstance(live, dict) or not isinstance(rebuilt, dict):
        return "was missing" if live is None else "should not be there"
    changed = [name for name in rebuilt if live.get(name) != rebuilt[name]]
    return "; ".join(f"{name} was {live.get(name)}, is {rebuilt[name]}" for name in changed)
