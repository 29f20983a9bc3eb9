"""Backups: the store that can copy itself while it is used, and what such a copy holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

OnProgress: TypeAlias = "Callable[[str, int, int], None]"
"""Called with `copying` and bytes, then with `checking` and events: how many are done, and of how many."""


class Backup(NamedTuple):
    """A backup that was read completely after it was made.

    Attributes:
        path: the file.
        events: how many it holds, each with the digest of its bytes; they have the positions from 1 to `head`.
        head: its last position.
        bodies: how many message bodies it holds, each with the digest of its bytes.
        bytes: the size of the file.
        seconds: how long it took.
    """

    path: str
    events: int
    head: int
    bodies: int
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**self._asdict(), "seconds": round(self.seconds, 3)}


@runtime_checkable
class CopiesItself(Protocol):
    """A store that makes its own backups."""

    def backup(self, target: str | os.PathLike[str], *, on_progress: OnProgress | None = None) -> Backup:
        """Copy the store into a new file while others use it, read the copy completely, and only then name it."""
        ...
