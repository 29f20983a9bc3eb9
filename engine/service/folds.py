"""Folds: the refunds a store was asked for lately, so that loading one again decodes only what is new in its stream.

No fold here can be stale, so nothing has to be told of appends, by this process or another one. Each load reads the
whole stream, and the store checks every event against its digest. A kept fold counts only where the events it was made
of have the digests of those that now stand in the log: then it is what folding them again would give.
"""

from __future__ import annotations

import threading
from itertools import chain, islice
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from ..domain.refund import fold
from .journal import decoded, folded, refund_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..domain.refund import Refund
    from ..ports import EventStore, StoredEvent

_MOST: Final = 1_024
"""Refunds that are kept for a store: a few megabytes."""
_LONGEST: Final = 64
"""Events of a stream whose fold is kept."""


class Folds:
    """The folds of one store, by stream; the oldest is forgotten first."""

    __slots__ = ("_kept", "_lock")

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[str, tuple[list[bytes], Refund]] = {}
        self._lock = threading.Lock()

    def fold(self, stream: str, stored: Iterator[StoredEvent]) -> Refund | None:
        """Return the refund after all events of its stream, which the store has checked; None for no events."""
        digests, refund = self._kept.get(stream, ([], None))
        known = list(islice(stored, len(digests)))
        seen = [event.digest for event in known]
        if seen != digests:  # the log says something else now
            stored, refund, seen = chain(known, stored), None, []
        new = next(stored, None)
        if new is None:
            return refund
        after = fold(decoded(_noted(chain((new,), stored), seen)), refund)
        if after is not None and len(seen) <= _LONGEST:
            self._keep(stream, seen, after)
        return after

    def _keep(self, stream: str, digests: list[bytes], refund: Refund) -> None:
        with self._lock:
            self._kept.pop(stream, None)
            self._kept[stream] = (digests, refund)
            if len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]


def _noted(stored: Iterator[StoredEvent], digests: list[bytes]) -> Iterator[StoredEvent]:
    for event in stored:
        if len(digests) <= _LONGEST:
            digests.append(event.digest)
        yield event


_OF_STORE: Final[WeakKeyDictionary[EventStore, Folds]] = WeakKeyDictionary()


def load_refund(store: EventStore, refund_id: str) -> Refund | None:
    """Fold a refund from its stream; None where it is not in the log. Raises `CorruptLog`."""
    stream = refund_stream(refund_id)
    folds = _OF_STORE.get(store)
    if folds is None:
        folds = _OF_STORE.setdefault(store, Folds())
    return folded(stream, lambda: folds.fold(stream, store.read_stream(stream)))
