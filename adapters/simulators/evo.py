"""The API that EVO Cloud and Evonet share, from the gateway's side.

Sources: those of the adapters evo, evocloud and evonet. Ours, because the documents are silent: the numbers of the
codes but C0004 and C0009, HTTP 401 for a wrong signature and 200 for all other answers, and the retries of webhooks.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from ...engine.domain.evidence import Trust
from ...engine.domain.identifiers import is_identifier
from ...engine.domain.message import Channel, Message
from ...engine.domain.money import Money
from ...engine.errors import InvalidAmount, InvalidSignature
from ..evo_signing import KEY_BASED, SIGN_TYPES, EvoSignature
from ..signing import same_digest
from .delivery import Posting, Rules
from .faults import Fault
from .scripts import Shown
from .simulator import Asked, Call, Kind, Refusal, Reply, Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..signing import SigningKey
    from .ledger import Record
    from .scripts import Stage

KEY_KEPT_S: Final = 86_400
"""Idempotency keys are kept at least 24 hours. Source: Evonet, API idempotency (read 2026-11-21)."""
KEY_FORGOTTEN_S: Final = 5
"""The retention under `key_expiry`."""
DEFAULT_SIGN_TYPE: Final = "SHA256"
_MAX_KEY: Final = 64
_OK: Final = 200
_CODES: Final[Mapping[Refusal, tuple[int, str]]] = {
    Refusal.SIGNATURE: (401, "V0001"),
    Refusal.MALFORMED: (_OK, "V0002"),
    Refusal.NO_SUCH_PATH: (404, "V0003"),
    Refusal.NO_PAYMENT: (_OK, "C0004"),
    Refusal.NOT_FOUND: (_OK, "C0004"),
    Refusal.DUPLICATE: (_OK, "C0009"),
    Refusal.TOO_MUCH: (_OK, "B0001"),
    Refusal.REFUSED: (_OK, "B0002"),
    Refusal.INTERNAL: (_OK, "E0001"),
}


class _Kept(NamedTuple):
    """An answer that is given again to the same idempotency key."""

    at: datetime
    retention_s: int
    request: bytes
    reply: Reply


class EvoSimulator(Simulator):
    """What both dialects do alike; a dialect adds its paths, its objects and its words."""

    rules: ClassVar[Rules] = Rules((0, 60, 300, 900), b"SUCCESS")
    amount_required: ClassVar[bool]
    words: ClassVar[Mapping[Shown, str]]
    """The status of the refund in an answer."""
    webhook_words: ClassVar[Mapping[Shown, str]]

    def __init__(self, *args: Any, key: SigningKey, **settings: Any) -> None:  # noqa: ANN401 - the base class has them
        super().__init__(*args, **settings)
        self._key = key
        self._signatures = {
            sign_type: EvoSignature(self.name, [key], sign_type, SIGN_TYPES, send_key_id=False)
            for sign_type in SIGN_TYPES
        }
        self._kept: dict[str, _Kept] = {}

    # ---- each dialect's own

    @abstractmethod
    def _paths(self, call: Call) -> tuple[Kind, str] | None:
        """Return what a call asks for and the merchantTransID it names; None where there is no such path."""

    @abstractmethod
    def _objects(self, record: Record, status: str, amount: Money) -> dict[str, object]:
        """Return the part of a message that tells about the refund."""

    @abstractmethod
    def _event(self, record: Record) -> str:
        """Return the eventCode of a webhook."""

    def _word(self, record: Record, shown: Shown) -> str:  # noqa: ARG002 - evonet's depends on the payment
        return self.words[shown]

    # ---- reading

    def _understood(self, call: Call) -> Asked | Refusal:
        found = self._paths(call)
        if found is None:
            return Refusal.NO_SUCH_PATH
        if not self._authentic(call):
            return Refusal.SIGNATURE
        kind, named = found
        echoed = {"sign_type": call.headers.get("signtype", DEFAULT_SIGN_TYPE)}
        if kind is Kind.QUERY:
            return Asked(kind, named, echoed=echoed)
        return self._refund_asked(call, named, echoed)

    def _authentic(self, call: Call) -> bool:
        if call.headers.get("signtype") == KEY_BASED:
            given = call.headers.get("authorization", "")
            return same_digest(given.encode(), self._key.secret.encode())
        message = Message(
            body=call.body,
            received_at=self._pace.now(),
            headers=call.headers,
            method=call.method,
            target=call.target,
        )
        try:
            checked = self._signatures[DEFAULT_SIGN_TYPE].verify(Channel.REQUEST, message)
        except InvalidSignature:
            return False
        return checked.trust is Trust.VERIFIED

    def _refund_asked(self, call: Call, payment_id: str, echoed: dict[str, str]) -> Asked | Refusal:
        try:
            document = json.loads(call.body)
            refund_id = document["merchantTransInfo"]["merchantTransID"]
            written = document.get("transAmount")
            amount = None if written is None else Money.parse(written["value"], written["currency"])
            echoed |= {
                "time": str(document["merchantTransInfo"]["merchantTransTime"]),
                "metadata": str(document.get("metadata", "")),
            }
        except (ValueError, KeyError, TypeError, AttributeError, InvalidAmount):
            return Refusal.MALFORMED
        incomplete = amount is None and self.amount_required
        key = call.headers.get("idempotency-key", "")
        if incomplete or not is_identifier(refund_id) or len(key) > _MAX_KEY:
            return Refusal.MALFORMED
        return Asked(Kind.REFUND, refund_id, payment_id, amount, str(document.get("webhook") or ""), echoed)

    # ---- idempotency

    def _refund(self, call: Call, asked: Asked) -> Reply:
        key = call.headers.get("idempotency-key", "")
        request = hashlib.sha256(f"{call.target}\n".encode() + call.body).digest()
        kept = self._kept.get(key)
        if kept is not None and not self._pace.passed(kept.at, kept.retention_s):
            if not same_digest(kept.request, request):
                return self._refused(call, Refusal.MALFORMED, asked)
            return kept.reply
        reply = super()._refund(call, asked)
        if key:
            self._kept[key] = _Kept(self._pace.now(), self._retention_s(asked.refund_id), request, reply)
        return reply

    def _retention_s(self, refund_id: str) -> int:
        forgets = self._faults.strikes(Fault.KEY_EXPIRY, self.name, refund_id, 0)
        return KEY_FORGOTTEN_S if forgets else KEY_KEPT_S

    def _exists(self, asked: Asked) -> bool:
        """Tell whether the merchantTransID is taken; under `key_expiry` it is free again with the key."""
        record = self.ledger.record(asked.refund_id)
        if record is None:
            return False
        retention_s = self._retention_s(asked.refund_id)
        return retention_s == KEY_KEPT_S or not self._pace.passed(record.created_at, retention_s)

    # ---- writing

    def _answer(self, call: Call, asked: Asked, record: Record, amount: Money) -> Reply:
        status = self._word(record, record.stage.shown)
        document = self._objects(record, status, amount) | _result("S0000", "Success")
        if asked.echoed.get("metadata"):
            document["metadata"] = asked.echoed["metadata"]
        return self._signed(call, _OK, document)

    def _refused(self, call: Call, refusal: Refusal, asked: Asked | None) -> Reply:  # noqa: ARG002 - the code says all
        status, code = _CODES[refusal]
        return self._signed(call, status, _result(code, str(refusal)))

    def _signed(self, call: Call, status: int, document: dict[str, object]) -> Reply:
        body = _json(document)
        signature = self._signature(call.headers.get("signtype", ""))
        headers = signature.headers(call.method, call.target, body, at=self._pace.now(), nonce=self._nonce())
        return Reply(status, headers, body)

    def _notification(self, asked: Asked, record: Record, stage: Stage) -> Posting:
        document = {
            "eventCode": self._event(record),
            "metadata": asked.echoed.get("metadata", ""),
            **self._objects(record, self.webhook_words[stage.shown], record.amount),
            **_result("S0000", "Success"),
        }
        body = _json(document)
        # A webhook's signature leaves the path out.
        signature = self._signature(asked.echoed.get("sign_type", ""))
        headers = signature.headers("POST", "", body, at=self._pace.now(), nonce=self._nonce())
        return Posting(headers, body)

    def _signature(self, sign_type: str) -> EvoSignature:
        """Return what signs like the request did; a message to a Key-based client is signed by SHA256 (ours)."""
        return self._signatures.get(sign_type, self._signatures[DEFAULT_SIGN_TYPE])

    def _refund_object(self, record: Record, status: str, amount: Money) -> dict[str, object]:
        return {
            "evoTransInfo": {
                "evoTransID": f"refund_{record.number}",
                "evoTransTime": record.created_at.isoformat(timespec="seconds"),
                "retrievalReferenceNum": record.number[-12:],
                "traceNum": record.number[-6:],
            },
            "merchantTransInfo": {
                "merchantTransID": record.refund_id,
                "merchantTransTime": record.created_at.isoformat(timespec="seconds"),
            },
            "status": status,
            "transAmount": {"currency": amount.currency, "value": amount.major},
        }

    def _payment_object(self, record: Record, status: str) -> dict[str, object]:
        captured = self.ledger.payments[record.payment_id]
        return {
            "evoTransInfo": {"evoTransID": f"pay_{self._number('payment', record.payment_id)}"},
            "merchantTransInfo": {"merchantTransID": record.payment_id},
            "status": status,
            "transAmount": {"currency": captured.currency, "value": captured.major},
        }

    def _payment_word(self, record: Record) -> str:
        """Return the payment's status in the words of the payment object."""
        refunds = self.ledger.of_payment(record.payment_id)
        refunded = sum(other.moved_minor for other in refunds if other.stage.shown is Shown.SUCCESS)
        if any(other.stage.shown is Shown.PENDING for other in refunds):
            return "Refunding"
        if refunded <= 0:
            return "Captured"
        whole = refunded >= self.ledger.payments[record.payment_id].minor
        return "Refunded" if whole else "Partial Refunded"


def _result(code: str, message: str) -> dict[str, object]:
    return {"result": {"code": code, "message": message}}


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
