"""Setting values: the kinds of values that settings have. What they say of a wrong one never repeats it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Final, Never

from pydantic import BeforeValidator, SecretStr

from .domain.identifiers import is_identifier

_MAX_TEXT: Final = 4096
MAX_WAIT_S: Final = 3600


class Secret(SecretStr):
    """A text that is printed as `****`, and neither pickled nor copied."""

    def _display(self) -> str:
        return "****"

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a Secret is never pickled or copied")


class Variable(str):
    """The text of an environment variable: unlike a text of the file it may stand for a number, a flag or a list."""

    __slots__ = ()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > _MAX_TEXT:
        raise ValueError("a text that is not blank and has no control characters is needed")
    return str(value)


def _address(value: object) -> str:
    text = _text(value)
    if "@" in text:
        raise ValueError("a URL without user and password is needed, such as https://api.gateway.example")
    return text


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not blank is needed, as the gateway gave it")
    return Secret(str(value))


def _flag(value: object) -> bool:
    if isinstance(value, Variable) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if type(value) is not bool:
        raise ValueError("true or false is needed")
    return value


def _moment(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ValueError("a time with an offset is needed, such as 2026-12-31T00:00:00Z")
    return value


def many(value: object) -> object:
    """Return a list; an environment variable holds it as JSON."""
    if isinstance(value, Variable):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("a JSON array is needed in an environment variable") from None
    if not isinstance(value, list | tuple):
        raise ValueError("a list in brackets is needed")  # noqa: TRY004 - pydantic reports values only
    return tuple(value)


def whole(least: int, most: int) -> BeforeValidator:
    """Return what takes whole numbers of a range."""

    def checked(value: object) -> int:
        number = _converted(int, value)
        if type(number) is not int or not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most} is needed")
        return number

    return BeforeValidator(checked)


def between(least: float, most: float) -> BeforeValidator:
    """Return what takes numbers of a range."""

    def checked(value: object) -> float:
        number = _converted(float, value)
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
            raise ValueError(f"a number from {least:g} to {most:g} is needed")
        return float(number)

    return BeforeValidator(checked)


def _converted(kind: type[int | float], value: object) -> object:
    try:
        return kind(value) if isinstance(value, Variable) else value
    except ValueError:
        return None


def one_of(*words: str) -> BeforeValidator:
    """Return what takes one of these words."""

    def checked(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"one of {', '.join(words)} is needed")
        return str(value)

    return BeforeValidator(checked)


def _id(value: object) -> str:
    if not is_identifier(value):
        raise ValueError("1 to 128 printable ASCII characters without blanks are needed")
    return str(value)


Text = Annotated[str, BeforeValidator(_text)]
Address = Annotated[str, BeforeValidator(_address)]
Id = Annotated[str, BeforeValidator(_id)]
SecretText = Annotated[Secret, BeforeValidator(_secret)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Wait = Annotated[int, whole(1, MAX_WAIT_S)]
Port = Annotated[int, whole(0, 65_535)]
Seconds = Annotated[float, between(0.001, MAX_WAIT_S)]
Count = Annotated[int, whole(1, 100_000)]
Path = Annotated[str, BeforeValidator(lambda value: value if value == "" else _text(value))]
"""A path that may be empty."""
