"""`refold ingest`."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..domain.masking import shown
from ..errors import InvalidInput
from .session import AsJson, Db, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from ..service.importing import IngestReport
    from .output import Output

_LONG: Final = 2_000_000
"""Bytes of a file from which on a terminal shows how far the import is."""


def ingest(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A message log: JSON lines. - reads standard input.", show_default=False
        ),
    ],
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """Import a message log into the store, creating it if needed. Importing it again changes nothing."""
    current = session(context)
    output = current.output
    with _opened(file) as source, current.recording(db) as engine, _progress(source, output) as advance:
        report = engine.ingest(
            source,
            on_problem=lambda number, reason: output.note(f"line {number}: {reason}"),
            on_progress=advance,
        )
    if as_json:
        output.json(report.to_json())
    else:
        output.say(summary(report))
        if report.orphaned:
            output.say(
                "Orphaned messages wait for their refund's request; `refold attention` lists them.", "dim"
            )
    if report.damaged:  # as for a CorruptLog of any other command
        raise typer.Exit(5)
    raise typer.Exit(1 if report.unusable or report.quarantined else 0)


def summary(report: IngestReport) -> str:
    """Return what an import did, as one line."""
    counts = [
        f"{report.recorded} recorded",
        f"{report.duplicates} known already",
        f"{report.orphaned} orphaned",
        f"{report.quarantined} quarantined",
        f"{report.unusable} unusable",
    ]
    return f"{report.lines} lines: {', '.join(counts)}"


def _opened(file: str) -> AbstractContextManager[IO[bytes]]:
    if file == "-":
        if sys.stdin is None:
            raise InvalidInput("message log - cannot be read: standard input is closed")
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"message log {shown(file)} cannot be read: {reason}") from None


@contextmanager
def _progress(source: IO[bytes], output: Output) -> Iterator[Callable[[int], None] | None]:
    size = _size(source) if output.err.is_terminal else 0
    if size < _LONG:
        yield None
        return
    columns = (TextColumn("importing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.err, transient=True) as bar:
        task = bar.add_task("importing", total=size)
        yield lambda read: bar.advance(task, read)


def _size(source: IO[bytes]) -> int:
    try:
        status = os.fstat(source.fileno())
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
