"""`refold subscriptions`: who follows the log, how far they are, and what they have set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ..domain.identifiers import identifier
from .output import counted
from .session import AsJson, Db, session
from .tables import Cell, Column, cell, table
from .words import ATTENTION_STYLE

if TYPE_CHECKING:
    from ..ports import DeadLetter, Progress


def subscriptions(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="List what this one has set aside, and why.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """List who follows the log and how far they are; exit with 1 where something is set aside."""
    current = session(context)
    output = current.output
    with current.reading(db) as engine:
        if name is None:
            progress = engine.subscriptions()
            found, some = [_progress(each) for each in progress], any(each.dead_letters for each in progress)
            columns, rows = _SUBSCRIPTIONS, [_row(each) for each in progress]
        else:
            letters = list(engine.store.dead_letters(identifier("name", name)))
            found, some = [_letter(each) for each in letters], bool(letters)
            columns, rows = _LETTERS, [_letter_row(each) for each in letters]
    if as_json:
        output.json_array(found)
    else:
        if rows:
            output.show(table(columns, rows, output.out.width))
        things = ("subscription",) if name is None else ("event set aside", "events set aside")
        output.say(counted(len(rows), *things), "dim")
    raise typer.Exit(1 if some else 0)


_SUBSCRIPTIONS: Final[tuple[Column, ...]] = (
    Column("subscription"),
    Column("checkpoint", right=True, leaves=1),
    Column("lag", right=True),
    Column("set aside", right=True),
)
_LETTERS: Final[tuple[Column, ...]] = (
    Column("position", right=True),
    Column("stream"),
    Column("type", leaves=1),
    Column("tries", right=True, leaves=2),
    Column("error"),
    Column("reason", wraps=True, leaves=3),
)


def _row(progress: Progress) -> tuple[Cell, ...]:
    return (
        cell(progress.name),
        cell(progress.checkpoint),
        cell(progress.lag),
        cell(progress.dead_letters, ATTENTION_STYLE if progress.dead_letters else ""),
    )


def _progress(progress: Progress) -> dict[str, Any]:
    return progress._asdict()


def _letter_row(letter: DeadLetter) -> tuple[Cell, ...]:
    event = letter.event
    return (
        cell(event.position),
        cell(event.stream),
        cell(event.type),
        cell(letter.attempts),
        cell(letter.error or "waits"),
        cell(letter.reason),
    )


def _letter(letter: DeadLetter) -> dict[str, Any]:
    event = letter.event
    return {
        "position": event.position,
        "stream": event.stream,
        "version": event.version,
        "type": event.type,
        "digest": event.digest.hex(),
        "error": letter.error or None,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "set_aside_at": letter.time,
    }
