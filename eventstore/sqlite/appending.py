"""Appends inside one transaction: each is decided in its turn, and all that are accepted are written together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ...engine.errors import CorruptLog, KeyReuse, VersionConflict
from ...engine.ports import Appended
from ..codec import original, stored_events
from . import log
from . import views as tables

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from ...engine.errors import RefoldError
    from ...engine.ports import Body, Change
    from ..codec import EventRow
    from ..request import Request

Outcome: TypeAlias = "Appended | RefoldError"


def append(connection: sqlite3.Connection, requests: Sequence[Request]) -> list[Outcome]:
    """Carry out appends, each after those before it, and return for each where it stands or why it was refused.

    A refused one leaves nothing. What SQLite itself refuses is raised, and the transaction is to be undone.
    """
    streams = [write.stream for request in requests for write in request.writes]
    keys = [request.key for request in requests if request.key is not None]
    appending = _Appending(connection, *log.look(connection, streams, keys))
    outcomes = [appending.decided(request) for request in requests]
    appending.write()
    return outcomes


class _Appending:
    """What is accepted so far; the log itself is asked only about what was there before."""

    __slots__ = ("_bodies", "_changes", "_connection", "_events", "_head", "_known", "_used", "_versions")

    def __init__(
        self, connection: sqlite3.Connection, head: int, versions: dict[str, int], used: set[str]
    ) -> None:
        """Begin after position `head`; `versions` are those of all streams, `used` the keys the log has."""
        self._connection = connection
        self._head = head
        self._versions = versions
        self._used = used
        self._known: dict[str, tuple[bytes, Appended]] = {}
        self._events: list[EventRow] = []
        self._bodies: list[Body] = []
        self._changes: list[Change] = []

    def decided(self, request: Request) -> Outcome:
        """Accept an append, or return what is to be answered instead."""
        writes, key, digest, bodies, changes = request
        try:
            if key is not None:
                known = self._first_of(key)
                if known is not None:
                    return original(key, known[0], digest, known[1])
            events = stored_events(writes, self._head, self._versions)
        except (VersionConflict, KeyReuse, CorruptLog) as error:
            return error
        appended = Appended(self._head + 1, self._head + len(events))
        self._head = appended.last
        for write in writes:
            self._versions[write.stream] += len(write.events)
        self._events += events
        if key is not None:
            self._known[key] = (digest, appended)
        self._bodies += bodies
        self._changes += changes
        return appended

    def _first_of(self, key: str) -> tuple[bytes, Appended] | None:
        return log.known(self._connection, key) if key in self._used else self._known.get(key)

    def write(self) -> None:
        """Write all that was accepted."""
        log.insert(self._connection, self._events)
        if self._known:
            log.insert_keys(self._connection, self._known)
        if self._bodies:
            log.insert_bodies(self._connection, self._bodies)
        if self._changes:
            tables.apply(self._connection, self._changes)
