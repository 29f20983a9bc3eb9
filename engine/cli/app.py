"""The command line: its commands, and the exit code of every error."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer.core import TyperGroup

from ..errors import RefoldError
from . import (
    asking,
    auditing,
    contacting,
    deciding,
    demo,
    doctor,
    importing,
    reading,
    reference,
    serving,
    simulating,
    working,
)
from .exits import EXIT_CODES, exit_code
from .output import open_streams
from .session import LogLevel, Session, configure_logs, session

if TYPE_CHECKING:
    from typing import Any

__all__ = ["EXIT_CODES", "app", "exit_code", "main"]

_INTERRUPTED: Final = 130
_PIPE_CLOSED: Final = 141


class _Commands(TyperGroup):
    """The group of all commands: turns what a command raises into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as the base class has it
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except RefoldError as error:
            session(ctx).output.error(error)
            raise typer.Exit(exit_code(error)) from None
        except BrokenPipeError:
            _forget_standard_output()
            raise typer.Exit(_PIPE_CLOSED) from None
        except KeyboardInterrupt:
            session(ctx).output.error(
                "interrupted; what was recorded is kept, and repeating the command is safe"
            )
            raise typer.Exit(_INTERRUPTED) from None
        except OSError as error:
            session(ctx).output.error(
                f"{error.strerror}: {error.filename}" if error.filename else error.strerror
            )
            raise typer.Exit(1) from None


def _forget_standard_output() -> None:
    """Send what is still buffered to nowhere, so that the interpreter's last flush finds an open file."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"refold {doctor.refold_version()}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 ok, 1 something to look at, 2 wrong use, 3 store unavailable, 4 conflict, 5 damaged log."
    ),
)


@app.callback()
def root(
    context: typer.Context,
    *,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="URL",
            help="The store: a file's path, or a URL such as sqlite:///refunds.db. Also after the command, or as"
            " REFOLD_DB or in refold.toml; by default refold.db in this folder.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="PATH",
            help="The configuration. Also as REFOLD_CONFIG; by default refold.toml in this folder, if there is one.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="What to log on standard error.")] = LogLevel.WARNING,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Refunds whose state is computed from what the gateways said, and from nothing else.

    New here? `refold demo` shows all of it in a minute and leaves nothing behind.
    """
    context.obj = Session(db=db, config=config)
    configure_logs(log_level, context.obj.output)


app.command("demo")(demo.demo)
app.command("register")(asking.register)
app.command("request")(asking.request)
app.command("submit")(contacting.submit)
app.command("poll")(contacting.poll)
app.command("work")(working.work)
app.command("ingest")(importing.ingest)
app.command("list")(reading.list_refunds)
app.command("show")(reading.show)
app.command("history")(reading.history)
app.command("attention")(deciding.attention)
app.command("resolve")(deciding.resolve)
app.command("serve")(serving.serve)
app.command("replay")(auditing.replay)
app.command("diagram")(reference.diagram)
app.command("gateways")(reference.gateways)
app.command("simulate")(simulating.simulate)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line."""
    open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is no reason to stop
    app(prog_name="refold")
