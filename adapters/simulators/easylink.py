"""easylink: `/api/refund/refundOrder` and `/api/refund/query`, notifications as forms.

Source: easylink, Unified refund, Order query and Refund notification (read 2026-11-21). Ours: which code answers what,
where the documents are silent; 9999 for every business failure is theirs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlencode

from ...engine.domain.identifiers import is_identifier
from ...engine.domain.money import Money
from ...engine.errors import InvalidAmount, UnreadableMessage
from ..easylink_signing import DIGEST_SIZE, digest, text_to_sign
from ..reading import epoch_milliseconds, form_fields, word
from ..signing import digest_bytes, same_digest
from .delivery import Posting, Rules
from .scripts import Shown
from .simulator import Asked, Call, Kind, Refusal, Reply, Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..signing import SigningKey
    from .ledger import Record
    from .scripts import Stage

_KINDS: Final = {"/api/refund/refundOrder": Kind.REFUND, "/api/refund/query": Kind.QUERY}
_STATES: Final = {
    Shown.GENERATED: 0,
    Shown.PENDING: 1,
    Shown.SUCCESS: 2,
    Shown.FAILED: 3,
    Shown.CLOSED: 4,
    Shown.UNDOCUMENTED: 7,
}
_BUSINESS: Final = 9999
_CODES: Final[Mapping[Refusal, tuple[int, str]]] = {
    Refusal.SIGNATURE: (_BUSINESS, "Signature failed"),
    Refusal.MALFORMED: (11, "Parameter error"),
    Refusal.NO_SUCH_PATH: (_BUSINESS, "No such interface"),
    Refusal.NO_PAYMENT: (_BUSINESS, "Payment order does not exist"),
    Refusal.DUPLICATE: (_BUSINESS, "Merchant refund order already exists"),
    Refusal.IN_PROGRESS: (_BUSINESS, "Payment order has a refund in progress"),
    Refusal.TOO_MUCH: (_BUSINESS, "Refund amount exceeds the refundable amount"),
    Refusal.REFUSED: (5004, "No permission"),
    Refusal.INTERNAL: (_BUSINESS, "System error"),
    Refusal.NOT_FOUND: (_BUSINESS, "Refund order does not exist"),
}
_CURRENT: Final = frozenset({Shown.GENERATED, Shown.PENDING, Shown.UNDOCUMENTED})
_REQUIRED: Final = ("mchNo", "appId", "reqTime", "version", "signType")


class EasylinkSimulator(Simulator):
    """The gateway `easylink` of one merchant and application."""

    name: ClassVar[str] = "easylink"
    rules: ClassVar[Rules] = Rules((0, 30, 60, 90, 120, 150), b"success")

    def __init__(self, *args: Any, key: SigningKey, mch_no: str, app_id: str, **settings: Any) -> None:  # noqa: ANN401 - the base class has them
        super().__init__(*args, **settings)
        self._key = key
        self._mch_no = mch_no
        self._app_id = app_id

    # ---- reading

    def _understood(self, call: Call) -> Asked | Refusal:
        kind = _KINDS.get(call.target)
        if kind is None or call.method != "POST":
            return Refusal.NO_SUCH_PATH
        document = _fields(call)
        if document is None:
            return Refusal.MALFORMED
        given = digest_bytes(str(document.get("sign")), DIGEST_SIZE)
        if given is None or not same_digest(given, digest(text_to_sign(document), self._key.secret)):
            return Refusal.SIGNATURE
        named = {name: word(value) or "" for name, value in document.items()}
        ours = named.get("mchNo") == self._mch_no and named.get("appId") == self._app_id
        if not ours or not all(named.get(name) for name in _REQUIRED):
            return Refusal.MALFORMED
        refund_id = named.get("mchRefundNo") or self._by_number(named.get("refundOrderId", ""))
        if not is_identifier(refund_id):
            return Refusal.MALFORMED
        return Asked(kind, refund_id) if kind is Kind.QUERY else _refund_asked(document, named, refund_id)

    def _by_number(self, number: str) -> str:
        """Return the merchant's number of a refund that is named by the gateway's; the same one if there is none."""
        known = (self.ledger.record(refund_id) for refund_id in self.ledger.refunds)
        return next((record.refund_id for record in known if record and _number(record) == number), number)

    def _objection(self, asked: Asked) -> Refusal | None:
        refusal = super()._objection(asked)
        if refusal is not None:
            return refusal
        refunds = self.ledger.of_payment(asked.payment_id)
        return Refusal.IN_PROGRESS if any(other.stage.shown in _CURRENT for other in refunds) else None

    # ---- writing

    def _answer(self, call: Call, asked: Asked, record: Record, amount: Money) -> Reply:  # noqa: ARG002 - nothing is echoed
        state = record.stage.shown
        if asked.kind is Kind.QUERY:
            data = self._data(record, state, amount)
        else:
            data = {
                "mchRefundNo": record.refund_id,
                "payAmount": self.ledger.payments[record.payment_id].minor,
                "refundAmount": amount.minor,
                "refundOrderId": _number(record),
                "state": _STATES[state],
                **_channel(record, state),
            }
        return _json_reply({"code": 0, "msg": "SUCCESS", "data": data, "sign": self._sign(data)})

    def _refused(self, call: Call, refusal: Refusal, asked: Asked | None) -> Reply:  # noqa: ARG002 - the code says all
        code, said = _CODES[refusal]
        return _json_reply({"code": code, "msg": said})

    def _notification(self, asked: Asked, record: Record, stage: Stage) -> Posting:
        fields = {
            **self._data(record, stage.shown, record.amount),
            "reqTime": epoch_milliseconds(self._pace.now()),
        }
        if asked.echoed.get("extParam"):
            fields["extParam"] = asked.echoed["extParam"]
        texts = {name: str(value) for name, value in fields.items()}
        body = urlencode({**texts, "sign": self._sign(texts)}).encode()
        return Posting({"Content-Type": "application/x-www-form-urlencoded"}, body)

    def _sign(self, fields: Mapping[str, object]) -> str:
        return digest(text_to_sign(fields), self._key.secret).hex().upper()

    def _data(self, record: Record, state: Shown, amount: Money) -> dict[str, object]:
        fields: dict[str, object] = {
            "appId": self._app_id,
            "createdAt": epoch_milliseconds(record.created_at),
            "currency": amount.currency,
            "mchNo": self._mch_no,
            "mchRefundNo": record.refund_id,
            "payAmount": self.ledger.payments[record.payment_id].minor,
            "payOrderId": record.payment_id,
            "refundAmount": amount.minor,
            "refundOrderId": _number(record),
            "state": _STATES[state],
            **_channel(record, state),
        }
        if state is Shown.SUCCESS:
            done_s = next(stage.after_s for stage in record.outcome.stages if stage.shown is state)
            fields["successTime"] = epoch_milliseconds(self._pace.after(record.created_at, done_s))
        return fields


def _fields(call: Call) -> dict[str, Any] | None:
    """Return the fields of a body that is JSON or a form; None where it is neither."""
    try:
        if "urlencoded" in call.headers.get("content-type", ""):
            return form_fields("easylink", call.body)
        document = json.loads(call.body)
    except (UnreadableMessage, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _refund_asked(document: Mapping[str, Any], named: Mapping[str, str], refund_id: str) -> Asked | Refusal:
    payment_id = named.get("payOrderId") or named.get("mchOrderNo") or ""
    try:
        amount = Money.from_minor(document["refundAmount"], named["currency"])
    except (KeyError, InvalidAmount):
        return Refusal.MALFORMED
    if not is_identifier(payment_id) or not named.get("refundReason"):
        return Refusal.MALFORMED
    echoed = {"extParam": named.get("extParam") or named.get("extraParam") or ""}
    return Asked(Kind.REFUND, refund_id, payment_id, amount, named.get("notifyUrl", ""), echoed)


def _channel(record: Record, state: Shown) -> dict[str, object]:
    if state is Shown.FAILED:
        return {"errCode": "CHANNEL_FAILED", "errMsg": "Refund failed at the channel"}
    return {"channelOrderNo": record.number[::-1]} if state is Shown.SUCCESS else {}


def _number(record: Record) -> str:
    return f"R{record.number}"


def _json_reply(document: Mapping[str, object]) -> Reply:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(200, {"Content-Type": "application/json"}, body)
