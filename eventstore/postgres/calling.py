"""The call that appends: what the server is told of a list of requests, and what it answers for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...engine.errors import CorruptLog, EventMissing, KeyReuse, VersionConflict
from ...engine.ports import Appended
from .changes import as_json, calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...engine.errors import RefoldError
    from ..request import Request

CALL: Final = (
    "SELECT outcome, first, last, stored FROM append_members("
    "%s::int[], %s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::jsonb, true)"
)
CALL_INSIDE: Final = CALL.replace("true", "false")
"""The same inside a transaction, which advances the head once, at its end: every new version of the row costs."""
_APPENDED, _DUPLICATE, _CONFLICT, _REUSE, _MISSING = range(5)
_ANY_VERSION: Final = "NULL"
_NO_VERSION: Final = -1
_VERSIONS: Final = range(2**63)
"""What PostgreSQL's bigint holds."""
_NO_KEY: Final = 0


def arguments(members: Sequence[Request]) -> tuple[str, ...]:
    """Return the arguments of `CALL`.

    Streams and keys are listed once and named by their number from 1; so are members and writes. The first five are
    arrays: each member's key (0: none); each write's member, stream, expected version (NULL: any; -1: one that no
    stream can have) and number of events. The sixth is JSON: `streams`; `keys`; `digests`, one a member, in hex;
    `events` as [write, number in the write, type, time, data]; `bodies` as [member, digest, salt in hex, headers,
    content in hex]; `changes` as [function of a view, [[member, values...]...]].
    """
    streams: dict[str, int] = {}
    keys: dict[str, int] = {}
    member_keys: list[int] = []
    owners: list[int] = []
    places: list[int] = []
    expected: list[int | str] = []
    sizes: list[int] = []
    events: list[tuple[int, int, str, str, str]] = []
    for number, member in enumerate(members, 1):
        key = member.key
        member_keys.append(_NO_KEY if key is None else keys.setdefault(key, len(keys) + 1))
        for write in member.writes:
            owners.append(number)
            places.append(streams.setdefault(write.stream, len(streams) + 1))
            expected.append(_version(write.expected))
            sizes.append(len(write.events))
            events += [(len(owners), n, *event) for n, event in enumerate(write.events, 1)]
    told = {
        "streams": list(streams),
        "keys": list(keys),
        "digests": [member.digest.hex() for member in members] if keys else [],
        "events": events,
        "bodies": [
            (number, body.digest, body.salt.hex(), body.headers, body.content.hex())
            for number, member in enumerate(members, 1)
            for body in member.bodies
        ],
        "changes": calls(
            (number, change) for number, member in enumerate(members, 1) for change in member.changes
        ),
    }
    return (
        _array(member_keys),
        _array(owners),
        _array(places),
        _array(expected),
        _array(sizes),
        as_json(told),
    )


def _version(expected: int | None) -> int | str:
    if expected is None:
        return _ANY_VERSION
    return expected if expected in _VERSIONS else _NO_VERSION


def _array(numbers: Iterable[int | str]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def answer(member: Request, found: tuple[Any, ...]) -> Appended | RefoldError:
    """Return what came of a member: where it was appended, or why it was not."""
    outcome, first, last, stored = found
    if outcome == _APPENDED:
        return Appended(first, last)
    if outcome == _DUPLICATE:
        return Appended(first, last, duplicate=True)
    if outcome == _CONFLICT:
        write = member.writes[first]
        return VersionConflict(write.stream, write.expected or 0, last)
    if outcome == _REUSE and member.key is not None:
        return KeyReuse(member.key, stored.hex(), member.digest.hex())
    if outcome == _MISSING:
        return EventMissing(last)
    return CorruptLog(f"append_members answered {outcome!r}")
