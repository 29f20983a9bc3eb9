"""A turn: one consumer's time at a subscription, from taking the lease to giving it back."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from ..engine.domain.wire import time_text
from ..engine.errors import CheckpointConflict, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ..engine.ports import Change, Clock, DeadLetter, EventStore

_MOST_SKIPPED: Final = 1_000
"""Events after which a checkpoint moves although none of them was delivered."""
_LONGEST_S: Final = 1.0
"""Seconds after which a chunk is committed although it has room."""


class Claim:
    """A consumer's claim to the lease of a name: renewed while it is alive, taken over when it is not.

    A holder renews its lease three times before it ends. Whoever waits and has not seen it change for all that time, by
    its own stopwatch, takes it over whenever its end may be: it was written by another clock, perhaps one days ahead.
    """

    def __init__(self, store: EventStore, name: str, clock: Clock, lease_s: float) -> None:
        """Hold nothing yet; the lease of that name ends `lease_s` seconds after it was last renewed."""
        self.token: int | None = None
        self._store = store
        self._name = name
        self._clock = clock
        self._lease = timedelta(seconds=lease_s)
        self._renew_at: datetime | None = None
        self._seen: tuple[int, float] | None = None  # another's token, and since when it is the same

    def take(self) -> bool:
        """Take it; tell whether nobody else holds it."""
        now = self._clock()
        self.token = self._store.claim(
            self._name,
            holder=f"process {os.getpid()}",
            now=time_text(now),
            until=time_text(now + self._lease),
        )
        self._renew_at = now + self._lease / 3
        return self.token is not None

    def take_over(self) -> bool:
        """Take it from a holder that was not seen to renew it for as long as it lasts; tell whether it is ours now."""
        held, now_s = self._store.lease(self._name), time.monotonic()
        if held is None:
            return self.take()
        if self._seen is None or self._seen[0] != held.token:
            self._seen = held.token, now_s
        if now_s - self._seen[1] < self._lease.total_seconds():
            return False
        log: structlog.stdlib.BoundLogger = structlog.wrap_logger(logging.getLogger("refold.store"))
        log.warning("lease.taken_over", lease=self._name, holder=held.holder, until=held.until)
        with self._store.batch():  # nobody gets in between the two
            self._store.release(held.token)
            return self.take()

    @property
    def is_beyond(self) -> bool:
        """Whether another one's lease ends later than one can that is taken now: its clock was ahead."""
        held = self._store.lease(self._name)
        return held is not None and held.until > time_text(self._clock() + self._lease)

    def renew(self) -> bool:
        """Take it anew where a third of its time is over; tell whether it is still ours."""
        if self.token is None or self._renew_at is None:
            return False
        if self._clock() < self._renew_at:
            return True
        with self._store.batch():  # nobody gets in between the two
            self._store.release(self.token)
            return self.take()

    def release(self) -> None:
        """Give it back; where the store cannot do that, it ends by itself."""
        if self.token is not None:
            with suppress(StoreError):
                self._store.release(self.token)


@dataclass(slots=True)
class Tally:
    """What all turns of one run have committed."""

    events: int = 0
    set_aside: int = 0


class Turn:
    """What a consumer has done since it took the lease, and what of it is not committed yet."""

    def __init__(
        self, store: EventStore, name: str, lease: Claim, checkpoint: int, *, chunk: int, tally: Tally
    ) -> None:
        """Go on from a checkpoint; at most `chunk` events are committed together, and counted in `tally`."""
        self.position = checkpoint
        """Up to here every event is handled, skipped or set aside, committed or not."""
        self.abandoned = False
        """The store failed the handler: what is not committed is to be done again."""
        self._store = store
        self._name = name
        self._lease = lease
        self._checkpoint = checkpoint
        self._chunk = chunk
        self._tally = tally
        self._changes: list[Change] = []
        self._letters: list[DeadLetter] = []
        self._accepted = 0
        self._began_s = time.monotonic()
        self._any_set_aside = self._look()

    def _look(self) -> bool:
        return next(iter(self._store.dead_letters(self._name)), None) is not None

    def renew(self) -> None:
        """Keep the lease.

        Raises:
            CheckpointConflict: another consumer has taken it over, or has done so and given it back.
        """
        held = self._lease.token
        if not self._lease.renew():
            raise CheckpointConflict(
                self._name, self._checkpoint, self._checkpoint, "its lease was taken over"
            )
        if self._lease.token != held:
            actual = self._store.checkpoint_of(self._name)
            if actual != self._checkpoint:
                raise CheckpointConflict(self._name, self._checkpoint, actual)

    def is_set_aside(self, stream: str) -> bool:
        """Tell whether an earlier event of that stream is a dead letter."""
        if any(letter.event.stream == stream for letter in self._letters):
            return True
        if not self._any_set_aside:
            return False
        return next(iter(self._store.dead_letters(self._name, stream=stream)), None) is not None

    def accept(self, position: int, changes: Iterable[Change]) -> None:
        """Note that the event at `position` was handled, and what it changes."""
        self._changes.extend(changes)
        self._accepted += 1
        self.position = position

    def skip(self, position: int) -> None:
        """Note that the event at `position` is not to be delivered."""
        self.position = position

    def set_aside(self, letter: DeadLetter) -> None:
        """Note that an event becomes a dead letter."""
        self._letters.append(letter)
        self.position = letter.event.position

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit."""
        return (
            self._accepted + len(self._letters) >= self._chunk
            or self.position - self._checkpoint >= _MOST_SKIPPED
            or (self._accepted > 0 and time.monotonic() - self._began_s >= _LONGEST_S)
        )

    def commit(self) -> None:
        """Make what was done durable, view changes and checkpoint in one transaction.

        Raises:
            CheckpointConflict: another consumer has taken over; nothing of it was committed.
        """
        if self.position > self._checkpoint:
            self._store.advance(
                self._name,
                expected=self._checkpoint,
                position=self.position,
                changes=self._changes,
                set_aside=self._letters,
                fence=self._lease.token,
            )
            self._tally.events += self._accepted
            self._tally.set_aside += len(self._letters)
        self._checkpoint = self.position
        self._changes, self._letters, self._accepted = [], [], 0
        self._began_s = time.monotonic()
        self._any_set_aside = self._look()
