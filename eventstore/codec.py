r"""How events and keys become digests. Anyone can recompute them with nothing but SHA-256.

An event's digest covers these bytes, each field of the header on a line of its own and the data last:

    refold event 1\n<position>\n<stream>\n<version>\n<type>\n<time>\n<data>

No field of the header can hold a newline, so no two events share their bytes.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from ..engine.errors import (
    EventCorrupt,
    InvalidIdentifier,
    InvalidInput,
    InvalidText,
    KeyReuse,
    VersionConflict,
)
from ..engine.ports import StoredEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..engine.ports import Appended, Write

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
    if not any(write.events for write in writes):
        raise InvalidInput("an append needs at least one event")
    streams = set()
    for write in writes:
        if not _STREAM.fullmatch(write.stream):
            raise InvalidIdentifier("stream", write.stream)
        if write.stream in streams:
            raise InvalidInput(f"stream {write.stream} stands twice in one append; join its events")
        streams.add(write.stream)
        for event in write.events:
            if not (_HEADER_FIELD.fullmatch(event.type) and _HEADER_FIELD.fullmatch(event.time)):
                raise InvalidIdentifier("event type or time", f"{event.type} {event.time}")
            _storable("event data", event.data)
    _storable("key", key or "")
    _storable("content", content or "")


def _storable(name: str, text: str) -> None:
    if "\0" in text:
        raise InvalidText(name, "it holds a NUL character")
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


def stored_events(
    writes: Sequence[Write], head: int, version_of: Callable[[str], int]
) -> Iterator[StoredEvent]:
    """Check every write against its stream's version, then yield the events to store after position `head`.

    Raises:
        VersionConflict: a stream is not at its expected version; nothing was yielded.
    """
    versions = [version_of(write.stream) for write in writes]
    for write, actual in zip(writes, versions, strict=True):
        if write.expected is not None and write.expected != actual:
            raise VersionConflict(write.stream, write.expected, actual)
    position = head
    for write, version in zip(writes, versions, strict=True):
        for number, event in enumerate(write.events, version + 1):
            position += 1
            digest = event_digest(position, write.stream, number, event.type, event.time, event.data)
            yield StoredEvent(position, write.stream, number, event.type, event.time, event.data, digest)
