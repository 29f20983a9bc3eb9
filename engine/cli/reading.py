"""`refold list`, `refold payments`, `refold show`, `refold history`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..composition import all_gateways
from ..domain.attention import Attention
from ..domain.masking import shown
from ..domain.money import major_text
from ..domain.signals import State
from ..errors import InvalidInput, UnknownGateway
from .output import counted
from .rendering import headline, refund_tables, sheet, timeline
from .session import AsJson, Db, RefundId, session
from .tables import Cell, Column, cell, table
from .words import ATTENTION_STYLE

if TYPE_CHECKING:
    from ..service.facade import RefundEngine
    from ..service.views import PaymentView

_POSITION: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


def list_refunds(
    context: typer.Context,
    *,
    state: Annotated[
        State | None,
        typer.Option(metavar="STATE", help=f"Only refunds in this state: {', '.join(State)}."),
    ] = None,
    gateway: Annotated[str | None, typer.Option(help="Only refunds at this gateway.")] = None,
    payment: Annotated[str | None, typer.Option(help="Only refunds of this payment.")] = None,
    attention: Annotated[
        Attention | None,
        typer.Option(
            metavar="REASON", help=f"Only refunds a person should look at because of: {', '.join(Attention)}."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """List refunds, in the order in which they were asked for."""
    current = session(context)
    output = current.output
    with current.reading(db) as engine:
        if gateway is not None:
            _check_gateway(engine, gateway)
        views = engine.find(
            state=state, gateway=gateway, payment_id=payment, attention=attention, limit=limit
        )
        if as_json:
            output.json_array(view.to_json() for view in views)
            return
        count = 0
        for made, rows in refund_tables(views, output.out.width):
            output.show(made)
            count += rows
    output.say(counted(count, "refund"), "dim")


def _check_gateway(engine: RefundEngine, name: str) -> None:
    """Raise `UnknownGateway` for a name that no adapter has, and no refund: a service may have added its own."""
    known = [gateway.name for gateway in all_gateways()]
    if name not in known and not any(engine.find(gateway=name, limit=1)):
        raise UnknownGateway(name, known)


def payments(
    context: typer.Context,
    *,
    payment: Annotated[str | None, typer.Option(help="Only this payment.")] = None,
    over_refunded: Annotated[
        bool,
        typer.Option(
            "--over-refunded", help="Only payments that gave back more than was captured, or may have."
        ),
    ] = False,
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """List payments: what was captured, what their refunds keep reserved, what was refunded, and what is left."""
    current = session(context)
    output = current.output
    found: list[PaymentView] = []
    with current.reading(db) as engine:
        views = engine.payments(over_refunded=over_refunded)
        wanted = (view for view in views if payment is None or view.payment_id == payment)
        if as_json:
            output.json_array(view.to_json() for view in wanted)
            return
        try:
            found.extend(wanted)
        finally:  # those before a damaged one are shown, and then the error
            if found:
                output.show(table(_PAYMENTS, [_payment(view) for view in found], output.out.width))
    output.say(counted(len(found), "payment"), "dim")


_PAYMENTS: Final = (
    Column("payment"),
    Column("gateway", leaves=1),
    Column("captured", right=True),
    Column("reserved", right=True),
    Column("refunded", right=True),
    Column("left", right=True),
    Column("refunds", right=True, leaves=2),
)


def _payment(view: PaymentView) -> tuple[Cell, ...]:
    def money(minor: int | None) -> str | None:
        return None if minor is None else f"{major_text(minor, view.currency)} {view.currency}"

    return (
        cell(view.payment_id),
        cell(view.gateway),
        cell(money(view.captured_minor)),
        cell(money(view.reserved_minor), ATTENTION_STYLE if view.over_refunded else ""),
        cell(money(view.refunded_minor)),
        cell(money(view.left_minor)),
        cell(view.refunds),
    )


def show(
    context: typer.Context,
    refund_id: RefundId,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION|TIME",
            help="As it was after that position of the log, or at that moment (RFC 3339 with an offset).",
        ),
    ] = None,
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """Show one refund, now or as it was."""
    current = session(context)
    moment = None if as_of is None else _as_of(as_of)
    with current.reading(db) as engine:
        view = engine.refund(refund_id, moment)
    if as_json:
        current.output.json(view.to_json())
    else:
        current.output.show(sheet(view))


def _as_of(text: str) -> int | datetime:
    if _POSITION.fullmatch(text):
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"--as-of {shown(text)} is neither a position such as 12 nor a time such as 2025-07-09T11:18:00+08:00"
        ) from None


def history(context: typer.Context, refund_id: RefundId, as_json: AsJson = False, db: Db = None) -> None:
    """Show a refund's timeline: what came when, what it said, and what it changed."""
    current = session(context)
    output = current.output
    with current.reading(db) as engine:
        entries = engine.history(refund_id)
        if as_json:
            output.json_array(entry.to_json() for entry in entries)
            return
        view = engine.refund(refund_id)
    output.show(headline(view))
    for line in timeline(entries, output.out.width):
        output.show(line)
    output.say("times are UTC", "dim")
