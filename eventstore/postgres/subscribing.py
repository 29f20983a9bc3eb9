"""The checkpoints and dead letters of subscriptions, and waiting for what they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...engine.domain.identifiers import identifier
from ...engine.errors import CorruptLog
from ..checkpoints import Checkpoints
from ..request import checked_changes
from ..subscribing import check_move, in_order, nothing_ahead, settled, taken_over
from .changes import as_json, calls
from .connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from threading import Event

    from ...engine.ports import Change, DeadLetter
    from .readers import Readers
    from .waiting import Waiting
    from .writer import Writer

_CHECKPOINT: Final = "SELECT checkpoint FROM subscriptions WHERE name = %s::text"
_CALL: Final = (
    "SELECT outcome, actual, highest, place FROM advance_checkpoint("
    "%s::text, %s::bigint, %s::bigint, %s::bigint, %s::bigint[], %s::jsonb, %s::jsonb)"
)
_MOVED, _NOT_THERE, _TAKEN_OVER, _SETTLED, _NOTHING_AHEAD = range(5)
_COLUMNS: Final = (
    "SELECT position, stream, version, type, time, data, digest, error, reason, attempts, set_aside_at"
    " FROM dead_letters WHERE name = %s::text AND position > %s::bigint"
)
_LETTERS: Final = _COLUMNS + " ORDER BY position LIMIT %s::bigint"
_OF_STREAM: Final = _COLUMNS + " AND stream = %s::text ORDER BY position LIMIT %s::bigint"
_IS_THERE: Final = (
    "SELECT 1 FROM pg_class"
    " WHERE relname = 'subscriptions' AND relnamespace = to_regnamespace(quote_ident(current_schema()))"
)
_ALL: Final = (
    "SELECT name, checkpoint, (SELECT count(*) FROM dead_letters WHERE dead_letters.name = subscriptions.name)"
    " FROM subscriptions ORDER BY name"
)
_NUMBERS: Final = range(2**63)
"""What PostgreSQL's bigint holds."""
_NOWHERE: Final = "-1"
"""Stands for a number that no position and no token can be."""


class PostgresSubscribing(Checkpoints[Connection]):
    """The part of the PostgreSQL store that subscriptions are made of."""

    _readers: Readers
    _waiting: Waiting

    if TYPE_CHECKING:

        def _checked_writer(self) -> Writer: ...
        def _translated(self) -> AbstractContextManager[None]: ...

    def _wait_until(
        self, reached: Callable[[], bool], *, timeout_s: float | None, stop: Event | None
    ) -> bool:
        return self._waiting.until(reached, timeout_s=timeout_s, stop=stop)

    def advance(
        self,
        name: str,
        *,
        expected: int | None,
        position: int,
        changes: Sequence[Change] = (),
        set_aside: Sequence[DeadLetter] = (),
        resolved: Sequence[int] = (),
        fence: int | None = None,
    ) -> None:
        """Move a checkpoint, apply view changes, and set events aside or settle them; all of it or nothing."""
        kept = list(checked_changes(changes))
        writer = self._checked_writer()
        identifier("subscription", name)
        letters, positions = in_order(set_aside), list(resolved)
        told = (
            name,
            None if expected is None else _number(expected),
            _number(position),
            None if fence is None else _number(fence),
            "{" + ",".join(map(_number, positions)) + "}",
            as_json([_as_row(letter) for letter in letters]),
            as_json(calls((0, change) for change in kept)),
        )
        outcome, actual, highest, place = writer.call(_CALL, told)
        if outcome == _NOT_THERE:
            check_move(name, expected, actual, position, highest)
        if outcome == _TAKEN_OVER:
            raise taken_over(name, actual)
        if outcome == _SETTLED:
            raise settled(name, actual, positions[place - 1])
        if outcome == _NOTHING_AHEAD:
            raise nothing_ahead(name, actual, letters[place - 1])
        if outcome != _MOVED:
            raise CorruptLog(f"advance_checkpoint answered {outcome!r}")

    def _checkpoint(self, connection: Connection, name: str) -> int | None:
        found = connection.execute(_CHECKPOINT, (name,)).fetchone()
        return None if found is None else int(found[0])

    def _letters(
        self, connection: Connection, name: str, stream: str | None, after: int, limit: int
    ) -> list[tuple[Any, ...]]:
        if stream is None:
            return connection.execute(_LETTERS, (name, after, limit), binary=True).fetchall()
        return connection.execute(_OF_STREAM, (name, after, stream, limit), binary=True).fetchall()

    def _checkpoints(self, connection: Connection) -> list[tuple[str, int, int]]:
        # A schema that an older refold has made, opened for reading only, has no such table yet.
        there = connection.execute(_IS_THERE).fetchone() is not None
        return connection.execute(_ALL).fetchall() if there else []


def _number(value: int) -> str:
    """Return what the server is told of a number, always as text; one that it cannot hold is found nowhere."""
    return str(value) if type(value) is int and value in _NUMBERS else _NOWHERE


def _as_row(letter: DeadLetter) -> tuple[str | int, ...]:
    event = letter.event
    return (*event[:-1], event.digest.hex(), *letter[1:])
