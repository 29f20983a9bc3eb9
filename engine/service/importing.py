"""Importing a message log: JSON lines, one message a line, in the order received (docs/message-log.md)."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ..domain.identifiers import identifier
from ..domain.masking import shown
from ..domain.message import Channel, Message
from ..domain.strict_json import NotStrictJson, dumps, loads
from ..errors import CorruptLog, InvalidInput, RefoldError, StoreError, UnusableLine
from .arguments import http_status, moment
from .recording import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..ports import EventStore
    from .keeping import Keeper
    from .noticing import Moves
    from .recording import Receipt

MAX_LINE: Final = 4 * 1024 * 1024
"""Bytes of one line; longer ones are reported and skipped."""
_BATCH: Final = 1_000
"""Lines made durable together; fewer where they are long."""
_BATCH_BYTES: Final = 4 * MAX_LINE
_CHANNELS: Final = (Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK, Channel.REPORT)
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
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
        damaged: those of the unusable that were refused because the log of their refund is damaged.
    """

    lines: int = 0
    recorded: int = 0
    duplicates: int = 0
    orphaned: int = 0
    quarantined: int = 0
    unusable: int = 0
    damaged: int = 0

    def to_json(self) -> dict[str, int]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


class Importer:
    """Imports message logs into one store."""

    def __init__(
        self, store: EventStore, record: Callable[[LogLine], Receipt], keeper: Keeper, moves: Moves
    ) -> None:
        """Make batches of lines durable in `store`; `record` records one line's message."""
        self._store = store
        self._record = record
        self._keeper = keeper
        self._moves = moves

    def ingest(
        self,
        lines: Iterable[bytes],
        *,
        on_problem: Callable[[int, str], None],
        on_progress: Callable[[int], None] | None = None,
    ) -> IngestReport:
        """Record every usable line; report the others and go on.

        Args:
            lines: the raw lines, as a file opened in binary mode yields them.
            on_problem: called with line number (from 1) and reason for each line that cannot be used, and for each
                one that was put into quarantine.
            on_progress: called with the number of bytes read, after each batch is durable.

        Raises:
            InvalidInput: something that does not yield bytes.
            StoreError: the store failed; the batches before are durable, importing again continues.
        """
        report = IngestReport()
        for batch in _batches(lines):
            with self._moves.held(), self._store.batch():
                for number, raw in batch:
                    self._line(report, number, raw, on_problem)
            if on_progress is not None:
                on_progress(sum(len(raw) for _, raw in batch))
        return report

    def _line(
        self, report: IngestReport, number: int, raw: bytes, on_problem: Callable[[int, str], None]
    ) -> None:
        if not raw.strip():
            return
        report.lines += 1
        try:
            receipt = self._record(parse_line(number, raw))
        except StoreError:
            raise
        except RefoldError as error:
            report.unusable += 1
            report.damaged += isinstance(error, CorruptLog)
            reason = error.reason if isinstance(error, UnusableLine) else str(error)
            on_problem(number, self._keeper.text(reason))
            return
        counted = _COUNTED[receipt.outcome]
        setattr(report, counted, getattr(report, counted) + 1)
        if receipt.outcome is Outcome.QUARANTINED:
            on_problem(number, f"quarantined: {receipt.reason}")


def _batches(lines: Iterable[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """Yield numbered lines in batches bounded by count and by size, so that memory does not grow with the file."""
    try:
        source = long_lines_cut(lines)
    except TypeError:
        raise InvalidInput(f"lines of bytes are needed, not {type(lines).__name__}") from None
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, raw in enumerate(source, start=1):
        if type(raw) is not bytes:
            raise InvalidInput(
                f"line {number} is {type(raw).__name__}, not bytes: open the file in binary mode"
            )
        batch.append((number, raw))
        size += len(raw)
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


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
    text = raw.rstrip(b"\r\n")
    if len(text) > MAX_LINE:
        raise InvalidInput(f"it is longer than {MAX_LINE} bytes")
    fields = loads(text)
    if not isinstance(fields, dict):
        raise InvalidInput("a JSON object is needed")
    gateway = _text(fields, "gateway")
    channel = _channel(_text(fields, "channel"))
    received_at = _time(_text(fields, "received_at"))
    body, exact = _body(fields)
    return LogLine(
        gateway=gateway,
        channel=channel,
        message=Message(
            body=body,
            received_at=received_at,
            headers=_headers(fields.get("headers")),
            http_status=http_status(fields.get("http_status")),
            method=_method(fields.get("method")),
            target=_target(fields.get("target")),
            exact=exact,
        ),
        refund_id=_identifier(fields, "refund_id"),
        payment_id=_identifier(fields, "payment_id"),
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise InvalidInput(f"field {name} is missing")
    if not isinstance(value, str):
        raise InvalidInput(f"field {name} must be a text, not {type(value).__name__}")
    return value


def _identifier(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else identifier(name, fields[name])


def _channel(text: str) -> Channel:
    if text in _CHANNELS:
        return Channel(text)
    raise InvalidInput(f"channel {shown(text)} is unknown; use {', '.join(_CHANNELS)}")


def _time(text: str) -> datetime:
    if _RFC_3339.fullmatch(text):
        with suppress(ValueError, OverflowError):
            return moment("received_at", datetime.fromisoformat(text.upper()).astimezone(UTC))
    raise InvalidInput(
        f"received_at {shown(text)} is no RFC 3339 time with an offset, such as 2025-07-09T11:18:00+08:00"
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


def _method(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.isascii() and value.isalpha() and value.isupper()):
        return value
    raise InvalidInput(f"method {shown(value)} is no HTTP method, such as POST")


def _target(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.startswith("/") and value.isprintable()):
        return value
    raise InvalidInput(f"target {shown(value)} is no path of a request, such as /payment/p-1/refund")


def long_lines_cut(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Return the lines of a binary file; of one that is too long no more than shows that it is."""
    readline = getattr(lines, "readline", None)
    return iter(lines) if readline is None else _lines_cut(readline)


def _lines_cut(readline: Callable[[int], bytes]) -> Iterator[bytes]:
    while raw := readline(MAX_LINE + 1):
        yield raw
        rest = raw
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = readline(MAX_LINE + 1)
