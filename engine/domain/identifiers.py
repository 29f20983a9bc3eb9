"""Identifiers and free text as they may enter the log."""

from __future__ import annotations

import re
import unicodedata

from ..errors import InvalidIdentifier, InvalidText

MAX_TEXT = 500
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def identifier(name: str, value: object) -> str:
    """Return `value` if it is 1 to 128 printable ASCII characters without blanks; case is kept as given.

    Raises:
        InvalidIdentifier: anything else, look-alikes and invisible characters included.
    """
    if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
        return value
    raise InvalidIdentifier(name, value)


def is_identifier(value: object) -> bool:
    """Tell whether `identifier` would accept the value."""
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def note(name: str, value: object, *, required: bool = False) -> str:
    """Return free text in NFC, at most 500 characters, as it is stored.

    Raises:
        InvalidText: not a string, too long, not encodable, or empty where `required`.
    """
    if not isinstance(value, str):
        raise InvalidText(name, f"text is needed, got {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidText(name, "it holds a lone surrogate") from None
    text = unicodedata.normalize("NFC", value)
    if len(text) > MAX_TEXT:
        raise InvalidText(name, f"{len(text)} characters, at most {MAX_TEXT} are kept")
    if required and not displayed(text).strip():
        raise InvalidText(name, "it must say something")
    return text


def clipped(value: object) -> str:
    """Return a gateway's own words as evidence keeps them: displayable, at most 500 characters, never an error."""
    return displayed(value if isinstance(value, str) else "")[:MAX_TEXT]


def displayed(text: str) -> str:
    """Return `text` without control, format and surrogate characters, for terminals and pages."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character for character in text if unicodedata.category(character) not in _UNSEEN)
