"""The base of every error."""

from __future__ import annotations

from ..domain.masking import mask_text


class RefoldError(Exception):
    """Base of every error refold raises on purpose; its message holds no full card number."""

    def __init__(self, message: str = "") -> None:
        super().__init__(mask_text(message))
