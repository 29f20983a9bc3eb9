"""Subscriptions over what every store has: reading on, a checkpoint moved together with views, leases."""

from __future__ import annotations

import inspect
import logging
import threading
from contextlib import closing, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

import structlog

from ..engine.domain.wire import time_text
from ..engine.errors import (
    CheckpointConflict,
    CorruptLog,
    EventMissing,
    InvalidInput,
    OutcomeUnknown,
    RefoldError,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreUnavailable,
    ViewStale,
)
from ..engine.ports import DeadLetter, Filter, Handled, Progress
from .codec import checked
from .request import checked_changes
from .turn import Claim, Tally, Turn

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ..engine.ports import Change, Clock, EventStore, Handler, StoredEvent

_PASSING: Final = (StoreBusy, StoreFull, StoreUnavailable, OutcomeUnknown)
"""Errors of a store that waiting can cure, but for `ViewStale`: somebody must make that table."""
_PAUSE_S: Final = 0.5
"""Seconds between two tries of a store that failed, or of a lease that another consumer holds."""
_LONGEST_BACKOFF_S: Final = 30.0
_REASON_LENGTH: Final = 200
_TRIES: Final = 100


class LogSubscription:
    """A `Subscription` on any store; several of one name may be open, in any process, and one of them works."""

    def __init__(
        self,
        store: EventStore,
        name: str,
        start: int,
        *,
        clock: Clock,
        filter: Filter | None,  # noqa: A002 - the word of the field
        attempts: int,
        backoff_s: float,
        chunk: int,
        lease_s: float,
    ) -> None:
        """Take part in a subscription; a new one begins after the position `start`."""
        self.name = name
        self._store = store
        self._start = start
        self._clock = clock
        self._filter = filter or Filter()
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._chunk = chunk
        self._lease_s = lease_s
        self._register()

    @cached_property
    def _log(self) -> structlog.stdlib.BoundLogger:
        logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(logging.getLogger("refold.store"))
        return logger.bind(subscription=self.name)

    def _register(self) -> int:
        """Return the checkpoint; a new subscription gets one."""
        found = self._store.checkpoint_of(self.name)
        if found is not None:
            return found
        with suppress(CheckpointConflict):  # somebody else was faster, and theirs counts
            self._store.advance(self.name, expected=None, position=self._start)
        return self._store.checkpoint_of(self.name) or 0

    # ---- how far

    @property
    def lag(self) -> int:
        """How many events of the log lie behind the checkpoint."""
        return self.describe().lag

    def describe(self) -> Progress:
        """Return how far it is."""
        return next(each for each in self._store.subscriptions() if each.name == self.name)

    def wait_for(
        self, position: int, *, timeout_s: float | None = None, stop: threading.Event | None = None
    ) -> bool:
        """Wait until the checkpoint has reached `position`."""
        return self._store.wait_for(position, subscription=self.name, timeout_s=timeout_s, stop=stop)

    # ---- going on

    def run(self, handler: Handler, *, stop: threading.Event | None = None, once: bool = False) -> Handled:
        """Call `handler` with every event, until `stop` is set, or with `once` until the present head is reached."""
        _check(handler)
        stopping, tally = stop or threading.Event(), Tally()
        with closing(self._wanted(stopping, tally, once=once)) as wanted:
            for turn, event in wanted:
                try:
                    self._handle(turn, event, handler, stopping)
                except CheckpointConflict:
                    turn.abandoned = True
                except _PASSING as error:
                    if once or isinstance(error, ViewStale):
                        raise
                    self._log.error("subscription.store_failed", error=type(error).__name__)
                    turn.abandoned = True
        return Handled(tally.events, tally.set_aside)

    def events(self, *, stop: threading.Event | None = None, once: bool = False) -> Iterator[StoredEvent]:
        """Yield every event; asking for the next one says that this one is done."""
        with closing(self._wanted(stop or threading.Event(), Tally(), once=once)) as wanted:
            for turn, event in wanted:
                yield event
                turn.accept(event.position, ())

    def _wanted(
        self, stop: threading.Event, tally: Tally, *, once: bool
    ) -> Generator[tuple[Turn, StoredEvent]]:
        """Yield each event to deliver with the turn that must be told about it; one not told about ends the turn."""
        goal = self._store.head() if once else None
        lease = Claim(self._store, f"subscription {self.name}", self._clock, self._lease_s)
        while not stop.is_set():
            try:
                if not self._take(lease, stop, goal):
                    return
                try:
                    turn = Turn(
                        self._store, self.name, lease, self._register(), chunk=self._chunk, tally=tally
                    )
                    yield from self._of_turn(turn, stop, goal)
                finally:
                    lease.release()
                if not turn.abandoned:
                    return
            except CheckpointConflict as conflict:
                self._log.warning("subscription.taken_over", reason=str(conflict))
            except _PASSING as error:
                if once or isinstance(error, ViewStale):
                    raise
                self._log.error("subscription.store_failed", error=type(error).__name__, reason=str(error))
            stop.wait(_PAUSE_S)

    def _take(self, lease: Claim, stop: threading.Event, goal: int | None) -> bool:
        """Wait for the lease; return False where there is nothing left to do with it."""
        while not stop.is_set():
            if lease.take() or lease.take_over():
                return True
            if goal is None:
                stop.wait(_PAUSE_S)
            elif self._store.wait_for(goal, subscription=self.name, timeout_s=_PAUSE_S, stop=stop):
                return False
        return False

    def _of_turn(
        self, turn: Turn, stop: threading.Event, goal: int | None
    ) -> Iterator[tuple[Turn, StoredEvent]]:
        head = self._store.head()
        if turn.position > head:
            raise EventMissing(head + 1)
        while not stop.is_set():
            try:
                yield from self._of_page(turn, stop)
            except CorruptLog:
                turn.commit()  # what lies before the damage is done, and not again at the next try
                raise
            turn.commit()
            if turn.abandoned:
                return
            if goal is not None and turn.position >= goal:
                return
            turn.renew()
            self._store.wait_for(turn.position + 1, timeout_s=self._lease_s / 3, stop=stop)

    def _of_page(self, turn: Turn, stop: threading.Event) -> Iterator[tuple[Turn, StoredEvent]]:
        """Yield what the log holds now."""
        for event in self._store.read_all(after=turn.position):
            if stop.is_set():
                return
            turn.renew()
            if not self._filter.takes(event):
                turn.skip(event.position)
            elif turn.is_set_aside(event.stream):
                turn.set_aside(self._waiting(event))
            else:
                try:
                    yield turn, event
                except GeneratorExit:
                    with suppress(CheckpointConflict, StoreError):
                        turn.commit()
                    raise
                if turn.position != event.position:
                    return
            if turn.is_full:
                turn.commit()

    # ---- one event

    def _handle(self, turn: Turn, event: StoredEvent, handler: Handler, stop: threading.Event) -> None:
        delay_s, attempt = self._backoff_s, 1
        while True:
            try:
                changes = tuple(checked_changes(handler(event) or ()))
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not hold up other streams
                letter = self._failed(event, error, attempt)
            else:
                turn.accept(event.position, changes)
                return
            if attempt == self._attempts:
                turn.set_aside(letter)
                return
            if self._paused(turn, delay_s, stop):
                return
            delay_s, attempt = min(2 * delay_s, _LONGEST_BACKOFF_S), attempt + 1

    def _paused(self, turn: Turn, delay_s: float, stop: threading.Event) -> bool:
        """Wait, and keep the lease however long that is; tell whether it is time to stop."""
        while delay_s > 0:
            part_s = min(delay_s, self._lease_s / 3)
            if stop.wait(part_s):
                return True
            turn.renew()
            delay_s -= part_s
        turn.renew()
        return stop.is_set()

    def _failed(self, event: StoredEvent, error: Exception, attempts: int) -> DeadLetter:
        kind, reason = type(error).__name__, _reason(error)
        self._log.error(
            "subscription.failed", position=event.position, attempt=attempts, error=kind, reason=reason
        )
        return DeadLetter(event, kind, reason, attempts, time_text(self._clock()))

    def _waiting(self, event: StoredEvent) -> DeadLetter:
        return DeadLetter(
            event, "", "an earlier event of its stream is set aside", 0, time_text(self._clock())
        )

    # ---- what was set aside

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Yield the events that were set aside, in the order of positions."""
        return self._store.dead_letters(self.name)

    def retry(self, handler: Handler, *, stop: threading.Event | None = None) -> Handled:
        """Call `handler` once with each event that was set aside, in order; one that fails holds back its stream."""
        _check(handler)
        stopping = stop or threading.Event()
        lease = Claim(self._store, f"dead letters {self.name}", self._clock, self._lease_s)
        if not self._take_for_retry(lease, stopping):
            here = self._register()
            raise CheckpointConflict(self.name, here, here, "its dead letters are being retried")
        failed: set[str] = set()
        done = Handled(0, 0)
        try:
            more = True
            while more and not stopping.is_set():  # while it retries, others may be set aside behind
                before = done.events
                for letter in self._retriable(failed, stopping):
                    if not lease.renew():
                        here = self._register()
                        raise CheckpointConflict(self.name, here, here, "its lease was taken over")
                    done = _sum(done, self._retried(letter, handler, failed))
                more = done.events > before
        finally:
            lease.release()
        return done

    def _take_for_retry(self, lease: Claim, stop: threading.Event) -> bool:
        """Take the lease; wait only where its end says nothing, to see whether its holder is alive."""
        while not lease.take():
            if not lease.is_beyond:
                return False
            if lease.take_over():
                return True
            if stop.wait(_PAUSE_S):
                return False
        return True

    def _retriable(self, failed: set[str], stop: threading.Event) -> Iterator[DeadLetter]:
        for letter in self._store.dead_letters(self.name):
            if stop.is_set():
                return
            if letter.event.stream not in failed:
                yield letter

    def _retried(self, letter: DeadLetter, handler: Handler, failed: set[str]) -> Handled:
        event = checked(letter.event)
        try:
            changes = tuple(checked_changes(handler(event) or ()))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not hold up other streams
            failed.add(event.stream)
            again = self._failed(event, error, letter.attempts + 1)
            self._settle(set_aside=[again])
            return Handled(0, 1)
        self._settle(changes=changes, resolved=[event.position])
        return Handled(1, 0)

    def _settle(
        self,
        *,
        changes: tuple[Change, ...] = (),
        set_aside: list[DeadLetter] | None = None,
        resolved: list[int] | None = None,
    ) -> None:
        """Change the dead letters, whatever the checkpoint is meanwhile.

        Raises:
            CheckpointConflict: one was settled by somebody else.
        """
        for tries_left in reversed(range(_TRIES)):
            here = self._register()
            try:
                self._store.advance(
                    self.name,
                    expected=here,
                    position=here,
                    changes=changes,
                    set_aside=set_aside or (),
                    resolved=resolved or (),
                )
            except CheckpointConflict as conflict:
                if conflict.expected == conflict.actual or not tries_left:
                    raise
            else:
                return


def _check(handler: object) -> None:
    """Refuse what would set every event aside."""
    if not callable(handler):
        raise InvalidInput(f"a handler must be callable, not {type(handler).__name__}")
    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        raise InvalidInput("the handler is a coroutine, which nobody would run: give a plain function")


def _sum(one: Handled, other: Handled) -> Handled:
    return Handled(one.events + other.events, one.set_aside + other.set_aside)


def _reason(error: Exception) -> str:
    """Return what may be kept of an error: our own text, or where a foreign one was raised."""
    if isinstance(error, RefoldError):
        return str(error)[:_REASON_LENGTH]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "raised at an unknown place"
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"raised at {file}:{trace.tb_lineno}"
