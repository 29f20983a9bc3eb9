"""Readers of untrusted JSON and forms, shared by the adapters: they raise `UnreadableMessage` or nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl

from ..engine.domain import strict_json
from ..engine.domain.evidence import Evidence
from ..engine.domain.identifiers import clipped, displayed, identifier, is_identifier
from ..engine.domain.money import exponent
from ..engine.domain.signals import Signal
from ..engine.errors import InvalidInput, UnreadableMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.domain.message import Message

T = TypeVar("T")
NOT_STRICT_JSON: Final = "not_strict_json"
NOT_A_FORM: Final = "not_a_form"
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAX_FIELDS: Final = 100
_MAX_CODE: Final = 120
_OFFSET_AFTER_Z = re.compile(r"Z(?=[0-9]{2}:[0-9]{2}$)")
_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def json_object(gateway: str, raw: bytes) -> dict[str, Any]:
    """Parse strict JSON that is an object.

    Raises:
        UnreadableMessage: it is not; the reason starts with `not_strict_json` or says what it is instead.
    """
    try:
        document = strict_json.loads(raw)
    except strict_json.NotStrictJson as error:
        raise UnreadableMessage(gateway, f"{NOT_STRICT_JSON}: {error}") from None
    if not isinstance(document, dict):
        raise UnreadableMessage(gateway, f"a JSON object is needed, not {type(document).__name__}")
    return document


def form_fields(gateway: str, raw: bytes) -> dict[str, Any]:
    """Parse a form (`application/x-www-form-urlencoded`); every value is text.

    Raises:
        UnreadableMessage: not UTF-8, a part without `=`, a bad percent sign, a NUL, one name twice, or too
            many fields; the reason starts with `not_a_form`.
    """
    try:
        written = raw.decode()
        if _BAD_PERCENT.search(written):
            raise UnreadableMessage(gateway, f"{NOT_A_FORM}: a percent sign without two hexadecimal digits")
        pairs = parse_qsl(
            written, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise UnreadableMessage(gateway, f"{NOT_A_FORM}: name=value pairs in UTF-8 are needed") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise UnreadableMessage(gateway, f"{NOT_A_FORM}: a name stands twice")
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise UnreadableMessage(gateway, f"{NOT_A_FORM}: it holds a NUL")
    return fields


def member(document: object, path: str) -> object:
    """Return what stands at a dotted path, None where a step is missing or no object."""
    for step in _steps(path):
        if not isinstance(document, dict):
            return None
        document = document.get(step)
    return document


@lru_cache(maxsize=512)
def _steps(path: str) -> tuple[str, ...]:
    """Split a path; the adapters have few, and ask for them in every message."""
    return tuple(path.split("."))


def text(document: object, path: str) -> str | None:
    """Return the text at a dotted path, None where there is none or it is empty."""
    found = member(document, path)
    return found if isinstance(found, str) and found else None


def identifier_at(document: object, path: str) -> str | None:
    """Return the id at a dotted path, None where there is none or it could not enter the log."""
    found = member(document, path)
    return found if isinstance(found, str) and is_identifier(found) else None


def shown_code(field: str, value: object) -> str:
    """Return `field=value` as evidence keeps it: printable, at most 120 characters; `absent` for None."""
    if value is None:
        return f"{field}=absent"
    word = value if isinstance(value, str) else f"({type(value).__name__})"
    return displayed(f"{field}={word}")[:_MAX_CODE]


def first_text(document: object, *paths: str) -> str:
    """Return the first text found at the paths as evidence keeps a gateway's words; empty where there is none."""
    for path in paths:
        found = text(document, path)
        if found:
            return clipped(found)
    return ""


def moment(written: object) -> datetime | None:
    """Read an ISO 8601 time with an offset; None where it is anything else.

    `2020-03-04T15:39:40Z08:00`, as Evonet's webhook page prints it, is understood as +08:00.
    """
    if not isinstance(written, str):
        return None
    plain = written
    if not _ISO_8601.fullmatch(plain):
        plain = _OFFSET_AFTER_Z.sub("+", written)
        if not _ISO_8601.fullmatch(plain):
            return None
    try:
        return datetime.fromisoformat(plain)
    except ValueError:  # the 31st of February, hour 25, an offset of a day
        return None


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DIGITS = re.compile(r"[0-9]{10}|[0-9]{13}", re.ASCII)
_MILLISECOND: Final = timedelta(milliseconds=1)


def epoch_moment(written: object) -> datetime | None:
    """Read a Unix time of 13 digits (milliseconds) or 10 (seconds), number or text; None for all else."""
    digits = word(written)
    if digits is None or not _EPOCH_DIGITS.fullmatch(digits):
        return None
    return _EPOCH + int(digits.ljust(13, "0")) * _MILLISECOND


def epoch_milliseconds(at: datetime) -> int:
    """Return a time (with an offset) as Unix milliseconds."""
    return (at - _EPOCH) // _MILLISECOND


def word(value: object) -> str | None:
    """Return a code or reference as text, whether it was written as text or as a number.

    None where there is none (null or empty); the type in brackets where it is neither text nor number.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return str(value)
    return f"({type(value).__name__})"


def currency_code(value: object) -> str:
    """Return an ISO 4217 code, written in capitals or not.

    Raises:
        InvalidAmount: it is none.
    """
    code = value.upper() if isinstance(value, str) else ""
    exponent(code)
    return code


def _id(value: object) -> str:
    written = str(value) if type(value) is int else value
    return identifier("reference", written)


class Fields:
    """The fields of one object, read one by one; a field that cannot be what its name says is remembered.

    Dropping such a field silently would also drop the comparison with what was asked for, so the adapter
    turns the whole message into `unrecognised` evidence, and a person looks.

    Attributes:
        odd: the first such field as `field=value`; None where there is none.
    """

    __slots__ = ("_document", "odd")

    def __init__(self, document: object) -> None:
        self._document = document
        self.odd: str | None = None

    def take(self, path: str, convert: Callable[[object], T]) -> T | None:
        """Return the converted value at a dotted path; None where it is absent, null, empty or odd."""
        value = member(self._document, path)
        if value is None or value == "":
            return None
        try:
            return convert(value)
        except InvalidInput:
            self.odd = self.odd or shown_code(path, word(value))
            return None

    def reference(self, *paths: str) -> str | None:
        """Return the id at the first path that has one; numbers are written out."""
        for path in paths:
            found = self.take(path, _id)
            if found is not None:
                return found
        return None


_ANSWERED_CLASSES: Final = frozenset({2, 4})
_NO_ANSWER_4XX: Final = frozenset({408, 429})


def without_answer(message: Message) -> Evidence | None:
    """Return `uncertain` evidence where the HTTP status alone says that no application answered, else None.

    5xx, 3xx, 1xx, 408 and 429 come from proxies and limiters as often as from the gateway, whatever the body.
    """
    status = message.http_status
    if status is None or (status // 100 in _ANSWERED_CLASSES and status not in _NO_ANSWER_4XX):
        return None
    return Evidence(signal=Signal.UNCERTAIN, code=shown_code("http", str(status)), answered=False)


def unreadable_answer(error: UnreadableMessage) -> Evidence:
    """Return the `uncertain` evidence for an answer to a request or a query that cannot be read."""
    what = NOT_STRICT_JSON if error.reason.startswith(NOT_STRICT_JSON) else "not_an_object"
    return Evidence(
        signal=Signal.UNCERTAIN, code=f"body={what}", detail=clipped(error.reason), answered=False
    )
