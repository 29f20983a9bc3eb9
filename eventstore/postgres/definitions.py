"""What a view is called in the database: its table, and the functions that change it."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ...engine.ports import View


class FunctionNames(NamedTuple):
    """The functions that change a view, and which of its columns are the key."""

    upsert: str
    delete: str
    key: tuple[int, ...]


@cache
def function_names(view: View, suffix: str = "") -> FunctionNames:
    """Return the names of a view's functions.

    They hold the definition's digest: a process with another definition must not fill columns it does not know.
    """
    made = sha256(view.definition().encode()).hexdigest()[:8]
    names, table = view.names(), view.name + suffix
    return FunctionNames(
        f"{table}__set_{made}", f"{table}__unset_{made}", tuple(names.index(name) for name in view.key)
    )
