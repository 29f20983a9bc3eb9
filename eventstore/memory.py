"""The memory store: the readable reference of the contract. Nothing survives the process."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ..engine.errors import InvalidInput, MessageNotFound, StoreClosed
from ..engine.ports import Appended, Lease, Progress, StoredEvent
from ..engine.ports.process import Process
from .codec import checked, original, stored_events
from .declared import check_views
from .memory_views import changed, differences, rows, store
from .request import checked_changes, requested
from .subscribing import Subscribing, check_move, check_wait, in_order, nothing_ahead, settled, taken_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ..engine.ports import Body, Change, DeadLetter, Difference, Row, Value, View, Write
    from ..engine.ports.projecting import Projection
    from .memory_views import Table

_STOP_LOOKED_AT_S: Final = 0.05
"""Seconds after which a waiting thread looks whether it is to stop."""


@dataclass
class _State:
    """All a store holds. Its events are only ever added to, so a reader may keep the list it began with."""

    events: list[StoredEvent] = field(default_factory=list)
    streams: dict[str, list[int]] = field(default_factory=dict)
    keys: dict[str, tuple[bytes, Appended]] = field(default_factory=dict)
    bodies: dict[str, Body] = field(default_factory=dict)
    views: dict[str, Table] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    """Each lease by its name."""
    last_token: int = 0
    checkpoints: dict[str, int] = field(default_factory=dict)
    letters: dict[str, dict[int, DeadLetter]] = field(default_factory=dict)
    """Dead letters by subscription and position, in the order of positions."""

    def copy(self) -> _State:
        """Return a state that can change without this one changing."""
        return _State(
            self.events.copy(),
            {name: positions.copy() for name, positions in self.streams.items()},
            self.keys.copy(),
            self.bodies.copy(),
            {name: table.copy() for name, table in self.views.items()},
            self.leases.copy(),
            self.last_token,
            self.checkpoints.copy(),
            {name: letters.copy() for name, letters in self.letters.items()},
        )


class MemoryStore(Subscribing):
    """An `EventStore` in lists and dictionaries: one writer at a time, and readers that never wait for it."""

    views_stale = False
    rebuild_under_way = False

    def __init__(self) -> None:
        """Open an empty store."""
        self._process = Process()
        self._writers = threading.RLock()
        """Held for a whole append or batch."""
        self._lock = threading.RLock()
        """Held for the moment in which something is looked up or changed."""
        self._changed = threading.Condition(self._lock)
        """Told of everything that others can see."""
        self._state = _State()
        self._batch: tuple[int, _State] | None = None
        """The thread whose batch is open, and the copy it works on until the batch ends."""
        self._closed = False

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
        _, _, digest, bodies, changes = requested(writes, key, content, bodies, changes)
        with self._alone(), self._open() as state:
            if key is not None and key in state.keys:
                stored, appended = state.keys[key]
                return original(key, stored, digest, appended)
            head = len(state.events)
            versions = {write.stream: len(state.streams.get(write.stream, ())) for write in writes}
            events = list(map(StoredEvent._make, stored_events(writes, head, versions)))
            rows = changed(state.views, changes)
            kept = [(body.digest, body) for body in bodies]
            # All that can fail is done.
            appended = Appended(head + 1, head + len(events))
            state.events.extend(events)
            for event in events:
                state.streams.setdefault(event.stream, []).append(event.position)
            if key is not None:
                state.keys[key] = (digest, appended)
            for name, body in kept:
                state.bodies.setdefault(name, body)
            store(state.views, rows)
            self._changed.notify_all()
            return appended

    @property
    def in_batch(self) -> bool:
        """Whether a batch of this thread is open."""
        batch = self._batch
        return batch is not None and batch[0] == threading.get_ident()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Work on a copy inside the block; it takes the place of the state at the end, unless the block raises."""
        with self._alone():
            with self._open() as state:
                outer, self._batch = self._batch, (threading.get_ident(), state.copy())
            try:
                yield
            except BaseException:
                self._batch = outer
                raise
            with self._lock:
                _, state = self._batch
                if outer is None:
                    self._state, self._batch = state, None
                    self._changed.notify_all()
                else:
                    self._batch = (outer[0], state)

    def erase_body(self, digest: str) -> bool:
        """Erase a message body and its salt for good; tell whether it was there."""
        with self._alone(), self._open() as state:
            return state.bodies.pop(digest, None) is not None

    # ---- reading

    def settle(self, key: str) -> Appended | None:
        """Tell whether the append of that key happened."""
        with self._open() as state:
            found = state.keys.get(key)
            return found[1] if found else None

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        with self._open() as state:
            return len(state.events)

    def first_missing(self) -> int | None:
        """Return None: nobody else can take an event away."""
        with self._open():
            return None

    def version(self, stream: str) -> int:
        """Return the stream's version; 0 where it does not exist."""
        with self._open() as state:
            return len(state.streams.get(stream, ()))

    def read_stream(self, stream: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield a stream's events in order, those with a version above `after`."""
        with self._open() as state:
            events, positions = state.events, state.streams.get(stream, [])
            versions = range(max(after, 0), len(positions))
        return (checked(events[positions[version] - 1]) for version in versions)

    def read_all(self, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield all events in the order of positions, those above `after`."""
        with self._open() as state:
            events, indexes = state.events, range(max(after, 0), len(state.events))
        return (checked(events[index]) for index in indexes)

    def read_category(self, category: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield the events of all streams `category-…` in the order of positions, those above `after`."""
        return (event for event in self.read_all(after=after) if event.stream.startswith(f"{category}-"))

    def streams(self, category: str) -> Iterator[str]:
        """Yield the names of all streams `category-…`, sorted."""
        with self._open() as state:
            return iter(sorted(name for name in state.streams if name.startswith(f"{category}-")))

    def body(self, digest: str) -> Body:
        """Return a message body."""
        with self._open() as state:
            if digest not in state.bodies:
                raise MessageNotFound(digest)
            return state.bodies[digest]

    # ---- views

    def row(self, view: View, key: tuple[Value, ...]) -> Row | None:
        """Return one row of a view."""
        with self._open() as state:
            values = state.views.get(view.name, {}).get(key)
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
        names, equal = view.names(), where or {}
        by = (order,) if order else view.key
        unknown = [name for name in (*equal, *by) if name not in names]
        if unknown:
            raise InvalidInput(f"view {view.name} has no column {unknown[0]}; it has {', '.join(names)}")
        with self._open() as state:
            found: list[dict[str, Any]] = rows(state.views, view, equal)
        found.sort(key=lambda row: [(row[name] is not None, row[name]) for name in (*by, *view.key)])
        if after is not None:
            found = [row for row in found if row[by[0]] is not None and row[by[0]] > after]
        return iter(found[:limit])

    def create_views(self, views: Sequence[View]) -> None:
        """Do nothing but check them: a view is there as soon as it has a row."""
        check_views(views)

    def rows_of_any_version(self, view: View, *, where: Mapping[str, Value]) -> Iterator[Row]:
        """Yield rows: all are of one version."""
        return self.rows(view, where=where)

    def rebuild(self, projection: Projection, *, compare: bool = True) -> list[Difference]:
        """Fill new tables, compare them with the live ones, swap, and return every difference."""
        check_views(projection.views)
        new: dict[str, Table] = {view.name: {} for view in projection.views}
        upto = self.head()
        for change in checked_changes(projection.whole(upto, {})):
            store(new, changed(new, [change]))
        store(new, changed(new, list(checked_changes(projection.as_live(partial(rows, new))))))
        with self._alone():
            for change in checked_changes(projection.since(upto, self.head())):
                store(new, changed(new, [change]))
            store(new, changed(new, list(checked_changes(projection.as_live(partial(rows, new))))))
            with self._open() as state:
                live = {view: state.views.get(view.name, {}) for view in projection.views if compare}
                found = [each for view in live for each in differences(view, live[view], new[view.name])]
                state.views.update(new)
                return found

    # ---- leases

    def claim(self, name: str, *, holder: str, now: str, until: str) -> int | None:
        """Take the lease of that name; None where another one has not ended."""
        with self._alone(), self._open() as state:
            if name in state.leases and state.leases[name].until > now:
                return None
            state.last_token += 1
            state.leases[name] = Lease(state.last_token, holder, until)
            return state.last_token

    def lease(self, name: str) -> Lease | None:
        """Return the lease of that name as it was taken."""
        with self._open() as state:
            return state.leases.get(name)

    def release(self, token: int) -> None:
        """End the lease of that token."""
        with self._alone(), self._open() as state:
            for name, lease in list(state.leases.items()):
                if lease.token == token:
                    del state.leases[name]

    # ---- subscriptions

    def wait_for(
        self,
        position: int,
        *,
        subscription: str | None = None,
        timeout_s: float | None = None,
        stop: threading.Event | None = None,
    ) -> bool:
        """Wait until the head, or the checkpoint of a subscription, is at or above `position`."""
        check_wait(position, timeout_s)
        until = time.monotonic() + (inf if timeout_s is None else timeout_s)
        with self._changed:
            while True:
                there = self.head() if subscription is None else self.checkpoint_of(subscription)
                if there is not None and there >= position:
                    return True
                left_s = until - time.monotonic()
                if left_s <= 0 or (stop is not None and stop.is_set()):
                    return False
                self._changed.wait(min(left_s, _STOP_LOOKED_AT_S))

    def checkpoint_of(self, name: str) -> int | None:
        """Return the checkpoint of a subscription; None where there is none of that name."""
        with self._open() as state:
            return state.checkpoints.get(name)

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
        told = list(checked_changes(changes))
        with self._alone(), self._open() as state:
            actual = state.checkpoints.get(name)
            check_move(name, expected, actual, position, len(state.events))
            if fence is not None and fence not in [lease.token for lease in state.leases.values()]:
                raise taken_over(name, actual)
            letters = state.letters.get(name, {}).copy()
            for each in resolved:
                if letters.pop(each, None) is None:
                    raise settled(name, actual, each)
            for letter in in_order(set_aside):
                earlier = (at for at, each in letters.items() if each.event.stream == letter.event.stream)
                if (
                    not letter.attempts
                    and min(earlier, default=letter.event.position) >= letter.event.position
                ):
                    raise nothing_ahead(name, actual, letter)
                letters[letter.event.position] = letter
            rows = changed(state.views, told)
            # All that can fail is done.
            state.checkpoints[name] = position
            state.letters[name] = dict(sorted(letters.items()))
            store(state.views, rows)
            self._changed.notify_all()

    def dead_letters(self, name: str, *, stream: str | None = None, after: int = 0) -> Iterator[DeadLetter]:
        """Yield what a subscription has set aside, of one stream or of all, in the order of positions."""
        with self._open() as state:
            letters = list(state.letters.get(name, {}).values())
        return (
            letter
            for letter in letters
            if letter.event.position > after and stream in {None, letter.event.stream}
        )

    def subscriptions(self) -> list[Progress]:
        """Return how far every subscription is, by name."""
        with self._open() as state:
            head = len(state.events)
            return [
                Progress(name, checkpoint, head - checkpoint, len(state.letters.get(name, ())))
                for name, checkpoint in sorted(state.checkpoints.items())
            ]

    # ---- the rest

    def describe(self) -> Mapping[str, str]:
        """Return what an operator wants to know."""
        return {
            "store": "memory",
            "durability": "none: nothing survives the process",
            "events": str(self.head()),
        }

    def checkpoint(self) -> None:
        """Do nothing: all is in one place."""
        with self._open():
            pass

    def close(self) -> None:
        """Refuse all further calls."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _alone(self) -> AbstractContextManager[object]:
        """Return the lock of the writers, which in a forked child nobody would release."""
        self._process.check()
        return self._writers

    @contextmanager
    def _open(self) -> Iterator[_State]:
        """Give the state this thread may see."""
        self._process.check()
        with self._lock:
            if self._closed:
                raise StoreClosed
            yield self._batch[1] if self._batch is not None and self.in_batch else self._state
