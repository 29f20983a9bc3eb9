"""BBMSL: a synchronous refund by order, one an order, RSA-signed text inside a JSON envelope.

Source of every fact: BBMSL, Direct refund (read 2026-11-21), unless a comment calls it ours.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from ..engine.domain.evidence import UNVERIFIED, Evidence, Hold, SentRefund, Trust, Verification
from ..engine.domain.identifiers import clipped, is_identifier
from ..engine.domain.message import Channel, HttpRequest
from ..engine.domain.money import Money, exponent
from ..engine.domain.signals import Signal
from ..engine.errors import (
    InvalidAmount,
    InvalidSetting,
    InvalidText,
    UnreadableMessage,
)
from ..engine.ports import AmountForm, Capabilities, Schedule, Stage
from .bbmsl_codes import ANY_OTHER, CODES, MEANING, RESPONSE_CODE, STATUS, SUCCESSFUL
from .bbmsl_signing import MerchantKey
from .reading import (
    NOT_STRICT_JSON,
    Fields,
    currency_code,
    json_object,
    member,
    moment,
    shown_code,
    text,
    unreadable_answer,
    without_answer,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..engine.domain.evidence import RefundOrder
    from ..engine.domain.message import Message

OrderReference = Literal["merchantReference", "orderId"]

_NAME: Final = "bbmsl"
_CAPABILITIES: Final = Capabilities(
    partial=True,
    several=False,
    lookup_by_own_reference=True,
    post_timeout_s=30,  # ours: the document names none
    poll_interval_s=45,  # ours: the document names none
    outcome_window_s=600,  # ours: the refund is synchronous, so ten minutes without an outcome are odd
    refund_window_days=None,
    key_retention_s=None,
    absence=None,  # an order without a refund is a snapshot, never proof that none will follow
    amounts=AmountForm.MAJOR_NUMBER,
    acknowledgement=None,  # no refund webhook is documented
    webhook_retry_s=(),
    # The schedule is ours: the refund is synchronous, so what is under way is soon over.
    pending=Schedule((Stage(1800, 60), Stage(86_400, 1800), Stage(3 * 86_400, 6 * 3600)), 86_400),
    recheck_s=(),  # the refund is synchronous; and a query tells of the order, which may have a later refund by then
    refund_reference=False,  # an order has one refund: it is found by the order, whatever number the merchant gave it
)
_HOLD: Final = {Signal.REJECTED: Hold.UNTIL_QUERY}

_REFUND_TARGET: Final = "/direct/refund"
_QUERY_TARGET: Final = "/direct/query"
_MAX_SCALE: Final = 30
"""More decimal places or trailing zeros than any amount has; writing them all out could fill the memory."""
_ORDER_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_TRAILING_COMMA = re.compile(r",\s*[}\]]\s*\Z")

# ---- the adapter -------------------------------------------------------------------------------------------


class Bbmsl:
    """The BBMSL direct refund API, as the `Gateway` port asks for it.

    The gateway has no refund number: it knows a refund only by its order, so evidence carries the order's
    reference as refund id and as payment id, and its other name as payment alias: a request may have named
    either. Answers are unsigned, so they stay unverified.

    Args:
        merchant_id: the merchant identifier (`merchantId`); needed to build requests.
        private_key_pem: the merchant's RSA key (PEM, unencrypted, 2048 bits or more): signs requests, and its
            public half verifies those read back.
        reference: which of the two documented fields our payment ids are.
        currency: ISO 4217 code of the merchant's orders, as a request carries none. HKD by default is ours:
            BBMSL is a Hong Kong acquirer.
        capabilities: where this merchant's differ from the documented ones.

    Raises:
        InvalidSetting: an id, key, reference or currency that cannot be used, or `cryptography` is missing.
    """

    name: Final = _NAME
    capabilities: Capabilities = _CAPABILITIES
    codes: Final = CODES

    def __init__(
        self,
        *,
        merchant_id: str = "",
        private_key_pem: str | bytes | None = None,
        reference: OrderReference = "merchantReference",
        currency: str = "HKD",
        capabilities: Capabilities | None = None,
    ) -> None:
        if merchant_id != "" and not is_identifier(merchant_id):
            raise InvalidSetting("merchant_id", "1 to 128 printable ASCII characters, no blanks, are needed")
        if reference not in ("merchantReference", "orderId"):
            raise InvalidSetting("reference", "merchantReference or orderId is needed")
        try:
            exponent(currency)
        except InvalidAmount as error:
            raise InvalidSetting("currency", error.reason) from None
        self._merchant_id = merchant_id
        self._reference = reference
        self._currency = currency
        if capabilities is not None:
            self.capabilities = capabilities
        self._key = None if private_key_pem is None else MerchantKey(private_key_pem)

    def __repr__(self) -> str:
        return (
            f"Bbmsl(merchant_id={self._merchant_id!r}, key={self._key!r},"
            f" reference={self._reference!r}, currency={self._currency!r})"
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """The private key as it was given."""
        return () if self._key is None else (self._key.pem,)

    # ---- authenticity

    def verify(self, channel: Channel, message: Message) -> Verification:
        """Check the signature of one of our own requests over the exact `request` text; all else is unsigned.

        Raises:
            InvalidSignature: it is present and not one base64 of the RSA signature.
        """
        if channel is not Channel.REQUEST or self._key is None:
            return UNVERIFIED
        try:
            envelope = json_object(_NAME, message.body)
        except UnreadableMessage:
            return UNVERIFIED
        signed, signature = text(envelope, "request"), word(member(envelope, "signature"))
        if signed is None or signature is None:
            return UNVERIFIED
        self._key.verify(signed, signature)
        return Verification(Trust.VERIFIED, self._key.key_id)

    def signed_at(self, message: Message) -> datetime | None:  # noqa: ARG002 - no webhook, so no signed time
        """Return None: nothing that reaches us is signed."""
        return None

    # ---- reading

    def read_request(self, message: Message) -> SentRefund:
        """Read back one of our refund requests from the `request` text of its envelope.

        Raises:
            UnreadableMessage: envelope or text are not strict JSON, or order or amount are missing or wrong.
        """
        fields = Fields(_request_in(message))
        other: OrderReference = "orderId" if self._reference == "merchantReference" else "merchantReference"
        order = fields.reference(self._reference, other)
        amount = fields.take("amount", self._money)
        account = fields.reference("merchantId")
        if fields.odd is not None:
            raise UnreadableMessage(_NAME, f"{fields.odd} cannot be used")
        if order is None:
            raise UnreadableMessage(_NAME, "merchantReference or orderId is missing")
        if amount is None:
            raise UnreadableMessage(_NAME, "amount is missing")
        return SentRefund(refund_id=order, payment_id=order, amount=amount, account=account)

    def read_response(self, message: Message) -> Evidence:
        """Read the answer to a refund request; one that cannot be read is `uncertain`."""
        return self._read_answer(Channel.API_RESPONSE, message)

    def read_poll(self, message: Message) -> Evidence:
        """Read the answer to a query; one that cannot be read is `uncertain`."""
        return self._read_answer(Channel.POLL, message)

    def read_webhook(self, message: Message) -> Evidence:  # noqa: ARG002 - none is documented
        """Refuse: no refund webhook is documented.

        Raises:
            UnreadableMessage: always.
        """
        raise UnreadableMessage(_NAME, "no refund webhook is documented")

    def _read_answer(self, channel: Channel, message: Message) -> Evidence:
        silence = without_answer(message)
        if silence is not None:
            return silence
        try:
            document = json_object(_NAME, message.body)
        except UnreadableMessage as error:
            return unreadable_answer(error)
        fields = Fields(document)
        signal, code = _decide(channel, document)
        name, other_name = _ORDER_OF[self._reference]
        order = fields.reference(name)
        # Beside the one name the other is a help: where it cannot be read, nothing that is compared is missing.
        alias = (fields if order is None else Fields(document)).reference(other_name)
        currency = fields.take("transaction.currency", currency_code) or fields.take(
            "order.currency", currency_code
        )
        amount = None
        if _is_refund(document):
            amount = fields.take("transaction.amount", lambda value: self._money(value, currency))
        read = Evidence(
            signal=signal,
            code=code,
            refund_id=order or alias,
            payment_id=order,
            payment_alias=alias,
            amount_minor=None if amount is None else amount.minor,
            currency=currency,
            account=fields.reference("transaction.merchantId"),
            gateway_time=moment(member(document, "order.updateTime")),
            detail=clipped(document.get("message")),
        )
        if fields.odd is not None:
            return replace(read, signal=Signal.UNRECOGNISED, claims=signal, code=fields.odd)
        return replace(read, hold=_HOLD.get(signal, Hold.NONE))

    def _money(self, value: object, currency: str | None = None) -> Money:
        return Money.parse(_decimal_text(value), currency or self._currency)

    # ---- building

    def build_refund(
        self,
        order: RefundOrder,
        *,
        at: datetime,  # noqa: ARG002 - the API has no field for it
        nonce: str,  # noqa: ARG002 - the API has no field for it
    ) -> HttpRequest:
        """Build the signed refund request; the order is also the idempotency key.

        Raises:
            InvalidSetting: merchant id or private key is missing.
            InvalidText: the payment id cannot be the configured reference.
            InvalidAmount: another currency than the configured one: the request could not say so.
        """
        if order.amount.currency != self._currency:
            raise InvalidAmount(
                str(order.amount),
                f"a BBMSL request names no currency and this adapter stands for {self._currency};"
                f" configure another with Bbmsl(currency=…)",
            )
        return self._signed(_REFUND_TARGET, order, f',"amount":{order.amount.major}')

    def build_query(
        self,
        order: RefundOrder,
        *,
        at: datetime,  # noqa: ARG002 - the API has no field for it
        nonce: str,  # noqa: ARG002 - the API has no field for it
    ) -> HttpRequest:
        """Build the signed query for the order.

        Raises:
            InvalidSetting: merchant id or private key is missing.
            InvalidText: the payment id cannot be the configured reference.
        """
        return self._signed(_QUERY_TARGET, order, "")

    def _signed(self, target: str, order: RefundOrder, rest: str) -> HttpRequest:
        if not self._merchant_id:
            raise InvalidSetting("merchant_id", "it is needed to build requests: Bbmsl(merchant_id=…)")
        if self._key is None:
            raise InvalidSetting("private_key_pem", "it is needed to sign requests: Bbmsl(private_key_pem=…)")
        reference = json.dumps(order.payment_id)
        if self._reference == "orderId":
            if not _ORDER_ID.fullmatch(order.payment_id):
                raise InvalidText("payment_id", "orderId is a number of 1 to 19 digits without leading zero")
            reference = order.payment_id
        # Written by hand: the amount must be a JSON number with exactly these digits, which no float keeps.
        request = f'{{"merchantId":{json.dumps(self._merchant_id)},"{self._reference}":{reference}{rest}}}'
        envelope = json.dumps(
            {"request": request, "signature": self._key.sign(request)}, separators=(",", ":")
        )
        return HttpRequest(
            method="POST", target=target, headers={"Content-Type": "application/json"}, body=envelope.encode()
        )


# ---- meaning -----------------------------------------------------------------------------------------------

_ORDER_OF: Final[Mapping[OrderReference, tuple[str, str]]] = {
    "merchantReference": ("order.merchantReference", "order.id"),
    "orderId": ("order.id", "order.merchantReference"),
}
"""The two names of an order in an answer, the one that our payment ids are first."""


def _decide(channel: Channel, document: Mapping[str, object]) -> tuple[Signal, str]:
    """Return signal and deciding field; the signal itself always comes from the table."""
    response_code = document.get(RESPONSE_CODE)
    if response_code is None or response_code == "":
        return Signal.UNCERTAIN, shown_code(RESPONSE_CODE, None)
    if not isinstance(response_code, str):  # the number 0 cannot be told from the text 0000
        return Signal.UNRECOGNISED, shown_code(RESPONSE_CODE, word(response_code))
    status = word(member(document, STATUS))
    by_status = Signal.UNCERTAIN
    if status is not None:
        by_status = MEANING.get((channel, STATUS, status)) or Signal.UNRECOGNISED
    known = response_code if response_code == SUCCESSFUL else ANY_OTHER
    by_code = MEANING[channel, RESPONSE_CODE, known]
    if by_code is None or (channel is Channel.API_RESPONSE and by_status is Signal.SUCCESS):
        return by_status, shown_code(STATUS, status)
    return by_code, shown_code(RESPONSE_CODE, response_code)


def _is_refund(document: Mapping[str, object]) -> bool:
    """Tell whether the transaction is the refund: a query may answer with the sale and its amount."""
    kind = word(member(document, "transaction.type"))
    return kind is None or "REFUND" in kind.upper()


def _decimal_text(value: object) -> object:
    """Return a JSON number as the decimal text it was written with, anything else as it is."""
    if isinstance(value, Decimal):
        scale = value.as_tuple().exponent
        if not isinstance(scale, int) or abs(scale) > _MAX_SCALE:
            raise InvalidAmount(str(value), "its exponent is out of range")
        return format(value, "f")
    return str(value) if type(value) is int else value


def _request_in(message: Message) -> dict[str, Any]:
    written = text(json_object(_NAME, message.body), "request")
    if written is None:
        raise UnreadableMessage(_NAME, "the envelope holds no `request` text")
    if _TRAILING_COMMA.search(written):
        raise UnreadableMessage(_NAME, f"{NOT_STRICT_JSON}: the `request` text has a trailing comma")
    return json_object(_NAME, written.encode())
