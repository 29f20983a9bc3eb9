"""An attempt: one submission of a refund."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


class Attempt(NamedTuple):
    """One submission: when it began, and with which bytes.

    Attributes:
        digest: of the request's message.
        signed_at, nonce, target: what the request was built with, and where it was sent; None where it was not built
            by this engine.
        left: False where it is certain that no byte of it left.
    """

    time: datetime
    digest: str
    signed_at: datetime | None
    nonce: str | None
    target: str | None = None
    left: bool = True
