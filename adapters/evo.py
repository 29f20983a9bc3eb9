"""The API that EVO Cloud and Evonet share: result families, refund and cancel objects, requests.

Each dialect is a table of codes; the readers here look every word up in it and know none themselves.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from ..engine.domain.evidence import Evidence, Hold, SentRefund
from ..engine.domain.identifiers import clipped, is_identifier
from ..engine.domain.masking import shown
from ..engine.domain.message import Channel, HttpRequest
from ..engine.domain.money import Money
from ..engine.domain.signals import Signal
from ..engine.errors import InvalidAmount, InvalidIdentifier, InvalidSetting, UnreadableMessage
from .evo_codes import CAPABILITIES, RESULT, CodeTable
from .evo_signing import SIGN_TYPES, EvoSignature
from .reading import (
    currency_code,
    identifier_at,
    json_object,
    member,
    moment,
    shown_code,
    unreadable_answer,
    without_answer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ..engine.domain.evidence import RefundOrder, Verification
    from ..engine.domain.message import Message
    from ..engine.ports import Capabilities, Code
    from .signing import SigningKey

_WEBHOOK, _SUCCESS = Channel.WEBHOOK, Signal.SUCCESS
"""A member costs ten times as much to find through its class, and every webhook comes by here."""
_MAX_KEY: Final = 64
_MAX_REASON_BYTES: Final = 64


class EvoGateway(ABC):
    """What both dialects do alike; a dialect adds its name, its table, its paths and its choice of object.

    Args:
        keys: the merchant's keys, the one to sign with first; none is enough for importing logs.
        sign_type: how requests are signed: `SHA256`, `SHA512`, `HMAC-SHA256`, `HMAC-SHA512` or `Key-based`.
        accepted_sign_types: what an incoming SignType header may select.
        send_key_id: send the key's id as the KeyID header.
        base_path: what stands before every path, such as `/v1`; empty or starting with a slash.
        capabilities: where this merchant's differ from the documented ones.

    Raises:
        InvalidSetting: one of these cannot be used.
    """

    name: ClassVar[str]
    table: ClassVar[CodeTable]
    capabilities: Capabilities = CAPABILITIES
    events: ClassVar[Mapping[str, str]]
    """Which object tells the outcome, by eventCode of the webhook."""
    amount_required: ClassVar[bool]

    def __init__(
        self,
        *,
        keys: Iterable[SigningKey] = (),
        sign_type: str = "SHA256",
        accepted_sign_types: Iterable[str] = tuple(SIGN_TYPES),
        send_key_id: bool = False,
        base_path: str = "",
        capabilities: Capabilities | None = None,
    ) -> None:
        if base_path and (not base_path.startswith("/") or base_path.endswith("/") or "?" in base_path):
            raise InvalidSetting("base_path", "it starts with a slash, ends without one and has no query")
        self._signature = EvoSignature(
            self.name, keys, sign_type, accepted_sign_types, send_key_id=send_key_id
        )
        self._base_path = base_path
        if capabilities is not None:
            self.capabilities = capabilities

    @property
    def codes(self) -> tuple[Code, ...]:
        """Every documented code of every channel."""
        return self.table.rows

    @property
    def secrets(self) -> tuple[str, ...]:
        """The configured secrets, so that they can be blanked wherever a message repeats them."""
        return tuple(key.secret for key in self._signature.keys)

    def verify(self, channel: Channel, message: Message) -> Verification:
        """Check the signature over the raw bytes in constant time.

        Raises:
            InvalidSignature: a signature is present and does not verify.
        """
        return self._signature.verify(channel, message)

    def signed_at(self, message: Message) -> datetime | None:
        """Return the time of the DateTime header, None where it is absent or cannot be read."""
        return moment(message.header("DateTime"))

    # ---- requests ---------------------------------------------------------------------------------------------

    @abstractmethod
    def _refund_target(self, order: RefundOrder) -> str: ...

    @abstractmethod
    def _query_target(self, order: RefundOrder) -> str: ...

    @abstractmethod
    def _named_in(self, target: str) -> tuple[str | None, str | None]:
        """Return the payment's id and the merchant's account as the target of a refund request names them."""

    def build_refund(self, order: RefundOrder, *, at: datetime, nonce: str) -> HttpRequest:
        """Build the signed refund request; its body and idempotency key are the same on every retry.

        The idempotency key is the refund id, or its SHA-256 in hexadecimal where the id is above 64 characters. The
        reason is cut at 64 bytes of UTF-8, the documented limit: a note must never get a refund refused.

        Raises:
            InvalidSetting: no unexpired key, or a nonce or time that cannot be sent.
        """
        content: dict[str, object] = {
            "merchantTransInfo": {
                "merchantTransID": order.refund_id,
                "merchantTransTime": order.requested_at.isoformat(timespec="seconds"),
            },
            "transAmount": {"currency": order.amount.currency, "value": order.amount.major},
        }
        if order.reason:
            cut = order.reason.encode("utf-8", "ignore")[:_MAX_REASON_BYTES]
            content["initiatingReason"] = cut.decode("utf-8", "ignore")
        if order.notify_url:
            content["webhook"] = order.notify_url
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        target = self._refund_target(order)
        headers = self._signature.headers("POST", target, body, at=at, nonce=nonce)
        headers["Idempotency-Key"] = _idempotency_key(order.refund_id)
        return HttpRequest(method="POST", target=target, headers=headers, body=body)

    def build_query(self, order: RefundOrder, *, at: datetime, nonce: str) -> HttpRequest:
        """Build the signed query for a refund, by our own reference.

        Raises:
            InvalidSetting: no unexpired key, or a nonce or time that cannot be sent.
        """
        target = self._query_target(order)
        headers = self._signature.headers("GET", target, b"", at=at, nonce=nonce)
        return HttpRequest(method="GET", target=target, headers=headers, body=b"")

    def read_request(self, message: Message) -> SentRefund:
        """Read back one of our own refund requests; the payment's id stands in its target.

        Raises:
            UnreadableMessage: no strict JSON object, no usable merchantTransID, or a required amount is missing.
            InvalidAmount: the amount cannot be read.
        """
        document = json_object(self.name, message.body)
        refund_id = identifier_at(document, "merchantTransInfo.merchantTransID")
        if refund_id is None:
            raise UnreadableMessage(self.name, "merchantTransInfo.merchantTransID is no id")
        if member(document, "transAmount") is not None:
            amount: Money | None = _money(_part(document, "transAmount"))
        elif self.amount_required:
            raise UnreadableMessage(self.name, "transAmount is absent")
        else:
            amount = None
        payment_id, account = self._named_in(message.target or "")
        return SentRefund(
            refund_id=refund_id,
            payment_id=payment_id,
            amount=amount,
            account=account,
            reason=clipped(member(document, "initiatingReason")),
        )

    # ---- answers and webhooks ---------------------------------------------------------------------------------

    @abstractmethod
    def _choose_object(self, document: dict[str, Any]) -> str | Evidence:
        """Return which object of an accepted answer tells the outcome, or the evidence that none does."""

    def read_response(self, message: Message) -> Evidence:
        """Read the answer to a refund request; an answer that does not tell the outcome is `uncertain`."""
        return self._read_answer(Channel.API_RESPONSE, message)

    def read_poll(self, message: Message) -> Evidence:
        """Read the answer to a query; a result outside the S family says nothing about the refund."""
        return self._read_answer(Channel.POLL, message)

    def read_webhook(self, message: Message) -> Evidence:
        """Read a notification whose signature was checked: the object's status decides.

        A result code outside the S family beside a successful status is a message that contradicts itself: it is
        `unrecognised`, the amount stays reserved, and the next poll or a person tells.

        Raises:
            UnreadableMessage: no strict JSON object, not about a refund, or without the object or its status.
        """
        document = json_object(self.name, message.body)
        event = document.get("eventCode")
        name = self.events.get(event) if isinstance(event, str) else None
        if name is None:
            raise UnreadableMessage(self.name, f"eventCode {shown(event)} is not about a refund")
        about = document.get(name)
        if not isinstance(about, dict):
            raise UnreadableMessage(self.name, f"the object {name} is absent")
        if about.get("status") in (None, ""):
            raise UnreadableMessage(self.name, f"{name}.status is absent")
        evidence = self._read_object(_WEBHOOK, document, name)
        said = evidence.claims or evidence.signal
        if said is _SUCCESS:
            result = member(document, RESULT)
            if result not in (None, "") and not self.table.accepted(result):
                return _evidence(document, name, Signal.UNRECOGNISED, shown_code(RESULT, result))
        return evidence

    def _read_answer(self, channel: Channel, message: Message) -> Evidence:
        silent = without_answer(message)
        if silent is not None:
            return silent
        try:
            document = json_object(self.name, message.body)
        except UnreadableMessage as error:
            return unreadable_answer(error)
        result = member(document, RESULT)
        if result is None or result == "":
            # Whatever wrote this object, it was not the application that documents result.code.
            return Evidence(signal=Signal.UNCERTAIN, code=shown_code(RESULT, None), answered=False)
        row = self.table.find(channel, RESULT, result)
        if row is None:
            return _evidence(document, "refund", Signal.UNRECOGNISED, shown_code(RESULT, result))
        if row.signal is not None:
            return self._refused(channel, document, str(result), row.signal)
        name = self._choose_object(document)
        return self._read_object(channel, document, name) if isinstance(name, str) else name

    def _refused(self, channel: Channel, document: dict[str, Any], result: str, signal: Signal) -> Evidence:
        name = self._choose_object(document)
        name = name if isinstance(name, str) else "refund"
        hold = self.table.hold(signal, result)
        status = member(document, f"{name}.status")
        row = self.table.find(channel, f"{name}.status", status)
        failed_too = row is not None and row.signal is Signal.FAILED
        if signal is Signal.REJECTED and status not in (None, "") and not failed_too:
            # Refused, it says, and shows a refund under way: only a query can tell whether the amount is free.
            hold = Hold.UNTIL_QUERY
        return _evidence(document, name, signal, shown_code(RESULT, result), hold)

    def _read_object(self, channel: Channel, document: dict[str, Any], name: str) -> Evidence:
        field = f"{name}.status"
        status = _part(document, name).get("status")
        if status is None or status == "":
            return _evidence(document, name, Signal.UNCERTAIN, shown_code(field, None))
        row = self.table.find(channel, field, status)
        code = shown_code(field, status)
        if row is None or row.signal is None:
            return _evidence(document, name, Signal.UNRECOGNISED, code)
        evidence = _evidence(document, name, row.signal, code)
        odd = _odd_field(document, name, evidence)
        if odd is None:
            return evidence
        return replace(evidence, signal=Signal.UNRECOGNISED, code=odd, claims=row.signal)


def path_segment(name: str, value: str) -> str:
    """Return an id as one segment of a path.

    Raises:
        InvalidIdentifier: `.` or `..`, which HTTP clients resolve: the request would go to another path.
    """
    if value in {".", ".."}:
        raise InvalidIdentifier(name, value)
    return quote(value, safe="")


def _idempotency_key(refund_id: str) -> str:
    return refund_id if len(refund_id) <= _MAX_KEY else hashlib.sha256(refund_id.encode()).hexdigest()


def _money(amount: dict[str, Any]) -> Money:
    currency = _currency(amount)
    if currency is None:
        raise InvalidAmount(amount.get("currency"), "an ISO 4217 code is needed")
    return Money.parse(amount.get("value"), currency)


def _currency(amount: dict[str, Any]) -> str | None:
    written = amount.get("currency")
    try:
        return currency_code(written) if written else None
    except InvalidAmount:
        return None


def _amount_minor(amount: dict[str, Any], currency: str | None) -> int | None:
    try:
        return None if currency is None else Money.parse(amount.get("value"), currency).minor
    except InvalidAmount:
        return None


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the object of that name; an empty one where there is none, in which nothing will be found."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _merchant_id(document: dict[str, Any]) -> str | None:
    found = _part(document, "merchantTransInfo").get("merchantTransID")
    return found if is_identifier(found) else None


def _odd_field(document: object, name: str, evidence: Evidence) -> str | None:
    """Return the field that ought to be compared with the request and cannot be read, as `field=value`.

    Leaving it out would leave the comparison out: an outcome that cannot be compared is for a person.
    """
    if evidence.refund_id is not None and evidence.amount_minor is not None:
        return None
    reference, amount = f"{name}.merchantTransInfo.merchantTransID", f"{name}.transAmount"
    if evidence.refund_id is None and member(document, reference) not in (None, ""):
        return shown_code(reference, member(document, reference))
    if evidence.amount_minor is None and member(document, amount) is not None:
        return shown_code(amount, member(document, f"{amount}.value"))
    return None


_ORIGINALS: Final = ("capture", "payment")
"""Where the original stands; a refund of a capture names the capture. Source: Evonet, Refund notification."""


def _evidence(
    document: dict[str, Any],
    name: str,
    signal: Signal,
    code: str,
    hold: Hold = Hold.NONE,
    *,
    claims: Signal | None = None,
) -> Evidence:
    said = _part(document, name)
    trans, amount = _part(said, "evoTransInfo"), _part(said, "transAmount")
    currency, gateway_id = _currency(amount), trans.get("evoTransID")
    payment_id = None
    for original in _ORIGINALS:
        if payment_id is None and original in document:
            payment_id = _merchant_id(_part(document, original))
    return Evidence(
        signal=signal,
        claims=claims,
        code=code,
        refund_id=_merchant_id(said),
        payment_id=payment_id,
        gateway_refund_id=gateway_id if is_identifier(gateway_id) else None,
        amount_minor=_amount_minor(amount, currency),
        currency=currency,
        gateway_time=moment(trans.get("evoTransTime")),
        detail=clipped(
            _text(said, "failureReason")
            or _text(said, "pspFailureReason")
            or _text(_part(document, "result"), "message")
        ),
        hold=hold,
    )


def _text(document: dict[str, Any], name: str) -> str:
    found = document.get(name)
    return found if isinstance(found, str) else ""
