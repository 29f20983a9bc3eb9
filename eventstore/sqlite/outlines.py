"""The SQL of outlines: the rows of the plain streams, worked out inside SQLite.

A part of the streams becomes a table in memory, one row a stream (`outlined`), which the rows of the views are taken
from. The index `events_by_stream` holds all that is asked of most events.
"""

from __future__ import annotations

from functools import cache
from itertools import chain, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from ...engine.ports.projecting import ByRank, Entered, Joined, Learned, Standing
from .views import upsert
from .writer import BESIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...engine.ports import Value
    from ...engine.ports.projecting import Cell, Outline, RowOutline

_UNKNOWN: Final = 99
"""The rank of what an outline does not know."""
_STANDING: Final = {
    Standing.EVENTS: "events",
    Standing.OPENED_AT: "opened_at",
    Standing.LATEST_AT: "latest_at",
}
_AT: Final = "SELECT stream FROM events WHERE position = ?"
STREAMS: Final = (
    "SELECT DISTINCT stream FROM events WHERE stream >= ? AND stream < ? AND position <= ? ORDER BY stream"
)
"""All streams of a part."""
_EVENTS_IN_PART: Final = 32_768
_SAMPLES: Final = 16
"""Events of each part that are looked at to find out where it begins."""


class Part(NamedTuple):
    """The streams from one name up to another, as they were at a position."""

    begin: str
    end: str
    upto: int


class _Sql(NamedTuple):
    text: str
    bound: tuple[Value, ...] = ()

    def holds(self, condition: str) -> _Sql:
        return _Sql(f"{self.text} {condition}", self.bound)


class Statements(NamedTuple):
    """What an outline becomes; the first takes the part's bounds after its own values."""

    outlined: _Sql
    left: _Sql
    filling: tuple[_Sql, ...]


# ---- parts


def names(outline: Outline) -> tuple[str, str]:
    """Return the first name a stream of the category could have, and the first one after them."""
    return f"{outline.category}-", f"{outline.category}."


