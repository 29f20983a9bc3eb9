"""EVO Cloud: `/g2/v1/payment/mer/{sid}/cancelOrRefund`; the payment decides between a refund and a cancel object.

Source: EVO Cloud, Cancel or Refund (read 2026-11-21).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote

from .evo import EvoSimulator
from .scripts import Shown
from .simulator import Call, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...engine.domain.money import Money
    from .ledger import Record

_TARGET: Final = re.compile(
    r"/g2/v1/payment/mer/(?P<sid>[^/?]+)/cancelOrRefund\?merchantTransID=(?P<id>[^&]+)"
)
_KINDS: Final = {"POST": Kind.REFUND, "GET": Kind.QUERY}
_WORDS: Final = {
    Shown.GENERATED: "Received",
    Shown.PENDING: "Received",
    Shown.SUCCESS: "Success",
    Shown.FAILED: "Failed",
    Shown.UNDOCUMENTED: "Reviewing",
}


class EvocloudSimulator(EvoSimulator):
    """The gateway `evocloud` of one store."""

    name: ClassVar[str] = "evocloud"
    amount_required: ClassVar[bool] = False
    words: ClassVar[Mapping[Shown, str]] = _WORDS
    webhook_words: ClassVar[Mapping[Shown, str]] = _WORDS

    def __init__(self, *args: Any, sid: str, **settings: Any) -> None:  # noqa: ANN401 - the base class has them
        super().__init__(*args, **settings)
        self._sid = sid

    def _paths(self, call: Call) -> tuple[Kind, str] | None:
        found = _TARGET.fullmatch(call.target)
        if found is None or call.method not in _KINDS or unquote(found["sid"]) != self._sid:
            return None
        return _KINDS[call.method], unquote(found["id"])

    def _event(self, record: Record) -> str:
        return "Cancel" if record.outcome.cancels else "Refund"

    def _objects(self, record: Record, status: str, amount: Money) -> dict[str, object]:
        choice = self._event(record)
        words = {"Received": "Cancelling", "Success": "Cancelled"}
        payment = words.get(status, "Captured") if record.outcome.cancels else self._payment_word(record)
        return {
            "cancelOrRefund": choice,
            choice.lower(): self._refund_object(record, status, amount),
            "payment": self._payment_object(record, payment),
        }
