"""The two seams through which anything not in the log enters: the clock and the entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """Returns the present time, with an offset. Nothing else in refold reads the time."""

    def __call__(self) -> datetime:
        """Return the present time."""
        ...


class Entropy(Protocol):
    """Returns `size` random bytes. Nothing else in refold makes random values."""

    def __call__(self, size: int, /) -> bytes:
        """Return `size` random bytes."""
        ...