def samples(upto: int) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """Yield the statements that each find one stream among the events up to a position, evenly spread."""
    count = upto // _EVENTS_IN_PART * _SAMPLES
    return ((_AT, (1 + upto * number // count,)) for number in range(count))


def parts(outline: Outline, upto: int, sampled: list[str]) -> list[Part]:
    """Return a category cut into parts of about as many events each, in order."""
    begin, end = names(outline)
    found = sorted(stream for stream in sampled if begin <= stream < end)
    cuts = [begin, *dict.fromkeys(found[_SAMPLES // 2 :: _SAMPLES]), end]
    return [Part(low, high, upto) for low, high in pairwise(cuts) if low < high]


# ---- statements


@cache
def statements(outline: Outline, suffix: str) -> Statements:
    """Return the statements of an outline; the tables to fill end with `suffix`."""
    return _Outlining(outline).statements(suffix)


class _Outlining:
    """Makes the statements: every field that is asked for becomes a column of the part's table."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._fields: dict[Entered | Learned, str] = {}
        self._types: dict[tuple[str, ...], str] = {}

    def statements(self, suffix: str) -> Statements:
        outline = self._outline
        filling = tuple(self._filled(row, suffix) for row in outline.rows)
        plain = _all([_Sql("known"), *map(self._complete, outline.rows)])
        return Statements(
            outlined=self._outlined(),
            left=_Sql(f"SELECT stream FROM {BESIDE}.outlined WHERE NOT ({plain.text})", plain.bound),  # noqa: S608 - made of constants
            filling=tuple(
                _Sql(each.text.replace("/*plain*/", plain.text), each.bound + plain.bound) for each in filling
            ),
        )

    def _complete(self, row: RowOutline) -> _Sql:
        """Return the condition that a stream has what the row must have, where it has the row."""
        needed = [
            self._cell(each).holds("IS NOT NULL")
            for each in dict.fromkeys(_fields(row.cells))
            if isinstance(each, Entered)
        ]
        if not needed:
            return _Sql("1")
        found = _all(needed)
        return _Sql(f"(rank NOT IN ({_numbers(row.ranks)}) OR ({found.text}))", found.bound)

    def _filled(self, row: RowOutline, suffix: str) -> _Sql:
        cells = [self._cell(cell) for cell in row.cells]
        before, after = upsert(row.view, row.view.name + suffix)
        selected = ", ".join(cell.text for cell in cells)
        text = (
            f"{before} SELECT {selected} FROM {BESIDE}.outlined"  # noqa: S608 - made of constants
            f" WHERE rank IN ({_numbers(row.ranks)}) AND /*plain*/ {after}"
        )
        return _Sql(text, tuple(chain.from_iterable(cell.bound for cell in cells)))

    def _cell(self, cell: Cell) -> _Sql:
        if isinstance(cell, Standing):
            return _Sql(_STANDING[cell])
        if isinstance(cell, Entered | Learned):
            return _Sql(self._fields.setdefault(cell, f"field_{len(self._fields)}"))
        if isinstance(cell, Joined):
            first, second = self._cell(cell.first), self._cell(cell.second)
            return _Sql(f"{first.text} || ' ' || {second.text}", first.bound + second.bound)
        if isinstance(cell, ByRank):
            values = [self._cell(value) for value in cell.values]
            cases = " ".join(f"WHEN {rank} THEN {value.text}" for rank, value in enumerate(values))
            return _Sql(f"CASE rank {cases} END", tuple(chain.from_iterable(value.bound for value in values)))
        return _Sql("?", (cell,))

    # ---- the part's table

    def _outlined(self) -> _Sql:
        """Return the statement that makes the table; it takes begin, end and position after its own values.

        A stream's events are read in the index alone, and the few whose data counts are found by their positions.
        """
        fields = [_Sql(f"{sql.text} AS {name}", sql.bound) for name, sql in self._columns()]
        known = self._known()
        columns = _listed(
            [
                _Sql("each.stream, each.events, each.rank, each.latest_at"),
                *([_Sql("opening.time AS opened_at")] if self._outline.opening is not None else []),
                *fields,
                _Sql(f"{known.text} AS known", known.bound),
            ]
        )
        ranks = sorted(self._outline.ranks, key=itemgetter(1), reverse=True)  # the usual ones first
        inner = _listed(
            [
                _Sql("stream, count(*) AS events, max(version) AS last, max(time) AS latest_at"),
                _Sql(
                    f"max(CASE type {' '.join(['WHEN ? THEN ?'] * len(ranks))} ELSE {_UNKNOWN} END) AS rank",
                    tuple(chain.from_iterable(ranks)),
                ),
                *([_Sql("sum(type = ?) AS often", (self._outline.once,))] if self._outline.once else []),
                *(
                    _Sql(f"min(CASE WHEN {_is_one_of(types)} THEN position END) AS {name}_at", types)
                    for types, name in self._types.items()
                ),
                *([_Sql("min(position) AS opening_at")] if self._outline.opening is not None else []),
            ]
        )
        joins = "".join(
            f" LEFT JOIN events AS {name} ON {name}.position = each.{name}_at" for name in self._joined()
        )
        return _Sql(
            f"CREATE TABLE {BESIDE}.outlined AS SELECT {columns.text} FROM (SELECT {inner.text} FROM events"  # noqa: S608 - made of constants
            f" WHERE stream >= ? AND stream < ? AND position <= ? GROUP BY stream{self._with_rows()}) AS each{joins}",
            columns.bound + inner.bound,
        )

    def _with_rows(self) -> str:
        """Return the condition that keeps out whole streams of a rank that has no rows: most payments have none."""
        ranks = {rank for _, rank in self._outline.ranks}
        without = tuple(sorted(ranks.difference(*(row.ranks for row in self._outline.rows))))
        return f" HAVING NOT (rank IN ({_numbers(without)}) AND events = last)" if without else ""

    def _columns(self) -> Iterator[tuple[str, _Sql]]:
        for field, name in list(self._fields.items()):
            path, event = f"$.{field.field}", self._event(field.types)
            first = f"json_extract({event}.data, ?)"
            if isinstance(field, Entered):
                yield name, _Sql(first, (path,))
                continue
            later = (
                "(SELECT json_extract(later.data, ?) FROM events AS later"  # noqa: S608 - made of constants
                " WHERE later.stream = each.stream AND later.version <= each.last"
                f" AND later.type IN ({_marks(field.types)}) AND json_extract(later.data, ?) <> ''"
                " ORDER BY later.version LIMIT 1)"
            )
            yield name, _Sql(f"coalesce(nullif({first}, ''), {later})", (path, path, *field.types, path))

    def _event(self, types: tuple[str, ...]) -> str:
        if self._outline.opening is not None and types == (self._outline.opening,):
            return "opening"
        return self._types.setdefault(types, f"first_{len(self._types)}")

    def _known(self) -> _Sql:
        conditions = [_Sql(f"each.rank < {_UNKNOWN} AND each.events = each.last")]
        if self._outline.opening is not None:
            conditions.append(_Sql("opening.version = 1 AND opening.type = ?", (self._outline.opening,)))
        if self._outline.apart is not None:  # its name is enough, and faster to find than its value
            field, types = self._outline.apart
            conditions.append(_Sql(f"coalesce(instr({self._event(types)}.data, ?), 0) = 0", (f'"{field}"',)))
        if self._outline.once is not None:
            conditions.append(_Sql("each.often < 2"))
        start = self._outline.start
        conditions += [
            _Sql(f"({name}.data IS NULL OR substr({name}.data, 1, ?) = ?)", (len(start), start))
            for name in self._joined()
        ]
        return _all(conditions)

    def _joined(self) -> list[str]:
        """Return the events of each stream whose data is looked at."""
        return [*self._types.values(), *(["opening"] if self._outline.opening is not None else [])]


def _fields(cells: tuple[Cell, ...]) -> Iterator[Cell]:
    for cell in cells:
        if isinstance(cell, Joined):
            yield from _fields((cell.first, cell.second))
        elif isinstance(cell, ByRank):
            yield from _fields(cell.values)
        else:
            yield cell


def _all(conditions: list[_Sql]) -> _Sql:
    return _Sql(
        " AND ".join(each.text for each in conditions),
        tuple(chain.from_iterable(each.bound for each in conditions)),
    )


def _listed(columns: list[_Sql]) -> _Sql:
    return _Sql(
        ", ".join(each.text for each in columns), tuple(chain.from_iterable(each.bound for each in columns))
    )


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))


def _is_one_of(types: tuple[str, ...]) -> str:
    """Return the condition; a list after IN would become a table to look into for each event."""
    return " OR ".join(["type = ?"] * len(types))


def _numbers(ranks: tuple[int, ...]) -> str:
    return ", ".join(map(str, ranks))
