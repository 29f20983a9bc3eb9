"""The views: the tables computed from the log, and the changes an event makes to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..domain.events import MessageOrphaned
from ..domain.money import Money, exponent
from ..domain.signals import State
from ..domain.wire import time_of, time_text
from ..errors import RefoldError, RowCorrupt
from ..ports import Column, Delete, Upsert, View

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from ..domain.events import MessageQuarantined, PaymentRegistered
    from ..domain.refund import Refund
    from ..ports import Change, Row

REFUNDS: Final = View(
    "refunds",
    (
        Column("refund_id", str),
        Column("gateway", str),
        Column("payment_id", str),
        Column("amount_minor", int),
        Column("currency", str),
        Column("state", str),
        Column("attention", str),
        Column("reserved_minor", int),
        Column("gateway_refund_id", str),
        Column("events", int),
        Column("requested_at", str),
        Column("updated_at", str),
        Column("sort_key", str),
    ),
    key=("refund_id",),
    indexes=(("sort_key",), ("gateway", "payment_id"), ("gateway", "gateway_refund_id")),
)
"""One row a refund; `sort_key` orders by the time of the request, `reserved_minor` is what it takes of its payment.

A column that is added is None in the row of a refund whose log cannot be read: that row comes from the older table.
"""

ATTENTION: Final = View(
    "attention",
    (Column("kind", str), Column("refund_id", str), Column("sort_key", str)),
    key=("kind", "refund_id"),
    indexes=(("kind", "sort_key"),),
)
"""One row a reason why a person should look at a refund."""

PAYMENTS: Final = View(
    "payments",
    (
        Column("gateway", str),
        Column("payment_id", str),
        Column("currency", str),
        Column("captured_minor", int),
        Column("reserved_minor", int, sums=True),
        Column("refunded_minor", int, sums=True),
        Column("refunds", int, sums=True),
    ),
    key=("gateway", "payment_id", "currency"),
)
"""One row a payment and currency; `reserved_minor` is what its refunds not known to have failed or closed take."""

INBOX: Final = View(
    "inbox",
    (
        Column("key", str),
        Column("kind", str),
        Column("gateway", str),
        Column("refund_id", str),
        Column("payment_id", str),
        Column("payment_alias", str),
        Column("reason", str),
        Column("received_at", str),
        Column("digest", str),
    ),
    key=("key",),
    indexes=(("gateway", "refund_id"), ("gateway", "payment_id"), ("gateway", "payment_alias")),
)
"""Messages not (yet) part of a refund: `orphaned` or `quarantined`; `payment_alias` is the payment's other name."""
ORPHANED: Final = "orphaned"
"""The kind of a message that a refund may adopt."""

VIEWS: Final = (REFUNDS, ATTENTION, PAYMENTS, INBOX)
"""All that the engine keeps.

Where the same events make other rows, the view's `version` is raised. Where a view is added, the versions of those are
raised whose events also feed it: a service of the older version would go on appending, and leave the new one behind.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundView:
    """What callers see of a refund.

    Attributes:
        attention: why a person should look, sorted.
        events: how many events its stream has.
    """

    refund_id: str
    gateway: str
    payment_id: str | None
    amount: Money
    state: State
    attention: tuple[str, ...]
    gateway_refund_id: str | None
    events: int
    requested_at: datetime
    updated_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; the amount is `{"minor": 10000, "currency": "HKD"}`."""
        return {
            "refund_id": self.refund_id,
            "gateway": self.gateway,
            "payment_id": self.payment_id,
            "amount": {"minor": self.amount.minor, "currency": self.amount.currency},
            "state": str(self.state),
            "attention": list(self.attention),
            "gateway_refund_id": self.gateway_refund_id,
            "events": self.events,
            "requested_at": time_text(self.requested_at),
            "updated_at": time_text(self.updated_at),
        }


