"""The SQL of outlines: the rows of the plain streams, worked out inside the server.

One statement takes a part of the streams, one row a stream (`outlined`), puts the rows that follow from them into the
new tables, and answers which streams it leaves. What the server would refuse to read, or would read otherwise than the
fold, is left: data with an escape by number, a text in the place of a number, a number that is not whole.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

from ...engine.ports.projecting import Entered, Learned
from ..outlining import SHAPE, UNKNOWN, Outlining, Sql, asked, every, joined, listed, numbers, without_rows
from .rows import listed as named
from .views import TYPES, upsert

if TYPE_CHECKING:
    from ...engine.ports import Column, Value
    from ...engine.ports.projecting import Outline, RowOutline
    from ..outlining import Kind

AT: Final = "SELECT stream FROM events WHERE position = ANY(%s::bigint[])"
"""The streams of some events."""
STREAMS: Final = (
    "SELECT DISTINCT stream FROM events WHERE stream >= %s::text AND stream < %s::text"
    " AND position + 0 <= %s::bigint ORDER BY stream"
)
"""All streams of a part."""

# The sum keeps the planner on the index of streams: nearly every event of a part is below the position.
_PART: Final = (
    " FROM events WHERE stream >= %s::text AND stream < %s::text AND position + 0 <= %s::bigint"
    " GROUP BY stream"
)
_STATEMENT: Final = sql.SQL(
    "WITH streams AS ({}), fields AS ({}), outlined AS MATERIALIZED ({}), {}"
    " SELECT stream FROM outlined WHERE NOT plain ORDER BY stream"
)
_ROWS: Final = sql.SQL("{} AS ({} SELECT {} FROM outlined WHERE rank IN ({}) AND plain {})")
_SUMMED: Final = sql.SQL(
    "{} AS ({} SELECT {} FROM (SELECT stream, {} FROM outlined WHERE rank IN ({}) AND plain) AS made GROUP BY {} {})"
)
_LAST_SAID: Final = sql.SQL("(array_agg({0} ORDER BY stream DESC) FILTER (WHERE {0} IS NOT NULL))[1]")
# Zero and less are no amounts, and a number of more digits may be beyond a bigint.
_READ: Final = {
    int: "CASE WHEN {0} ~ '^[1-9][0-9]{{0,17}}$' THEN {0}::bigint END",
    str: "CASE WHEN starts_with({0}, '\"') THEN {0}::json #>> '{{}}' END",
}
"""A field as its column takes it, out of the JSON that stands in its place; nothing for one of another kind."""
# A cast would refuse a day that no month has, and with it the part. The 29th of February is left to the fold.
_IS_TIME: Final = (
    "({0} >= '0001' AND {0} ~ '^[0-9]{{4}}-"
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    "T([01][0-9]|2[0-3])(:[0-5][0-9]){{2}}[.][0-9]{{6}}Z$')"
)
_OPENING: Final = "opening"
_ESCAPE: Final = r"%\\u%"


class Statement(NamedTuple):
    """What an outline becomes; `Part` says which bounds follow the values before the rest."""

    text: sql.Composed
    before: tuple[Value, ...]
    after: tuple[Value, ...]


@cache
def statement(outline: Outline, suffix: str) -> Statement:
    """Return the statement of an outline; the tables to fill end with `suffix`."""
    return _PostgresOutlining(outline).statement(suffix)


class _PostgresOutlining(Outlining):
    """Makes the statement: every field that is asked for becomes a column of the part's table."""

    def __init__(self, outline: Outline) -> None:
        super().__init__(outline)
        self._fields: dict[tuple[Entered | Learned, Kind], str] = {}
        self._events: dict[Learned | tuple[str, ...], str] = {}
        """The events whose data is read, other than the first: the first of these types, or that names this field."""

    def statement(self, suffix: str) -> Statement:
        plain = self._plain()
        rows = [self._filled(f"row_{number}", row, suffix) for number, row in enumerate(self._outline.rows)]
        fields, outlined = self._read(), self._outlined(plain)
        streams = self._streams()
        text = _STATEMENT.format(
            sql.SQL(streams.text),
            sql.SQL(fields),
            sql.SQL(outlined),
            sql.SQL(", ").join(row for row, _ in rows),
        )
        after = (*plain.bound, *chain.from_iterable(bound for _, bound in rows))
        return Statement(text, streams.bound, after)

    # ---- the rows

    def _filled(self, name: str, row: RowOutline, suffix: str) -> tuple[sql.Composed, tuple[Value, ...]]:
        before, after = upsert(row.view, row.view.name + suffix)
        cells = self._cells(row)
        bound = tuple(chain.from_iterable(cell.bound for cell in cells))
        ranks = sql.SQL(numbers(row.ranks))
        columns = row.view.columns
        if not any(column.sums for column in columns):
            selected = sql.SQL(listed(cells).text)
            return _ROWS.format(sql.SQL(name), before, selected, ranks, after), bound
        # A statement must not touch a row twice: what several streams say of one is put together first.
        made = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.SQL(cell.text), sql.Identifier(column.name))
            for cell, column in zip(cells, columns, strict=True)
        )
        key = row.view.key
        together = sql.SQL(", ").join(_together(column, key) for column in columns)
        text = _SUMMED.format(sql.SQL(name), before, together, made, ranks, named(key), after)
        return text, bound

    def _needed(self, field: Entered | Learned, kind: Kind) -> list[Sql]:
        column = self._field(field, kind)
        if isinstance(field, Entered):
            known = Sql(f"{column} = ANY(%s::text[])", (_array(field.among),)) if field.among else None
            return [known or Sql(f"{column} IS NOT NULL")]
        # An event that names the field and says nothing there, or what is no text, is one for the fold.
        said = f"nullif({column}, '')" if kind is str else column
        return [Sql(f"({self._event(field)} IS NULL OR {said} IS NOT NULL)")]

    def _is_time(self, column: str) -> Sql:
        return Sql(_IS_TIME.format(column))

    def _field(self, field: Entered | Learned, kind: Kind) -> str:
        return self._fields.setdefault((field, kind), f"field_{len(self._fields)}")

    def _value(self, value: Value, kind: Kind) -> Sql:
        return Sql(f"%s::{TYPES[kind]}", (value,))

    # ---- the part's table

    def _event(self, field: Entered | Learned) -> str:
        """Return the column for the version of the event that a field is read from; `opening` holds its data."""
        if isinstance(field, Entered) and field.types == (self._outline.opening,):
            return _OPENING
        which = field if isinstance(field, Learned) else field.types
        return self._events.setdefault(which, f"event_{len(self._events)}")

    def _outlined(self, plain: Sql) -> str:
        """Return the SELECT of the part's table, with the fields as their columns take them, and what is plain.

        The inner SELECT stays one of its own: otherwise each field would be made again wherever it is asked for.
        """
        columns = ["stream", "events", "rank", "opened_at", "latest_at", "known", *self._events.values()]
        columns += [
            f"{_READ[kind].format(f'{name}_json')} AS {name}" for (_, kind), name in self._fields.items()
        ]
        made = f"SELECT {', '.join(columns)} FROM fields OFFSET 0"  # noqa: S608 - made of constants
        return f"SELECT made.*, ({plain.text}) IS TRUE AS plain FROM ({made}) AS made"  # noqa: S608 - as above

    def _read(self) -> str:
        """Return the SELECT that looks into the data of known streams; each text is parsed once, for all its fields."""
        columns, says = ["streams.*"], dict[str, dict[str, None]]()
        for (field, _), name in self._fields.items():
            event = self._event(field)
            columns.append(f'{event}_says."{field.field}"::text AS {name}_json')
            says.setdefault(event, {})[f'"{field.field}" json'] = None
        joins = [
            f"LEFT JOIN events AS {event}_is ON {event}_is.stream = streams.stream AND {event}_is.version = {event}"
            for event in self._events.values()
        ]
        for event, found in says.items():
            data = _OPENING if event == _OPENING else f"{event}_is.data"
            joins.append(
                f"LEFT JOIN LATERAL json_to_record(CASE WHEN known THEN {data}::json END)"
                f" AS {event}_says ({', '.join(found)}) ON true"
            )
        return f"SELECT {', '.join(columns)} FROM streams {' '.join(joins)} OFFSET 0"  # noqa: S608 - as above

    def _streams(self) -> Sql:
        """Return the SELECT that says of each stream what its events say together, and whether they are known."""
        counted = self._counted()
        without = without_rows(self._outline)
        rest = f" WHERE NOT (rank IN ({numbers(without)}) AND events = last)" if without else ""
        names = ", ".join(
            ["stream", "events", "rank", "opened_at", "latest_at", _OPENING, *self._events.values()]
        )
        known = f"rank < {UNKNOWN} AND events = last AND first = 1 AND legible AND NOT refused"
        return Sql(
            f"SELECT {names}, {known} AS known FROM (SELECT {counted.text}{_PART}) AS each{rest}",  # noqa: S608 - as above
            counted.bound,
        )

    def _counted(self) -> Sql:
        outline = self._outline
        ranks = sorted(outline.ranks, key=itemgetter(1), reverse=True)  # the usual ones first
        cases = joined([Sql(f"WHEN %s THEN {rank}", (type_,)) for type_, rank in ranks], " ")
        return listed(
            [
                Sql("stream, count(*) AS events, min(version) AS first, max(version) AS last"),
                Sql(f"max(CASE type {cases.text} ELSE {UNKNOWN} END) AS rank", cases.bound),
                Sql('min(time) FILTER (WHERE version = 1) AS opened_at, max(time COLLATE "C") AS latest_at'),
                # In an escape by number may stand what no text here can hold, or the name of a field.
                Sql(
                    "bool_and(starts_with(data, %s) AND data NOT LIKE %s AND time LIKE %s) AS legible",
                    (outline.start, _ESCAPE, SHAPE),
                ),
                self._refused(),
                Sql(f"min(data) FILTER (WHERE version = 1) AS {_OPENING}"),
                *(self._version(which, name) for which, name in self._events.items()),
            ]
        )

    def _refused(self) -> Sql:
        """Return whether the stream does not open as it should, depends on others, or says twice what it may once."""
        outline = self._outline
        found = [Sql("false")]
        if outline.opening is not None:
            found.append(Sql("bool_or(version = 1 AND type <> %s)", (outline.opening,)))
        if outline.apart is not None:
            says = _one_of(outline.apart.types, outline.apart.field)
            found.append(Sql(f"bool_or({says.text})", says.bound))
        for learned in {cell for row in outline.rows for cell, _ in asked(row) if isinstance(cell, Learned)}:
            if learned.unless is not None:
                says = _one_of(learned.types, learned.unless, learned.field)  # the rare one first
                found.append(Sql(f"bool_or({says.text})", says.bound))
        if outline.once is not None:
            found.append(Sql("count(*) FILTER (WHERE type = %s) > 1", (outline.once,)))
        refused = joined(found, " OR ")
        return Sql(f"({refused.text}) AS refused", refused.bound)

    @staticmethod
    def _version(which: Learned | tuple[str, ...], name: str) -> Sql:
        """Return the version of the first event of some types; of a field, the first one that names it."""
        found = _one_of(which.types, which.field) if isinstance(which, Learned) else _one_of(which)
        return Sql(f"min(version) FILTER (WHERE {found.text}) AS {name}", found.bound)


def _array(values: tuple[str, ...]) -> str:
    return "{" + ",".join(values) + "}"


def _one_of(types: tuple[str, ...], *fields: str) -> Sql:
    """Return the condition that an event is of one of these types, and that its data names these fields."""
    # LIKE would take twice as long: it tries at every quotation mark.
    says = [Sql("strpos(data, %s) > 0", (f'"{field}"',)) for field in fields]
    return every([Sql(f"type IN ({', '.join(['%s'] * len(types))})", types), *says])


def _together(column: Column, key: tuple[str, ...]) -> sql.Composable:
    """Return what a row says in a column where several streams have a part in it, as one upsert after another would."""
    name = sql.Identifier(column.name)
    if column.name in key:
        return name
    if column.sums:
        return sql.SQL("sum({})::bigint").format(name)
    return _LAST_SAID.format(name)
