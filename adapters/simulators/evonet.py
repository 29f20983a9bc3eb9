"""Evonet: `POST /payment/{merchantTransID}/refund`, then a webhook in the other dialect's words.

Sources: Evonet, Refund API; Evonet, Refund asynchronous notification (read 2026-11-21). Ours: the path of the query,
which is the adapter's default, and the word for a failure, which is the other dialect's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote

from .evo import EvoSimulator
from .scripts import Shown
from .simulator import Call, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...engine.domain.money import Money
    from .ledger import Record

_PATHS: Final = (
    ("POST", re.compile(r"/payment/(?P<id>[^/?]+)/refund"), Kind.REFUND),
    ("GET", re.compile(r"/refund/(?P<id>[^/?]+)"), Kind.QUERY),
)
_WHOLE: Final = "refunded_full"


class EvonetSimulator(EvoSimulator):
    """The gateway `evonet` of one merchant."""

    name: ClassVar[str] = "evonet"
    amount_required: ClassVar[bool] = True
    words: ClassVar[Mapping[Shown, str]] = {
        Shown.GENERATED: "refund_pending",
        Shown.PENDING: "refund_pending",
        Shown.SUCCESS: "refunded_partial",
        Shown.FAILED: "Failed",
        Shown.UNDOCUMENTED: "refund_reviewing",
    }
    webhook_words: ClassVar[Mapping[Shown, str]] = {
        Shown.SUCCESS: "Success",
        Shown.FAILED: "Failed",
        Shown.UNDOCUMENTED: "Reviewing",
    }

    def _paths(self, call: Call) -> tuple[Kind, str] | None:
        for method, path, kind in _PATHS:
            found = path.fullmatch(call.target)
            if found is not None and call.method == method:
                return kind, unquote(found["id"])
        return None

    def _word(self, record: Record, shown: Shown) -> str:
        whole = record.amount == self.ledger.captured(record.payment_id)
        return _WHOLE if whole and shown is Shown.SUCCESS else self.words[shown]

    def _event(self, record: Record) -> str:  # noqa: ARG002 - evonet has no other
        return "Refund"

    def _objects(self, record: Record, status: str, amount: Money) -> dict[str, object]:
        return {
            "refund": self._refund_object(record, status, amount),
            "payment": self._payment_object(record, self._payment_word(record)),
            "paymentMethod": {"card": {"first6No": "489533", "last4No": "1119", "paymentBrand": "Visa"}},
        }
