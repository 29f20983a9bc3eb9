"""The memory store: the readable reference of the contract. Nothing survives the process."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

from ..engine.errors import KeyReuse, MessageNotFound, StoreClosed
from ..engine.ports import Appended, Delete, Difference
from .codec import checked, content_digest, stored_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..engine.ports import Body, Change, Row, StoredEvent, Value, View, Write

    Table = dict[tuple[Value, ...], tuple[Value, ...]]


class MemoryStore:
    """An `EventStore` in lists and dictionaries, behind one lock."""

    def __init__(self) -> None:
        """Open an empty store."""
        self._lock = threading.RLock()
        self._events: list[StoredEvent] = []
        self._streams: dict[str, list[int]] = {}
        self._keys: dict[str, tuple[bytes, Appended]] = {}
        self._bodies: dict[str, Body] = {}
        self._views: dict[str, Table] = {}
        self._closed = False

    views_stale = False

    # ---- writing

    def append(
        self,
        *writes: Write,
        key: str | None = None,
        content: str | None = None,
        bodies: Sequence[Body] = (),
        changes: Sequence[Change] = (),
    ) -> Appended:
        """Append all writes, bodies and view changes, or nothing."""
        digest = content_digest(writes, content)
        with self._open():
            if key is not None and key in self._keys:
                stored, first = self._keys[key]
                if stored != digest:
                    raise KeyReuse(key, stored.hex(), digest.hex())
                return first._replace(duplicate=True)
            head = len(self._events)
            events = list(stored_events(writes, head, self.version))
            appended = Appended(head + 1, head + len(events))
            self._events.extend(events)
            for event in events:
                self._streams.setdefault(event.stream, []).append(event.position)
            if key is not None:
                self._keys[key] = (digest, appended)
            for body in bodies:
                self._bodies.setdefault(body.digest, body)
            for change in changes:
                _apply(self._views, change)
            return appended

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Undo the appends of the block if it raises; other threads wait for its end."""
        with self._open():
            before = self._snapshot()
            try:
                yield
            except BaseException:
                self._events, self._streams, self._keys, self._bodies, self._views = before
                raise

    def erase_body(self, digest: str) -> bool:
        """Erase a message body and its salt for good; tell whether it was there."""
        with self._open():
            return self._bodies.pop(digest, None) is not None

    # ---- reading

    def settle(self, key: str) -> Appended | None:
        """Tell whether the append of that key happened."""
        with self._open():
            found = self._keys.get(key)
            return found[1] if found else None

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        with self._open():
            return len(self._events)

    def version(self, stream: str) -> int:
        """Return the stream's version; 0 where it does not exist."""
        with self._open():
            return len(self._streams.get(stream, ()))

    def read_stream(self, stream: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield a stream's events in order, those with a version above `after`."""
        with self._open():
            found = [self._events[position - 1] for position in self._streams.get(stream, ())[after:]]
        return map(checked, found)

    def read_all(self, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield all events in the order of positions, those above `after`."""
        with self._open():
            found = self._events[after:]
        return map(checked, found)

    def read_category(self, category: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield the events of all streams `category-…` in the order of positions, those above `after`."""
        return (event for event in self.read_all(after=after) if event.stream.startswith(f"{category}-"))

    def streams(self, category: str) -> Iterator[str]:
        """Yield the names of all streams `category-…`, sorted."""
        with self._open():
            return iter(sorted(name for name in self._streams if name.startswith(f"{category}-")))

    def body(self, digest: str) -> Body:
        """Return a message body."""
        with self._open():
            if digest not in self._bodies:
                raise MessageNotFound(digest)
            return self._bodies[digest]

    # ---- views

    def row(self, view: View, key: tuple[Value, ...]) -> Row | None:
        """Return one row of a view."""
        with self._open():
            values = self._views.get(view.name, {}).get(key)
        return None if values is None else dict(zip(view.names(), values, strict=True))

    def rows(
        self,
        view: View,
        *,
        where: Mapping[str, Value] | None = None,
        order: str | None = None,
        after: Value = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows whose columns equal `where`, ordered by one unique column (default: the key), above `after`."""
        with self._open():
            table = list(self._views.get(view.name, {}).values())
        names = view.names()
        found: list[dict[str, Any]] = [dict(zip(names, values, strict=True)) for values in table]
        for name, value in (where or {}).items():
            found = [row for row in found if row[name] == value]
        by = (order,) if order else view.key
        found.sort(key=lambda row: tuple(row[name] for name in by))
        if after is not None:
            found = [row for row in found if row[by[0]] > after]
        return iter(found[:limit])

    def rebuild(self, views: Sequence[View], changes: Iterable[Change]) -> list[Difference]:
        """Fill new tables from `changes`, compare them with the live ones, swap, and return every difference."""
        with self._open():
            new: dict[str, Table] = {view.name: {} for view in views}
            for change in changes:
                _apply(new, change)
            found = [
                difference
                for view in views
                for difference in _differences(view, self._views.get(view.name, {}), new[view.name])
            ]
            self._views.update(new)
            return found

    # ---- the rest

    def describe(self) -> Mapping[str, str]:
        """Return what an operator wants to know."""
        return {"store": "memory", "durability": "none: nothing survives the process", "events": str(self.head())}

    def checkpoint(self) -> None:
        """Do nothing: all is in one place."""

    def close(self) -> None:
        """Refuse all further calls."""
        self._closed = True

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise StoreClosed
            yield

    def _snapshot(self) -> tuple[Any, ...]:
        streams = {name: copy(positions) for name, positions in self._streams.items()}
        views = {name: copy(table) for name, table in self._views.items()}
        return copy(self._events), streams, copy(self._keys), copy(self._bodies), views


def _apply(views: dict[str, Table], change: Change) -> None:
    view = change.view
    table = views.setdefault(view.name, {})
    if isinstance(change, Delete):
        table.pop(change.key, None)
        return
    names = view.names()
    key = tuple(change.values[names.index(name)] for name in view.key)
    old = table.get(key)
    table[key] = change.values if old is None else _merged(view, old, change.values)


def _merged(view: View, old: tuple[Value, ...], new: tuple[Value, ...]) -> tuple[Value, ...]:
    def one(sums: bool, before: Any, after: Any) -> Value:  # noqa: ANN401, FBT001 - a cell is str, int or None
        if sums:
            return (before or 0) + (after or 0)
        return before if after is None else after

    return tuple(
        one(column.sums, before, after) for column, before, after in zip(view.columns, old, new, strict=True)
    )


def _differences(view: View, live: Table, rebuilt: Table) -> Iterator[Difference]:
    names = view.names()
    for key in sorted(live.keys() | rebuilt.keys(), key=str):
        before, after = live.get(key), rebuilt.get(key)
        if before != after:
            yield Difference(
                view.name,
                key,
                None if before is None else dict(zip(names, before, strict=True)),
                None if after is None else dict(zip(names, after, strict=True)),
            )


