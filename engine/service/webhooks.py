"""Webhooks: what to answer the gateway. Never a 2xx before the append is durable; all refusals look the same."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from ..domain.evidence import Trust
from ..domain.message import Channel, Message
from ..errors import InvalidSignature, RefoldError, StaleMessage, StoreError, VersionConflict
from .arguments import are_headers
from .noticing import named
from .recording import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..domain.evidence import Verification
    from ..ports import Clock, Gateway
    from .keeping import Keeper
    from .recording import Receipt, Recorder

MAX_BODY: Final = 256 * 1024
"""Bytes of a webhook's body; longer ones are refused."""
MAX_HEADER: Final = 4 * 1024
"""Characters of one header's value."""
MAX_HEADERS: Final = 100
TOLERANCE_S: Final = 300
"""Seconds a signed time may lie in the past or in the future."""
RETRY_AFTER_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReply:
    """What to answer the gateway.

    Attributes:
        status: HTTP status; 2xx only once the message is durable.
        body: the exact bytes; a space or newline more makes some gateways send again.
        headers: to send along.
        result: `accepted`, `duplicate`, `orphan`, `quarantined`, or why it was refused: for logs and counters.
        refund_id: the refund it speaks of, where known.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    result: str
    refund_id: str | None = None


_RESULTS: Final = {
    Outcome.RECORDED: "accepted",
    Outcome.DUPLICATE: "duplicate",
    Outcome.ORPHANED: "orphan",
    Outcome.QUARANTINED: "quarantined",
}


class WebhookReceiver:
    """Checks, reads and records webhooks."""

    def __init__(self, recorder: Recorder, keeper: Keeper, clock: Clock) -> None:
        """Record with `recorder`; log what `keeper` made safe; hold signed times against `clock`."""
        self._recorder = recorder
        self._keeper = keeper
        self._clock = clock
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    def receive(self, gateway: Gateway | None, headers: Mapping[str, str], body: bytes) -> WebhookReply:
        """Check, read and record one webhook, and say what to answer. Nothing is raised."""
        if gateway is None or gateway.capabilities.acknowledgement is None:
            return refusal(404, "unknown_gateway")
        if type(body) is not bytes or not are_headers(headers):
            self._log.error(
                "webhook.refused", gateway=gateway.name, reason="no bytes, or no texts as headers"
            )
            return refusal(400, "malformed")
        refused = _refused_unread(headers, body)
        if refused is not None:
            self._log.warning("webhook.refused", gateway=gateway.name, reason=refused.result)
            return refused
        return self._answer(gateway, headers, body, gateway.capabilities.acknowledgement)

    def _answer(
        self, gateway: Gateway, headers: Mapping[str, str], body: bytes, acknowledgement: bytes
    ) -> WebhookReply:
        message = Message(body=body, received_at=self._clock(), headers=dict(headers))
        try:
            verification = self._authenticated(gateway, message)
        except Exception as error:  # noqa: BLE001 - what cannot be checked is not authentic
            self._log.warning("webhook.refused", gateway=gateway.name, **self._described(error))
            return refusal(401, "unauthentic")
        try:
            receipt = self._recorded(gateway, message, verification)
        except Exception as error:  # noqa: BLE001 - nothing is known to be durable: it must be sent again
            self._log.error("webhook.not_stored", gateway=gateway.name, **self._described(error))
            return refusal(503, "not_stored", {"retry-after": str(RETRY_AFTER_S)})
        return WebhookReply(
            status=200,
            body=acknowledgement,
            headers={"content-type": "text/plain; charset=utf-8"},
            result=_RESULTS[receipt.outcome],
            refund_id=receipt.refund_id,
        )

    def _authenticated(self, gateway: Gateway, message: Message) -> Verification:
        verification = self._recorder.verify(gateway, Channel.WEBHOOK, message)
        if verification.trust is not Trust.VERIFIED:
            raise InvalidSignature(gateway.name, "a webhook needs a signature and a configured key")
        signed_at = gateway.signed_at(message)
        if signed_at is None:
            raise InvalidSignature(gateway.name, "it carries no readable signed time")
        offset_s = (signed_at - message.received_at).total_seconds()
        if abs(offset_s) > TOLERANCE_S:
            raise StaleMessage(gateway.name, offset_s, TOLERANCE_S)
        return verification

    def _recorded(self, gateway: Gateway, message: Message, verification: Verification) -> Receipt:
        try:
            return self._recorder.record(gateway, Channel.WEBHOOK, message, verification)
        except (StoreError, VersionConflict):
            raise
        except Exception as error:  # noqa: BLE001 - an authentic message is never dropped and never blocks others
            self._log.error("webhook.unusable", gateway=gateway.name, **self._described(error))
            reason = f"recording it raised {type(error).__name__}"
            return self._recorder.quarantine(gateway, Channel.WEBHOOK, message, verification, reason)

    def _described(self, error: Exception) -> dict[str, str]:
        if isinstance(error, RefoldError):
            return {"error": type(error).__name__, "reason": self._keeper.text(str(error))}
        return named(error)


def _refused_unread(headers: Mapping[str, str], body: bytes) -> WebhookReply | None:
    if len(body) > MAX_BODY:
        return refusal(413, "too_large")
    if len(headers) > MAX_HEADERS or any(len(value) > MAX_HEADER for value in headers.values()):
        return refusal(401, "unauthentic")
    encoding = next(
        (value for name, value in headers.items() if name.lower() == "content-encoding"), "identity"
    )
    if encoding.strip().lower() not in {"", "identity"}:
        return refusal(415, "encoded")
    return None


def refusal(status: int, result: str, more: Mapping[str, str] | None = None) -> WebhookReply:
    """Return the answer to a webhook that is not taken; the same bytes wherever the result is the same."""
    body = json.dumps({"status": result}).encode()
    headers = {"content-type": "application/json", **(more or {})}
    return WebhookReply(status=status, body=body, headers=headers, result=result)
