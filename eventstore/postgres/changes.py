"""View changes as the server applies them: calls of the views' functions, each with many rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from ...engine.ports import Delete
from .definitions import function_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...engine.ports import Change, Value

as_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
"""Return values as JSON text; what is put in as text comes out of the server as the same text."""


def calls(
    changes: Iterable[tuple[int, Change]], suffix: str = ""
) -> list[tuple[str, list[tuple[Value, ...]]]]:
    """Return changes, each with the number of the member that brings it, as calls of the views' functions.

    Changes of different rows can be applied in any order; those of one row follow each other, each in a later call,
    because one statement must not touch a row twice.
    """
    seen: dict[tuple[str, tuple[Value, ...]], int] = {}
    turns: list[dict[str, list[tuple[Value, ...]]]] = []
    for number, change in changes:
        view, values = change[:2]
        upsert, delete, places = function_names(view, suffix)
        if isinstance(change, Delete):
            function, key = delete, tuple(values)
        else:
            function, key = upsert, tuple([values[place] for place in places])
        turn = seen.get((view.name, key), 0)
        seen[view.name, key] = turn + 1
        if turn == len(turns):
            turns.append({})
        turns[turn].setdefault(function, []).append((number, *values))
    return [call for turn in turns for call in turn.items()]
