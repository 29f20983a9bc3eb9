"""What a caller wants appended, checked before anybody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .codec import content_digest, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.ports import Body, Change, Write


class Request(NamedTuple):
    """One append; `digest` is what the key stands for, empty without a key."""

    writes: Sequence[Write]
    key: str | None
    digest: bytes
    bodies: Sequence[Body]
    changes: Sequence[Change]


def requested(
    writes: Sequence[Write],
    key: str | None,
    content: str | None,
    bodies: Sequence[Body],
    changes: Sequence[Change],
) -> Request:
    """Return the arguments of an append as a request.

    Raises:
        InvalidInput: no event at all, one stream twice, a name or a text that cannot be stored.
    """
    validate(writes, key, content)
    digest = content_digest(writes, content) if key is not None else b""
    return Request(writes, key, digest, bodies, changes)
