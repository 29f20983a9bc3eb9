"""What a caller wants appended, checked before anybody waits for it."""

from __future__ import annotations

from functools import lru_cache
from itertools import compress
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..engine.errors import InvalidInput
from ..engine.ports import Delete
from .codec import content_digest, storable, validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..engine.ports import Body, Change, View, Write

LARGEST: Final = 2**63 - 1
"""The largest number that every store can keep, in a cell or as a sum; the smallest is one further from 0."""


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
        InvalidInput: no event at all, one stream twice, a name, a text or a number that cannot be stored.
    """
    validate(writes, key, content)
    bodies, changes = tuple(bodies), tuple(changes)
    for body in bodies:
        storable("body digest", body.digest)
        storable("body headers", body.headers)
    for change in changes:
        check_change(change)
    digest = content_digest(writes, content) if key is not None else b""
    return Request(writes, key, digest, bodies, changes)


def checked_changes(changes: Iterable[Change]) -> Iterator[Change]:
    """Yield view changes, each of them checked.

    Raises:
        InvalidInput: a value that its view's column cannot hold.
    """
    for change in changes:
        check_change(change)
        yield change


def check_change(change: Change) -> None:
    """Check what does not depend on the rows there are: stores would convert values, cut them off or refuse them late.

    Raises:
        InvalidInput: a value that its view's column cannot hold.
    """
    view: View = change[0]
    values: tuple[Any, ...] = change[1]
    names, texts, numbers = _cells(view, tuple(map(type, values)), isinstance(change, Delete))
    together = "".join(compress(values, texts))
    if not together.isascii() or "\0" in together:  # most are plain, and one look at all of them tells
        for name, text in compress(zip(names, values, strict=True), texts):
            storable(f"{view.name}.{name}", text)
    counts = [*compress(values, numbers)]
    if counts and not -LARGEST - 1 <= min(counts) <= max(counts) <= LARGEST:
        named = compress(zip(names, values, strict=True), numbers)
        name, count = next(each for each in named if not -LARGEST - 1 <= each[1] <= LARGEST)
        raise InvalidInput(f"{view.name}.{name} is out of range: {count} does not fit 64 bits")


class _Cells(NamedTuple):
    """The values of a change: the names of their columns, which of them are texts, and which are numbers."""

    names: tuple[str, ...]
    texts: list[bool]
    numbers: list[bool]


@lru_cache(maxsize=1024)
def _cells(view: View, given: tuple[type, ...], of_key: bool) -> _Cells:  # noqa: FBT001 - a part of the cache's key
    """Return what the values of a change are, of which these types are given.

    Raises:
        InvalidInput: so many values, or values of these types, do not fit.
    """
    kinds = {column.name: column.kind for column in view.columns}
    names = view.key if of_key else view.names()
    if len(given) != len(names):
        raise InvalidInput(f"a change of view {view.name} has {len(given)} values; {len(names)} are needed")
    for name, kind in zip(names, given, strict=True):
        lacks = kind is NoneType and name not in view.key
        if not lacks and (kind is bool or not issubclass(kind, kinds[name])):
            raise InvalidInput(f"{view.name}.{name} takes {kinds[name].__name__}, not {kind.__name__}")
    return _Cells(names, [issubclass(kind, str) for kind in given], [issubclass(kind, int) for kind in given])
