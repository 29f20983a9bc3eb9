"""`refold backup`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from .session import AsJson, Db, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ports.backup import OnProgress
    from .output import Output


def backup(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="The file to make; it must not be there.", show_default=False),
    ],
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """Copy the store into a new file while others write to it, and read the copy completely.

    The file has its name only once every event and every message body in it was found intact.
    """
    current = session(context)
    output = current.output
    with current.reading(db) as engine, _progress(output) as advance:
        made = engine.backup(target, on_progress=advance)
    if as_json:
        output.json(made.to_json())
    else:
        output.say(
            f"{made.path}: {made.events} events up to position {made.head}, {made.bodies} message bodies,"
            f" {made.bytes} bytes, all read back, in {made.seconds:.1f} s"
        )


@contextmanager
def _progress(output: Output) -> Iterator[OnProgress | None]:
    if not output.err.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=output.err, transient=True) as bar:
        task = bar.add_task("copying")
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)
