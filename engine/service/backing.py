"""Backing up: by the store itself, where it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..ports.backup import CopiesItself

if TYPE_CHECKING:
    import os

    from ..ports import EventStore
    from ..ports.backup import Backup, OnProgress


def back_up(
    store: EventStore, target: str | os.PathLike[str], *, on_progress: OnProgress | None = None
) -> Backup:
    """Back a store up into a new file. Raises `InvalidInput` for a store that has other tools for that."""
    if not isinstance(store, CopiesItself):
        raise InvalidInput(
            f"only a SQLite store is backed up by refold, and this one is {store.describe()['store']}: for PostgreSQL"
            " use pg_dump, or pg_basebackup with an archive of its log; a memory store keeps nothing"
        )
    return store.backup(target, on_progress=on_progress)
