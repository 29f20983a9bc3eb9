"""Backups of the file while others write to it: one snapshot, read completely before it gets its name.

VACUUM INTO reads in one transaction, so no writer waits and no writer's commit starts it anew, as one does with
SQLite's backup API. It keeps what AUTOINCREMENT remembers, and copies no free page: nothing that was erased.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...engine.domain.masking import shown
from ...engine.domain.message import body_digest
from ...engine.errors import CorruptLog, EventMissing, InvalidInput, StoreUnavailable
from ...engine.ports.backup import Backup
from ..gaps import dense
from . import log
from .connection import is_full, open_reader, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...engine.ports import StoredEvent
    from ...engine.ports.backup import OnProgress

_COPY: Final = "VACUUM INTO ?"
_BYTES: Final = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
_INTACT: Final = "PRAGMA integrity_check(1)"
_MOST_TOLD: Final = 300
_PAGE: Final = 1_000
"""Events read at once."""
_STEPS: Final = 1_000_000
"""Steps of SQLite's machine between two reports of how far the copy is."""


def make(
    source: sqlite3.Connection,
    target: str | os.PathLike[str],
    *,
    timeout_s: float,
    on_progress: OnProgress | None,
) -> Backup:
    """Copy what a read connection sees into a new file, and read the copy completely.

    Raises:
        InvalidInput: there is a file of that name, or no such folder.
        CorruptLog: the copy, and so the store, is damaged; there is no file of that name.
        StoreUnavailable: the file cannot be made, or there is no room for it.
    """
    began = time.monotonic()
    tell = on_progress or _silent
    path = _new(target)
    partial = _partial(path)
    try:
        least = log.head(source)
        _copy(source, partial, tell)
        _on_the_disk(partial)
        with closing(open_reader(partial, timeout_s=timeout_s)) as copy, translated(partial, timeout_s):
            head, bodies = _check(copy, least, tell)
        size = partial.stat().st_size
        _name(partial, path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    return Backup(str(path), head, head, bodies, size, time.monotonic() - began)


def _silent(_step: str, _done: int, _total: int) -> None:
    """Tell nobody."""


# ---- the file


def _new(target: str | os.PathLike[str]) -> Path:
    try:
        path = Path(target).absolute()
    except TypeError as error:
        raise InvalidInput(f"a path is needed, not {shown(target)}") from error
    if os.path.lexists(path):
        raise InvalidInput(f"{_told(path)} exists, and a backup writes over nothing; name a new file")
    if not os.path.isdir(path.parent):  # noqa: PTH112 - pathlib raises an error for a name that is too long
        raise InvalidInput(f"there is no folder {_told(path.parent)}; make it, or name a file in another one")
    return path


def _told(path: Path) -> str:
    """Return a path as an error may show it."""
    text = os.fspath(path)
    return text if len(text) <= _MOST_TOLD and text.isprintable() else shown(text)


def _partial(path: Path) -> Path:
    """Make an empty file beside it, that nobody else may read."""
    try:
        descriptor, name = tempfile.mkstemp(".partial", f"{path.name}.", path.parent)
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        reason = error.strerror if isinstance(error, OSError) else error
        raise StoreUnavailable(f"{_told(path)} cannot be made: {reason}") from error
    os.close(descriptor)
    return Path(name)


def _copy(source: sqlite3.Connection, partial: Path, tell: OnProgress) -> None:
    (total,) = source.execute(_BYTES).fetchone()

    def report() -> int:
        tell("copying", min(partial.stat().st_size, total), total)
        return 0

    source.set_progress_handler(report, _STEPS)
    try:
        source.execute(_COPY, (str(partial),))
    except sqlite3.Error as error:
        if not is_full(error):
            raise
        raise StoreUnavailable(
            f"there is no room for a backup of {total} bytes in {partial.parent}; the store is as it was"
        ) from error
    finally:
        source.set_progress_handler(None, 0)
    tell("copying", total, total)


def _on_the_disk(place: Path) -> None:
    """Wait until a file, which no connection has open, or a folder is on the disk; SQLite does not for a copy."""
    try:
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreUnavailable(f"{place} did not reach the disk: {error.strerror}") from error


def _name(partial: Path, path: Path) -> None:
    """Give the file its name, unless another one has it: a rename would write over that one."""
    try:
        os.link(partial, path)
    except FileExistsError as error:
        raise InvalidInput(f"{path} was made by somebody else meanwhile; name a new file") from error
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be named: {error.strerror}") from error
    partial.unlink()
    _on_the_disk(path.parent)


# ---- what it holds


def _check(copy: sqlite3.Connection, least: int, tell: OnProgress) -> tuple[int, int]:
    """Read all of it, and return its last position and how many message bodies there are."""
    (said,) = copy.execute(_INTACT).fetchone()
    if said != "ok":
        raise CorruptLog(f"the store's file is damaged: {said}")
    head, missing = log.head(copy), log.first_missing(copy)
    if missing is not None or head < least:
        raise EventMissing(missing or head + 1)
    for event in dense(_events(copy, head), "position", 0, head):
        if event.position % _PAGE == 0:
            tell("checking", event.position, head)
    tell("checking", head, head)
    return head, _check_bodies(copy)


def _events(copy: sqlite3.Connection, head: int) -> Iterator[StoredEvent]:
    for after in range(0, head, _PAGE):
        yield from log.page(copy, log.BY_POSITION, (after, head, _PAGE))


def _check_bodies(copy: sqlite3.Connection) -> int:
    count = 0
    for (digest,) in copy.execute(log.BODIES):
        body = log.body(copy, digest)
        if body is None or body.digest != body_digest(body.salt, body.headers, body.content):
            raise CorruptLog(f"the message body {digest} is damaged")
        count += 1
    return count
