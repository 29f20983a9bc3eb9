"""Working: does what is due for every refund, several at once, until it is told to stop.

Any number of workers may work on one store. Leases keep them apart, the versions of the streams decide, and what one of
them leaves unfinished the next one finds in the log.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from ..domain.schedule import seconds_between
from ..errors import StoreError, VersionConflict, WrongProcess
from .agenda import Agenda
from .breaker import Breaker
from .journal import check_outside_batch
from .noticing import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from ..ports import Clock, EventStore, Gateway
    from .contacted import Contacted
    from .contacting import Contactor
    from .deciding import Decider

CONCURRENCY: Final = 8
"""Contacts at once with each gateway."""
_TICK_S: Final = 0.5
"""Seconds after which the log is looked at again for what others have appended."""
_OVERDUE_EVERY: Final = timedelta(minutes=1)
_MARKS_A_ROUND: Final = 100


@dataclass(slots=True)
class WorkReport:
    """What a worker has done and what lies before it.

    Attributes:
        contacts: how many contacts, by (gateway, phase, outcome).
        under_way: contacts begun and not finished.
        waiting: refunds without an outcome, or whose amount is held, that something is to be done about.
        rechecks: refunds whose outcome is to be looked at again some day.
        late_s: how many seconds the most overdue of them is late.
        resting: gateways that are left alone for a while, and until when.
    """

    contacts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    under_way: int = 0
    waiting: int = 0
    rechecks: int = 0
    late_s: int = 0
    resting: dict[str, datetime] = field(default_factory=dict)


class Worker:
    """Picks what is due and does it."""

    def __init__(
        self,
        store: EventStore,
        gateways: Mapping[str, Gateway],
        *,
        contactor: Contactor,
        decider: Decider,
        clock: Clock,
        watched: Mapping[str, Gateway] | None = None,
        concurrency: int = CONCURRENCY,
        on_progress: Callable[[WorkReport], None] | None = None,
    ) -> None:
        """Work for these gateways, with `concurrency` contacts at once with each of them.

        Refunds of those `watched` are marked overdue too: what nobody can send is what people must be told of.

        Raises:
            InvalidInput: a batch of this thread is open.
        """
        check_outside_batch(store, "talk to gateways")
        self._gateways = gateways
        self._watched = gateways if watched is None else watched
        self._contactor = contactor
        self._decider = decider
        self._clock = clock
        self._concurrency = concurrency
        self._on_progress = on_progress
        self._agenda = Agenda(store, gateways, clock)
        self._breakers = {name: Breaker() for name in gateways}
        self._under_way: dict[str, str] = {}
        """Gateway by refund of each contact that was begun; changed by the working thread alone."""
        self._finished: list[tuple[str, str, Contacted | BaseException | None]] = []
        """What the contacting threads hand back: refund, gateway and what came of it."""
        self._changed = threading.Condition()
        self._marked_at: datetime | None = None
        self._marking: Iterator[str] | None = None
        self._report = WorkReport()
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    def run(self, stop: threading.Event, *, once: bool = False) -> WorkReport:
        """Work until `stop` is set, or with `once` until nothing is due; contacts under way are waited for.

        Raises:
            StoreError: with `once`, the store failed; without, it is tried again.
        """
        with ExitStack() as stack:
            # A gateway that hangs fills its own threads and nobody else's.
            pools = {
                name: stack.enter_context(ThreadPoolExecutor(self._concurrency, f"refold-{name}"))
                for name in self._gateways
            }
            while not stop.is_set():
                begun = self._tried_step(pools, once=once)
                self._tell()
                if once and not (begun or self._under_way):
                    break
                self._rest(stop)
        self._take_finished()
        self._tell()
        return self._report

    # ---- one round

    def _tried_step(self, pools: Mapping[str, ThreadPoolExecutor], *, once: bool) -> int:
        try:
            return self._step(pools, once=once)
        except WrongProcess:  # no later round will do better
            raise
        except StoreError as error:
            if once:
                raise
            self._log.error("work.store_failed", error=type(error).__name__, reason=str(error))
            return 0

    def _step(self, pools: Mapping[str, ThreadPoolExecutor], *, once: bool) -> int:
        """Begin what is due, and return how many contacts that are."""
        self._take_finished()
        self._agenda.catch_up()
        now = self._clock()
        self._mark_overdue(now, None if once else _MARKS_A_ROUND)
        begun = 0
        for refund_id, gateway in self._agenda.take_due(now, self._is_free, self._has_room):
            self._under_way[refund_id] = gateway
            pools[gateway].submit(self._perform, refund_id, gateway)
            begun += 1
        return begun

    def _mark_overdue(self, now: datetime, most: int | None) -> None:
        """Mark what is overdue, so many a round: ten thousand of them must keep no refund from being sent."""
        if self._marking is None:
            if self._marked_at is not None and now - self._marked_at < _OVERDUE_EVERY:
                return
            self._marked_at = now
            self._marking = self._decider.marking_overdue(self._watched)
        marking, self._marking = self._marking, None  # should the store fail, it begins anew
        marked = sum(1 for _ in islice(marking, most))
        if marked == most:
            self._marking = marking

    def _has_room(self, gateway: str) -> bool:
        busy = sum(1 for name in self._under_way.values() if name == gateway)
        return busy < self._concurrency and not self._breakers[gateway].rests(self._clock())

    def _is_free(self, refund_id: str, gateway: str) -> bool:
        return refund_id not in self._under_way and self._breakers[gateway].allows(self._clock())

    def _perform(self, refund_id: str, gateway: str) -> None:
        result: Contacted | BaseException | None
        try:
            result = self._contactor.perform(self._gateways[gateway], refund_id)
        except BaseException as error:  # noqa: BLE001 - handed to the working thread, which would wait for it for ever
            result = error
        with self._changed:
            self._finished.append((refund_id, gateway, result))
            self._changed.notify_all()

    def _take_finished(self) -> None:
        while True:
            with self._changed:
                if not self._finished:
                    return
                refund_id, gateway, result = self._finished.pop(0)
            del self._under_way[refund_id]
            self._put_off(
                refund_id, gateway
            )  # should the store fail before it is planned anew, it comes back
            if isinstance(result, BaseException):
                self._fail(refund_id, gateway, result)
            elif result is None:
                self._nothing_done(refund_id, gateway)
            else:
                self._report.contacts[gateway, result.phase, result.outcome] += 1
                self._note(gateway, result)
                self._agenda.plan(refund_id)

    def _note(self, gateway: str, result: Contacted) -> None:
        if result.tried:
            self._breakers[gateway].note(
                self._clock(), healthy=result.healthy, retry_after_s=result.retry_after_s
            )
        else:
            self._breakers[gateway].forget_probe()

    def _put_off(self, refund_id: str, gateway: str) -> None:
        wait_s = self._gateways[gateway].capabilities.poll_interval_s
        self._agenda.put_off(refund_id, gateway, self._clock() + timedelta(seconds=wait_s))

    def _nothing_done(self, refund_id: str, gateway: str) -> None:
        """Come back to a refund that another worker is at, or that waits for another one of its payment."""
        self._breakers[gateway].forget_probe()
        self._agenda.plan(refund_id)
        if self._agenda.is_due(refund_id, self._clock()):
            self._put_off(refund_id, gateway)

    def _fail(self, refund_id: str, gateway: str, error: BaseException) -> None:
        self._breakers[gateway].forget_probe()
        if isinstance(error, VersionConflict):
            self._agenda.plan(refund_id)
            return
        level = self._log.warning if isinstance(error, StoreError) else self._log.error
        level("work.failed", refund_id=refund_id, gateway=gateway, **named(error))
        if not isinstance(error, StoreError):  # a damaged log, an adapter that breaks: the others go on
            self._agenda.set_aside(refund_id, gateway)

    # ---- between two rounds

    def _rest(self, stop: threading.Event) -> None:
        """Wait until a contact is finished, the next one is due, or it is time to look at the log again."""
        due_at, now, wait_s = self._agenda.next_due(), self._clock(), _TICK_S
        if due_at is not None and due_at > now:  # what is due already waits for a contact to finish
            wait_s = min((due_at - now).total_seconds(), _TICK_S)
        with self._changed:
            if not self._finished and not stop.is_set():
                self._changed.wait(wait_s)

    def _tell(self) -> None:
        now, due_at = self._clock(), self._agenda.next_due()
        self._report.under_way = len(self._under_way)
        self._report.rechecks = self._agenda.rechecks
        self._report.waiting = len(self._agenda) - self._report.rechecks
        self._report.late_s = 0 if due_at is None else seconds_between(due_at, now)
        self._report.resting = {
            name: breaker.open_until
            for name, breaker in self._breakers.items()
            if breaker.open_until is not None and breaker.open_until > now
        }
        if self._on_progress is not None:
            self._on_progress(self._report)
