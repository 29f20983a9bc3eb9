"""Finding: what the views say. They are as new as the log, since both change in one transaction."""

from __future__ import annotations

from itertools import chain, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from ..errors import PaymentNotFound, RowCorrupt
from .views import (
    ATTENTION,
    INBOX,
    PAYMENTS,
    REFUNDS,
    check_inbox_row,
    payment_views_of_rows,
    refund_view_of_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..domain.attention import Attention
    from ..ports import EventStore, Row
    from .views import PaymentView, RefundView

_Found = TypeVar("_Found")
_Read = TypeVar("_Read")


def find(store: EventStore, where: Mapping[str, str], limit: int | None) -> Iterator[RefundView]:
    """Yield the refunds of which the named columns have these values, in the order in which they were asked for."""
    return _readable(refund_view_of_row, store.rows(REFUNDS, where=where, order="sort_key", limit=limit))


def find_in_attention(
    store: EventStore, kind: Attention, where: Mapping[str, str], limit: int | None
) -> Iterator[RefundView]:
    """Yield them, as far as a person should look at them for that reason."""
    entries = store.rows(ATTENTION, where={"kind": str(kind)}, order="sort_key")
    rows = ((entry, _refund_of(store, entry)) for entry in entries)
    wanted = (pair for pair in rows if pair[1] is None or all(pair[1][name] == where[name] for name in where))
    return _readable(_in_attention, islice(wanted, limit))


def needing_attention(store: EventStore) -> Iterator[RefundView]:
    """Yield every refund a person should look at, once each, in the order of the refund ids."""
    entries = store.rows(ATTENTION, order="refund_id")
    first = (next(group) for _, group in groupby(entries, key=itemgetter("refund_id")))
    return _readable(_in_attention, ((entry, _refund_of(store, entry)) for entry in first))


def _refund_of(store: EventStore, entry: Row) -> Row | None:
    refund_id = entry["refund_id"]
    return (
        store.row(REFUNDS, (refund_id,)) if isinstance(refund_id, str) and refund_id.isprintable() else None
    )


def _in_attention(found: tuple[Row, Row | None]) -> RefundView:
    """Return the refund that an entry names. Raises `RowCorrupt`: there is none, or it is damaged itself."""
    entry, row = found
    if row is None:
        raise RowCorrupt(ATTENTION.name, (entry["kind"], entry["refund_id"]))
    return refund_view_of_row(row)


def _readable(read: Callable[[_Found], _Read], found: Iterable[_Found]) -> Iterator[_Read]:
    """Yield what is read of each row.

    Raises:
        RowCorrupt: at the end, the first that cannot be: one damaged row hides no other, and does not go unsaid.
    """
    damaged: RowCorrupt | None = None
    for row in found:
        try:
            read_row = read(row)
        except RowCorrupt as error:
            damaged = damaged or error
            continue
        yield read_row
    if damaged is not None:
        raise damaged


def payment(store: EventStore, gateway: str, payment_id: str) -> PaymentView:
    """Return a payment with what its refunds take, in the currency it was registered in. Raises `PaymentNotFound`."""
    where = {"gateway": gateway, "payment_id": payment_id}
    found = payment_views_of_rows(list(store.rows(PAYMENTS, where=where)))
    if not found:
        raise PaymentNotFound(gateway, payment_id)
    return next((view for view in found if view.captured_minor is not None), found[0])


def payments(store: EventStore, *, over_refunded: bool) -> Iterator[PaymentView]:
    """Yield payments; with `over_refunded` only those whose refunds add up to more than was captured, or may."""
    each = groupby(store.rows(PAYMENTS), key=itemgetter("gateway", "payment_id"))
    found = chain.from_iterable(_readable(payment_views_of_rows, (list(rows) for _, rows in each)))
    return (view for view in found if view.over_refunded or not over_refunded)


def inbox(store: EventStore) -> Iterator[Row]:
    """Yield the messages that are not part of a refund."""
    return _readable(check_inbox_row, store.rows(INBOX))
