r"""How events and keys become digests. Anyone can recompute them with nothing but SHA-256.

An event's digest covers these bytes, each field of the header on a line of its own and the data last:

    refold event 1\n<position>\n<stream>\n<version>\n<type>\n<time>\n<data>

No field of the header can hold a newline, so no two events share their bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from ..engine.errors import (
    EventCorrupt,
    InvalidIdentifier,
    InvalidInput,
    InvalidText,
    KeyReuse,
    VersionConflict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..engine.ports import Appended, StoredEvent, Write

EventRow: TypeAlias = tuple[int, str, int, str, str, str, bytes]
"""The fields of a `StoredEvent`, for a store to write."""

_STREAM: Final = re.compile(r"[a-z]+-[\x21-\x7e]{1,280}", re.ASCII)
_HEADER_FIELD: Final = re.compile(r"[\x21-\x7e]{1,100}", re.ASCII)


def event_digest(  # noqa: PLR0917 - the fields, in the order in which they are hashed
    position: int, stream: str, version: int, type_: str, time: str, data: str
) -> bytes:
    """Return the 32-byte SHA-256 of an event's bytes exactly as stored."""
    return sha256(
        f"refold event 1\n{position}\n{stream}\n{version}\n{type_}\n{time}\n{data}".encode()
    ).digest()


def checked(event: StoredEvent) -> StoredEvent:
    """Return the event if its bytes match its digest.

    Raises:
        EventCorrupt: they do not.
    """
    position, stream, version, type_, time, data, digest = event
    try:
        computed = event_digest(position, stream, version, type_, time, data)
    except UnicodeError:
        computed = b""
    if digest != computed:
        stored = digest.hex() if isinstance(digest, bytes) else ascii(digest)
        raise EventCorrupt(position, ascii(stream)[1:-1], stored, computed.hex() or "none: not text")
    return event


def validate(writes: Sequence[Write], key: str | None, content: str | None) -> None:
    """Check what does not depend on the log.

    Raises:
        InvalidInput: no event at all, one stream twice, a name or a text that cannot be stored.
    """
    streams: set[str] = set()
    empty = True
    for stream, _, events in writes:
        if not _STREAM.fullmatch(stream):
            raise InvalidIdentifier("stream", stream)
        if stream in streams:
            raise InvalidInput(f"stream {stream} stands twice in one append; join its events")
        streams.add(stream)
        for type_, time, data in events:
            if not (_is_type(type_) and _HEADER_FIELD.fullmatch(time)):
                raise InvalidIdentifier("event type or time", f"{type_} {time}")
            if (
                not data.isascii() or "\0" in data
            ):  # most is plain, and a call for each takes longer than a look
                storable("event data", data)
            empty = False
    if empty:
        raise InvalidInput("an append needs at least one event")
    if key is not None:
        storable("key", key)
        storable("content", content or "")


@lru_cache(maxsize=256)
def _is_type(text: str) -> bool:
    return _HEADER_FIELD.fullmatch(text) is not None


def storable(name: str, text: str) -> None:
    """Raise `InvalidText` for a text that not every store can keep."""
    if "\0" in text:
        raise InvalidText(name, "it holds a NUL character")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidText(name, "it holds a lone surrogate") from None


def content_digest(writes: Sequence[Write], content: str | None) -> bytes:
    """Return the digest an idempotency key stands for: of `content`, else of the writes."""
    if content is not None:
        return sha256(b"content\n" + content.encode()).digest()
    digest = sha256(b"writes\n")
    for write in writes:
        digest.update(f"{write.stream}\n{len(write.events)}\n".encode())
        for event in write.events:
            data = event.data.encode()
            digest.update(f"{event.type}\n{event.time}\n{len(data)}\n".encode() + data)
    return digest.digest()


def original(key: str, stored: bytes, given: bytes, appended: Appended) -> Appended:
    """Return the result of a key's first append.

    Raises:
        KeyReuse: the key was stored for other content than it is given for.
    """
    if stored != given:
        raise KeyReuse(key, stored.hex(), given.hex())
    return appended._replace(duplicate=True)


def stored_events(writes: Sequence[Write], head: int, versions: Mapping[str, int]) -> list[EventRow]:
    """Check every write against its stream's version, and return the events to store after position `head`.

    Args:
        writes: what to store.
        head: the last position of the log.
        versions: of every stream among the writes.

    Raises:
        VersionConflict: a stream is not at its expected version.
    """
    for stream, expected, _ in writes:
        if expected is not None and expected != versions[stream]:
            raise VersionConflict(stream, expected, versions[stream])
    position = head
    stored: list[EventRow] = []
    for stream, _, events in writes:
        version = versions[stream]
        for type_, time, data in events:
            position += 1
            version += 1
            digest = event_digest(position, stream, version, type_, time, data)
            stored.append((position, stream, version, type_, time, data, digest))
    return stored
