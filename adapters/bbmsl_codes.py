"""Every code that BBMSL documents, for each channel, and what it says about a refund."""

from __future__ import annotations

from typing import Final

from ..engine.domain.message import Channel
from ..engine.domain.signals import Signal
from ..engine.ports import Code

_REFUND: Final = "BBMSL, Direct refund (read 2026-11-21)"
_QUERY: Final = "BBMSL, Order query (read 2026-11-21)"

STATUS: Final = "order.status"
RESPONSE_CODE: Final = "responseCode"
ANY_OTHER: Final = "*"
SUCCESSFUL: Final = "0000"
_NOT_REFUNDED: Final = "the order shows no refund (yet)"
_UNREFUNDED: Final = ("OPEN", "SUCCESS", "SETTLED", "CLOSED", "FAILURE", "DECLINED", "CANCELLED", "NONE")
_REFUND_STATUSES: Final = (
    ("REFUNDED", Signal.SUCCESS, "decides whatever the responseCode: a repeated request is refused"),
    ("PARTIALLY_REFUNDED", Signal.SUCCESS, "ours: an order has one refund, full or partial, and this is it"),
    ("VOIDED", Signal.UNCERTAIN, "the sale was voided: the money went back by another way"),
    *((status, Signal.UNCERTAIN, f"beside 0000: {_NOT_REFUNDED}") for status in ("PROCESSING", *_UNREFUNDED)),
)
_QUERY_STATUSES: Final = (
    ("REFUNDED", Signal.SUCCESS, ""),
    ("PARTIALLY_REFUNDED", Signal.SUCCESS, "ours: an order has one refund, full or partial, and this is it"),
    ("PROCESSING", Signal.PENDING, "the gateway is at work on the order"),
    ("VOIDED", Signal.UNCERTAIN, "the sale was voided: money may have gone back; confirms no rejection"),
    *((status, Signal.NOT_FOUND, _NOT_REFUNDED) for status in _UNREFUNDED),
)
_REFUND_CODES: Final = (
    (SUCCESSFUL, None, "processed: order.status decides"),
    (ANY_OTHER, Signal.REJECTED, "no list is documented; reserved until a query has confirmed it"),
)
_QUERY_CODES: Final = (
    (SUCCESSFUL, None, "processed: order.status decides"),
    (ANY_OTHER, Signal.UNCERTAIN, "no list is documented; fails the query only"),
)
_TRANSACTION_STATUSES: Final = tuple(
    (status, None, "the transaction's; order.status decides")
    for status in ("SUCCESS", "DECLINED", "VOIDED", "REFUNDED", "SETTLED")
)
CODES: Final = tuple(
    Code(channel, field, value, signal, source, why)
    for channel, field, rows, source in (
        (Channel.API_RESPONSE, STATUS, _REFUND_STATUSES, _REFUND),
        (Channel.API_RESPONSE, RESPONSE_CODE, _REFUND_CODES, _REFUND),
        (Channel.API_RESPONSE, "transaction.status", _TRANSACTION_STATUSES, _REFUND),
        (Channel.POLL, STATUS, _QUERY_STATUSES, _QUERY),
        (Channel.POLL, RESPONSE_CODE, _QUERY_CODES, _QUERY),
        (Channel.POLL, "transaction.status", _TRANSACTION_STATUSES, _QUERY),
    )
    for value, signal, why in rows
)
MEANING: Final = {(code.channel, code.field, code.value): code.signal for code in CODES}
"""What each code says: the readers ask this table and nothing else; None: read on."""
