"""Views as they are declared, checked before anything is made of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ..engine.domain.masking import shown
from ..engine.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from ..engine.ports import View

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
_LONGEST: Final = 40
"""PostgreSQL cuts names off after 63 bytes, those of functions and indexes included."""


def check_views(declared: Iterable[View], taken: AbstractSet[str] = frozenset()) -> None:
    """Check that views can be tables in every store, so that one that works in a test works in production.

    Args:
        declared: the views.
        taken: names of the store's own tables.

    Raises:
        InvalidSetting: one cannot; it names the view, and what to change.
    """
    seen: set[str] = set()
    for view in declared:
        _check(view, taken)
        if view.name in seen:
            raise InvalidSetting("view", f"two views are called {view.name}; rename one of the two")
        seen.add(view.name)


def _check(view: View, taken: AbstractSet[str]) -> None:
    names = view.names()
    for name in (view.name, *names):
        if (
            not isinstance(name, str)
            or not _NAME.fullmatch(name)
            or len(name) > _LONGEST
            or view.name in taken
        ):
            raise InvalidSetting(
                "view",
                f"{shown(view.name)}.{shown(name)} cannot be used; use other and short lower-case words",
            )
    if len(set(names)) != len(names):
        raise InvalidSetting("view", f"{view.name} has two columns of one name")
    for column in view.columns:
        if column.kind not in {str, int}:
            raise InvalidSetting(
                "view", f"{view.name}.{column.name} is of kind {column.kind!r}; use str or int"
            )
        if column.sums and (column.kind is not int or column.name in view.key):
            raise InvalidSetting(
                "view", f"{view.name}.{column.name} cannot add up: it is a text, or in the key"
            )
    for columns in (view.key, *view.indexes):
        unknown = [name for name in columns if name not in names]
        if unknown or not columns or len(set(columns)) != len(columns):
            raise InvalidSetting(
                "view",
                f"{view.name} has a key or an index of {shown(columns)}; name columns of it, each once:"
                f" {', '.join(names)}",
            )
