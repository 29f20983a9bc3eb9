"""What came in is wrong, or does not prove where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.masking import shown
from .base import RefoldError

if TYPE_CHECKING:
    from collections.abc import Sequence


class InvalidInput(RefoldError):
    """The call or the message is wrong: correct it and call again."""


class InvalidAmount(InvalidInput):
    """`value` is not an amount of money; `reason` says why."""

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(f"amount {shown(value)} refused: {reason}")
        self.reason = reason


class InvalidIdentifier(InvalidInput):
    """`value` cannot be an identifier of kind `name`."""

    def __init__(self, name: str, value: object) -> None:
        super().__init__(f"{name} {shown(value)} refused: 1 to 128 printable ASCII characters, no blanks")
        self.name = name


class InvalidText(InvalidInput):
    """The text field `name` cannot be kept; `reason` says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} refused: {reason}")
        self.name = name
        self.reason = reason


class InvalidSetting(InvalidInput):
    """A URL, key or option cannot be used; `reason` says why and what to write instead."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class UnknownGateway(InvalidInput):
    """No adapter of that name is configured."""

    def __init__(self, name: object, known: Sequence[str]) -> None:
        super().__init__(f"gateway {shown(name)} is not configured; configured: {', '.join(known) or 'none'}")


class UnreadableMessage(InvalidInput):
    """The bytes are not what the gateway documents; `reason` is one short clause."""

    def __init__(self, gateway: str, reason: str) -> None:
        super().__init__(f"{gateway} message cannot be read: {reason}")
        self.gateway = gateway
        self.reason = reason


class UnusableLine(InvalidInput):
    """Line `number` (from 1) of a message log cannot be used; `reason` says why."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")
        self.number = number
        self.reason = reason


class Unauthentic(RefoldError):
    """The message does not prove where it comes from: it is never appended."""


class InvalidSignature(Unauthentic):
    """The signature is absent, malformed or wrong; which of them is for our log only."""

    def __init__(self, gateway: str, reason: str) -> None:
        super().__init__(f"{gateway} signature refused: {reason}")
        self.gateway = gateway
        self.reason = reason


class StaleMessage(Unauthentic):
    """The signed time of the message is `offset_s` seconds away from now (negative: in the past)."""

    def __init__(self, gateway: str, offset_s: float, tolerance_s: int) -> None:
        super().__init__(f"{gateway} message signed {offset_s:+.0f} s from now; {tolerance_s} s are accepted")
        self.gateway = gateway
        self.offset_s = offset_s
