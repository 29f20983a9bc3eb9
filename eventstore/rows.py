"""Rows of tables, as the SELECTs of both databases bring them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from ..engine.errors import InvalidInput, InvalidText, ViewStale
from ..engine.ports import Upsert
from .codec import storable
from .request import check_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..engine.ports import Row, Value, View


def live_rows(view: View, found: Iterable[tuple[Any, ...]]) -> Iterator[Row]:
    """Yield the rows that were found, each behind whether its table is as this process knows it, and whether it is one.

    All come of one statement: another version may put its own table in the place at any time. Where there is no row,
    one is found all the same, which says that it is none. A key says nothing: damage may have emptied it.

    Raises:
        ViewStale: the table is of another version, or was never made.
    """
    names = view.names()
    each = iter(found)
    first = next(each, None)
    if first is None or not first[0]:
        raise ViewStale(view.name)
    if not first[1]:
        return
    for _, _, *values in chain([first], each):
        yield dict(zip(names, values, strict=True))


def whole_rows(view: View, names: Sequence[str], found: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Return rows of a table that has these of the view's columns: None for what is missing or was never a value of it.

    A row without a key is none of the view's.
    """
    wanted, kinds = view.names(), [column.kind for column in view.columns]
    keys = [wanted.index(name) for name in view.key]
    rows: list[Row] = []
    for cells in found:
        values = cells
        if len(names) < len(wanted):
            there = dict(zip(names, cells, strict=True))
            values = tuple(there.get(name) for name in wanted)
        try:
            check_change(Upsert(view, values))
        except InvalidInput:
            values = tuple(map(_value, kinds, values))
            if any(values[place] is None for place in keys):
                continue
        rows.append(dict(zip(wanted, values, strict=True)))
    return rows


def tellable(row: Row) -> Row:
    """Return a row as a report can show it: what no cell can hold as the text of it."""
    return {name: as_value(cell) for name, cell in row.items()}


def as_value(cell: object) -> Value:
    """Return a cell; bytes, fractions and what is no text as they would stand in a program."""
    if cell is None or type(cell) is int:
        return cell
    if not isinstance(cell, str):
        return ascii(cell)
    try:
        storable("cell", cell)
    except InvalidText:
        return ascii(cell)
    return cell


def _value(kind: type, cell: object) -> Value:
    if isinstance(cell, str) and kind is str:
        try:
            storable("cell", cell)
        except InvalidText:
            return None
        return cell
    return cell if isinstance(cell, int) and kind is int else None
