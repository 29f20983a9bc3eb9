"""easylink (GNETE), an installation of Jeepay: flat fields, integer cents, MD5 with the key inside.

Source of every fact: easylink, Unified refund, Order query and Refund notification (read 2026-11-21).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from ..engine.domain.evidence import UNVERIFIED, Evidence, Hold, SentRefund, Trust, Verification
from ..engine.domain.identifiers import clipped, is_identifier, note
from ..engine.domain.message import Channel, HttpRequest
from ..engine.domain.money import Money, exponent
from ..engine.domain.signals import Signal
from ..engine.errors import (
    InvalidAmount,
    InvalidSetting,
    InvalidSignature,
    InvalidText,
    UnreadableMessage,
)
from ..engine.ports import AmountForm, Capabilities, Schedule, Stage
from .easylink_codes import CODES, MEANING
from .easylink_signing import DIGEST_SIZE, digest, refuse_smuggled_fields, text_to_sign
from .reading import (
    Fields,
    currency_code,
    epoch_milliseconds,
    epoch_moment,
    first_text,
    form_fields,
    json_object,
    shown_code,
    unreadable_answer,
    without_answer,
    word,
)
from .signing import SigningKey, digest_bytes, keyring, same_digest, signing_key, verifying_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ..engine.domain.evidence import RefundOrder
    from ..engine.domain.message import Message

PaymentReference = Literal["payOrderId", "mchOrderNo"]

_NAME: Final = "easylink"
_HOLD: Final = {Signal.CLOSED: Hold.UNTIL_RECONCILED}
_DAY_S: Final = 86_400
_CAPABILITIES: Final = Capabilities(
    partial=True,
    several=True,
    lookup_by_own_reference=True,
    post_timeout_s=30,  # ours: the documents name none
    poll_interval_s=45,  # ours: the documents name none
    outcome_window_s=7200,  # the system closes a refund two hours after its creation
    refund_window_days=None,
    key_retention_s=None,
    absence=None,  # an unknown refund is answered with 9999, like any business failure
    amounts=AmountForm.CENTS,
    acknowledgement=b"success",
    webhook_retry_s=(0, 30, 60, 90, 120, 150),
    one_at_a_time=True,  # one refund in progress per pay order
    # The schedules are ours: the system closes a refund after two hours, and tells of 2 and 3 by itself before.
    pending=Schedule((Stage(600, 60), Stage(7200, 600), Stage(3 * _DAY_S, 6 * 3600)), _DAY_S),
)
_PAYMENT_OF: Final[Mapping[PaymentReference, tuple[str, ...]]] = {
    "payOrderId": ("payOrderId", "mchOrderNo"),
    # Answers carry no mchOrderNo: where our payment ids are that, payOrderId must not be compared with them.
    "mchOrderNo": ("mchOrderNo",),
}

_REFUND_TARGET: Final = "/api/refund/refundOrder"
_QUERY_TARGET: Final = "/api/refund/query"
_MAX_ID: Final = 30
_MAX_REASON: Final = 64
_MAX_URL: Final = 128
_DEFAULT_REASON: Final = "Refund"
"""Ours: refundReason is required, and an order may come without one."""
_CENTS_DIGITS: Final = 2
_UNSTATED_CURRENCY: Final = "HKD"
"""Stands in where a message states cents and no currency: any currency of two digits reads the same."""

_WHOLE_BODY: Final = frozenset({Channel.REQUEST, Channel.WEBHOOK})
"""Channels that sign all their fields."""
_DATA_ALONE: Final = frozenset({Channel.API_RESPONSE, Channel.POLL})
"""Channels that sign `data` alone: `code` and `msg` are unsigned."""

# ---- the adapter -------------------------------------------------------------------------------------------


class Easylink:
    """The easylink refund API, as the `Gateway` port asks for it.

    Args:
        mch_no: the merchant number (`mchNo`); needed to build requests.
        app_id: the application id (`appId`); needed to build requests.
        keys: MD5 keys, the one to sign with first; without any, messages stay unverified.
        payment_reference: which of the two documented fields our payment ids are. `payOrderId` by default:
            queries and notifications carry that one only.
        capabilities: where this merchant's differ from the documented ones.

    Raises:
        InvalidSetting: an id that is none, an unknown payment reference, or keys that cannot be used.
    """

    name: Final = _NAME
    capabilities: Capabilities = _CAPABILITIES
    codes: Final = CODES

    def __init__(
        self,
        *,
        mch_no: str = "",
        app_id: str = "",
        keys: Iterable[SigningKey] = (),
        payment_reference: PaymentReference = "payOrderId",
        capabilities: Capabilities | None = None,
    ) -> None:
        for setting, value in (("mch_no", mch_no), ("app_id", app_id)):
            if value != "" and not is_identifier(value):
                raise InvalidSetting(setting, "1 to 128 printable ASCII characters without blanks are needed")
        if payment_reference not in ("payOrderId", "mchOrderNo"):
            raise InvalidSetting("payment_reference", "payOrderId or mchOrderNo is needed")
        self._mch_no = mch_no
        self._app_id = app_id
        self._keys = keyring(keys)
        self._payment_reference = payment_reference
        if capabilities is not None:
            self.capabilities = capabilities

    def __repr__(self) -> str:
        return f"Easylink(mch_no={self._mch_no!r}, app_id={self._app_id!r}, keys={list(self._keys)!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The configured secrets."""
        return tuple(key.secret for key in self._keys)

    # ---- authenticity

    def verify(self, channel: Channel, message: Message) -> Verification:
        """Check `sign` with every unexpired key: over all fields, or over `data` alone in an answer.

        Raises:
            InvalidSignature: the signature is present and wrong, or does not say which field is which.
        """
        try:
            sign, covered = _signed_part(channel, message)
        except UnreadableMessage:
            return UNVERIFIED
        if not self._keys or word(sign) is None or not isinstance(covered, dict) or not covered:
            return UNVERIFIED
        given = digest_bytes(sign, DIGEST_SIZE) if isinstance(sign, str) else None
        if given is None:
            raise InvalidSignature(_NAME, "sign is not 32 hexadecimal digits")
        if channel is not Channel.REQUEST:
            refuse_smuggled_fields(covered)
        text = text_to_sign(covered)
        key = verifying_key(
            self._keys, message.received_at, lambda key: same_digest(given, digest(text, key.secret))
        )
        if key is None:
            raise InvalidSignature(_NAME, "no configured key makes this sign")
        return Verification(Trust.VERIFIED, key.key_id)

    def signed_at(self, message: Message) -> datetime | None:
        """Return the notification's `reqTime`: 13 digits are milliseconds, 10 are seconds."""
        try:
            return epoch_moment(_document(message).get("reqTime"))
        except UnreadableMessage:
            return None

    # ---- reading

    def read_request(self, message: Message) -> SentRefund:
        """Read back one of our refund requests, JSON or form.

        Raises:
            UnreadableMessage: it is neither, or refund number, amount or currency are missing or wrong.
        """
        document = _document(message)
        fields = Fields(document)
        refund_id = fields.reference("mchRefundNo")
        payment_id = fields.reference(self._payment_reference, "payOrderId", "mchOrderNo")
        account = fields.reference("mchNo")
        currency = fields.take("currency", _currency)
        minor = fields.take("refundAmount", _cents)
        if fields.odd is not None:
            raise UnreadableMessage(_NAME, f"{fields.odd} cannot be used")
        if refund_id is None or minor is None or currency is None:
            raise UnreadableMessage(_NAME, "mchRefundNo, refundAmount and currency are needed")
        return SentRefund(
            refund_id=refund_id,
            payment_id=payment_id,
            amount=Money(minor, currency),
            account=account,
            reason=clipped(document.get("refundReason")),
        )

    def read_response(self, message: Message) -> Evidence:
        """Read the answer to a refund request; one that cannot be read is `uncertain`."""
        return self._read_answer(Channel.API_RESPONSE, message)

    def read_poll(self, message: Message) -> Evidence:
        """Read the answer to a query; one that cannot be read is `uncertain`."""
        return self._read_answer(Channel.POLL, message)

    def read_webhook(self, message: Message) -> Evidence:
        """Read a notification, form-encoded or JSON.

        Raises:
            UnreadableMessage: it is neither, or carries no state.
        """
        document = _document(message)
        if word(document.get("state")) is None:
            raise UnreadableMessage(_NAME, "state is missing")
        return self._read_refund(Channel.WEBHOOK, document, "")

    def _read_answer(self, channel: Channel, message: Message) -> Evidence:
        silence = without_answer(message)
        if silence is not None:
            return silence
        try:
            document = json_object(_NAME, message.body)
        except UnreadableMessage as error:
            return unreadable_answer(error)
        said = clipped(document.get("msg"))
        code = word(document.get("code"))
        if code is None:
            return Evidence(signal=Signal.UNCERTAIN, code=shown_code("code", None), detail=said)
        signal = MEANING.get((channel, "code", code), Signal.UNRECOGNISED)
        if signal is not None:
            return Evidence(signal=signal, code=shown_code("code", code), detail=said)
        return self._read_refund(channel, document.get("data"), said)

    def _read_refund(self, channel: Channel, document: object, said: str) -> Evidence:
        fields = Fields(document)
        state = fields.take("state", word)
        refund_id = fields.reference("mchRefundNo")
        payment_id = fields.reference(*_PAYMENT_OF[self._payment_reference])
        gateway_refund_id = fields.reference("refundOrderId")
        cents, counted = fields.take("refundAmount", _cents), fields.take("currency", _currency)
        # A currency that easylink cannot count in is odd, and still one that differs from what was asked.
        currency = counted or Fields(document).take("currency", currency_code)
        read = Evidence(
            signal=_signal(channel, state),
            code=shown_code("state", state),
            refund_id=refund_id,
            payment_id=payment_id,
            gateway_refund_id=gateway_refund_id,
            amount_minor=cents if currency == counted else None,
            currency=currency,
            account=fields.reference("mchNo"),
            gateway_time=fields.take("successTime", epoch_moment) or fields.take("createdAt", epoch_moment),
            detail=_detail(document, said),
        )
        if fields.odd is not None:
            return replace(read, signal=Signal.UNRECOGNISED, claims=read.signal, code=fields.odd)
        return replace(read, hold=_HOLD.get(read.signal, Hold.NONE))

    # ---- building

    def build_refund(
        self,
        order: RefundOrder,
        *,
        at: datetime,
        nonce: str,  # noqa: ARG002 - the API has no field for it
    ) -> HttpRequest:
        """Build the signed refund request; `at` becomes reqTime.

        Raises:
            InvalidSetting: merchant number, application id or an unexpired key is missing.
            InvalidText: an id, the reason or the notify URL is longer than the API takes.
            InvalidAmount: the currency's minor unit is not the hundredth that easylink counts in.
        """
        reason = note("reason", order.reason)
        fields: dict[str, object] = {
            self._payment_reference: _bounded("payment_id", order.payment_id, _MAX_ID),
            "mchRefundNo": _bounded("refund_id", order.refund_id, _MAX_ID),
            "refundAmount": order.amount.minor,
            "currency": _currency(order.amount.currency),
            "refundReason": _bounded("reason", reason if reason.strip() else _DEFAULT_REASON, _MAX_REASON),
        }
        if order.notify_url:
            fields["notifyUrl"] = _bounded("notify_url", order.notify_url, _MAX_URL)
        return self._signed(_REFUND_TARGET, fields, at)

    def build_query(
        self,
        order: RefundOrder,
        *,
        at: datetime,
        nonce: str,  # noqa: ARG002 - the API has no field for it
    ) -> HttpRequest:
        """Build the signed query by our own refund number.

        Raises:
            InvalidSetting: merchant number, application id or an unexpired key is missing.
            InvalidText: the refund id is longer than the API takes.
        """
        fields = {"mchRefundNo": _bounded("refund_id", order.refund_id, _MAX_ID)}
        return self._signed(_QUERY_TARGET, fields, at)

    def _signed(self, target: str, fields: Mapping[str, object], at: datetime) -> HttpRequest:
        for setting, value in (("mch_no", self._mch_no), ("app_id", self._app_id)):
            if not value:
                raise InvalidSetting(setting, f"it is needed to build requests: Easylink({setting}=…)")
        key = signing_key(self._keys, at)
        document: dict[str, object] = {
            "mchNo": self._mch_no,
            "appId": self._app_id,
            **fields,
            "reqTime": epoch_milliseconds(at),
            "version": "1.0",
            "signType": "MD5",
        }
        document["sign"] = digest(text_to_sign(document), key.secret).hex().upper()
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return HttpRequest(
            method="POST", target=target, headers={"Content-Type": "application/json"}, body=body
        )