def refund_view(refund: Refund) -> RefundView:
    """Return the view of a folded refund."""
    return RefundView(
        refund_id=refund.refund_id,
        gateway=refund.gateway,
        payment_id=refund.payment_id,
        amount=refund.amount,
        state=refund.state,
        attention=tuple(sorted(map(str, refund.attention))),
        gateway_refund_id=refund.gateway_refund_id,
        events=refund.version,
        requested_at=refund.requested_at,
        updated_at=refund.updated_at,
    )


def refund_view_of_row(row: Row) -> RefundView:
    """Return the view a row of `REFUNDS` holds.

    Raises:
        RowCorrupt: it holds what no refund has; it would be shown wrong.
    """
    cells: dict[str, Any] = dict(row)
    try:
        _check_cells(REFUNDS, cells, _OPTIONAL)
        return RefundView(
            refund_id=cells["refund_id"],
            gateway=cells["gateway"],
            payment_id=cells["payment_id"],
            amount=Money(cells["amount_minor"], cells["currency"]),
            state=State(cells["state"]),
            attention=tuple(cells["attention"].split()),
            gateway_refund_id=cells["gateway_refund_id"],
            events=cells["events"],
            requested_at=time_of(cells["requested_at"]),
            updated_at=time_of(cells["updated_at"]),
        )
    except (ValueError, RefoldError) as error:
        raise RowCorrupt(REFUNDS.name, (cells["refund_id"],)) from error


def _check_cells(view: View, cells: Mapping[str, Any], optional: Collection[str]) -> None:
    """Raise `ValueError` for a cell of another kind than its column's, numbers below zero, and text that is none."""
    for name, kind, _ in view.columns:
        cell: object = cells[name]
        if cell is None and name in optional:
            continue
        if type(cell) is not kind or (isinstance(cell, int) and cell < 0):
            raise ValueError(name)
        if isinstance(cell, str):
            cell.encode()


_OPTIONAL: Final = frozenset({"payment_id", "gateway_refund_id", "captured_minor"})
"""Columns of refunds and payments that may be empty."""


def check_inbox_row(row: Row) -> Row:
    """Return a row of `INBOX`.

    Raises:
        RowCorrupt: it holds what no message has.
    """
    cells: dict[str, Any] = dict(row)
    try:
        _check_cells(INBOX, cells, {"refund_id", "payment_id", "payment_alias", "reason", "digest"})
        time_of(cells["received_at"])
    except ValueError as error:
        raise RowCorrupt(INBOX.name, (cells["key"],)) from error
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentView:
    """What callers see of a payment, in minor units of `currency`.

    Attributes:
        captured_minor: None until it is registered.
        reserved_minor: what its refunds take that are not known to have failed or closed.
        refunded_minor: what those have given back that succeeded.
        left_minor: what is captured and not reserved; None where that cannot be told: it is not registered in this
            currency, or another one's refund holds a part of it.
        refunds: how many it has in this currency.
    """

    gateway: str
    payment_id: str
    currency: str
    captured_minor: int | None
    reserved_minor: int
    refunded_minor: int
    left_minor: int | None
    refunds: int

    @property
    def over_refunded(self) -> bool:
        """Whether its refunds not known to have failed add up to more than was captured, or may: see `left_minor`."""
        return self.captured_minor is not None and (
            self.left_minor is None or self.reserved_minor > self.captured_minor
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "gateway": self.gateway,
            "payment_id": self.payment_id,
            "currency": self.currency,
            "captured_minor": self.captured_minor,
            "reserved_minor": self.reserved_minor,
            "refunded_minor": self.refunded_minor,
            "left_minor": self.left_minor,
            "refunds": self.refunds,
            "attention": ["over_refunded"] if self.over_refunded else [],
        }


