"""The SQL of the leases, which keep workers apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...engine.ports import Lease

if TYPE_CHECKING:
    from .connection import Connection

# One statement: of two that ask at once the second waits for the first, and then finds its lease.
_TAKE: Final = (
    "INSERT INTO leases AS held (name, holder, until) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE"
    " SET token = DEFAULT, holder = EXCLUDED.holder, until = EXCLUDED.until WHERE held.until <= %s RETURNING token"
)
_HELD: Final = "SELECT token, holder, until FROM leases WHERE name = %s"
_END: Final = "DELETE FROM leases WHERE token = %s"


def claim(connection: Connection, name: str, holder: str, now: str, until: str) -> int | None:
    """Take a lease and return its token; None where another one has not ended."""
    found = connection.execute(_TAKE, (name, holder, until, now)).fetchone()
    return None if found is None else int(found[0])


def held(connection: Connection, name: str) -> Lease | None:
    """Return a lease as it was taken."""
    found = connection.execute(_HELD, (name,)).fetchone()
    return None if found is None else Lease(*found)


def release(connection: Connection, token: int) -> None:
    """End a lease."""
    connection.execute(_END, (token,))
