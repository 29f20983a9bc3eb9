"""Subscribing: the one way to a subscription, shared by all stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..engine.domain.identifiers import identifier
from ..engine.domain.masking import shown
from ..engine.errors import CheckpointConflict, InvalidInput
from .subscription import LogSubscription

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..engine.ports import Clock, DeadLetter, EventStore, Filter
    from ..engine.ports.subscribing import Start

_DAY_S: Final = 86_400


class Subscribing:
    """Makes subscriptions on the store it is mixed into."""

    def subscribe(
        self: EventStore,
        name: str,
        *,
        clock: Clock,
        start: Start = "beginning",
        filter: Filter | None = None,  # noqa: A002 - the word of the field
        attempts: int = 3,
        backoff_s: float = 0.1,
        chunk: int = 100,
        lease_s: float = 30.0,
    ) -> LogSubscription:
        """Return the subscription of that name; a new one gets its checkpoint now, at `start`."""
        identifier("subscription", name)
        _whole("attempts", attempts)
        _whole("chunk", chunk)
        _seconds("backoff_s", backoff_s, 0)
        _seconds("lease_s", lease_s, 0.001)
        if filter is not None:
            _names("categories", filter.categories)
            _names("types", filter.types)
        return LogSubscription(
            self,
            name,
            _position(start, self.head()),
            clock=clock,
            filter=filter,
            attempts=attempts,
            backoff_s=backoff_s,
            chunk=chunk,
            lease_s=lease_s,
        )


def _position(start: Start, head: int) -> int:
    if start == "beginning":
        return 0
    if start == "end":
        return head
    if type(start) is not int or not 0 <= start <= head:
        raise InvalidInput(
            f"start {shown(start)} is neither 'beginning' nor 'end' nor a position from 0 to {head}, the head"
        )
    return start


def _whole(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise InvalidInput(f"{name} {shown(value)} is not a whole number from 1")


def _names(part: str, value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
        raise InvalidInput(f"the {part} of a filter must be a tuple of texts, not {shown(value)}")


def _seconds(name: str, value: object, least: float) -> None:
    if type(value) not in {int, float} or not least <= value <= _DAY_S:  # type: ignore[operator] # numbers, by then
        raise InvalidInput(f"{name} {shown(value)} is not a number of seconds from {least:g} to {_DAY_S}")


# ---- what every store checks before it waits


def check_wait(position: object, timeout_s: object) -> None:
    """Raise `InvalidInput` for what would never be reached, or never be over."""
    if type(position) is not int:
        raise InvalidInput(f"position {shown(position)} is not a whole number")
    if timeout_s is not None and (type(timeout_s) not in {int, float} or timeout_s != timeout_s):  # noqa: PLR0124 - NaN
        raise InvalidInput(f"timeout_s {shown(timeout_s)} is not a number of seconds, and not None")


# ---- what every store checks before it moves a checkpoint


def check_move(name: str, expected: int | None, actual: int | None, position: int, head: int) -> None:
    """Check that a checkpoint may move.

    Raises:
        InvalidInput: the name or the position cannot be.
        CheckpointConflict: it is not where the caller has seen it.
    """
    identifier("subscription", name)
    if expected != actual:
        raise CheckpointConflict(name, expected, actual)
    if type(position) is not int or not (actual or 0) <= position <= head:
        raise InvalidInput(
            f"a checkpoint at {actual or 0} cannot move to {shown(position)}: only up to {head}, the head"
        )


def taken_over(name: str, actual: int | None) -> CheckpointConflict:
    """Return the error of a consumer whose lease is another one's by now."""
    return CheckpointConflict(name, actual, actual, "its lease was taken over")


def settled(name: str, actual: int | None, position: int) -> CheckpointConflict:
    """Return the error for a dead letter that is none any more."""
    return CheckpointConflict(name, actual, actual, f"event {position} is not set aside any more")


def nothing_ahead(name: str, actual: int | None, letter: DeadLetter) -> CheckpointConflict:
    """Return the error for an event that would wait behind one that is settled."""
    event = letter.event
    return CheckpointConflict(
        name, actual, actual, f"event {event.position} has nothing to wait for in stream {event.stream}"
    )


def in_order(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return dead letters in the order of positions, so that each finds those it waits for."""
    return sorted(letters, key=lambda letter: letter.event.position)
