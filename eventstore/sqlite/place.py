"""The place of a store: which file a path means, and whether one lies there that can be a store."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final

from ...engine.errors import CorruptLog, StoreUnavailable

_HEADER_BYTES: Final = 100


def real(path: str | Path) -> Path:
    """Return the file itself: by whatever names it is opened, all who write to it must meet at one lock.

    Raises:
        StoreUnavailable: the path cannot be followed.
    """
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; a NUL character
        raise _unopenable(path, error) from error


def holds_a_file(path: Path) -> bool:
    """Tell whether a file that is not empty lies there.

    Raises:
        StoreUnavailable: a folder, or nothing that can be looked at.
        CorruptLog: too short for a database.
    """
    try:
        # Closing the file would drop all locks this process has on it: another one would delete the log in use.
        found = path.stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise _unopenable(path, error) from error
    if S_ISDIR(found.st_mode):
        raise StoreUnavailable(f"{path} is a folder; name a file")
    if not S_ISREG(found.st_mode):
        raise StoreUnavailable(f"{path} is no file that keeps what is written to it; name another one")
    # SQLite would take a very short file for an empty database, and overwrite it.
    if 0 < found.st_size < _HEADER_BYTES:
        raise CorruptLog(f"{path}: the file is no SQLite database")
    return found.st_size > 0


def _unopenable(path: str | Path, error: Exception) -> StoreUnavailable:
    reason = error.strerror if isinstance(error, OSError) else error
    return StoreUnavailable(f"{os.fspath(path)!a} cannot be opened: {reason}")
