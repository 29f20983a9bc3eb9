"""One writer at a time among all processes: a lock on a file of its own beside the store.

SQLite has such a lock inside the file, for transactions. This one also covers folding the write-ahead log back, which
in SQLite up to 3.51.2 could lose committed pages when another process committed at the same instant
(https://sqlite.org/wal.html, "the WAL-reset bug", 2026).
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING, Final

from ...engine.errors import StoreBusy, StoreReadOnly, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

_FIRST_DELAY_S: Final = 0.001
_LAST_DELAY_S: Final = 0.025
_FORSAKEN: Final = -1


class FileLock:
    """An advisory lock between processes; the threads of one store take turns before they ask for it."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        """Open the lock's file, making it where it is missing.

        Raises:
            StoreUnavailable: there is no folder to make it in.
            StoreReadOnly: it cannot be made or opened.
        """
        self._timeout_s = timeout_s
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError as error:
            lacking = f"no file can be made in {path.parent}; name one in another folder"
            if not path.parent.is_dir():
                lacking = f"there is no folder {path.parent}; make it, or name a file in another one"
            raise StoreUnavailable(lacking) from error
        except OSError as error:
            raise StoreReadOnly(str(path)) from error

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            StoreBusy: another process kept it for longer than the timeout.
            StoreUnavailable: the file system has no locks.
        """
        if self._taken():
            return
        until = time.monotonic() + self._timeout_s
        delay = _FIRST_DELAY_S
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(delay, left))
            if self._taken():
                return
            delay = min(2 * delay, _LAST_DELAY_S)
        raise StoreBusy(self._timeout_s)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreUnavailable(f"its lock file cannot be locked: {error.strerror}") from error
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file != _FORSAKEN:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def forsake(self) -> None:
        """In a forked child: let go of the file, which leaves the lock to the parent, and never unlock it."""
        os.close(self._file)
        self._file = _FORSAKEN

    def close(self) -> None:
        """Give the lock back for good."""
        os.close(self._file)
