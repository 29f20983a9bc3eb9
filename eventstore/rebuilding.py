"""Rebuilding views while others write: new tables beside the live ones are filled, caught up, and put in their place.

The new tables are filled in many short transactions, as of the position the log had at the beginning. What was appended
meanwhile is added by and by; only the last of it, the comparison and the swap happen while nobody else writes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..engine.errors import RebuildOvertaken, StoreError, StoreUnavailable
from .declared import check_views
from .request import checked_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ..engine.ports import Change, Difference, Row, Value, View
    from ..engine.ports.projecting import Projection

NUMBER: Final = "__new"
"""What the number of the last rebuild is kept under, among the definitions of views; no view can have that name."""
_AT_ONCE: Final = 1_000
"""Changes that one transaction applies."""
_FEW: Final = 100
"""Events that may be left for the end, when nobody else writes."""
_ROUNDS: Final = 10
"""How often what was appended meanwhile is added before the end: writers may be faster for ever."""
_PATIENCE_S: Final = 60
"""How long the swap is tried again and again while somebody else uses the live tables."""
_PAUSE_S: Final = 0.5


class NewTables(Protocol):
    """What a store does with the tables of a rebuild, each inside of a transaction that is given."""

    def stale(self, connection: Any, views: Iterable[View], /) -> list[View]:  # noqa: ANN401 - each store has its own kind
        """Return the views whose live table was made with another definition, or is lost."""

    def create(self, connection: Any, views: Sequence[View], /) -> None:  # noqa: ANN401
        """Make the live tables of views that have no definition, empty."""

    def are_there(self, connection: Any, views: Iterable[View], /) -> bool:  # noqa: ANN401
        """Tell whether there is a new table of one of these views."""

    def begin(self, connection: Any, views: Sequence[View], /) -> int:  # noqa: ANN401
        """Make empty tables beside the live ones, and return the number of this rebuild, which no other one has.

        The tables of an older rebuild go; the live ones stay as they are, whatever version they are of.
        """

    def number(self, connection: Any, /) -> int:  # noqa: ANN401
        """Return the number of the last rebuild that began."""

    def fill(self, connection: Any, changes: Sequence[Change], /) -> None:  # noqa: ANN401
        """Apply changes to the new tables."""

    def index(self, connection: Any, view: View, number: int, /) -> None:  # noqa: ANN401
        """Give a new table its indexes."""

    def rows(self, connection: Any, view: View, where: Mapping[str, Value], /) -> Sequence[Row]:  # noqa: ANN401
        """Return the rows of a new table whose columns equal values."""

    def differences(self, connection: Any, view: View, /) -> Iterator[Difference]:  # noqa: ANN401
        """Yield every key whose row is not the same in the live and the new table; a stale one has no rows."""

    def can_swap(self, connection: Any, views: Iterable[View], /) -> bool:  # noqa: ANN401
        """Tell whether nobody uses the live tables in a way that keeps them in their place."""

    def swap(self, connection: Any, views: Sequence[View], /) -> bool:  # noqa: ANN401
        """Put the new tables in the place of the live ones; False, and nothing is done, where somebody uses those."""

    def give_up(self, connection: Any, views: Iterable[View], /) -> None:  # noqa: ANN401
        """Take the new tables away."""


class Rebuilding(ABC):
    """The part of a store that rebuilds its views."""

    _new: NewTables
    _views: Sequence[View]

    @property
    def views_stale(self) -> bool:
        """Whether the views must be rebuilt before use, as the store has them now."""
        with self._reading() as connection, self._translated():
            return bool(self._new.stale(connection, self._views))

    @property
    def rebuild_under_way(self) -> bool:
        """Whether there are new tables: somebody fills them, or has died while doing so."""
        with self._reading() as connection, self._translated():
            return self._new.are_there(connection, self._views)

    def create_views(self, views: Sequence[View]) -> None:
        """Make the tables of views that the store has never had, empty; those it has stay, of whatever version."""
        check_views(views)
        with self._writing() as connection, self._translated():
            self._new.create(connection, views)

    def rebuild(self, projection: Projection, *, compare: bool = True) -> list[Difference]:
        """Fill new tables, compare them with the live ones, swap, and return every difference."""
        views = projection.views
        check_views(views)
        with self._filling() as connection, self._translated():
            number = self._new.begin(connection, views)
        try:
            upto = self._filled(number, projection)
            return self._put_in_place(number, projection, upto, compare=compare)
        except BaseException:
            self._give_up(views, number)
            raise

    def _filled(self, number: int, projection: Projection) -> int:
        """Fill the new tables while others write, and return the position up to which they hold everything."""
        upto = self.head()
        left = self._outlined(number, projection, upto)
        self._fill(number, projection.whole(upto, left))
        for view in projection.views:
            with self._tables(number) as connection, self._translated():
                self._new.index(connection, view, number)
        self._fill_as_live(number, projection)
        return upto

    def _caught_up(self, number: int, projection: Projection, upto: int) -> int:
        """Add what was appended meanwhile, and return the position up to which the new tables hold everything."""
        for _ in range(_ROUNDS):
            head = self.head()
            if head - upto <= _FEW:
                break
            self._fill(number, projection.since(upto, head))
            self._fill_as_live(number, projection)
            upto = head
        return upto

    def _fill_as_live(self, number: int, projection: Projection) -> None:
        """Add what the live tables have and the projection cannot tell."""

        def made(view: View, where: Mapping[str, Value]) -> Sequence[Row]:
            with self._tables(number) as connection, self._translated():
                return self._new.rows(connection, view, where)

        self._fill(number, projection.as_live(made))

    def _fill(self, number: int, changes: Iterable[Change]) -> None:
        each = iter(checked_changes(changes))
        while chunk := list(islice(each, _AT_ONCE)):
            with self._tables(number) as connection, self._translated():
                self._new.fill(connection, chunk)

    def _put_in_place(
        self, number: int, projection: Projection, upto: int, *, compare: bool
    ) -> list[Difference]:
        """Swap the tables as soon as nobody else uses the live ones, and return the differences there were."""
        views, compared, pause = projection.views, projection.views if compare else (), Event()
        began = time.monotonic()
        while True:
            upto = self._caught_up(number, projection, upto)
            with self._tables(number, lasting=True) as connection, self._translated():
                # What is asked for last may be in use by then all the same: then what was added stays there.
                if self._new.can_swap(connection, views):
                    upto = self._added(connection, projection, upto)
                    found = [each for view in compared for each in self._new.differences(connection, view)]
                    if self._new.swap(connection, views):
                        return found
            taken_s = time.monotonic() - began
            if taken_s >= _PATIENCE_S or self.in_batch:  # a batch keeps all others from writing
                raise StoreUnavailable(
                    f"for {taken_s:.0f} s the tables of views were never free, as while a dump or a report reads them;"
                    " the views are as they were: repeat the rebuild when that has ended"
                )
            pause.wait(_PAUSE_S)

    def _added(self, connection: Any, projection: Projection, upto: int) -> int:  # noqa: ANN401 - each store has its own kind
        """Add the last of what was appended, while nobody else writes, and return the log's last position."""
        head = self.head()
        if head > upto:
            self._new.fill(connection, list(checked_changes(projection.since(upto, head))))
        as_live = list(checked_changes(projection.as_live(partial(self._new.rows, connection))))
        if as_live:
            self._new.fill(connection, as_live)
        return head

    @contextmanager
    def _tables(self, number: int, *, lasting: bool = False, beside: bytes | None = None) -> Iterator[Any]:
        """Give a transaction, as long as the new tables are those of the rebuild of that number."""
        with self._writing() if lasting else self._filling(beside) as connection:
            with self._translated():
                newest = self._new.number(connection)
            if newest != number:
                raise RebuildOvertaken
            yield connection

    def _give_up(self, views: Sequence[View], number: int) -> None:
        with suppress(StoreError), self._tables(number) as connection, self._translated():
            self._new.give_up(connection, views)

    def _outlined(self, number: int, projection: Projection, upto: int) -> Mapping[str, Sequence[str]]:  # noqa: ARG002 - a store may do without outlines
        """Fill in what outlines say, and return by category the streams they leave."""
        return {}

    # ---- what a store has

    @abstractmethod
    def head(self) -> int:
        """Return the last position."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Any]:
        """Give a connection to read from."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Any]:
        """Give a transaction while nobody else writes."""

    def _filling(self, beside: bytes | None = None) -> AbstractContextManager[Any]:  # noqa: ARG002 - a store may do without
        """Give a transaction of what need not last: tables that nobody reads before the end."""
        return self._writing()

    @property
    @abstractmethod
    def in_batch(self) -> bool:
        """Tell whether a batch of this thread is open."""

    @abstractmethod
    def _translated(self) -> AbstractContextManager[None]:
        """Turn the errors of the library underneath into ours."""
