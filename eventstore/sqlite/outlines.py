"""The SQL of outlines: the rows of the plain streams, worked out inside SQLite.

A part of the streams becomes a table in memory, one row a stream (`outlined`), which the rows of the views are taken
from. The index `events_by_stream` holds all that is asked of most events.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from ...engine.ports.projecting import Entered
from ..outlining import SHAPE, UNKNOWN, Outlining, Sql, every, listed, numbers, without_rows
from .views import upsert
from .writer import BESIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...engine.ports import Value
    from ...engine.ports.projecting import Learned, Outline, RowOutline
    from ..outlining import Kind

AT: Final = "SELECT stream FROM events WHERE position = ?"
"""The stream of one event."""
STREAMS: Final = (
    "SELECT DISTINCT stream FROM events WHERE stream >= ? AND stream < ? AND position <= ? ORDER BY stream"
)
"""All streams of a part."""


# What SQLite takes out of JSON does not tell a list or an object from a text, nor true and false from 1 and 0: a stream
# with what may be either is left, as is one with a number of another kind, zero, or one that a sum may not hold. Every
# text is above every number, and the two signs at which a list and an object start are below these two.
_PLAIN: Final = {
    int: f"{{0}} BETWEEN 2 AND {10**18 - 1} AND typeof({{0}}) = 'integer'",
    str: "{0} > '' AND NOT ({0} >= '[' AND {0} < '\\') AND NOT ({0} >= '{{' AND {0} < '|')",
}
"""The condition that a field is one of a column's kind."""
_LEFT: Final = "'['"
"""No text that is plain."""
_ESCAPE: Final = "\\u"
"""An escape by number: it may stand for what no text can hold, or for half a character, or hide the name of a field."""


# SQLite reads the 31st of each month, and 24:00; once it reckons with them they are spelt otherwise.
_IS_TIME: Final = (
    "({0} >= '0001' AND julianday({0}) IS NOT NULL"
    " AND strftime('%Y-%m-%dT%H:%M', substr({0}, 1, 16), '+0 days') = substr({0}, 1, 16))"
)


class Statements(NamedTuple):
    """What an outline becomes.

    Attributes:
        outlined: makes the part's table; it takes the part's bounds after its own values.
        left: takes the streams that are left out of it, and returns them.
        filling: put what follows from the others into the tables of the views.
    """

    outlined: Sql
    left: Sql
    filling: tuple[Sql, ...]


# ---- statements


@cache
def statements(outline: Outline, suffix: str) -> Statements:
    """Return the statements of an outline; the tables to fill end with `suffix`."""
    return _SqliteOutlining(outline).statements(suffix)


