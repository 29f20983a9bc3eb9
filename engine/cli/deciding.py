"""`refold attention`, `refold resolve`: what a person should look at, and what the person decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..domain.attention import Attention
from ..domain.masking import shown
from ..domain.money import major_text
from ..domain.signals import TERMINAL, State
from ..domain.wire import time_of
from ..errors import CorruptLog, InvalidInput, RowCorrupt
from .output import plain
from .rendering import case, headline, moment
from .session import AsJson, Db, RefundId, session
from .words import ATTENTION, ATTENTION_STYLE, INBOX, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..audit.history import HistoryEntry
    from ..ports import Row
    from ..service.facade import RefundEngine
    from ..service.views import PaymentView
    from .output import Output

_T = TypeVar("_T")


def attention(
    context: typer.Context,
    mark_overdue: Annotated[
        bool,
        typer.Option(
            "--mark-overdue", help="First note the refunds without an outcome in their gateway's time."
        ),
    ] = False,
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """Show what needs a person, why, and what to do: refunds, over-refunded payments, and the inbox."""
    current = session(context)
    with current.deciding(db) if mark_overdue else current.reading(db) as engine:
        if mark_overdue:
            for refund_id in engine.mark_overdue():
                current.output.note(f"overdue now: {refund_id}")
        if as_json:
            _print_json(engine, current.output)
        elif not show_attention(engine, current.output):
            raise typer.Exit(5)


def show_attention(engine: RefundEngine, output: Output) -> bool:
    """Print every case that needs a person, with the reasons in words; return whether every log could be read."""
    refunds, readable = 0, True

    def shown_of(found: Iterator[_T]) -> Iterator[_T]:
        nonlocal readable
        try:
            yield from found
        except RowCorrupt as error:  # behind all others
            readable = False
            output.error(error)

    for view in shown_of(engine.needing_attention()):
        refunds += 1
        entries: list[HistoryEntry] = []
        try:
            entries = engine.history(view.refund_id)
        except CorruptLog as error:
            readable = False
            output.error(error)
        for line in case(view, entries, output.out.width):
            output.show(line)
        output.say()
    others = 0
    for payment in shown_of(engine.payments(over_refunded=True)):
        others += 1
        _show_payment(payment, output)
    for row in shown_of(engine.inbox()):
        others += 1
        _show_message(row, output)
    if refunds:
        output.prose(
            "Decide with: refold resolve REFUND success|failed|closed --actor YOU --reason WHY", style="dim"
        )
    elif not others and readable:
        output.say("Nothing needs a person.")
    return readable


def _show_payment(payment: PaymentView, output: Output) -> None:
    explanation = ATTENTION[Attention.OVER_REFUNDED]
    captured = major_text(payment.captured_minor or 0, payment.currency)
    reserved = major_text(payment.reserved_minor, payment.currency)
    output.say(f"payment {payment.payment_id}  {payment.gateway}  {Attention.OVER_REFUNDED}", ATTENTION_STYLE)
    told = f"Captured {captured}, refunds {reserved} {payment.currency}, {payment.refunds} of them"
    if payment.left_minor is None:
        told += ", and others in another currency"
    output.prose(f"{explanation.means} {told}.", indent="  ")
    output.prose(f"> {explanation.do}", indent="    ")
    output.say()


def _show_message(row: Row, output: Output) -> None:
    what = " ".join(
        plain(row[name]) for name in ("gateway", "refund_id", "payment_id") if row[name] is not None
    )
    output.say(f"inbox: {row['kind']}  {what}  {moment(time_of(str(row['received_at'])))}", ATTENTION_STYLE)
    output.prose(f"{row['reason']}: {INBOX.get(str(row['kind']), UNKNOWN)}.", indent="  ")
    output.say()


def _print_json(engine: RefundEngine, output: Output) -> None:
    """Print one object of three arrays while their items come."""
    parts: tuple[tuple[str, Iterator[Any]], ...] = (
        ("refunds", (view.to_json() for view in engine.needing_attention())),
        ("payments", (view.to_json() for view in engine.payments(over_refunded=True))),
        ("inbox", map(dict, engine.inbox())),
    )
    output.json_arrays(parts)


def resolve(
    context: typer.Context,
    refund_id: RefundId,
    outcome: Annotated[
        str, typer.Argument(metavar="OUTCOME", help="success, failed or closed.", show_default=False)
    ],
    *,
    actor: Annotated[str, typer.Option(help="Who decided; not the person who asked for the refund.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit: at most 500 characters.")],
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """Record a person's decision. It stands above all evidence until a person changes it."""
    current = session(context)
    if outcome not in TERMINAL:
        raise InvalidInput(f"outcome {shown(outcome)} is unknown; use success, failed or closed")
    with current.deciding(db) as engine:
        view = engine.resolve(refund_id, State(outcome), actor=actor, reason=reason)
    if as_json:
        current.output.json(view.to_json())
    else:
        current.output.show(headline(view))
