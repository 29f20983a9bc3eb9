"""Readers of untrusted JSON, shared by the adapters: nothing here raises but `UnreadableMessage`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ..engine.domain import strict_json
from ..engine.domain.evidence import Evidence
from ..engine.domain.identifiers import clipped, displayed, is_identifier
from ..engine.domain.signals import Signal
from ..engine.errors import UnreadableMessage

if TYPE_CHECKING:
    from ..engine.domain.message import Message

NOT_STRICT_JSON: Final = "not_strict_json"
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


def member(document: object, path: str) -> object:
    """Return what stands at a dotted path, None where a step is missing or no object."""
    for step in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(step)
    return document


def text(document: object, path: str) -> str | None:
    """Return the text at a dotted path, None where there is none or it is empty."""
    found = member(document, path)
    return found if isinstance(found, str) and found else None


def identifier_at(document: object, path: str) -> str | None:
    """Return the id at a dotted path, None where there is none or it could not enter the log."""
    found = text(document, path)
    return found if is_identifier(found) else None


def shown_code(field: str, value: object) -> str:
    """Return `field=value` as evidence keeps it: printable, at most 120 characters; `absent` for None."""
    if value is None:
        return f"{field}=absent"
    word = value if isinstance(value, str) else f"({type(value).__name__})"
    return displayed(f"{field}={word}")[:_MAX_CODE]


def first_text(document: object, *paths: str) -> str:
    """Return the first text found at the paths as evidence keeps a gateway's words; empty where there is none."""
    return next((clipped(found) for path in paths if (found := text(document, path))), "")


def moment(written: object) -> datetime | None:
    """Read an ISO 8601 time with an offset; None where it is anything else.

    `2020-03-04T15:39:40Z08:00`, as Evonet's webhook page prints it, is understood as +08:00.
    """
    if not isinstance(written, str):
        return None
    plain = _OFFSET_AFTER_Z.sub("+", written)
    if not _ISO_8601.fullmatch(plain):
        return None
    try:
        return datetime.fromisoformat(plain)
    except ValueError:  # the 31st of February, hour 25, an offset of a day
        return None


_NO_ANSWER_4XX: Final = frozenset({408, 429})


def without_answer(message: Message) -> Evidence | None:
    """Return `uncertain` evidence where the HTTP status alone says that no application answered, else None.

    5xx, 3xx, 1xx, 408 and 429 come from proxies and limiters as often as from the gateway, whatever the body.
    """
    status = message.http_status
    if status is None or 200 <= status < 300 or (400 <= status < 500 and status not in _NO_ANSWER_4XX):
        return None
    return Evidence(signal=Signal.UNCERTAIN, code=shown_code("http", str(status)), answered=False)


def unreadable_answer(error: UnreadableMessage) -> Evidence:
    """Return the `uncertain` evidence for an answer to a request or a query that cannot be read."""
    what = NOT_STRICT_JSON if error.reason.startswith(NOT_STRICT_JSON) else "not_an_object"
    return Evidence(
        signal=Signal.UNCERTAIN, code=f"body={what}", detail=clipped(error.reason), answered=False
    )