class _SqliteOutlining(Outlining):
    """Makes the statements: every field that is asked for becomes a column of the part's table."""

    def __init__(self, outline: Outline) -> None:
        super().__init__(outline)
        self._fields: dict[Entered | Learned, str] = {}
        self._types: dict[tuple[str, ...], str] = {}

    def statements(self, suffix: str) -> Statements:
        plain = self._plain()
        filling = tuple(self._filled(row, suffix) for row in self._outline.rows)
        return Statements(
            outlined=self._outlined(),
            left=Sql(
                f"DELETE FROM {BESIDE}.outlined WHERE ({plain.text}) IS NOT TRUE RETURNING stream",  # noqa: S608 - made of constants
                plain.bound,
            ),
            filling=filling,
        )

    def _filled(self, row: RowOutline, suffix: str) -> Sql:
        cells = listed(self._cells(row))
        before, after = upsert(row.view, row.view.name + suffix)
        text = (
            f"{before} SELECT {cells.text} FROM {BESIDE}.outlined"  # noqa: S608 - made of constants
            f" WHERE rank IN ({numbers(row.ranks)}) {after}"
        )
        return Sql(text, cells.bound)

    def _needed(self, field: Entered | Learned, kind: Kind) -> list[Sql]:
        column = self._field(field, kind)
        plain = _PLAIN[kind].format(column)
        if not isinstance(field, Entered):
            return [Sql(f"({column} IS NULL OR {plain})")]
        if field.among is not None:
            return [Sql(f"{column} IN ({_marks(field.among)})", field.among)]
        return [Sql(plain)]

    def _is_time(self, column: str) -> Sql:
        return Sql(_IS_TIME.format(column))

    def _field(self, field: Entered | Learned, kind: Kind) -> str:  # noqa: ARG002 - a column here takes any kind
        return self._fields.setdefault(field, f"field_{len(self._fields)}")

    def _value(self, value: Value, kind: Kind) -> Sql:  # noqa: ARG002 - as above
        return Sql("?", (value,))

    # ---- the part's table

    def _outlined(self) -> Sql:
        """Return the statement that makes the table; it takes begin, end and position after its own values.

        A stream's events are read in the index alone, and the few whose data counts are found by their positions.
        """
        fields = [Sql(f"{sql.text} AS {name}", sql.bound) for name, sql in self._columns()]
        known = self._known()
        columns = listed(
            [
                Sql("each.stream, each.events, each.rank, each.latest_at"),
                *([Sql("opening.time AS opened_at")] if self._outline.opening is not None else []),
                *fields,
                Sql(f"{known.text} AS known", known.bound),
            ]
        )
        ranks = sorted(self._outline.ranks, key=itemgetter(1), reverse=True)  # the usual ones first
        inner = listed(
            [
                Sql("stream, count(*) AS events, max(version) AS last, max(time) AS latest_at"),
                Sql(
                    f"max(CASE type {' '.join(['WHEN ? THEN ?'] * len(ranks))} ELSE {UNKNOWN} END) AS rank",
                    tuple(chain.from_iterable(ranks)),
                ),
                Sql("min(time LIKE ?) AS spelt", (SHAPE,)),
                *([Sql("sum(type = ?) AS often", (self._outline.once,))] if self._outline.once else []),
                *(
                    Sql(f"min(CASE WHEN {_is_one_of(types)} THEN position END) AS {name}_at", types)
                    for types, name in self._types.items()
                ),
                *([Sql("min(position) AS opening_at")] if self._outline.opening is not None else []),
            ]
        )
        joins = "".join(
            f" LEFT JOIN events AS {name} ON {name}.position = each.{name}_at" for name in self._joined()
        )
        return Sql(
            f"CREATE TABLE {BESIDE}.outlined AS SELECT {columns.text} FROM (SELECT {inner.text} FROM events"  # noqa: S608 - made of constants
            f" WHERE stream >= ? AND stream < ? AND position <= ? GROUP BY stream{self._with_rows()}) AS each{joins}",
            columns.bound + inner.bound,
        )

    def _with_rows(self) -> str:
        """Return the condition that keeps out whole streams of a rank that has no rows."""
        without = without_rows(self._outline)
        return f" HAVING NOT (rank IN ({numbers(without)}) AND events = last)" if without else ""

    def _columns(self) -> Iterator[tuple[str, Sql]]:
        for field, name in list(self._fields.items()):
            path, event = f"$.{field.field}", self._event(field.types)
            if isinstance(field, Entered):
                yield name, Sql(f"json_extract({event}.data, ?)", (path,))
                continue
            first, later = self._learned(field, event), self._learned(field, "later")
            yield (
                name,
                Sql(
                    f"coalesce(nullif({first.text}, ''), (SELECT {later.text} FROM events AS later"  # noqa: S608 - made of constants
                    " WHERE later.stream = each.stream AND later.version <= each.last"
                    f" AND later.type IN ({_marks(field.types)}) AND json_extract(later.data, ?) <> ''"
                    " ORDER BY later.version LIMIT 1))",
                    (*first.bound, *later.bound, *field.types, path),
                ),
            )

    @staticmethod
    def _learned(field: Learned, event: str) -> Sql:
        """Return what an event says in a field, or what leaves its stream."""
        left = [_ESCAPE, *([f'"{field.unless}"'] if field.unless is not None else [])]
        named = " OR ".join([f"instr({event}.data, ?)"] * len(left))
        return Sql(
            f"CASE WHEN {named} THEN {_LEFT} ELSE json_extract({event}.data, ?) END",
            (*left, f"$.{field.field}"),
        )

    def _event(self, types: tuple[str, ...]) -> str:
        if self._outline.opening is not None and types == (self._outline.opening,):
            return "opening"
        return self._types.setdefault(types, f"first_{len(self._types)}")

    def _known(self) -> Sql:
        conditions = [Sql(f"each.rank < {UNKNOWN} AND each.events = each.last AND each.spelt")]
        if self._outline.opening is not None:
            conditions.append(Sql("opening.version = 1 AND opening.type = ?", (self._outline.opening,)))
        if self._outline.apart is not None:  # its name is enough, and faster to find than its value
            field, types, _ = self._outline.apart
            conditions.append(Sql(f"coalesce(instr({self._event(types)}.data, ?), 0) = 0", (f'"{field}"',)))
        if self._outline.once is not None:
            conditions.append(Sql("each.often < 2"))
        start = self._outline.start
        conditions += [
            Sql(
                f"({name}.data IS NULL OR substr({name}.data, 1, ?) = ? AND instr({name}.data, ?) = 0)",
                (len(start), start, _ESCAPE),
            )
            for name in self._joined()
        ]
        return every(conditions)

    def _joined(self) -> list[str]:
        """Return the events of each stream whose data is looked at."""
        return [*self._types.values(), *(["opening"] if self._outline.opening is not None else [])]


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))


def _is_one_of(types: tuple[str, ...]) -> str:
    """Return the condition; a list after IN would become a table to look into for each event."""
    return " OR ".join(["type = ?"] * len(types))
