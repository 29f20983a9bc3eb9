"""Strict JSON: UTF-8 without BOM, no duplicate keys, no NaN or Infinity, no lone surrogates, no NUL; numbers exact."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final, Never

_FLOAT_LIMIT: Final = 308
"""Decimal exponents above this overflow every reader that uses binary floats."""
_MAX_DEPTH: Final = 64
"""Deeper documents exhaust the stack of some reader or other; the gateways' are three objects deep."""
_TOO_DEEP: Final = "it is nested too deeply"


class NotStrictJson(ValueError):
    """The bytes are not strict JSON; the text says which rule they break."""


def _no_constant(name: str) -> Never:
    raise NotStrictJson(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("a key stands twice in one object")
    return found


def _exact(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise NotStrictJson("a number is out of range") from None
    if value and abs(value.adjusted()) > _FLOAT_LIMIT:
        raise NotStrictJson("a number is out of range")
    return value


def _whole(text: str) -> int:
    if len(text) > _FLOAT_LIMIT:
        raise NotStrictJson("a number has too many digits")
    return int(text)


def loads(raw: bytes) -> Any:  # noqa: ANN401 - JSON is any of six types; callers narrow it
    """Parse strict JSON; numbers with a point or an exponent come back as `Decimal`.

    Raises:
        NotStrictJson: with the rule that is broken.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrictJson(f"not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise NotStrictJson("it starts with a byte order mark")
    if "\x00" in text:
        raise NotStrictJson("it holds a NUL")
    try:
        value = _DECODER.decode(text)
    except NotStrictJson:
        raise
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise NotStrictJson(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > _MAX_DEPTH:
        _refuse_depth(value)
    if "\\u" in text:
        _refuse_bad_escapes(value)
    return value


def dumps(value: object) -> str:
    """Return what `loads` gave as compact JSON text; every number keeps its digits."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_ENCODER.encode(key)}:{dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumps, value)) + "]"
    return _ENCODER.encode(value)


def _refuse_depth(value: object) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
        if not nested:
            return
    raise NotStrictJson(_TOO_DEEP)


def _refuse_bad_escapes(value: object) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str):
            if "\x00" in item:
                raise NotStrictJson("a text holds a NUL")
            if not item.isascii():
                try:
                    item.encode()
                except UnicodeEncodeError:
                    raise NotStrictJson("a text holds a lone surrogate") from None


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_exact, parse_int=_whole
)
_ENCODER = json.JSONEncoder(ensure_ascii=False)
