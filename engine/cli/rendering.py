"""How refunds look in a terminal: as a table, as a sheet, as a timeline, and as a case for a person."""

from __future__ import annotations

from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING, Final

from rich.text import Text

from ..domain.attention import Attention
from ..domain.signals import State
from ..errors import RowCorrupt
from .output import PROSE, plain, wrapped
from .tables import Cell, Column, cell, fields, table
from .words import ATTENTION, ATTENTION_STYLE, STATE_STYLE, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from rich.console import RenderableType

    from ..audit.history import HistoryEntry
    from ..service.views import RefundView

_PAGE: Final = 500
"""Rows of one table; a longer list is printed as several, so that memory does not grow with it."""
_COLUMNS: Final = (
    Column("refund"),
    Column("gateway", leaves=2),
    Column("payment", leaves=1),
    Column("amount", right=True),
    Column("state"),
    Column("attention", wraps=True),
)


def moment(time: datetime) -> str:
    """Return a time for people: UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def state_cell(state: State) -> Cell:
    """Return a state as a cell."""
    return cell(state, STATE_STYLE[state])


def refund_tables(views: Iterable[RefundView], width: int) -> Iterator[tuple[RenderableType, int]]:
    """Yield tables of refunds while they come, each with its number of rows."""
    remaining = iter(views)
    damaged: RowCorrupt | None = None
    while True:
        page: list[RefundView] = []
        try:
            page.extend(islice(remaining, _PAGE))
        except RowCorrupt as error:
            damaged = error
        if page:
            yield table(_COLUMNS, [_row(view) for view in page], width), len(page)
        if damaged is not None:
            raise damaged
        if not page:
            return


def _row(view: RefundView) -> tuple[Cell, ...]:
    return (
        cell(view.refund_id),
        cell(view.gateway),
        cell(view.payment_id),
        cell(view.amount),
        state_cell(view.state),
        Cell(" ".join(map(plain, view.attention)), ATTENTION_STYLE),
    )


def sheet(view: RefundView) -> Text:
    """Return all that is known of one refund."""
    attention = Cell(
        " ".join(map(plain, view.attention)) or "none", ATTENTION_STYLE if view.attention else ""
    )
    rows = (
        ("refund", cell(view.refund_id)),
        ("gateway", cell(view.gateway)),
        ("payment", cell(view.payment_id)),
        ("amount", cell(view.amount)),
        ("state", state_cell(view.state)),
        ("attention", attention),
        ("gateway's id", cell(view.gateway_refund_id)),
        ("asked for", cell(f"{moment(view.requested_at)} UTC")),
        ("last event", cell(f"{moment(view.updated_at)} UTC")),
        ("events", cell(view.events)),
    )
    return fields([Column(name) for name, _ in rows], [value for _, value in rows])


# ---- timelines ------------------------------------------------------------------------------------------------


def headline(view: RefundView) -> Text:
    """Return a refund as one line."""
    line = Text.assemble((plain(view.refund_id), "bold"), f"  {plain(view.gateway)}  {view.amount}  ")
    line.append(str(view.state), STATE_STYLE[view.state])
    if view.attention:
        line.append(f"  {' '.join(map(plain, view.attention))}", ATTENTION_STYLE)
    return line


def timeline(entries: Iterable[HistoryEntry], width: int) -> Iterator[Text]:
    """Yield a timeline's lines: what came when and how, what it said, and what it changed."""
    state: State | None = None
    attention: frozenset[str] = frozenset()
    for entry in entries:
        yield _came(entry, state)
        for line in wrapped(entry.says, min(width, PROSE), " " * _INDENT):
            yield Text(line)
        raised = frozenset(entry.attention) - attention
        settled = attention - frozenset(entry.attention)
        for kind in sorted(raised):
            yield Text(f"{'':{_INDENT}}! {plain(kind)}", ATTENTION_STYLE)
        for kind in sorted(settled):
            yield Text(f"{'':{_INDENT}}no longer {plain(kind)}", "dim")
        state, attention = entry.state, frozenset(entry.attention)


_POSITION: Final = 6
_INDENT: Final = _POSITION + 2
_WHAT: Final = 31


def _came(entry: HistoryEntry, before: State | None) -> Text:
    what = entry.type.rpartition(".")[2].replace("_", " ")
    way = f"{what} ({entry.channel})" if entry.channel and entry.channel != "request" else what
    line = Text.assemble(
        (f"{entry.position:>{_POSITION}}  ", "dim"),
        f"{moment(entry.time)}  ",
        (f"{plain(way):<{_WHAT}}", "bold"),
    )
    if before is not None and before is not entry.state:
        line.append(f"{before} -> ").append(str(entry.state), STATE_STYLE[entry.state])
    elif before is None:
        line.append(str(entry.state), STATE_STYLE[entry.state])
    line.rstrip()
    return line


# ---- cases for a person -----------------------------------------------------------------------------------------


def case(view: RefundView, entries: Iterable[HistoryEntry], width: int) -> Iterator[Text]:
    """Yield the lines that explain why a person should look at a refund: what it means, what raised it, what to do."""
    yield headline(view)
    raised = _raised(entries)
    narrow = min(width, PROSE)
    for kind in view.attention:
        if kind not in ATTENTION:
            yield Text(f"  {plain(kind)}: {UNKNOWN}")
            continue
        explanation = ATTENTION[Attention(kind)]
        yield from map(Text, wrapped(f"{kind}: {explanation.means}", narrow, "  "))
        entry = raised.get(kind)
        if entry is not None:
            said = f"{moment(entry.time)} {entry.channel or 'refold'}: {entry.says}"
            yield from (Text(line, "dim") for line in wrapped(said, narrow, "    "))
        yield from map(Text, wrapped(f"> {explanation.do}", narrow, "    "))


def _raised(entries: Iterable[HistoryEntry]) -> dict[str, HistoryEntry]:
    """Return the entry that last raised each kind of attention."""
    raised: dict[str, HistoryEntry] = {}
    before: frozenset[str] = frozenset()
    for entry in entries:
        now = frozenset(entry.attention)
        raised.update(dict.fromkeys(now - before, entry))
        before = now
    return raised
