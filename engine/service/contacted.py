"""What came of one contact with a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Phase = Literal["submit", "poll"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contacted:
    """What came of one contact.

    Attributes:
        phase: `submit` or `poll`.
        outcome: `answered`, `timeout`, `not_sent` or `http_error`.
        http_status: of the answer.
        retry_after_s: how many seconds the gateway wants to be left alone.
        detail: what happened where no answer came.
        tried: False where it did not come to a contact, which says nothing about the gateway.
    """

    gateway: str
    refund_id: str
    phase: Phase
    outcome: str
    http_status: int | None = None
    retry_after_s: int | None = None
    detail: str = ""
    tried: bool = True

    @property
    def healthy(self) -> bool:
        """Whether the gateway is there and takes requests."""
        return (
            self.outcome == "answered"
            and (self.http_status or 0) < _SERVER_ERROR
            and self.http_status != _TOO_MANY
        )


_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429
