"""How far subscriptions are, and what they set aside: read page by page, for every store that keeps it in tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ..engine.ports import DeadLetter, Progress, StoredEvent
from .subscribing import Subscribing, check_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from threading import Event

_FIELDS: Final = len(StoredEvent._fields)
_PAGE: Final = 32

Connection = TypeVar("Connection")


class Checkpoints(Subscribing, Generic[Connection]):
    """Reads the checkpoints and dead letters of the store it is mixed into."""

    if TYPE_CHECKING:

        def head(self) -> int: ...  # noqa: D102 - the store's own
        def _check_open(self) -> None: ...
        def _reading(self) -> AbstractContextManager[Connection]: ...
        def _wait_until(
            self, reached: Callable[[], bool], *, timeout_s: float | None, stop: Event | None
        ) -> bool: ...
        def _checkpoint(self, connection: Connection, name: str, /) -> int | None: ...
        def _letters(
            self, connection: Connection, name: str, stream: str | None, after: int, limit: int, /
        ) -> list[tuple[Any, ...]]: ...
        def _checkpoints(self, connection: Connection, /) -> list[tuple[str, int, int]]: ...

    def wait_for(
        self,
        position: int,
        *,
        subscription: str | None = None,
        timeout_s: float | None = None,
        stop: Event | None = None,
    ) -> bool:
        """Wait until the head, or the checkpoint of a subscription, is at or above `position`."""
        check_wait(position, timeout_s)

        def reached() -> bool:
            there = self.head() if subscription is None else self.checkpoint_of(subscription)
            return there is not None and there >= position

        return reached() or self._wait_until(reached, timeout_s=timeout_s, stop=stop)

    def checkpoint_of(self, name: str) -> int | None:
        """Return the checkpoint of a subscription; None where there is none of that name."""
        with self._reading() as connection:
            return self._checkpoint(connection, name)

    def dead_letters(self, name: str, *, stream: str | None = None, after: int = 0) -> Iterator[DeadLetter]:
        """Yield what a subscription has set aside, of one stream or of all, in the order of positions."""
        self._check_open()
        return self._dead_letters(name, stream, after)

    def _dead_letters(self, name: str, stream: str | None, after: int) -> Iterator[DeadLetter]:
        while True:
            with self._reading() as connection:
                page = self._letters(connection, name, stream, after, _PAGE)
            for values in page:
                letter = DeadLetter(StoredEvent._make(values[:_FIELDS]), *values[_FIELDS:])
                after = letter.event.position
                yield letter
            if len(page) < _PAGE:
                return

    def subscriptions(self) -> list[Progress]:
        """Return how far every subscription is, by name."""
        head = self.head()
        with self._reading() as connection:
            found = self._checkpoints(connection)
        return [Progress(name, at, max(head - at, 0), letters) for name, at, letters in found]
