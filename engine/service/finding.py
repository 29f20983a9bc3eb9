"""Finding: what the views say. They are as new as the log, since both change in one transaction."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from ..errors import PaymentNotFound
from .views import ATTENTION, INBOX, PAYMENTS, REFUNDS, payment_views_of_rows, refund_view_of_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..domain.attention import Attention
    from ..ports import EventStore, Row
    from .views import PaymentView, RefundView


def find(store: EventStore, where: Mapping[str, str], limit: int | None) -> Iterator[RefundView]:
    """Yield the refunds of which the named columns have these values, in the order in which they were asked for."""
    return map(refund_view_of_row, store.rows(REFUNDS, where=where, order="sort_key", limit=limit))


def find_in_attention(
    store: EventStore, kind: Attention, where: Mapping[str, str], limit: int | None
) -> Iterator[RefundView]:
    """Yield them, as far as a person should look at them for that reason."""
    found = 0
    for entry in store.rows(ATTENTION, where={"kind": str(kind)}, order="sort_key"):
        row = store.row(REFUNDS, (entry["refund_id"],))
        if row is not None and all(row[name] == value for name, value in where.items()):
            yield refund_view_of_row(row)
            found += 1
            if found == limit:
                return


def needing_attention(store: EventStore) -> Iterator[RefundView]:
    """Yield every refund a person should look at, once each, in the order of the refund ids."""
    seen: str | None = None
    for entry in store.rows(ATTENTION, order="refund_id"):
        if entry["refund_id"] == seen:
            continue
        seen = str(entry["refund_id"])
        row = store.row(REFUNDS, (seen,))
        if row is not None:
            yield refund_view_of_row(row)


def payment(store: EventStore, gateway: str, payment_id: str) -> PaymentView:
    """Return a payment with what its refunds take, in the currency it was registered in. Raises `PaymentNotFound`."""
    where = {"gateway": gateway, "payment_id": payment_id}
    found = payment_views_of_rows(list(store.rows(PAYMENTS, where=where)))
    if not found:
        raise PaymentNotFound(gateway, payment_id)
    return next((view for view in found if view.captured_minor is not None), found[0])


def payments(store: EventStore, *, over_refunded: bool) -> Iterator[PaymentView]:
    """Yield payments; with `over_refunded` only those whose refunds add up to more than was captured."""
    for _, rows in groupby(store.rows(PAYMENTS), key=itemgetter("gateway", "payment_id")):
        for view in payment_views_of_rows(list(rows)):
            if view.over_refunded or not over_refunded:
                yield view


def inbox(store: EventStore) -> Iterator[Row]:
    """Yield the messages that are not part of a refund."""
    return store.rows(INBOX)
