"""What the engine needs of subscriptions: reading the log on and on, and remembering how far."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from threading import Event
    from typing import Literal

    from .store import Change, StoredEvent
    from .system import Clock

    Start = int | Literal["beginning", "end"]
    """Where a new subscription begins: after that position, with the first event, or with the next one."""

Handler: TypeAlias = "Callable[[StoredEvent], Iterable[Change] | None]"
"""Called with each event; returns the view changes to commit with the checkpoint."""


class Filter(NamedTuple):
    """Which events a subscription delivers; an empty part accepts all.

    Attributes:
        categories: of the streams, such as `refund`.
        types: of the events, such as `evidence.success`.
    """

    categories: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def takes(self, event: StoredEvent) -> bool:
        """Tell whether the event is delivered."""
        return (not self.types or event.type in self.types) and (
            not self.categories or event.stream.partition("-")[0] in self.categories
        )


class DeadLetter(NamedTuple):
    """An event that a subscription has set aside, with its bytes as they were stored.

    Attributes:
        event: what could not be handled, or waits behind an earlier event of its stream that could not.
        error: the class of what the handler raised; empty for one that only waits.
        reason: more about it, without the text of foreign errors: that may hold a key or a card number.
        attempts: how often it was tried; 0 for one that only waits.
        time: when it was set aside (RFC 3339, UTC).
    """

    event: StoredEvent
    error: str
    reason: str
    attempts: int
    time: str


class Progress(NamedTuple):
    """How far a subscription is.

    Attributes:
        name: its name.
        checkpoint: the position up to which every event was handled, skipped or set aside.
        lag: how many events of the log lie behind it.
        dead_letters: how many events are set aside.
    """

    name: str
    checkpoint: int
    lag: int
    dead_letters: int


class Handled(NamedTuple):
    """What a run or a retry has done.

    Attributes:
        events: how many events the handler has accepted.
        set_aside: how many became dead letters, or stayed some.
    """

    events: int
    set_aside: int


class Subscription(Protocol):
    """Reads the log from a durable checkpoint, first what there is, then what comes, in the order of positions.

    An event is delivered at least once, and what the handler returns is applied exactly once: it is committed together
    with the checkpoint. Of several consumers of one name, in any number of processes, one works; another takes over
    where it ends or dies.
    """

    @property
    def name(self) -> str:
        """Its name, under which the store keeps the checkpoint."""
        ...

    @property
    def lag(self) -> int:
        """How many events of the log lie behind the checkpoint."""
        ...

    def run(self, handler: Handler, *, stop: Event | None = None, once: bool = False) -> Handled:
        """Call `handler` with every event, again and again until it succeeds or is out of attempts.

        An event it cannot handle is set aside as a dead letter, and with it all later ones of its stream; other
        streams go on. A `StoreError`, also one the handler raises, is no fault of the event: it is tried again.

        Args:
            handler: what to do; what it raises counts as a failed attempt.
            stop: set it, from another thread or a signal handler, to return after the event under way.
            once: return when every event that was there at the call is handled, by this or another consumer.

        Raises:
            CorruptLog: the log cannot be followed any more.
            StoreError: with `once`, the store failed; without, one that waiting does not cure, such as `ViewStale`.
        """
        ...

    def events(self, *, stop: Event | None = None, once: bool = False) -> Iterator[StoredEvent]:
        """Yield every event; asking for the next one says that this one is done. Close the iterator to end early."""
        ...

    def retry(self, handler: Handler, *, stop: Event | None = None) -> Handled:
        """Call `handler` once with each event that was set aside, in order; one that fails holds back its stream.

        Raises:
            CheckpointConflict: another consumer is retrying them.
        """
        ...

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Yield the events that were set aside, in the order of positions."""
        ...

    def wait_for(self, position: int, *, timeout_s: float | None = None, stop: Event | None = None) -> bool:
        """Wait until the checkpoint has reached `position`, so that a caller sees its own write in a view."""
        ...

    def describe(self) -> Progress:
        """Return how far it is."""
        ...


class Subscribable(Protocol):
    """The part of an event store that subscriptions are made of; all of it in the transactions of the log."""

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
        """Return the subscription of that name; a new one gets its checkpoint now, at `start`.

        Args:
            name: 1 to 128 printable ASCII characters.
            clock: for leases, and the times of dead letters.
            start: where a new one begins; one that exists goes on from its checkpoint.
            filter: which events it delivers; by default all. The checkpoint moves over the others.
            attempts: how often an event is tried before it is set aside.
            backoff_s: how long to wait before the second attempt; each further time twice as long, 30 s at most.
            chunk: how many events are committed together at most; a crash repeats no more than these.
            lease_s: after which time a consumer that died is replaced, whatever its clock said; a handler that takes
                longer than this may be called with the same event in another process. The same for all of a name.

        Raises:
            InvalidInput: an argument is wrong.
        """
        ...

    def subscriptions(self) -> list[Progress]:
        """Return how far every subscription is, by name."""
        ...

    def wait_for(
        self,
        position: int,
        *,
        subscription: str | None = None,
        timeout_s: float | None = None,
        stop: Event | None = None,
    ) -> bool:
        """Wait until the head of the log, or the checkpoint of a subscription, is at or above `position`.

        Args:
            position: what to wait for.
            subscription: whose checkpoint; None: the head.
            timeout_s: how long to wait at most; None: for ever.
            stop: ends the wait soon after it is set.

        Returns:
            whether it was reached, by whichever process.
        """
        ...

    def checkpoint_of(self, name: str) -> int | None:
        """Return the checkpoint of a subscription; None where there is none of that name."""
        ...

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
        """Move a checkpoint, apply view changes, and set events aside or settle them; all of it or nothing.

        Args:
            name: of the subscription.
            expected: its checkpoint as the caller has seen it; None for a new one.
            position: its new checkpoint: at least `expected`, at most the head.
            changes: what the events up to `position` change.
            set_aside: dead letters to keep, or to keep anew. One with no attempts needs an earlier one of its stream.
            resolved: positions of dead letters that are settled.
            fence: a lease that must still be held.

        Raises:
            CheckpointConflict: the checkpoint is another one, the lease was taken over, or a dead letter is settled.
            InvalidInput: a name or position that cannot be.
        """
        ...

    def dead_letters(self, name: str, *, stream: str | None = None, after: int = 0) -> Iterator[DeadLetter]:
        """Yield what a subscription has set aside, of one stream or of all, in the order of positions above `after`."""
        ...
