"""Delivering: telling other systems what happened to refunds, from the log, at least once and in order."""

from __future__ import annotations

import inspect
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from ..domain.identifiers import identifier
from ..domain.masking import shown
from ..errors import InvalidInput
from ..ports import Filter
from .effects import EffectKind, Effects
from .journal import check_outside_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..ports import Clock, EventStore, Progress, StoredEvent
    from ..ports.subscribing import Start, Subscription
    from .effects import Effect

    EffectHandler = Callable[[Effect], object]
    """Called with each effect, which is told when it returns; what it raises is a failed attempt.

    What it returns is not looked at, unless it is a coroutine or a generator: nobody would run that.
    """

_WOULD_NOT_RUN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
_NEVER_RUN = (
    "the handler is a coroutine or a generator, which nobody would run: give a plain function;"
    " asyncio.run_coroutine_threadsafe(...).result() waits in it for what a loop does"
)
STATE_CHANGES = frozenset({EffectKind.STATE_CHANGED})


class Delivered(NamedTuple):
    """What a delivery has done.

    Attributes:
        effects: how many effects the handler has accepted.
        set_aside: how many events became dead letters, or stayed some.
    """

    effects: int
    set_aside: int


class Delivering:
    """Gives effects to handlers. Replays, rebuilds and reading the past never do: only what is written here does."""

    store: EventStore
    _clock: Clock

    def deliver(
        self,
        name: str,
        handler: EffectHandler,
        *,
        stop: Event | None = None,
        once: bool = False,
        start: Start = "end",
        kinds: Collection[EffectKind | str] = STATE_CHANGES,
        attempts: int = 5,
        backoff_s: float = 0.5,
        lease_s: float = 60.0,
    ) -> Delivered:
        """Call `handler` with each effect: at least once, those of one refund in order, under a key that stays.

        How far it is stands in the store under `name`. The checkpoint moves after each event, so that a crash repeats
        the effects of one event at most. Of several processes with one name, one delivers.

        Args:
            name: of the subscription; one for each receiver.
            handler: what to do. After `attempts` failures the effect is set aside with all later ones of its refund,
                and other refunds go on; `redeliver` tries them again. A `StoreError` counts for no attempt.
            stop: set it, from another thread or a signal handler, to return after the effect under way.
            once: return when everything that was there at the call is delivered.
            start: where a new name begins: "end" for what happens from now on, or "beginning", or a position.
            kinds: which effects; by default changes of state.
            attempts: how often an effect is tried before it is set aside.
            backoff_s: how long to wait before the second attempt; each further time twice as long, 30 s at most.
            lease_s: longer than the handler ever takes; then another process takes over from one that died.

        Raises:
            InvalidInput: an argument is wrong, or a batch of this thread is open.
            CorruptLog: the log cannot be followed any more.
            StoreError: with `once`, the store failed; without, one that waiting does not cure.
        """
        check_outside_batch(self.store, "deliver effects")
        giving = _Giving(self.store, handler, kinds)
        _check(stop, once=once)
        member = self._subscribed(name, start=start, attempts=attempts, backoff_s=backoff_s, lease_s=lease_s)
        done = member.run(giving, stop=stop, once=once)
        return Delivered(giving.effects, done.set_aside)

    def redeliver(
        self,
        name: str,
        handler: EffectHandler,
        *,
        stop: Event | None = None,
        kinds: Collection[EffectKind | str],
    ) -> Delivered:
        """Try once more what was set aside, in order; a refund whose effect fails again stays set aside.

        Args:
            name: of the subscription.
            handler: what to do.
            stop: set it to return after the effect under way.
            kinds: those that were given to `deliver`: an event without any of them is done with.

        Raises:
            CheckpointConflict: another process is doing so.
            InvalidInput: nothing was ever delivered under that name, or a batch of this thread is open.
        """
        check_outside_batch(self.store, "deliver effects")
        giving = _Giving(self.store, handler, kinds)
        _check(stop)
        if self.store.checkpoint_of(identifier("subscription", name)) is None:
            raise InvalidInput(f"there is no subscription {shown(name)}; `deliver` makes one")
        done = self._subscribed(name, start="end").retry(giving, stop=stop)
        return Delivered(giving.effects, done.set_aside)

    def subscriptions(self) -> list[Progress]:
        """Return how far every subscription is: its checkpoint, its lag, and how much it has set aside."""
        return self.store.subscriptions()

    def _subscribed(
        self,
        name: str,
        *,
        start: Start,
        attempts: int = 1,
        backoff_s: float = 0,
        lease_s: float = 60.0,
    ) -> Subscription:
        return self.store.subscribe(
            name,
            clock=self._clock,
            start=start,
            filter=Filter(categories=("refund",)),
            attempts=attempts,
            backoff_s=backoff_s,
            chunk=1,
            lease_s=lease_s,
        )


class _Giving:
    """Gives the effects of an event to a handler."""

    def __init__(
        self, store: EventStore, handler: EffectHandler, kinds: Collection[EffectKind | str]
    ) -> None:
        if not callable(handler):
            raise InvalidInput(f"a handler must be callable, not {type(handler).__name__}")
        if any(each(handler) for each in _WOULD_NOT_RUN):
            raise InvalidInput(_NEVER_RUN)
        self.effects = 0
        self._handler = handler
        self._effects = Effects(store)
        self._kinds = _kinds(kinds)

    def __call__(self, event: StoredEvent) -> None:
        for effect in self._effects.of(event):
            if effect.kind in self._kinds:
                returned = self._handler(effect)
                _check_has_run(returned)
                self.effects += 1


def _check_has_run(returned: object) -> None:
    if inspect.iscoroutine(returned):
        returned.close()  # or Python would warn that nobody awaits it
    if inspect.isawaitable(returned) or inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        raise InvalidInput(_NEVER_RUN)


def _kinds(given: Collection[EffectKind | str]) -> frozenset[EffectKind]:
    try:
        found = frozenset(map(EffectKind, given))
    except (TypeError, ValueError):
        found = frozenset()
    if not found:
        raise InvalidInput(f"kinds must be some of {', '.join(EffectKind)}")
    return found


def _check(stop: object, *, once: object = True) -> None:
    """Refuse what would deliver for ever, or end in the middle: nobody could tell it to stop."""
    if stop is not None and not isinstance(stop, Event):
        raise InvalidInput(f"stop must be a threading.Event, not {type(stop).__name__}")
    if type(once) is not bool:
        raise InvalidInput(f"once must be True or False, not {shown(once)}")
