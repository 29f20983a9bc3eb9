"""Importing a message log: JSON lines, one message a line, in the order received (docs/message-log.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..domain.identifiers import identifier
from ..domain.message import Channel, Message
from ..domain.strict_json import NotStrictJson, dumps, loads
from ..errors import InvalidInput, RefoldError, StoreError, UnusableLine
from .recording import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..ports import EventStore
    from .recording import Receipt

MAX_LINE: Final = 4 * 1024 * 1024
"""Bytes of one line; longer ones are reported and skipped."""
_BATCH: Final = 1_000
"""Lines made durable together."""
_CHANNELS: Final = (Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK, Channel.REPORT)
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One usable line of a message log."""

    gateway: str
    channel: Channel
    message: Message
    refund_id: str | None
    payment_id: str | None


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What an import did; every count is of lines.

    Attributes:
        lines: read, blank ones not counted.
        recorded: appended to a refund.
        duplicates: known already, nothing was appended.
        orphaned: kept for a refund that is not known yet.
        quarantined: authentic but unusable, kept aside.
        unusable: refused; each was reported with its number and reason.
    """

    lines: int = 0
    recorded: int = 0
    duplicates: int = 0
    orphaned: int = 0
    quarantined: int = 0
    unusable: int = 0

    def to_json(self) -> dict[str, int]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def ingest(
    store: EventStore,
    record: Callable[[LogLine], Receipt],
    lines: Iterable[bytes],
    *,
    on_problem: Callable[[int, str], None],
    on_progress: Callable[[int], None] | None = None,
) -> IngestReport:
    """Record every usable line; report the others and go on.

    Args:
        record: records one line's message.
        lines: the raw lines, as a file opened in binary mode yields them.
        on_problem: called with line number (from 1) and reason for each line that cannot be used, and for each one
            that was put into quarantine.
        on_progress: called with the number of bytes read, after each batch is durable.

    Raises:
        StoreError: the store failed; the batches before are durable, importing again continues.
    """
    report = IngestReport()
    numbered = enumerate(lines, start=1)
    while batch := list(islice(numbered, _BATCH)):
        with store.batch():
            for number, raw in batch:
                _ingest_line(report, record, number, raw, on_problem)
        if on_progress is not None:
            on_progress(sum(len(raw) for _, raw in batch))
    return report


def _ingest_line(
    report: IngestReport,
    record: Callable[[LogLine], Receipt],
    number: int,
    raw: bytes,
    on_problem: Callable[[int, str], None],
) -> None:
    if not raw.strip():
        return
    report.lines += 1
    try:
        receipt = record(parse_line(number, raw))
    except StoreError:
        raise
    except UnusableLine as error:
        report.unusable += 1
        on_problem(number, error.reason)
    except RefoldError as error:
        report.unusable += 1
        on_problem(number, str(error))
    else:
        counted = _COUNTED[receipt.outcome]
        setattr(report, counted, getattr(report, counted) + 1)
        if receipt.outcome is Outcome.QUARANTINED:
            on_problem(number, f"quarantined: {receipt.reason}")


_COUNTED: Final = {
    Outcome.RECORDED: "recorded",
    Outcome.DUPLICATE: "duplicates",
    Outcome.ORPHANED: "orphaned",
    Outcome.QUARANTINED: "quarantined",
}


# ---- one line ---------------------------------------------------------------------------------------------------


def parse_line(number: int, raw: bytes) -> LogLine:
    """Read one line of a message log.

    Raises:
        UnusableLine: with its number and the reason.
    """
    try:
        return _parse(raw)
    except NotStrictJson as error:
        raise UnusableLine(number, f"not strict JSON: {error}") from None
    except InvalidInput as error:
        raise UnusableLine(number, str(error)) from None


def _parse(raw: bytes) -> LogLine:
    if len(raw) > MAX_LINE:
        raise InvalidInput(f"{len(raw)} bytes, at most {MAX_LINE} are read")
    fields = loads(raw.rstrip(b"\r\n"))
    if not isinstance(fields, dict):
        raise InvalidInput("a JSON object is needed")
    gateway = _text(fields, "gateway", required=True)
    channel = _channel(_text(fields, "channel", required=True))
    received_at = _time(_text(fields, "received_at", required=True))
    body, exact = _body(fields)
    return LogLine(
        gateway=gateway,
        channel=channel,
        message=Message(
            body=body,
            received_at=received_at,
            headers=_headers(fields.get("headers")),
            http_status=_http_status(fields.get("http_status")),
            exact=exact,
        ),
        refund_id=_identifier(fields, "refund_id"),
        payment_id=_identifier(fields, "payment_id"),
    )


def _text(fields: Mapping[str, Any], name: str, *, required: bool) -> str:
    value = fields.get(name)
    if value is None and required:
        raise InvalidInput(f"field {name} is missing")
    if not isinstance(value, str):
        raise InvalidInput(f"field {name} must be a text, not {type(value).__name__}")
    return value


def _identifier(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else identifier(name, fields[name])


def _channel(text: str) -> Channel:
    if text in _CHANNELS:
        return Channel(text)
    raise InvalidInput(f"channel {ascii(text)[:60]} is unknown; use {', '.join(_CHANNELS)}")


def _time(text: str) -> datetime:
    if _RFC_3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper().replace("Z", "+00:00")).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise InvalidInput(
        f"received_at {ascii(text)[:60]} is no RFC 3339 time with an offset, such as 2025-07-09T11:18:00+08:00"
    )


def _body(fields: Mapping[str, Any]) -> tuple[bytes, bool]:
    body = fields.get("body")
    if isinstance(body, str):
        return body.encode(), True
    if isinstance(body, dict):
        return dumps(body).encode(), False
    found = "is missing" if body is None else f"is {type(body).__name__}"
    raise InvalidInput(f"field body {found}; it must be an object or the exact text")


def _headers(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
        return value
    raise InvalidInput("field headers must be an object of texts")


def _http_status(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is int and 100 <= value <= 599:  # noqa: PLR2004 - the range HTTP defines
        return value
    raise InvalidInput(f"http_status {ascii(value)[:60]} is no HTTP status")


def long_lines_cut(file: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a binary file; of one that is too long no more than shows that it is."""
    readline = getattr(file, "readline", None)
    if readline is None:
        yield from file
        return
    while raw := readline(MAX_LINE + 1):
        yield raw
        while len(raw) > MAX_LINE and not raw.endswith(b"\n"):
            raw = readline(MAX_LINE)
            if not raw:
                return
            if raw.endswith(b"\n"):
                break
