"""What the SQL of outlines has in common on every store: the parts of a log, and the cells of a row.

A part of the streams becomes a table, one row a stream, which the rows of the views are taken from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from ..engine.ports.projecting import ByRank, Entered, Joined, Learned, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..engine.ports import Value
    from ..engine.ports.projecting import Cell, Outline, RowOutline

SHAPE: Final = "____-__-__T__:__:__.______Z"
"""How the log spells a time (`refold.engine.domain.wire.time_text`), for LIKE."""
UNKNOWN: Final = 99
"""The rank of what an outline does not know."""
_STANDING: Final = {
    Standing.EVENTS: "events",
    Standing.OPENED_AT: "opened_at",
    Standing.LATEST_AT: "latest_at",
}
_EVENTS_IN_PART: Final = 32_768
_SAMPLES: Final = 16
"""Events of each part that are looked at to find out where it begins."""


# ---- parts


class Part(NamedTuple):
    """The streams from one name up to another, as they were at a position."""

    begin: str
    end: str
    upto: int


def names(outline: Outline) -> tuple[str, str]:
    """Return the first name a stream of the category could have, and the first one after them."""
    return f"{outline.category}-", f"{outline.category}."


def samples(upto: int) -> Iterator[int]:
    """Yield positions of events, evenly spread up to a position; the parts begin at the streams of some of them."""
    count = upto // _EVENTS_IN_PART * _SAMPLES
    return (1 + upto * number // count for number in range(count))


def parts(outline: Outline, upto: int, sampled: Iterable[str]) -> list[Part]:
    """Return a category cut into parts of about as many events each, in order."""
    begin, end = names(outline)
    found = sorted(stream for stream in sampled if begin <= stream < end)
    cuts = [begin, *dict.fromkeys(found[_SAMPLES // 2 :: _SAMPLES]), end]
    return [Part(low, high, upto) for low, high in pairwise(cuts) if low < high]


# ---- SQL


class Sql(NamedTuple):
    """A piece of a statement, and the values bound to its marks."""

    text: str
    bound: tuple[Value, ...] = ()


def joined(pieces: Iterable[Sql], between: str) -> Sql:
    """Return pieces as one, with a text between each two."""
    each = list(pieces)
    return Sql(between.join(piece.text for piece in each), tuple(chain.from_iterable(p.bound for p in each)))


def every(conditions: Iterable[Sql]) -> Sql:
    """Return the condition that all of them hold."""
    return joined(conditions, " AND ")


def listed(columns: Iterable[Sql]) -> Sql:
    """Return them with commas between."""
    return joined(columns, ", ")


def numbers(ranks: Iterable[int]) -> str:
    """Return ranks for a list after IN."""
    return ", ".join(map(str, ranks))


def without_rows(outline: Outline) -> tuple[int, ...]:
    """Return the ranks that add no row to any view: most payments have one of these."""
    ranks = {rank for _, rank in outline.ranks}
    return tuple(sorted(ranks.difference(*(row.ranks for row in outline.rows))))


Kind: TypeAlias = "type[str | int]"
"""Of a column."""


def asked(row: RowOutline) -> Iterator[tuple[Cell, Kind]]:
    """Yield the cells of a row, each with the kind of its column, and for those that are made of others these."""
    for cell, column in zip(row.cells, row.view.columns, strict=True):
        yield from _taken_apart(cell, column.kind)


def _taken_apart(cell: Cell, kind: Kind) -> Iterator[tuple[Cell, Kind]]:
    if isinstance(cell, Joined):
        yield from _taken_apart(cell.first, str)
        yield from _taken_apart(cell.second, str)
    elif isinstance(cell, ByRank):
        for value in cell.values:
            yield from _taken_apart(value, kind)
    else:
        yield cell, kind


class Outlining(ABC):
    """Makes conditions and cells out of the columns of a part's table."""

    def __init__(self, outline: Outline) -> None:
        """Make those of an outline."""
        self._outline = outline

    def _plain(self) -> Sql:
        """Return the condition that the outline says all of a stream: it knows it, and no row lacks a field."""
        cells = {cell for row in self._outline.rows for cell, _ in asked(row)}
        times = [_STANDING[each] for each in (Standing.OPENED_AT, Standing.LATEST_AT) if each in cells]
        return every(
            [
                Sql("known"),
                *map(self._is_time, times),
                *chain.from_iterable(map(self._complete, self._outline.rows)),
            ]
        )

    def _complete(self, row: RowOutline) -> list[Sql]:
        """Return the condition that a stream has what the row must have, where it has the row."""
        needed = every(
            condition
            for field, kind in dict.fromkeys(asked(row))
            if isinstance(field, Entered | Learned)
            for condition in self._needed(field, kind)
        )
        return (
            [Sql(f"(rank NOT IN ({numbers(row.ranks)}) OR {needed.text})", needed.bound)]
            if needed.text
            else []
        )

    def _cells(self, row: RowOutline) -> list[Sql]:
        """Return the cells of a row."""
        pairs = zip(row.cells, row.view.columns, strict=True)
        return [self._cell(cell, column.kind) for cell, column in pairs]

    def _cell(self, cell: Cell, kind: Kind) -> Sql:
        if isinstance(cell, Standing):
            return Sql(_STANDING[cell])
        if isinstance(cell, Entered | Learned):
            return Sql(self._field(cell, kind))
        if isinstance(cell, Joined):
            return joined([self._cell(cell.first, str), self._cell(cell.second, str)], " || ' ' || ")
        if isinstance(cell, ByRank):
            values = [self._cell(value, kind) for value in cell.values]
            cases = joined(
                [Sql(f"WHEN {rank} THEN {text}", bound) for rank, (text, bound) in enumerate(values)], " "
            )
            return Sql(f"CASE rank {cases.text} END", cases.bound)
        return self._value(cell, kind)

    @abstractmethod
    def _is_time(self, column: str) -> Sql:
        """Return the condition that a text of the `SHAPE` of a time is one there is."""

    @abstractmethod
    def _needed(self, field: Entered | Learned, kind: Kind) -> list[Sql]:
        """Return what must hold of a field, or the stream is left."""

    @abstractmethod
    def _field(self, field: Entered | Learned, kind: Kind) -> str:
        """Return the column that holds a field."""

    @abstractmethod
    def _value(self, value: Value, kind: Kind) -> Sql:
        """Return a mark for a value."""
