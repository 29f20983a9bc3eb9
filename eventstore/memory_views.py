"""The views of the memory store: dictionaries of rows by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.errors import InvalidInput
from ..engine.ports import Delete, Difference
from .request import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..engine.ports import Change, Value, View

    Table = dict[tuple[Value, ...], tuple[Value, ...]]
    Changed = dict[tuple[str, tuple[Value, ...]], tuple[Value, ...] | None]


def changed(views: Mapping[str, Table], changes: Iterable[Change]) -> Changed:
    """Return the rows as the changes leave them, None where they are deleted; the views stay as they are."""
    rows: Changed = {}
    for change in changes:
        view = change.view
        if isinstance(change, Delete):
            rows[view.name, change.key] = None
            continue
        named = dict(zip(view.names(), change.values, strict=True))
        key = tuple(named[name] for name in view.key)
        old = rows[view.name, key] if (view.name, key) in rows else views.get(view.name, {}).get(key)
        rows[view.name, key] = change.values if old is None else _merged(view, old, change.values)
    return rows


def store(views: dict[str, Table], rows: Changed) -> None:
    """Put the rows that `changed` has returned into the views."""
    for (name, key), values in rows.items():
        table = views.setdefault(name, {})
        if values is None:
            table.pop(key, None)
        else:
            table[key] = values


def rows(views: Mapping[str, Table], view: View, where: Mapping[str, Value]) -> list[dict[str, Any]]:
    """Return the rows of a view whose columns equal values, in no order."""
    named = (dict(zip(view.names(), values, strict=True)) for values in views.get(view.name, {}).values())
    return [row for row in named if all(row[name] == value for name, value in where.items())]


def _merged(view: View, old: tuple[Value, ...], new: tuple[Value, ...]) -> tuple[Value, ...]:
    def one(sums: bool, before: Any, after: Any) -> Any:  # noqa: ANN401, FBT001 - a cell is str, int or None
        if sums:
            total = (before or 0) + (after or 0)
            if not -LARGEST - 1 <= total <= LARGEST:
                raise InvalidInput("the memory store cannot hold a value: a sum is out of range")
            return total
        return before if after is None else after

    return tuple(
        one(column.sums, before, after) for column, before, after in zip(view.columns, old, new, strict=True)
    )


def differences(view: View, live: Table, rebuilt: Table) -> Iterator[Difference]:
    """Yield every key whose row is not the same in both."""
    names = view.names()
    for key in sorted(live.keys() | rebuilt.keys(), key=str):
        before, after = live.get(key), rebuilt.get(key)
        if before != after:
            yield Difference(
                view.name,
                key,
                None if before is None else dict(zip(names, before, strict=True)),
                None if after is None else dict(zip(names, after, strict=True)),
            )
