"""Observing: an event store that tells of every append, for counters and latencies."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import structlog

from .backing import back_up
from .noticing import named

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..ports import (
        Appended,
        Body,
        Change,
        Clock,
        DeadLetter,
        Difference,
        EventStore,
        Filter,
        Lease,
        Progress,
        Row,
        StoredEvent,
        Subscription,
        Value,
        View,
        Write,
    )
    from ..ports.backup import Backup, OnProgress
    from ..ports.projecting import Projection
    from ..ports.subscribing import Start

    AppendHook = Callable[["Append"], None]
    """Called with each append, once it is durable."""


class Append(NamedTuple):
    """What is told of an append.

    Attributes:
        types: of its events, in order; none for one whose key had been appended before.
        last: the position of its last event.
        seconds: how long it took until it was durable; None in a batch, where that is known of the batch only.
    """

    types: tuple[str, ...]
    last: int
    seconds: float | None


class ObservedStore:
    """An `EventStore` that is another one and tells `on_append` of each append; what that raises is only logged."""

    def __init__(self, store: EventStore, on_append: AppendHook, stopwatch: Callable[[], float]) -> None:
        """Delegate to `store`; `stopwatch` returns seconds from any fixed moment."""
        self._store = store
        self._on_append = on_append
        self._stopwatch = stopwatch
        self._local = threading.local()
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    def append(
        self,
        *writes: Write,
        key: str | None = None,
        content: str | None = None,
        bodies: Sequence[Body] = (),
        changes: Sequence[Change] = (),
    ) -> Appended:
        """Append, and tell of it: now, or at the end of this thread's batch."""
        began = self._stopwatch()
        appended = self._store.append(*writes, key=key, content=content, bodies=bodies, changes=changes)
        taken = self._stopwatch() - began
        types = () if appended.duplicate else tuple(event.type for write in writes for event in write.events)
        held: list[Append] | None = getattr(self._local, "held", None)
        if held is None:
            self._tell(Append(types, appended.last, taken))
        else:
            held.append(Append(types, appended.last, None))
        return appended

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold what is told until the batch is durable; nothing is told of one that is undone."""
        outer: list[Append] | None = getattr(self._local, "held", None)
        held: list[Append] = []
        self._local.held = held
        try:
            with self._store.batch():
                yield
        finally:
            self._local.held = outer
        for append in held:
            self._tell(append)

    def _tell(self, append: Append) -> None:
        try:
            self._on_append(append)
        except Exception as error:  # noqa: BLE001 - whatever the hook raises, the append is durable and stays so
            self._log.error("append_hook.failed", **named(error))

    # ---- everything else is the other store's

    @property
    def in_batch(self) -> bool:
        """As the protocol says, like everything below."""
        return self._store.in_batch

    @property
    def views_stale(self) -> bool:
        """Whether the views must be made anew."""
        return self._store.views_stale

    @property
    def rebuild_under_way(self) -> bool:
        """Whether somebody makes views anew."""
        return self._store.rebuild_under_way

    def settle(self, key: str) -> Appended | None:
        """Tell whether the append of that key happened."""
        return self._store.settle(key)

    def head(self) -> int:
        """Return the last position."""
        return self._store.head()

    def first_missing(self) -> int | None:
        """Return the first position whose event is absent."""
        return self._store.first_missing()

    def version(self, stream: str) -> int:
        """Return the stream's version."""
        return self._store.version(stream)

    def read_stream(self, stream: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield a stream's events."""
        return self._store.read_stream(stream, after=after)

    def read_all(self, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield all events."""
        return self._store.read_all(after=after)

    def read_category(self, category: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield the events of a category."""
        return self._store.read_category(category, after=after)

    def streams(self, category: str) -> Iterator[str]:
        """Yield the names of a category's streams."""
        return self._store.streams(category)

    def body(self, digest: str) -> Body:
        """Return a message body."""
        return self._store.body(digest)

    def erase_body(self, digest: str) -> bool:
        """Erase a message body."""
        return self._store.erase_body(digest)

    def row(self, view: View, key: tuple[Value, ...]) -> Row | None:
        """Return one row of a view."""
        return self._store.row(view, key)

    def rows(
        self,
        view: View,
        *,
        where: Mapping[str, Value] | None = None,
        order: str | None = None,
        after: Value = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows of a view."""
        return self._store.rows(view, where=where, order=order, after=after, limit=limit)

    def create_views(self, views: Sequence[View]) -> None:
        """Make tables of views that are new."""
        self._store.create_views(views)

    def rows_of_any_version(self, view: View, *, where: Mapping[str, Value]) -> Iterator[Row]:
        """Yield rows whichever version has made their table."""
        return self._store.rows_of_any_version(view, where=where)

    def claim(self, name: str, *, holder: str, now: str, until: str) -> int | None:
        """Take the lease of that name; None where another one has not ended."""
        return self._store.claim(name, holder=holder, now=now, until=until)

    def lease(self, name: str) -> Lease | None:
        """Return the lease of that name as it was taken."""
        return self._store.lease(name)

    def release(self, token: int) -> None:
        """End the lease of that token."""
        self._store.release(token)

    def subscribe(
        self,
        name: str,
        *,
        clock: Clock,
        start: Start = "beginning",
        filter: Filter | None = None,  # noqa: A002 - the word of the field
        attempts: int = 3,
        backoff_s: float = 0.1,
        chunk: int = 100,
        lease_s: float = 30.0,
    ) -> Subscription:
        """Return the subscription of that name."""
        return self._store.subscribe(
            name,
            clock=clock,
            start=start,
            filter=filter,
            attempts=attempts,
            backoff_s=backoff_s,
            chunk=chunk,
            lease_s=lease_s,
        )

    def subscriptions(self) -> list[Progress]:
        """Return how far every subscription is."""
        return self._store.subscriptions()

    def wait_for(
        self,
        position: int,
        *,
        subscription: str | None = None,
        timeout_s: float | None = None,
        stop: threading.Event | None = None,
    ) -> bool:
        """Wait until the head, or a checkpoint, is at or above `position`."""
        return self._store.wait_for(position, subscription=subscription, timeout_s=timeout_s, stop=stop)

    def checkpoint_of(self, name: str) -> int | None:
        """Return the checkpoint of a subscription."""
        return self._store.checkpoint_of(name)

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
        """Move a checkpoint, with what belongs to it."""
        self._store.advance(
            name,
            expected=expected,
            position=position,
            changes=changes,
            set_aside=set_aside,
            resolved=resolved,
            fence=fence,
        )

    def dead_letters(self, name: str, *, stream: str | None = None, after: int = 0) -> Iterator[DeadLetter]:
        """Yield what a subscription has set aside."""
        return self._store.dead_letters(name, stream=stream, after=after)

    def rebuild(self, projection: Projection, *, compare: bool = True) -> list[Difference]:
        """Rebuild the views."""
        return self._store.rebuild(projection, compare=compare)

    def describe(self) -> Mapping[str, str]:
        """Return what an operator wants to know."""
        return self._store.describe()

    def backup(self, target: str | os.PathLike[str], *, on_progress: OnProgress | None = None) -> Backup:
        """Back the other store up, where it can."""
        return back_up(self._store, target, on_progress=on_progress)

    def checkpoint(self) -> None:
        """Fold what the store keeps beside its main file back into it."""
        self._store.checkpoint()

    def close(self) -> None:
        """Release all connections."""
        self._store.close()
