"""`refold submit`, `refold poll`: talk to a gateway about refunds, now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CorruptLog, RefoldError, StoreError
from .exits import exit_code
from .rendering import headline
from .session import AsJson, Db, session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..service.contacted import Contacted
    from ..service.facade import RefundEngine
    from ..service.views import RefundView
    from .output import Output

_RefundIds = Annotated[
    list[str], typer.Argument(metavar="REFUND...", help="The refunds' own numbers.", show_default=False)
]


def submit(context: typer.Context, refund_ids: _RefundIds, as_json: AsJson = False, db: Db = None) -> None:
    """Send refunds to their gateways now; one that may have been sent already is looked up first.

    Exit code 1 says that a gateway did not answer as it should: the refund is kept, `refold work` goes on with it.
    """
    _each(context, refund_ids, db, lambda engine, refund_id: engine.submit(refund_id), as_json=as_json)


def poll(context: typer.Context, refund_ids: _RefundIds, as_json: AsJson = False, db: Db = None) -> None:
    """Ask the gateways about refunds now, also about settled ones."""
    _each(context, refund_ids, db, lambda engine, refund_id: engine.poll(refund_id), as_json=as_json)


def _each(
    context: typer.Context,
    refund_ids: list[str],
    db: str | None,
    contact: Callable[[RefundEngine, str], RefundView],
    *,
    as_json: bool,
) -> None:
    """Contact the gateway about each refund; one that cannot be is told, and the others are done all the same."""
    current = session(context)
    views: list[RefundView] = []
    worst = 0

    def told(contacted: Contacted) -> None:
        nonlocal worst
        tell_trouble(contacted, current.output)
        worst = max(worst, 0 if contacted.healthy else 1)

    with current.contacting(db, on_contact=told) as engine:
        for refund_id in refund_ids:
            try:
                views.append(contact(engine, refund_id))
            except (StoreError, CorruptLog):
                raise
            except RefoldError as error:
                current.output.error(error)
                worst = max(worst, exit_code(error))
                continue
            if not as_json:
                current.output.show(headline(views[-1]))
    if as_json:
        current.output.json_array(view.to_json() for view in views)
    raise typer.Exit(worst)


def tell_trouble(told: Contacted, output: Output) -> None:
    """Print a warning about a contact that did not go well."""
    if not told.healthy:
        output.warn(trouble(told))


def trouble(told: Contacted) -> str:
    """Return what went wrong in a contact; the refund is looked up again, and never lost by that."""
    status = "" if told.http_status is None else f" {told.http_status}"
    detail = f": {told.detail}" if told.detail else ""
    return f"{told.refund_id}: {told.phase} at {told.gateway} {told.outcome}{status}{detail}"
