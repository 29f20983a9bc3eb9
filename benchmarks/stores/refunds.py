"""What is written: the events of one refund as the engine makes them, and signed webhooks.

A refund's eight events are made once by a real engine (request and submission, answer, four queries, webhook). Every
other refund of the run has the same events under its own number.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from uuid import uuid4

from refold.adapters import Evonet, SigningKey
from refold.engine import Message, RefundEngine
from refold.engine.ports import NewEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "benchmark-0123456789abcdef"  # noqa: S105 - of this benchmark only
GATEWAY = "evonet"
POLLS = 4
_TEMPLATE = uuid4().hex


def new_ids(count: int) -> list[str]:
    """Return so many new refund numbers; they are random, as eventsourcing's own are."""
    return [uuid4().hex for _ in range(count)]


def refund_stream(refund_id: str) -> str:
    """Return the stream of a refund."""
    return f"refund-{refund_id}"


def payment_stream(refund_id: str) -> str:
    """Return the stream of the payment of a refund."""
    return f"payment-{GATEWAY}-pay_{refund_id}"


def adapter() -> Evonet:
    """Return the gateway, with the key its webhooks are signed with."""
    return Evonet(keys=[SigningKey("k-1", SECRET)])


def engine(url: str) -> RefundEngine:
    """Open an engine whose clock stands still at `START`."""
    return RefundEngine.open(url, gateways=[adapter()], clock=lambda: START)


# ---- messages


def _answer(refund_id: str, status: str) -> bytes:
    refund = {
        "merchantTransInfo": {"merchantTransID": refund_id, "merchantTransTime": "2026-01-01T00:00:00+08:00"},
        "status": status,
        "transAmount": {"currency": "HKD", "value": "12.34"},
        "evoTransInfo": {"evoTransID": f"pay_{refund_id}", "evoTransTime": "2026-01-01T00:00:00Z"},
    }
    body = {"result": {"code": "S0000", "message": "Success"}, "refund": refund, "eventCode": "Refund"}
    return json.dumps(body).encode()


def _request(refund_id: str) -> bytes:
    names = {"merchantTransID": refund_id, "merchantTransTime": "2026-01-01T00:00:00+08:00"}
    money = {"currency": "HKD", "value": "12.34"}
    return json.dumps(
        {"merchantTransInfo": names, "transAmount": money, "initiatingReason": "returned"}
    ).encode()


def webhook(refund_id: str) -> Message:
    """Return the signed webhook that says a refund has succeeded."""
    raw, stamp = _answer(refund_id, "refunded_full"), START.isoformat()
    signed = b"\n".join([b"POST", stamp.encode(), SECRET.encode(), b"m-1", raw])
    headers = {"content-type": "application/json", "datetime": stamp, "msgid": "m-1", "signtype": "SHA256"}
    headers["authorization"] = hashlib.sha256(signed).hexdigest()
    return Message(body=raw, received_at=START, headers=headers)


def live(refunds: RefundEngine, refund_id: str) -> None:
    """Let a refund go through its life: eight events in its stream and one in its payment's."""
    payment = f"pay_{refund_id}"
    asked = Message(body=_request(refund_id), received_at=START, http_status=200)
    refunds.record(GATEWAY, "request", asked, payment_id=payment)
    channels = ["api_response", *["poll"] * POLLS]
    for number, channel in enumerate(channels, 1):
        at = START + timedelta(milliseconds=number)
        message = Message(body=_answer(refund_id, "refund_pending"), received_at=at, http_status=200)
        refunds.record(GATEWAY, channel, message, refund_id=refund_id, payment_id=payment)
    refunds.record(GATEWAY, "webhook", webhook(refund_id))


# ---- events


@cache
def _template() -> tuple[Sequence[NewEvent], NewEvent]:
    with engine("memory:") as refunds:
        live(refunds, _TEMPLATE)
        streams = [
            [NewEvent(event.type, event.time, event.data) for event in refunds.store.read_stream(stream)]
            for stream in (refund_stream(_TEMPLATE), payment_stream(_TEMPLATE))
        ]
        state = refunds.refund(_TEMPLATE).state
    own, (reserved,) = streams
    if state != "success" or len(own) != POLLS + 4:
        raise SystemExit(
            f"the model refund is {state} after {len(own)} events, not success after {POLLS + 4}"
        )
    return own, reserved


def _for(event: NewEvent, refund_id: str) -> NewEvent:
    return event._replace(data=event.data.replace(_TEMPLATE, refund_id))


def events_of(refund_id: str) -> list[NewEvent]:
    """Return the eight events of a refund's stream."""
    return [_for(event, refund_id) for event in _template()[0]]


def reservation_of(refund_id: str) -> NewEvent:
    """Return the event of its payment's stream."""
    return _for(_template()[1], refund_id)


def success_of(refund_id: str) -> NewEvent:
    """Return the event that a webhook makes: the one that single appends write."""
    return _for(_template()[0][-1], refund_id)
