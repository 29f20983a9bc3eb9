"""`refold demo`: a message log of four gateways, with everything that goes wrong, imported and explained."""

from __future__ import annotations

import shlex
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..composition import all_gateways
from ..domain.masking import shown
from ..domain.signals import State
from ..errors import Refused
from ..service.facade import RefundEngine
from .auditing import replay_lines
from .deciding import show_attention
from .importing import summary
from .rendering import headline, refund_tables, timeline
from .session import session, store_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .output import Output

_NOW: Final = datetime(2025, 7, 22, 9, 0, tzinfo=UTC)
"""The demo's present, after its last message: what it prints is the same every time."""
_DISPUTED: Final = "cr-1003"
_ACTOR: Final = "kim"
_REASON: Final = "statement of 21 July: the 45.00 came back to us"


def message_log() -> list[bytes]:
    """Return the lines of the demo's message log, which ships with refold."""
    return files("refold.engine.cli").joinpath("demo.jsonl").read_bytes().splitlines()


def demo(
    context: typer.Context,
    db: Annotated[
        str | None,
        typer.Option(
            "--db", metavar="URL", help="Keep the store here; otherwise nothing is left.", show_default=False
        ),
    ] = None,
) -> None:
    """Show what refold does: import, refunds, a timeline, what needs a person, a decision, and a replay."""
    current = session(context)
    # REFOLD_DB is not asked: it names a store with real refunds.
    kept = db or current.db
    with _engine(kept) as engine:
        _refuse_other_refunds(engine, kept)
        agrees = _tell(engine, current.output)
    _next_steps(current.output, kept)
    raise typer.Exit(0 if agrees else 1)


@contextmanager
def _engine(kept: str | None) -> Iterator[RefundEngine]:
    with tempfile.TemporaryDirectory(prefix="refold-demo-") as folder:
        url = store_url(kept if kept is not None else str(Path(folder) / "demo.db"))
        with _opened(url) as engine:
            yield engine


def _opened(url: str) -> RefundEngine:
    return RefundEngine.open(url, gateways=all_gateways(), clock=lambda: _NOW)


def _ignored(_number: int, _reason: str) -> None:
    """Say nothing about an unusable line."""


def _refuse_other_refunds(engine: RefundEngine, kept: str | None) -> None:
    """Raise `Refused` where the store holds refunds that are none of the demo's."""
    if not engine.store.head():
        return
    with _opened("memory:") as own:
        own.ingest(message_log(), on_problem=_ignored)
        known = {view.refund_id for view in own.find()}
    if any(view.refund_id not in known for view in engine.find()):
        raise Refused(f"{shown(kept)} holds other refunds than the demo's; give --db a new file")


# ---- the story ----------------------------------------------------------------------------------------------


def _tell(engine: RefundEngine, output: Output) -> bool:
    """Print the demo, and return whether the replay at its end agrees."""
    output.say("refold demo", "bold")
    output.prose(
        "A log of messages from four gateways: requests, answers, queries and webhooks, some late, some twice, some"
        " wrong. Nothing is sent anywhere."
    )
    _import(engine, output)
    _title(output, "2. Refunds", "refold list")
    for made, _ in refund_tables(engine.find(), output.out.width):
        output.show(made)
    _title(output, "3. The timeline of one of them", f"refold history {_DISPUTED}")
    output.prose(
        "The gateway said success, and four days later failed. The state never depends on who spoke last: until a"
        " person decides, the money counts as moved, and nobody refunds twice."
    )
    for line in timeline(engine.history(_DISPUTED), output.out.width):
        output.show(line)
    _title(output, "4. What needs a person, and why", "refold attention")
    show_attention(engine, output)
    _decision(engine, output)
    _title(output, "6. The same again, from the log alone", "refold replay")
    report = engine.replay()
    for found in replay_lines(report):
        output.prose(found)
    return report.agrees


def _title(output: Output, title: str, command: str) -> None:
    output.say()
    output.say(title, "bold cyan")
    output.say(f"$ {command}", "dim")


def _import(engine: RefundEngine, output: Output) -> None:
    _title(output, "1. Import", "refold ingest demo.jsonl")
    report = engine.ingest(
        message_log(), on_problem=lambda number, reason: output.say(f"line {number}: {reason}", "yellow")
    )
    output.say(summary(report))
    if report.duplicates > report.recorded:
        output.prose("All of it was here already: importing a log again changes nothing.")
        return
    output.prose(
        "The unusable line is a gateway's own documented sample, trailing comma and all; it is reported and the rest"
        " is imported (`refold ingest` would end with exit code 1). One webhook came twice and counts once. One came"
        " before its refund's request: it waited, and was adopted. One still waits."
    )


def _decision(engine: RefundEngine, output: Output) -> None:
    words = shlex.join(["--actor", _ACTOR, "--reason", _REASON])
    _title(output, "5. A person decides", f"refold resolve {_DISPUTED} failed {words}")
    if engine.refund(_DISPUTED).attention:
        engine.resolve(_DISPUTED, State.FAILED, actor=_ACTOR, reason=_REASON)
    else:
        output.prose("It is decided already.")
    output.show(headline(engine.refund(_DISPUTED)))


def _next_steps(output: Output, kept: str | None) -> None:
    store = shlex.quote(kept or "demo.db")
    steps = [
        (f"refold list --attention mismatch --db {store}", "asked 100.00, answered 10.00"),
        (f"refold history refund_25074 --db {store}", "a webhook that came before its request"),
        (f"refold show {_DISPUTED} --as-of 2025-07-12T00:00:00Z --db {store}", "what we knew then"),
    ]
    if kept is None:
        steps[1:] = steps[1:2]
        steps.insert(0, (f"refold demo --db {store}", "keeps the store, for the commands below"))
    output.say()
    output.say("Try next", "bold cyan")
    for command, why in steps:
        output.say(f"  {command}")
        output.say(f"      {why}", "dim")
