"""The process that something was opened in: after a fork its connections, locks and threads are the parent's alone."""

from __future__ import annotations

import os

from ..errors import WrongProcess


class Process:
    """The process that was running when this object was made."""

    __slots__ = ("_id",)

    def __init__(self) -> None:
        """Remember the present process."""
        self._id = os.getpid()

    def is_here(self) -> bool:
        """Tell whether this is still that process, and no child of it."""
        return os.getpid() == self._id

    def check(self) -> None:
        """Raise `WrongProcess` in any other process."""
        here = os.getpid()
        if here != self._id:
            raise WrongProcess(self._id, here)