# ---- fields ------------------------------------------------------------------------------------------------


def _signed_part(channel: Channel, message: Message) -> tuple[object, object]:
    """Return the sign of a message and what it covers; None where nothing is documented or there is none."""
    if channel in _WHOLE_BODY:
        document = _document(message)
        return document.get("sign"), document
    if channel in _DATA_ALONE:
        document = json_object(_NAME, message.body)
        return document.get("sign"), document.get("data")
    return None, None


def _document(message: Message) -> dict[str, Any]:
    """Parse a body that may be a form or JSON: a form starts with a letter and is not declared to be JSON."""
    declared = message.header("content-type") or ""
    if message.body[:1].isalpha() and "json" not in declared.lower():
        return form_fields(_NAME, message.body)
    return json_object(_NAME, message.body)


def _signal(channel: Channel, state: str | None) -> Signal:
    if state is None:
        return Signal.UNCERTAIN
    return MEANING.get((channel, "state", state)) or Signal.UNRECOGNISED


def _currency(value: object) -> str:
    code = currency_code(value)
    digits = exponent(code)
    if digits != _CENTS_DIGITS:
        raise InvalidAmount(code, f"easylink counts in hundredths; this currency has {digits} decimal digits")
    return code


def _cents(value: object) -> int:
    return Money.from_minor(value, _UNSTATED_CURRENCY).minor


def _detail(document: object, said: str) -> str:
    parts = [first_text(document, "errCode"), first_text(document, "errMsg") or said]
    return clipped(" ".join(part for part in parts if part))


def _bounded(name: str, value: str, most: int) -> str:
    if len(value) > most:
        raise InvalidText(name, f"{len(value)} characters, easylink takes at most {most}; use a shorter one")
    return value
