"""`refold simulate`: the four gateways on this machine, with outcomes and faults to choose."""

from __future__ import annotations

import os
import signal
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from ..composition import serve_simulators
from ..domain.masking import shown
from ..errors import InvalidSetting
from ..ports.simulation import ServedSimulators
from .session import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .output import Output

_OURS: Final = "# Written by `refold simulate`, which writes it anew. It holds keys of simulated gateways.\n"
_MODE: Final = 0o600


def simulate(  # noqa: PLR0917 - Typer makes options of them
    context: typer.Context,
    gateway: Annotated[
        list[str] | None,
        typer.Option(
            "--gateway", metavar="NAME", help="Only this one; may be given again.", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 for one that is free.")] = 8700,
    speed: Annotated[int, typer.Option(min=1, max=1_000_000, help="Simulated seconds a second.")] = 60,
    seed: Annotated[str, typer.Option(help="What keys, numbers and faults are derived from.")] = "refold",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="NAME=PERMILLE",
            help="A fault and its chance in a thousand, such as half_response=50; may be given again.",
            show_default=False,
        ),
    ] = None,
    all_faults: Annotated[
        int, typer.Option(min=0, max=1000, help="The chance in a thousand of every other fault.")
    ] = 0,
    config_out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Write settings that point refold here, with the keys.", show_default=False
        ),
    ] = None,
) -> None:
    """Serve simulated gateways on this machine until interrupted: play money, real signatures, chosen faults."""
    output = session(context).output
    with (
        serve_simulators(
            gateway or (),
            host=host,
            port=port,
            speed=speed,
            seed=seed,
            faults=dict(map(_chance, fault or ())),
            all_faults=all_faults,
        ) as served,
        _ended() as end,
    ):
        if config_out is not None:
            write_settings(config_out, served.settings)
        _tell(output, served, config_out)
        sys.stdout.flush()
        end.wait()


def _chance(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isascii() or not number.isdigit():
        raise InvalidSetting(
            "--fault", f"{shown(text)} is none; write NAME=PERMILLE, such as half_response=50"
        )
    return name, int(number)


@contextmanager
def _ended() -> Iterator[Event]:
    """Give an event that SIGINT and SIGTERM set; both do again what they did before when the block ends."""
    end = Event()
    before = {
        number: signal.signal(number, lambda *_: end.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_settings(path: Path, settings: str) -> None:
    """Write settings to a file that only its owner can read; one that somebody else wrote is left alone.

    Raises:
        InvalidSetting: there is such a file already.
    """
    # Opened for reading too: what is there is looked at and replaced through one and the same file.
    with open(os.open(path, os.O_RDWR | os.O_CREAT, _MODE), "r+", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InvalidSetting("--config-out", f"{shown(str(path))} is no ordinary file; name a new one")
        if file.readline() not in ("", _OURS):
            raise InvalidSetting(
                "--config-out", f"{shown(str(path))} was not written by `refold simulate`; name another file"
            )
        os.fchmod(file.fileno(), _MODE)
        file.seek(0)
        file.truncate()
        file.write(_OURS + settings)


def _tell(output: Output, served: ServedSimulators, config_out: Path | None) -> None:
    output.say("Simulated gateways", "bold")
    for name, url in served.urls.items():
        output.say(f"  {name:<9} {url}")
    output.say(f"  ledger    {served.ledger_url}")
    output.say()
    output.say(
        "What becomes of a refund: the last word of its number, or the amount's last two digits", "bold"
    )
    table = Table(box=None, pad_edge=False)
    for head in ("Word", "Digits", "Gateways", "What happens"):
        table.add_column(head, overflow="fold")
    for row in served.outcomes:
        table.add_row(*row)
    output.show(table)
    output.say()
    if config_out is None:
        output.prose("Keys: ****. `refold simulate --config-out refold.toml` writes URLs, accounts and keys.")
    else:
        output.prose(f"URLs, accounts and keys are in {config_out}: use it as refold.toml. Keys: ****")
    output.say("Ctrl-C ends it.")
