"""What a caller wants appended, checked before anybody waits for it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

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
    view, values = change[0], change[1]
    cells = _of_key(view) if isinstance(change, Delete) else _of_row(view)
    if len(values) != len(cells):
        raise InvalidInput(f"a change of view {view.name} has {len(values)} values; {len(cells)} are needed")
    for value, (name, kind, may_lack) in zip(values, cells, strict=True):
        if value is None and may_lack:
            continue
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidInput(f"{name} takes {kind.__name__}, not {type(value).__name__}")
        if isinstance(value, str):
            if (
                not value.isascii() or "\0" in value
            ):  # most are plain, and a call for each takes longer than a look
                storable(name, value)
        elif not -LARGEST - 1 <= value <= LARGEST:
            raise InvalidInput(f"{name} is out of range: {value} does not fit 64 bits")


_Cell: TypeAlias = tuple[str, type[str | int], bool]
"""The name and kind of a value of a change, and whether it may be None."""


@cache
def _of_row(view: View) -> list[_Cell]:
    return [(f"{view.name}.{name}", kind, name not in view.key) for name, kind, _ in view.columns]


@cache
def _of_key(view: View) -> list[_Cell]:
    by_name = {column.name: column.kind for column in view.columns}
    return [(f"{view.name}.{name}", by_name[name], False) for name in view.key]
