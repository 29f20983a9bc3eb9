"""The SQL of the leases, which keep workers apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...engine.ports import Lease

if TYPE_CHECKING:
    import sqlite3

_TAKEN: Final = "SELECT 1 FROM leases WHERE name = ? AND until > ?"
_TAKE: Final = "INSERT OR REPLACE INTO leases (name, holder, until) VALUES (?, ?, ?)"
_HELD: Final = "SELECT token, holder, until FROM leases WHERE name = ?"
_END: Final = "DELETE FROM leases WHERE token = ?"


def claim(connection: sqlite3.Connection, name: str, holder: str, now: str, until: str) -> int | None:
    """Take a lease and return its token; None where another one has not ended."""
    if connection.execute(_TAKEN, (name, now)).fetchone() is not None:
        return None
    return connection.execute(_TAKE, (name, holder, until)).lastrowid


def held(connection: sqlite3.Connection, name: str) -> Lease | None:
    """Return a lease as it was taken."""
    found = connection.execute(_HELD, (name,)).fetchone()
    return None if found is None else Lease(*found)


def release(connection: sqlite3.Connection, token: int) -> None:
    """End a lease."""
    connection.execute(_END, (token,))