def payment_views_of_rows(rows: Sequence[Row]) -> list[PaymentView]:
    """Return the views that the rows of one payment in `PAYMENTS` hold, one a currency.

    Raises:
        RowCorrupt: one holds what no payment has.
    """
    views = []
    for row in rows:
        cells: dict[str, Any] = dict(row)
        try:
            _check_cells(PAYMENTS, cells, _OPTIONAL)
            exponent(cells["currency"])
        except (ValueError, RefoldError) as error:
            raise RowCorrupt(PAYMENTS.name, [cells[name] for name in PAYMENTS.key]) from error
        captured, reserved = cells["captured_minor"], cells["reserved_minor"]
        mixed = any(other["reserved_minor"] for other in rows if other is not row)
        left = None if captured is None or mixed else max(captured - reserved, 0)
        views.append(PaymentView(**cells, left_minor=left))
    return views


# ---- changes ----------------------------------------------------------------------------------------------------


_LASTING: Final = frozenset({"gateway", "amount_minor", "currency", "requested_at", "sort_key"})
"""Columns of a refund that its first event says for good."""
_UNCHANGED: Final = {
    (paid, numbered): _LASTING.union(["payment_id"] * paid, ["gateway_refund_id"] * numbered)
    for paid in (False, True)
    for numbered in (False, True)
}
"""Columns that are as they were: by whether the payment is the same as before, and the gateway's number is."""


def _unchanged(before: Refund | None, after: Refund) -> frozenset[str]:
    if before is None:
        return frozenset()
    same_number = before.gateway_refund_id == after.gateway_refund_id
    return _UNCHANGED[before.payment_id == after.payment_id, same_number]


def refund_changes(before: Refund | None, after: Refund) -> list[Change]:
    """Return what the events between two folds of one refund change."""
    requested_at = time_text(after.requested_at)
    sort_key = f"{requested_at} {after.refund_id}"
    state, reasons, taken = after.state, after.attention, _taken(after)
    changes: list[Change] = [
        Upsert(
            REFUNDS,
            (
                after.refund_id,
                after.gateway,
                after.payment_id,
                after.amount.minor,
                after.amount.currency,
                str(state),
                " ".join(sorted(reasons)),
                taken,
                after.gateway_refund_id,
                after.version,
                requested_at,
                time_text(after.updated_at),
                sort_key,
            ),
            _unchanged(before, after),
        )
    ]
    known = before.attention if before is not None else frozenset()
    if known != reasons:
        changes += [
            Upsert(ATTENTION, (str(kind), after.refund_id, sort_key)) for kind in sorted(reasons - known)
        ]
        changes += [Delete(ATTENTION, (str(kind), after.refund_id)) for kind in sorted(known - reasons)]
    if after.payment_id is not None:
        changes += _payment_change(before, after, taken)
    return changes


def _payment_change(before: Refund | None, after: Refund, taken: int) -> list[Change]:
    part = before if before is not None and before.payment_id is not None else None
    reserved = taken - _taken(part)
    refunded = _given_back(after) - _given_back(part)
    joined = 0 if part is not None else 1
    if not (reserved or refunded or joined):
        return []
    key = (after.gateway, after.payment_id, after.amount.currency)
    return [Upsert(PAYMENTS, (*key, None, reserved, refunded, joined))]


def _taken(refund: Refund | None) -> int:
    return refund.amount.minor if refund is not None and refund.reserved else 0


def _given_back(refund: Refund | None) -> int:
    return refund.amount.minor if refund is not None and refund.state is State.SUCCESS else 0


def payment_changes(event: PaymentRegistered) -> list[Change]:
    """Return what registering a payment changes."""
    return [
        Upsert(PAYMENTS, (event.gateway, event.payment_id, event.currency, event.captured_minor, 0, 0, 0))
    ]


def inbox_changes(event: MessageOrphaned | MessageQuarantined, received_at: str) -> list[Change]:
    """Return what a message that is not part of a refund changes."""
    named: tuple[str | None, str | None, str | None, str]
    if isinstance(event, MessageOrphaned):
        stated = event.evidence
        named = (event.refund_id, stated.payment_id, stated.payment_alias, stated.code)
        kind, message = ORPHANED, stated.message
    else:
        named = (None, None, None, event.reason)
        kind, message = "quarantined", event.message
    digest = message.digest if message is not None else None
    return [Upsert(INBOX, (event.key, kind, event.gateway, *named, received_at, digest))]
