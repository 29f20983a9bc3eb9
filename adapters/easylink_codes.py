"""Every code that easylink documents, for each channel, and what it says about a refund."""

from __future__ import annotations

from typing import Final

from ..engine.domain.message import Channel
from ..engine.domain.signals import Signal
from ..engine.ports import Code

_REFUND: Final = "easylink, Unified refund (read 2026-11-21)"
_QUERY: Final = "easylink, Order query (read 2026-11-21)"
_NOTIFICATION: Final = "easylink, Refund notification (read 2026-11-21)"
_RETURN_CODES: Final = "easylink, Return codes (read 2026-11-21)"

_STATES: Final = (
    ("0", Signal.PENDING, "order generated"),
    ("1", Signal.PENDING, "refund in progress"),
    ("2", Signal.SUCCESS, "refund success"),
    ("3", Signal.FAILED, "refund failure"),
    ("4", Signal.CLOSED, "closed after two hours without asking the channel: can hide a real refund"),
)
_REFUND_CODES: Final = (
    ("0", None, "processed, not refunded: state decides"),
    ("10", Signal.UNCERTAIN, "system error"),
    ("11", Signal.REJECTED, "parameter error"),
    ("12", Signal.UNCERTAIN, "database error"),
    ("5004", Signal.REJECTED, "no permission"),
    ("9999", Signal.UNCERTAIN, "any business failure, 'already exists' and trouble after acceptance too"),
)
_QUERY_CODES: Final = (
    ("0", None, "processed: state decides"),
    ("10", Signal.UNCERTAIN, "system error"),
    ("11", Signal.UNCERTAIN, "parameter error: fails the query only"),
    ("12", Signal.UNCERTAIN, "database error"),
    ("5004", Signal.UNCERTAIN, "no permission: fails the query only"),
    ("9999", Signal.UNCERTAIN, "any business failure: fails the query only"),
)
CODES: Final = tuple(
    Code(channel, field, value, signal, source, why)
    for channel, field, rows, source in (
        (Channel.API_RESPONSE, "code", _REFUND_CODES, _RETURN_CODES),
        (Channel.API_RESPONSE, "state", _STATES, _REFUND),
        (Channel.POLL, "code", _QUERY_CODES, _RETURN_CODES),
        (Channel.POLL, "state", _STATES, _QUERY),
        (Channel.WEBHOOK, "state", _STATES, _NOTIFICATION),
    )
    for value, signal, why in rows
)
MEANING: Final = {(code.channel, code.field, code.value): code.signal for code in CODES}
"""What each code says: the readers ask this table and nothing else; None: read on."""
