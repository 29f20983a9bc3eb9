"""Rows of tables, as the SELECTs of both databases bring them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from ..engine.errors import InvalidText, ViewStale
from .codec import storable
from .request import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..engine.ports import Row, Value, View


def live_rows(view: View, found: Iterable[tuple[Any, ...]]) -> Iterator[Row]:
    """Yield the rows that were found, each behind whether its table is as this process knows it.

    Both come of one statement: another version may put its own table in the place at any time. Where there is no row,
    one is found all the same, with that and no key.

    Raises:
        ViewStale: the table is of another version, or was never made.
    """
    names = view.names()
    each = iter(found)
    first = next(each, None)
    if first is None or not first[0]:
        raise ViewStale(view.name)
    if first[1 + names.index(view.key[0])] is None:
        return
    for _, *values in chain([first], each):
        yield dict(zip(names, values, strict=True))


def whole_rows(view: View, names: Sequence[str], found: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Return rows of a table that has these of the view's columns: None for what is missing or was never a value of it.

    A row without a key is none of the view's.
    """
    kinds = [column.kind for name in names for column in view.columns if column.name == name]
    empty: dict[str, Value] = dict.fromkeys(view.names())
    rows = [
        empty | {name: _value(kind, value) for name, kind, value in zip(names, kinds, values, strict=True)}
        for values in found
    ]
    return [row for row in rows if all(row[name] is not None for name in view.key)]


def _value(kind: type, value: object) -> Value:
    if isinstance(value, str) and kind is str:
        try:
            storable("cell", value)
        except InvalidText:
            return None
        return value
    if isinstance(value, int) and kind is int and -LARGEST - 1 <= value <= LARGEST:
        return value
    return None
