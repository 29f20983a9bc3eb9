"""A message: the bytes as they arrived or left, kept verbatim and never re-serialised."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Channel(StrEnum):
    """How a fact reached us."""

    REQUEST = "request"
    API_RESPONSE = "api_response"
    POLL = "poll"
    WEBHOOK = "webhook"
    OPERATOR = "operator"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One HTTP message of a gateway, in either direction. Body and headers hold secrets: its repr shows neither.

    Attributes:
        body: the exact bytes, as a signature covers them.
        received_at: when it reached us (or left, for a request), with an offset.
        headers: the HTTP headers; names are compared without case.
        http_status: of an answer, where known.
        method: of the HTTP request this message is, or answers, where known.
        target: path and query of that request, as it went over the wire.
        exact: False where the bytes were made from a parsed body, so that no signature over bytes can be checked.
    """

    body: bytes = field(repr=False)
    received_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    http_status: int | None = None
    method: str | None = None
    target: str | None = None
    exact: bool = True

    def header(self, name: str) -> str | None:
        """Return a header's value whatever the case of its name."""
        wanted = name.lower()
        for key, value in self.headers.items():
            if key.lower() == wanted:
                return value
        return None

    def headers_by_name(self) -> dict[str, str]:
        """Return the headers by their names in lower case; the first where a name stands twice, as `header` does."""
        values = self.headers.values()
        found = dict(zip(map(str.lower, self.headers), values, strict=True))
        if len(found) == len(self.headers):
            return found
        names = [*map(str.lower, self.headers)]
        return dict(zip(reversed(names), reversed([*values]), strict=True))

    def retry_after_s(self) -> int | None:
        """Return how many seconds the sender wants to be left alone, by its Retry-After header; a day at most."""
        text = (self.header("Retry-After") or "").strip()
        if text.isascii() and text.isdigit():
            return min(int(text[:_MAX_DIGITS]), _MAX_RETRY_AFTER_S)
        try:
            until = parsedate_to_datetime(text)
        except (ValueError, OverflowError):  # a year of twenty digits is the latter
            return None
        wait = until.replace(tzinfo=until.tzinfo or UTC) - self.received_at
        return min(max(wait // timedelta(seconds=1), 0), _MAX_RETRY_AFTER_S)


_MAX_DIGITS: Final = 9
_MAX_RETRY_AFTER_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request ready to be sent: nothing may be added or re-serialised, the signature covers these bytes.

    Its repr shows neither headers nor body: under some signature types a header is the key itself.

    Attributes:
        target: path and query; the host is configuration.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def body_digest(salt: bytes, headers: str, content: bytes) -> str:
    """Return the lower-case hex SHA-256 of a kept body: salt, then headers on a line, then the content."""
    return sha256(salt + headers.encode() + b"\n" + content).hexdigest()
