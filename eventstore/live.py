"""Rows of live tables, as the SELECTs of both databases bring them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from ..engine.errors import ViewStale

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..engine.ports import Row, View


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
