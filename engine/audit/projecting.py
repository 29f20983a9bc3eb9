"""Projecting: the views as the log says them, all of it or what was appended since.

Nothing in this module has a gateway, so neither replay nor a rebuild can reach one.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import takewhile
from threading import Event
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from ..domain.events import EvidenceRecorded, MessageOrphaned, MessageQuarantined, PaymentRegistered
from ..domain.refund import evolve
from ..errors import (
    CorruptLog,
    EventMissing,
    RebuildOvertaken,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from ..ports import Delete
from ..service.journal import decoded, inbox_stream
from ..service.outlines import outlines
from ..service.views import (
    INBOX,
    VIEWS,
    inbox_changes,
    payment_changes,
    refund_changes,
)
from .live import as_live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ..domain.refund import Refund
    from ..ports import Change, EventStore, StoredEvent
    from ..ports.projecting import Made, Outline


_PAUSE_S: Final = 0.1
_LOOKS: Final = (100, 300, 900, *[2_700] * 17)
"""How often is looked, with a pause between, whether another process has made the views anew, each time that one began
later: more and more often, lest two that take longer overtake each other for ever. One that has died looks like one
that is slow."""


class Rebuilt(NamedTuple):
    """What a rebuild made.

    Attributes:
        events: the position up to which the views hold everything, at least.
        set_aside: (stream, error) of each stream that cannot be read or folded; its rows stay as they were.
    """

    events: int
    set_aside: tuple[tuple[str, str], ...]


def rebuild(store: EventStore) -> Rebuilt:
    """Make all views again from the log, without looking for differences; `refold.engine.audit.replay` does.

    Raises:
        EventMissing: the log is not complete; the views stay as they are, for they may know what it has lost.
    """
    missing = store.first_missing()
    if missing is not None:
        raise EventMissing(missing)
    folding = Folding(store, outlines=outlines())
    events = store.head()
    store.rebuild(folding, compare=False)
    rebuilt = Rebuilt(events, tuple(folding.set_aside))
    log = structlog.wrap_logger(logging.getLogger("refold"))
    say = log.warning if rebuilt.set_aside else log.info
    say("views.rebuilt", events=events, set_aside=[stream for stream, _ in rebuilt.set_aside])
    return rebuilt


def refresh(store: EventStore) -> None:
    """Rebuild views of another version, or wait until somebody has who began to do so later.

    Of several processes that open a store at once the last one to begin goes on, and the others wait for it; where
    nothing comes of that, because it has died, given up or made them for another version, they begin again.

    Raises:
        RebuildOvertaken: others began later, twenty times.
        StoreUnavailable: this process may not make tables.
    """
    log = structlog.wrap_logger(logging.getLogger("refold"))
    for looks in _LOOKS:
        if not store.views_stale:
            return
        try:
            rebuild(store)
        except RebuildOvertaken:
            log.info("views.overtaken", longest_wait_s=looks * _PAUSE_S)
            _wait_for_another(store, looks)
        except StoreReadOnly as error:
            raise StoreUnavailable(
                f"its views are of another version, or lost, and cannot be made anew here: {error};"
                " open the store once as its owner"
            ) from error
    if store.views_stale:
        raise RebuildOvertaken


def _wait_for_another(store: EventStore, looks: int) -> None:
    """Wait until another process has made the views anew or has given up, or for so many looks."""
    pause = Event()
    for _ in range(looks):
        if not (store.views_stale and store.rebuild_under_way):
            return
        pause.wait(_PAUSE_S)


class Folding:
    """The projection of the four views: it folds stream after stream, in constant memory."""

    views: Final = VIEWS

    def __init__(self, store: EventStore, *, outlines: Sequence[Outline] = ()) -> None:
        """Fold the log of `store`; what `outlines` say of it may be left to the store."""
        self.outlines = outlines
        self.refunds = 0
        """How many were folded."""
        self.payments = 0
        self.set_aside: list[tuple[str, str]] = []
        """(stream, error) of each that cannot be read or folded; its rows stay as they were."""
        self._store = store
        self._aside: set[str] = set()
        """The streams of `set_aside`."""
        self._adopted: set[str] = set()
        """The keys of orphans that refunds have adopted, of which the live tables might say that they wait."""
        self._late: dict[str, None] = {}
        """The streams set aside whose rows are to be taken from the live tables, or taken again."""

    def whole(self, upto: int, left: Mapping[str, Sequence[str]]) -> Iterator[Change]:
        """Yield what the log says up to a position; the inbox first, since refunds adopt from it."""
        for category, fold_one in (
            ("inbox", self._inbox),
            ("payment", self._payment),
            ("refund", self._refund),
        ):
            streams = left[category] if category in left else self._store.streams(category)
            for stream in streams:
                # A stream is read to its end before any of its rows is made, so that a damaged one makes none.
                yield from self._folded(stream, partial(fold_one, stream, 0, upto))

    def since(self, after: int, upto: int) -> Iterator[Change]:
        """Yield what the events above a position, up to another one, change of that."""
        refunds: dict[str, None] = {}
        for stored in self._store.read_all(after=after):
            if stored.position > upto:
                break
            category = stored.stream.partition("-")[0]
            if category == "refund":
                refunds[stored.stream] = None
            elif category in {"inbox", "payment"}:
                self.payments += category == "payment" and stored.version == 1
                yield from self._folded(stored.stream, partial(self._told, stored))
        for stream in refunds:
            yield from self._folded(stream, partial(self._refund, stream, after, upto))

    def as_live(self, made: Made) -> Iterator[Change]:
        """Yield the rows of streams that cannot be read, and are new or have changed, as they stand now.

        A person must look: nothing is thrown away.
        """
        late, self._late = self._late, {}
        yield from as_live(self._store, made, late, unreadable=self._aside, adopted=self._adopted)

    def _folded(self, stream: str, fold: Callable[[], Iterable[Change]]) -> list[Change]:
        """Return all that a fold yields; of a stream that is set aside, now or before, `as_live` tells."""
        if stream not in self._aside:
            try:
                changes = list(fold())
                _check_storable(changes)
                return changes
            except StoreError:
                raise
            except CorruptLog as error:
                self._set_aside(stream, f"{type(error).__name__}: {error}")
            except Exception as error:  # noqa: BLE001 - one stream that cannot be folded stops no other
                self._set_aside(stream, type(error).__name__)
        self._late[stream] = None
        return []

    def _set_aside(self, stream: str, why: str) -> None:
        """Remember a stream that cannot be read or folded."""
        self.set_aside.append((stream, why))
        self._aside.add(stream)

    def _read(self, stream: str, upto: int) -> Iterator[StoredEvent]:
        return takewhile(lambda stored: stored.position <= upto, self._store.read_stream(stream))

    def _inbox(self, stream: str, _: int, upto: int) -> Iterator[Change]:
        for stored in self._read(stream, upto):
            yield from self._told(stored)

    def _payment(self, stream: str, _: int, upto: int) -> Iterator[Change]:
        for stored in self._read(stream, upto):
            self.payments += stored.version == 1
            yield from self._told(stored)

    @staticmethod
    def _told(stored: StoredEvent) -> list[Change]:
        """Return what an event of an inbox or a payment says by itself."""
        (recorded,) = decoded([stored])
        if isinstance(recorded.event, MessageOrphaned | MessageQuarantined):
            return inbox_changes(recorded.event, stored.time)
        return payment_changes(recorded.event) if isinstance(recorded.event, PaymentRegistered) else []

    def _refund(self, stream: str, after: int, upto: int) -> Iterator[Change]:
        before: Refund | None = None
        refund: Refund | None = None
        for recorded in decoded(self._read(stream, upto)):
            refund = evolve(refund, recorded)
            event = recorded.event
            if recorded.position <= after:
                before = refund
            elif isinstance(event, EvidenceRecorded) and event.adopted_from is not None:
                yield Delete(INBOX, (event.adopted_from,))
                if inbox_stream(refund.gateway) in self._aside:
                    self._adopted.add(event.adopted_from)
        if refund is not None:
            self.refunds += before is None
            yield from refund_changes(before, refund)


def _check_storable(changes: Iterable[Change]) -> None:
    """Raise `CorruptLog` for a row that no store can hold: it would keep all others from being made."""
    if any(isinstance(value, str) and "\0" in value for change in changes for value in change[1]):
        raise CorruptLog("a row would hold a NUL character")
