"""Projections: what computes views from the log, for a store to fill their tables anew; and outlines of it.

An outline says in data how the rows of most streams follow from little of them: which types their events have, how
many there are, when the first and the last fact was, and a few fields of a few events. A store that can work that out
by itself is spared reading every event. It leaves a stream to the projection wherever the outline does not say all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .store import Change, Row, Value, View


class Standing(Enum):
    """What an outline knows of a stream without reading any event's data."""

    EVENTS = "events"
    """how many it has"""
    OPENED_AT = "opened_at"
    """the time of its first event; where that is not spelt as the log spells times, the stream is left"""
    LATEST_AT = "latest_at"
    """the latest time among its events, likewise"""


class Entered(NamedTuple):
    """A field of the first event of one of these types.

    A stream whose event lacks it is left to the projection, as is one where it is none `among` these.
    """

    field: str
    types: tuple[str, ...]
    among: tuple[str, ...] | None = None


class Learned(NamedTuple):
    """A field of the first event, among those of these types, in which it is there and not empty; else None.

    Where that event names `unless`, another field, the stream is left to the projection.
    """

    field: str
    types: tuple[str, ...]
    unless: str | None = None


class ByRank(NamedTuple):
    """What stands at the place of the stream's rank."""

    values: tuple[Value | Entered, ...]


class Joined(NamedTuple):
    """Two cells as one text, a space between them."""

    first: Cell
    second: Cell


Cell: TypeAlias = "Value | Standing | Entered | Learned | ByRank | Joined"


class RowOutline(NamedTuple):
    """A row that a stream adds to a view, where its rank is one of `ranks`; `cells` are those of all its columns."""

    view: View
    cells: tuple[Cell, ...]
    ranks: tuple[int, ...]


class Outline(NamedTuple):
    """How the streams of a category become rows.

    A stream is left to the projection where it has an event of a type without a rank, does not open with `opening`, has
    an event of the type `once` more than once, where the first event of the types of `apart` names that field, or where
    the data of an event that is looked at does not start with `start`.

    Attributes:
        category: of the streams.
        ranks: of each type of event; a stream has the highest rank of its events.
        rows: what a stream adds to the views.
        start: how the data of every event starts.
        opening: the type of the first event.
        once: a type.
        apart: a field of an event that makes a stream depend on others.
    """

    category: str
    ranks: tuple[tuple[str, int], ...]
    rows: tuple[RowOutline, ...]
    start: str
    opening: str | None = None
    once: str | None = None
    apart: Entered | None = None


Made: TypeAlias = "Callable[[View, Mapping[str, Value]], Iterable[Row]]"
"""Gives the rows of a view's new table whose columns equal values."""


class Projection(Protocol):
    """What computes views from the log."""

    @property
    def views(self) -> Sequence[View]:
        """The views that are filled."""
        ...

    @property
    def outlines(self) -> Sequence[Outline]:
        """Outlines that a store may use instead of asking for all of these categories; none for an audit."""
        ...

    def whole(self, upto: int, left: Mapping[str, Sequence[str]]) -> Iterable[Change]:
        """Yield what the log says up to position `upto`.

        Args:
            upto: later events are not to be looked at.
            left: by category, the streams that an outline left; of a category that is not there, all are asked for.
        """
        ...

    def since(self, after: int, upto: int) -> Iterable[Change]:
        """Yield what the events above position `after`, up to `upto`, change of that."""
        ...

    def as_live(self, made: Made) -> Iterable[Change]:
        """Yield what `whole` or `since` could not tell, as the live tables have it now.

        It is asked for after each of them, for what is new; the last time nobody else writes until the swap.

        Args:
            made: gives rows of the new tables.
        """
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """A projection of changes that are known: for a view's first table, and for logs that nobody appends to."""

    views: Sequence[View]
    changes: Iterable[Change] = ()
    outlines: Sequence[Outline] = ()

    def whole(self, upto: int, left: Mapping[str, Sequence[str]]) -> Iterable[Change]:  # noqa: ARG002 - it is all known
        """Return the changes."""
        return self.changes

    def since(self, after: int, upto: int) -> Iterable[Change]:  # noqa: ARG002 - as the protocol has it
        """Return nothing."""
        return ()

    def as_live(self, made: Made) -> Iterable[Change]:  # noqa: ARG002 - as the protocol has it
        """Return nothing."""
        return ()
