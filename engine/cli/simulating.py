"""`refold simulate`: the four gateways on this machine, with outcomes and faults to choose."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer
from rich.table import Table

from ..composition import serve_simulators
from ..domain.masking import shown
from ..errors import InvalidSetting
from ..ports.simulation import ServedSimulators
from ..transport.endpoint import is_loopback
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
    notify: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where webhooks go, as --config-out writes it: what `refold serve` listens on.",
        ),
    ] = "http://127.0.0.1:8080/webhooks",
) -> None:
    """Serve simulated gateways on this machine until interrupted: play money, real signatures, chosen faults."""
    output = session(context).output
    _check_addresses(host, notify)
    with (
        _as_options(),
        serve_simulators(
            gateway or (),
            host=host,
            port=port,
            speed=speed,
            seed=seed,
            faults=dict(map(_chance, fault or ())),
            all_faults=all_faults,
            notify_url=notify,
        ) as served,
        _ended() as end,
    ):
        if config_out is not None:
            write_settings(config_out, served.settings)
        _tell(output, served, config_out, notify)
        sys.stdout.flush()
        end.wait()


def _chance(text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not number.isascii() or not number.isdigit():
        missing = "its chance in a thousand is missing" if not equals else "the chance is no whole number"
        raise InvalidSetting(
            "--fault", f"{shown(text)}: {missing}; write NAME=PERMILLE, such as half_response=50"
        )
    return name, int(number)


_OPTIONS: Final = ("gateway", "fault", "port", "speed")


@contextmanager
def _as_options() -> Iterator[None]:
    """Name settings of simulators as the options that set them."""
    try:
        yield
    except InvalidSetting as error:
        option, _, what = error.name.partition(" ")
        if option not in _OPTIONS:
            raise
        raise InvalidSetting(f"--{option}", f"{what}: {error.reason}" if what else error.reason) from None


def _check_addresses(host: str, notify: str) -> None:
    if not is_loopback(host):
        raise InvalidSetting(
            "--host",
            f"{shown(host)} is no loopback address: whoever reaches the simulators reads their ledgers and moves the"
            " play money; 127.0.0.1 listens for this machine only",
        )
    try:
        parts = urlsplit(notify)
        usable = parts.scheme in {"http", "https"} and is_loopback(parts.hostname or "")
        usable = usable and parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        usable = False
    if not usable or not notify.isprintable():
        raise InvalidSetting(
            "--notify",
            "a URL of this machine is needed, such as http://127.0.0.1:8080/webhooks: simulators send webhooks nowhere"
            " else",
        )


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
        InvalidSetting: there is such a file already, or none can be made there.
    """
    try:
        # Opened for reading too: what is there is looked at and replaced through one and the same file.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _MODE)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidSetting(
            "--config-out",
            f"{shown(str(path))} cannot be written: {reason}; name a file in a folder that exists",
        ) from None
    with open(descriptor, "r+", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a descriptor
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


def _tell(output: Output, served: ServedSimulators, config_out: Path | None, notify: str) -> None:
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
        output.prose(f"URLs, accounts and keys are in {config_out}. Keys: ****")
        output.prose(f"Webhooks go to {notify.rstrip('/')}/GATEWAY. Beside this one, in this order:")
        for command in ("serve", "work"):
            output.say(f"  refold --config {shlex.quote(str(config_out))} {command}")
    output.say("Ctrl-C ends it.")
