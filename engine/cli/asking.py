"""`refold register`, `refold request`: what was captured, and what shall be given back."""

from __future__ import annotations

from typing import Annotated

import typer

from ..domain.money import Money, major_text
from .rendering import headline
from .session import AsJson, Db, RefundId, session

_Gateway = Annotated[str, typer.Option("--gateway", help="The gateway, as `refold gateways` names it.")]
_Currency = Annotated[str, typer.Option("--currency", help="ISO 4217 code, such as HKD.")]


def register(
    context: typer.Context,
    payment_id: Annotated[
        str, typer.Argument(metavar="PAYMENT", help="The payment's id at the gateway.", show_default=False)
    ],
    *,
    gateway: _Gateway,
    captured: Annotated[str, typer.Option(help="What was captured, in major units such as 100.00.")],
    currency: _Currency,
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """Register what was captured of a payment: from then on no refunds can exceed it."""
    current = session(context)
    amount = Money.parse(captured, currency)
    with current.recording(db) as engine:
        view = engine.register_payment(gateway=gateway, payment_id=payment_id, captured=amount)
    if as_json:
        current.output.json(view.to_json())
    else:
        text = major_text(amount.minor, amount.currency)
        current.output.say(f"{view.payment_id}  {view.gateway}  {text} {amount.currency} captured")


def request(
    context: typer.Context,
    refund_id: RefundId,
    *,
    gateway: _Gateway,
    payment: Annotated[str, typer.Option(help="The payment to refund.")],
    amount: Annotated[str, typer.Option(help="How much to give back, in major units such as 10.50.")],
    currency: _Currency,
    reason: Annotated[str, typer.Option(help="Why: at most 500 characters; gateways may show it.")] = "",
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Who asks; that person may not decide the outcome later.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    db: Db = None,
) -> None:
    """Ask for a refund: it is in the log then, and not sent. The same again changes nothing.

    `refold submit` sends it at once, `refold work` sends whatever waits.
    """
    current = session(context)
    money = Money.parse(amount, currency)
    with current.recording(db) as engine:
        view = engine.request(
            gateway=gateway,
            payment_id=payment,
            refund_id=refund_id,
            amount=money,
            reason=reason,
            requested_by=by,
        )
    if as_json:
        current.output.json(view.to_json())
    else:
        current.output.show(headline(view))
