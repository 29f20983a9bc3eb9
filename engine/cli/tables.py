"""Tables that never cut or wrap an id: a window that is too narrow gets fewer columns, and then one block a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .output import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

_GAP: Final = 2


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        right: align to the right.
        wraps: its cells may be wrapped between words.
        leaves: columns leave a narrow window in this order, from 1; 0 stays.
    """

    head: str
    right: bool = False
    wraps: bool = False
    leaves: int = 0


class Cell(NamedTuple):
    """What stands in a table, and its style."""

    text: str
    style: str = ""


def cell(value: object, style: str = "") -> Cell:
    """Return a value as a cell, safe on a terminal."""
    return Cell("-" if value is None else plain(value), style)


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> RenderableType:
    """Return the rows as a table of at most `width` columns, or as one block a row where that cannot be."""
    least = [_least(column, [row[index].text for row in rows]) for index, column in enumerate(columns)]
    shown = list(range(len(columns)))
    leaving = sorted((column.leaves, index) for index, column in enumerate(columns) if column.leaves)
    while sum(least[index] + _GAP for index in shown) - _GAP > width:
        if not leaving:
            return _blocks(columns, rows)
        shown.remove(leaving.pop(0)[1])
    made = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False
    )
    for index in shown:
        column = columns[index]
        made.add_column(
            column.head,
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            overflow="fold",
            min_width=least[index],
        )
    for row in rows:
        made.add_row(*(Text(row[index].text, row[index].style) for index in shown))
    if len(shown) == len(columns):
        return made
    hidden = ", ".join(column.head for index, column in enumerate(columns) if index not in shown)
    return Group(made, Text(f"(not shown, the window is too narrow: {hidden})", "dim"))


def _least(column: Column, texts: Sequence[str]) -> int:
    words = [word for text in (column.head, *texts) for word in (text.split() if column.wraps else [text])]
    return max(map(cell_len, words), default=0)


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> RenderableType:
    return Text("\n\n").join(fields(columns, row) for row in rows)


def fields(columns: Sequence[Column], row: Sequence[Cell]) -> Text:
    """Return one row as lines of name and value."""
    name_width = max(len(column.head) for column in columns) + _GAP
    block = Text(no_wrap=True, overflow="ignore")
    for column, each in zip(columns, row, strict=True):
        block.append("\n" if block else "").append(f"{column.head:<{name_width}}", "bold")
        block.append(each.text, each.style)
    return block
