"""BBMSL: `/direct/refund` and `/direct/query`, synchronous, one refund an order, no webhooks, unsigned answers.

Source: BBMSL, Direct refund (read 2026-11-21). Ours: all responseCodes but 0000, as no list is documented.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ...engine.domain.identifiers import is_identifier
from ...engine.domain.money import Money
from ...engine.errors import InvalidAmount, InvalidSignature
from .delivery import Posting, Rules
from .scripts import Shown
from .simulator import Asked, Call, Kind, Refusal, Reply, Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..bbmsl_signing import MerchantKey
    from .ledger import Record
    from .scripts import Stage

_KINDS: Final = {"/direct/refund": Kind.REFUND, "/direct/query": Kind.QUERY}
_CURRENCY: Final = "HKD"
"""Ours, as the adapter's default: a request names no currency."""
_SUCCESSFUL: Final = "0000"
_UNREFUNDED: Final = "SETTLED"
_REFUNDED: Final = "REFUNDED"
_STATUSES: Final[Mapping[Shown, str]] = {
    Shown.PENDING: "PROCESSING",
    Shown.SUCCESS: _REFUNDED,
    Shown.UNDOCUMENTED: "REVIEWING",
}
_CODES: Final[Mapping[Refusal, str]] = {
    Refusal.SIGNATURE: "1001",
    Refusal.MALFORMED: "1002",
    Refusal.NO_SUCH_PATH: "1003",
    Refusal.NO_PAYMENT: "2001",
    Refusal.DUPLICATE: "2002",
    Refusal.TOO_MUCH: "2003",
    Refusal.REFUSED: "2004",
    Refusal.NOT_FOUND: "2001",
    Refusal.INTERNAL: "9001",
}
_ID_DIGITS: Final = 10


class BbmslSimulator(Simulator):
    """The gateway `bbmsl` of one merchant; the order is payment and refund in one."""

    name: ClassVar[str] = "bbmsl"
    rules: ClassVar[Rules] = Rules((), b"")
    late_failures: ClassVar[bool] = False

    def __init__(self, *args: Any, key: MerchantKey, merchant_id: str, **settings: Any) -> None:  # noqa: ANN401 - the base class has them
        super().__init__(*args, **settings)
        self._key = key
        self._merchant_id = merchant_id

    # ---- reading

    def _understood(self, call: Call) -> Asked | Refusal:
        kind = _KINDS.get(call.target)
        if kind is None or call.method != "POST":
            return Refusal.NO_SUCH_PATH
        try:
            envelope = json.loads(call.body)
            written, signature = envelope["request"], envelope["signature"]
            self._key.verify(written, signature)
            return self._asked(kind, json.loads(written, parse_float=Decimal, parse_int=Decimal))
        except InvalidSignature:
            return Refusal.SIGNATURE
        except (ValueError, KeyError, TypeError, AttributeError, InvalidAmount):
            return Refusal.MALFORMED

    def _asked(self, kind: Kind, document: Mapping[str, Any]) -> Asked | Refusal:
        order = document.get("merchantReference") or str(document.get("orderId", ""))
        if document["merchantId"] != self._merchant_id or not is_identifier(order):
            return Refusal.MALFORMED
        if kind is Kind.QUERY:
            return Asked(kind, order, order)
        return Asked(kind, order, order, Money.parse(format(document["amount"], "f"), _CURRENCY))

    # ---- writing

    def _query(self, call: Call, asked: Asked) -> Reply:
        record = self.ledger.record(asked.refund_id)
        if record is not None and not self._absent(record):
            return self._answer(call, asked, record, record.amount)
        captured = self._payment(asked)
        if captured is None:
            return self._refused(call, Refusal.NOT_FOUND, asked)
        return _reply(_SUCCESSFUL, "SUCCESS", self._order(asked.payment_id, captured, _UNREFUNDED))

    def _answer(self, call: Call, asked: Asked, record: Record, amount: Money) -> Reply:  # noqa: ARG002 - nothing is echoed
        captured = self.ledger.payments[record.payment_id]
        status = self._status(record)
        order = self._order(record.payment_id, captured, status)
        transaction = {
            "id": record.number[:_ID_DIGITS],
            "merchantId": self._merchant_id,
            "type": "REFUND",
            "currency": amount.currency,
            "status": "SUCCESS",
            "stan": record.number[-6:],
        }
        return _reply(_SUCCESSFUL, "SUCCESS", order, _with_amount(transaction, amount))

    def _status(self, record: Record) -> str:
        partial = record.amount != self.ledger.captured(record.payment_id)
        shown = record.stage.shown
        return f"PARTIALLY_{_REFUNDED}" if partial and shown is Shown.SUCCESS else _STATUSES[shown]

    def _refused(self, call: Call, refusal: Refusal, asked: Asked | None) -> Reply:  # noqa: ARG002 - the code says all
        code = _CODES[refusal]
        record = None if asked is None else self.ledger.record(asked.refund_id)
        if record is None or refusal is not Refusal.DUPLICATE:
            return _reply(code, str(refusal))
        captured = self.ledger.payments[record.payment_id]
        return _reply(code, str(refusal), self._order(record.payment_id, captured, self._status(record)))

    def _notification(self, asked: Asked, record: Record, stage: Stage) -> Posting:
        # Never called: a request of bbmsl cannot name an address for webhooks, and none is documented.
        raise NotImplementedError("bbmsl documents no webhook")

    def _order(self, reference: str, captured: Money, status: str) -> str:
        order = {
            "id": self._number("order", reference, length=_ID_DIGITS),
            "merchantReference": reference,
            "currency": captured.currency,
            "status": status,
            "updateTime": self._pace.now().isoformat(timespec="seconds"),
        }
        return _with_amount(order, captured)


def _with_amount(fields: Mapping[str, object], amount: Money) -> str:
    """Return a JSON object whose amount is a number with exactly its digits, which no float keeps."""
    return f'{json.dumps(fields)[:-1]}, "amount": {amount.major}}}'


def _reply(code: str, said: str, order: str = "", transaction: str = "") -> Reply:
    parts = [f'"responseCode": {json.dumps(code)}', f'"message": {json.dumps(said)}']
    parts += [f'"{name}": {part}' for name, part in (("order", order), ("transaction", transaction)) if part]
    return Reply(200, {"Content-Type": "application/json"}, f"{{{', '.join(parts)}}}".encode())
