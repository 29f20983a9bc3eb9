"""The exit code of every error."""

from __future__ import annotations

from typing import Final

from ..errors import CorruptLog, InvalidInput, NotFound, RefoldError, Refused, StoreError, Unauthentic

EXIT_CODES: Final[tuple[tuple[type[RefoldError], int], ...]] = (
    (NotFound, 1),
    (Unauthentic, 1),
    (InvalidInput, 2),
    (StoreError, 3),
    (Refused, 4),
    (CorruptLog, 5),
)


def exit_code(error: RefoldError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)
