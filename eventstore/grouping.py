"""Group commit: callers who come while another one writes are taken along by the next, in one durable commit.

There is no thread of its own and no delay: who finds nobody writing writes at once, alone. Who comes meanwhile queues;
the one who has written hands its turn to the first in the queue, and that one takes along all who stand behind it.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..engine.errors import OutcomeUnknown, StoreBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Request = TypeVar("Request")
Result = TypeVar("Result")

_MOST: Final = 256
"""Requests that one commit takes along: a bound on how long a caller waits for its neighbours."""


class _Waiter:
    """One caller in the queue."""

    __slots__ = ("_ready", "leads")

    def __init__(self) -> None:
        self.leads = False
        """Whether it was woken to take its turn."""
        self._ready: threading.Lock | None = None

    def queue(self) -> None:
        """Become something that can be waited for."""
        self._ready = threading.Lock()
        self._ready.acquire()

    def wake(self) -> None:
        """Let the caller go on."""
        if self._ready is not None:
            self._ready.release()

    def wait(self, timeout_s: float = -1) -> bool:
        """Wait until `wake`; tell whether it came in time."""
        assert self._ready is not None, "only who is queued waits"  # noqa: S101 - for the type checker
        return self._ready.acquire(timeout=timeout_s)


class Member(_Waiter, Generic[Request, Result]):
    """One caller's part of a commit: its request, and then either a result or an error."""

    __slots__ = ("error", "request", "result")

    def __init__(self, request: Request) -> None:
        """Wrap a request."""
        self.leads = False
        self._ready = None
        self.request = request
        self.result: Result | None = None
        self.error: BaseException | None = None

    @property
    def settled(self) -> bool:
        """Whether it has a result or an error."""
        return self.result is not None or self.error is not None


class Turns(Generic[Request, Result]):
    """One writer at a time among the threads of a store, in the order in which they came."""

    def __init__(
        self, commit: Callable[[Sequence[Member[Request, Result]]], None], *, timeout_s: float
    ) -> None:
        """Write through `commit`.

        Args:
            commit: carries out the members' requests in one durable commit, in their order, and gives each its result
                or its error; what it raises is the error of every member that has neither.
            timeout_s: how long a caller waits for its turn.
        """
        self._commit = commit
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._queue: deque[_Waiter] = deque()
        """Only who has the turn takes anyone out, or who gives up waiting takes out itself."""

    def run(self, request: Request) -> Result:
        """Carry out a request, in a commit of its own or together with others.

        Raises:
            StoreBusy: it was not its turn in time; nothing was stored.
        """
        member: Member[Request, Result] = Member(request)
        if self._turn.acquire(blocking=False) or self._queued(member):
            self._lead(member)
        if member.error is not None:
            raise member.error
        return member.result  # type: ignore[return-value]  # it has no error, so it has a result

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep everybody else from writing inside the block.

        Raises:
            StoreBusy: it was not its turn in time; the block was not entered.
        """
        if not self._turn.acquire(blocking=False):
            self._queued(_Waiter())
        try:
            yield
        finally:
            self._pass_on()

    # ---- the queue

    def _queued(self, waiter: _Waiter) -> bool:
        """Wait until it is the waiter's turn, or another one has taken it along; tell whether it is its turn."""
        waiter.queue()
        self._queue.append(waiter)
        if self._turn.acquire(blocking=False):  # the turn was passed on to nobody just before
            self._queue.remove(waiter)
            return True
        try:
            arrived = waiter.wait(self._timeout_s)
        except BaseException:  # an interrupt: the turn may come all the same, and must not be lost
            if not self._withdrawn(waiter) and waiter.leads:
                self._pass_on()
            raise
        if not arrived and self._withdrawn(waiter):
            raise StoreBusy(self._timeout_s)
        return waiter.leads

    def _withdrawn(self, waiter: _Waiter) -> bool:
        """Take a waiter out of the queue; where another one has taken it along, or passed the turn on to it, wait."""
        try:
            self._queue.remove(waiter)
        except ValueError:
            waiter.wait()
            return False
        return True

    def _lead(self, first: Member[Request, Result]) -> None:
        members = [first]
        try:
            if self._queue:
                self._take_along(members)
            self._commit(members)
        except BaseException as error:
            self._fail(members, error)
            if not isinstance(error, Exception):
                raise
        finally:
            for member in members[1:]:
                member.wake()
            self._pass_on()

    def _take_along(self, members: list[Member[Request, Result]]) -> None:
        while len(members) < _MOST:
            try:
                following = self._queue.popleft()
            except IndexError:
                return
            if not isinstance(following, Member):
                self._queue.appendleft(following)
                return
            members.append(following)

    @staticmethod
    def _fail(members: Sequence[Member[Request, Result]], error: BaseException) -> None:
        for member in members:
            if not member.settled:
                # An interrupt is meant for the thread that leads; the others only know that they do not know.
                member.error = error if isinstance(error, Exception) else OutcomeUnknown(None)

    def _pass_on(self) -> None:
        while True:
            try:
                following = self._queue.popleft() if self._queue else None
            except IndexError:  # it gave up waiting just now
                following = None
            if following is not None:
                following.leads = True
                following.wake()
                return
            self._turn.release()
            # Who queued just now saw the turn taken: it must not wait for ever.
            if not self._queue or not self._turn.acquire(blocking=False):
                return
