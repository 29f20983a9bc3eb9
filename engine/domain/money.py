"""Money: an integer in the currency's minor unit and an ISO 4217 code. No float comes near it, not even 10.0."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from iso4217 import Currency

from ..errors import InvalidAmount

MAX_MINOR: Final = 2**63 - 1
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,4})?", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_NO_CURRENCY: Final = "the currency is not an ISO 4217 code in capitals"


@cache
def currencies() -> tuple[str, ...]:
    """Return every ISO 4217 code that `Money` takes."""
    return tuple(each.code for each in Currency if each.exponent is not None)


@cache
def _exponent(currency: str) -> int:
    try:
        digits = Currency(currency).exponent
    except ValueError:
        raise InvalidAmount(currency, _NO_CURRENCY) from None
    if digits is None:
        raise InvalidAmount(currency, "ISO 4217 gives this currency no minor unit")
    return digits


def exponent(currency: str) -> int:
    """Return how many decimal digits the minor unit of an ISO 4217 code has (JPY 0, HKD 2, KWD 3, CLF 4).

    Source: the ISO 4217 list as the `iso4217` package ships it.

    Raises:
        InvalidAmount: not an ISO 4217 code in capitals, or one without a minor unit (gold, test codes).
    """
    if type(currency) is not str:
        raise InvalidAmount(currency, _NO_CURRENCY)
    return _exponent(currency)


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount above zero: `minor` in the minor unit of `currency` (10000 HKD is one hundred dollars).

    Raises:
        InvalidAmount: `minor` is not an int from 1 to 2^63-1 (bool and float are refused), or the currency is unknown.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise InvalidAmount(
                self.minor, f"an int of minor units is needed, not {type(self.minor).__name__}"
            )
        if self.minor <= 0:
            raise InvalidAmount(self.minor, "it must be above zero")
        if self.minor > MAX_MINOR:
            raise InvalidAmount(self.minor, "it is above 2^63-1")
        exponent(self.currency)

    @classmethod
    def parse(cls, text: object, currency: str) -> Money:
        """Read a decimal text in major units ("10.5", "100.00"), as gateways and people write it.

        Raises:
            InvalidAmount: no `[0-9]{1,15}(.[0-9]{1,4})?` in ASCII (signs, blanks, underscores, exponents and
                floats are refused), or more digits than the currency has: nothing is ever rounded.
        """
        if type(text) is not str:
            raise InvalidAmount(text, f"a decimal text is needed, not {type(text).__name__}")
        if not _DECIMAL.fullmatch(text):
            raise InvalidAmount(
                text, "digits with at most one point are needed, at most 15 before it, such as 10.50"
            )
        digits = exponent(currency)
        whole, _, fraction = text.partition(".")
        if len(fraction) > digits:
            raise InvalidAmount(text, f"{currency} has {digits} decimal digits; refold never rounds")
        return cls(int(whole + fraction.ljust(digits, "0")), currency)

    @classmethod
    def from_minor(cls, value: object, currency: str) -> Money:
        """Read an integer of minor units, given as int or as ASCII digits (form-encoded messages).

        Raises:
            InvalidAmount: anything else, 10.0 included.
        """
        if type(value) is str:
            if not _DIGITS.fullmatch(value):
                raise InvalidAmount(value, "ASCII digits are needed")
            value = int(value)
        if type(value) is not int:
            raise InvalidAmount(value, f"an int of minor units is needed, not {type(value).__name__}")
        return cls(value, currency)

    @property
    def major(self) -> str:
        """The amount in major units with all its digits: "100.00"."""
        return major_text(self.minor, self.currency)

    def __str__(self) -> str:
        return f"{self.major} {self.currency}"


def major_text(minor: int, currency: str) -> str:
    """Return an integer of minor units (zero and negative too) as a decimal text in major units."""
    digits = exponent(currency)
    sign, figures = ("-", -minor) if minor < 0 else ("", minor)
    text = str(figures).rjust(digits + 1, "0")
    return sign + (f"{text[:-digits]}.{text[-digits:]}" if digits else text)
