"""`refold doctor`: what an operator wants to know before blaming something else."""

from __future__ import annotations

import platform
import re
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import typer
from rich.text import Text

from ..audit.agreement import disagreements
from ..errors import CorruptLog, StoreError, StoreReadOnly, StoreUnavailable, ViewStale
from ..opening import store_options
from ..service.facade import RefundEngine
from .checking import configuration_findings
from .findings import CORRUPT, OK, UNAVAILABLE, WARNING, Finding
from .output import PROSE, wrapped
from .session import AsJson, Db, Session, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .output import Output

_LIBRARIES: Final = (
    "pydantic",
    "transitions",
    "sqlite-utils",
    "structlog",
    "iso4217",
    "pydantic-settings",
    "typer",
    "rich",
    "cryptography",
)
_WAL_RESET_BUG: Final = (((3, 7, 0), (3, 44, 5)), ((3, 45, 0), (3, 50, 6)), ((3, 51, 0), (3, 51, 2)))
"""First and last SQLite with the WAL-reset bug, between those to which the repair was carried back.

Source: https://sqlite.org/wal.html, "The WAL-reset bug" (2026).
"""
_NAMED: Final = 5
"""Damaged refunds that are named; the others are counted."""
_LABEL: Final = 13

_EXIT_CODES: Final = {OK: 0, WARNING: 1, UNAVAILABLE: 3, CORRUPT: 5}
_STYLES: Final = {OK: "green", WARNING: "yellow", UNAVAILABLE: "bold red", CORRUPT: "bold red"}


def doctor(context: typer.Context, as_json: AsJson = False, db: Db = None) -> None:
    """Check versions, the configuration, keys, and the store: its durability, and that its refunds agree with its log.

    No gateway is contacted.
    """
    current = session(context)
    worst = 0
    found: list[Finding] = []
    for finding in _findings(current, db):
        found.append(finding)
        worst = max(worst, _EXIT_CODES[finding.level])
        if not as_json:
            _show(finding, current.output)
    if as_json:
        current.output.json({"ok": not worst, "findings": [finding.as_json() for finding in found]})
    raise typer.Exit(worst)


def _show(finding: Finding, output: Output) -> None:
    width = max(min(output.out.width, PROSE) - _LABEL, _LABEL)
    first, *others = wrapped(f"{finding.what}: {finding.says}", width)
    output.show(Text.assemble((f"{finding.level:<{_LABEL}}", _STYLES[finding.level]), first))
    for line in others:
        output.say(f"{'':{_LABEL}}{line}")


def _findings(current: Session, db: str | None) -> Iterator[Finding]:
    yield Finding("refold", OK, refold_version())
    yield Finding("python", OK, f"{platform.python_implementation()} {platform.python_version()}")
    yield Finding("libraries", OK, ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES))
    yield from configuration_findings(current)
    if current.store_url(db).lower().startswith("sqlite:"):
        yield _sqlite(sqlite3.sqlite_version, repaired=current.settings.store.sqlite_repaired)
    else:
        yield Finding("sqlite", OK, f"{sqlite3.sqlite_version}, not used by this store")
    yield from _store(current, db)


def refold_version() -> str:
    """Return the installed version; `not installed` where refold runs from a checkout."""
    return _version("refold")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _sqlite(found: str, *, repaired: bool) -> Finding:
    numbers = tuple(map(int, re.findall(r"[0-9]+", found)[:3]))
    if not any(first <= numbers <= last for first, last in _WAL_RESET_BUG):
        return Finding("sqlite", OK, found)
    if repaired:
        return Finding(
            "sqlite",
            OK,
            f"{found}, whose builder has repaired the WAL-reset bug, as store.sqlite_repaired says",
        )
    return Finding(
        "sqlite",
        WARNING,
        f"{found} has the WAL-reset bug of 3.7.0 to 3.51.2, unless its builder has backported the repair: the number"
        " does not tell. refold's own processes are safe, one lock covers their writes and checkpoints; let no other"
        " program write to the file. Where the repair is in it, set store.sqlite_repaired = true.",
    )


def _store(current: Session, db: str | None) -> Iterator[Finding]:
    try:
        url, options = current.store_url(db), store_options(current.settings)
        try:
            engine = RefundEngine.open(url, gateways=(), create=False, renew_views=False, **options)
        except StoreReadOnly as error:
            yield Finding("store", WARNING, f"{error}; its durability cannot be read back")
            engine = RefundEngine.open(url, gateways=(), create=False, read_only=True, **options)
        with engine:
            described = engine.store.describe()
            yield Finding("store", OK, ", ".join(f"{name} {value}" for name, value in described.items()))
            try:
                yield from _agreement(engine)
            except ViewStale as error:
                yield Finding("tables", WARNING, error.reason)
            yield from _followed(engine)
    except StoreUnavailable as error:
        yield Finding("store", UNAVAILABLE, error.reason)
    except StoreError as error:
        yield Finding("store", UNAVAILABLE, str(error))
    except CorruptLog as error:
        yield Finding("store", CORRUPT, str(error))


def _agreement(engine: RefundEngine) -> Iterator[Finding]:
    """Compare every refund's row with its log, reading only."""
    differing, damaged, named = 0, 0, 0
    for stream, error in disagreements(engine.store):
        differing, damaged = differing + (error is None), damaged + (error is not None)
        if error is not None and named < _NAMED:
            named += 1
            yield Finding("log", CORRUPT, f"{stream}: {error}")
    if damaged:
        yield Finding("log", CORRUPT, f"{damaged} refunds cannot be read")
    if differing:
        yield Finding(
            "tables", WARNING, f"{differing} refunds differ from the log; `refold replay` repairs them"
        )
    elif not damaged:
        yield Finding("tables", OK, "every refund's row is what its log says")


def _followed(engine: RefundEngine) -> Iterator[Finding]:
    """Tell how far each subscription is; one that is behind may be at work, one that set something aside waits."""
    head = engine.store.head()
    for name, checkpoint, _, dead_letters in engine.subscriptions():
        lag = max(head - checkpoint, 0)
        numbers = {"checkpoint": checkpoint, "head": head, "lag": lag, "dead_letters": dead_letters}
        says = f"checkpoint {checkpoint} of {head}, lag {lag}, set aside {dead_letters}"
        if dead_letters:
            says += f"; `refold subscriptions {name}` says why: repair the handler, and retry them"
        yield Finding(f"subscription {name}", WARNING if dead_letters else OK, says, numbers)
