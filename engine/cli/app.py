"""The command line: its commands, and the exit code of every error."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import RefoldError
from . import (
    asking,
    auditing,
    backing,
    contacting,
    deciding,
    demo,
    doctor,
    following,
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

__all__ = ["EXIT_CODES", "app", "exit_code", "main"]

_INTERRUPTED: Final = 130
_PIPE_CLOSED: Final = 141


def _plain_flags(parameters: list[Any]) -> list[Any]:
    """Have the help show a flag as a flag, and not as an option that takes a value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - as the base class has it
        return _plain_flags(super().get_params(ctx))


class _Commands(TyperGroup):
    """The group of all commands: turns what a command raises into one line and an exit code."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - as the base class has it
        """Return the options."""
        return _plain_flags(super().get_params(ctx))

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
            help="The store: a file's path, or a URL such as sqlite:///refunds.db or postgresql://user@host/database."
            " Also after the command, or as REFOLD_DB or in refold.toml; by default refold.db in this folder.",
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


app.command("demo", cls=_Command)(demo.demo)
app.command("register", cls=_Command)(asking.register)
app.command("request", cls=_Command)(asking.request)
app.command("submit", cls=_Command)(contacting.submit)
app.command("poll", cls=_Command)(contacting.poll)
app.command("work", cls=_Command)(working.work)
app.command("ingest", cls=_Command)(importing.ingest)
app.command("list", cls=_Command)(reading.list_refunds)
app.command("payments", cls=_Command)(reading.payments)
app.command("show", cls=_Command)(reading.show)
app.command("history", cls=_Command)(reading.history)
app.command("attention", cls=_Command)(deciding.attention)
app.command("resolve", cls=_Command)(deciding.resolve)
app.command("serve", cls=_Command)(serving.serve)
app.command("replay", cls=_Command)(auditing.replay)
app.command("backup", cls=_Command)(backing.backup)
app.command("subscriptions", cls=_Command)(following.subscriptions)
app.command("diagram", cls=_Command)(reference.diagram)
app.command("gateways", cls=_Command)(reference.gateways)
app.command("simulate", cls=_Command)(simulating.simulate)
app.command("doctor", cls=_Command)(doctor.doctor)


def main() -> None:
    """Run the command line."""
    open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is no reason to stop
    app(prog_name="refold")
