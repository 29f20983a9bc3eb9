"""Views as they are declared, checked before anything is made of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ..engine.domain.masking import shown
from ..engine.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..engine.ports import View

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
_LONGEST: Final = 40
"""PostgreSQL cuts names off after 63 bytes, those of functions and indexes included."""
OWN: Final = frozenset(
    {"bodies", "dead_letters", "events", "head", "keys", "leases", "migrations", "subscriptions", "views"}
    | {"dead_letters_by_stream", "events_by_stream"}
)
"""The tables of the stores themselves, and their indexes."""
_OF_DATABASES: Final = ("pg_", "sqlite_")
"""How names begin that databases have for themselves."""
_HIDDEN: Final = frozenset({"cmax", "cmin", "ctid", "oid", "rowid", "tableoid", "xmax", "xmin"})
"""Columns that every table of a database has anyway."""
_MOST_INDEXED: Final = 32
"""Columns that an index of PostgreSQL can have."""
_LONGEST_INDEX: Final = 55
"""Letters in the name of an index, so that PostgreSQL cuts none off while a table is made anew."""


def index_name(view: View, columns: Sequence[str]) -> str:
    """Return the name of an index of a view."""
    return f"{view.name}_by_{'_'.join(columns)}"


def check_views(declared: Iterable[View]) -> None:
    """Check that views can be tables in every store, so that one that works in a test works in production.

    Raises:
        InvalidSetting: one cannot; it names the view, and what to change.
    """
    seen: set[str] = set()
    for view in declared:
        _check_names(view)
        _check_columns(view)
        _check_indexes(view)
        if view.name in seen:
            raise InvalidSetting("view", f"two views are called {view.name}; rename one of the two")
        seen.add(view.name)


def _check_names(view: View) -> None:
    names = view.names()
    if (
        view.name in OWN
        or str(view.name).startswith(_OF_DATABASES)
        or not _HIDDEN.isdisjoint(map(str, names))
    ):
        raise InvalidSetting(
            "view", f"{shown(view.name)} has a name, or a column's, that is a database's own; use another"
        )
    for name in (view.name, *names):
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST:
            raise InvalidSetting(
                "view",
                f"{shown(view.name)}.{shown(name)} cannot be used; use other and short lower-case words",
            )
    if len(set(names)) != len(names):
        raise InvalidSetting("view", f"{view.name} has two columns of one name")


def _check_columns(view: View) -> None:
    for column in view.columns:
        if column.kind not in {str, int}:
            raise InvalidSetting(
                "view", f"{view.name}.{column.name} is of kind {column.kind!r}; use str or int"
            )
        if column.sums and (column.kind is not int or column.name in view.key):
            raise InvalidSetting(
                "view", f"{view.name}.{column.name} cannot add up: it is a text, or in the key"
            )


def _check_indexes(view: View) -> None:
    names = view.names()
    for columns in (view.key, *view.indexes):
        unknown = [name for name in columns if name not in names]
        if unknown or not 0 < len(set(columns)) == len(columns) <= _MOST_INDEXED:
            raise InvalidSetting(
                "view",
                f"{view.name} has a key or an index of {shown(columns)}; name columns of it, each once"
                f" and {_MOST_INDEXED} at most: {', '.join(names)}",
            )
    called = [index_name(view, columns) for columns in view.indexes]
    if len(set(called)) != len(called) or max(map(len, called), default=0) > _LONGEST_INDEX:
        raise InvalidSetting(
            "view",
            f"the indexes of {view.name} would be called {shown(called)}: twice the same, or longer than"
            f" {_LONGEST_INDEX} letters; name other columns",
        )
