"""Building: the requests about a refund, as its adapter writes and signs them; a retry is the same bytes again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog

from ..domain.evidence import RefundOrder
from ..domain.message import Message
from ..errors import InvalidInput, MessageNotFound, RefoldError, ResendRefused
from .noticing import named

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..domain.attempt import Attempt
    from ..domain.message import HttpRequest
    from ..domain.refund import Refund
    from ..ports import Entropy, EventStore, Gateway
    from ..ports.transport import Answer, Transport
    from .keeping import Keeper

Made = TypeVar("Made")

_NONCE_BYTES: Final = 16


class Built(NamedTuple):
    """A refund request, and what it was built with."""

    request: HttpRequest
    signed_at: datetime
    nonce: str


class Builder:
    """Builds refund requests and queries."""

    def __init__(self, store: EventStore, keeper: Keeper, entropy: Entropy, transport: Transport) -> None:
        """Compare retries with what `store` keeps of the first try; `transport` knows where webhooks go."""
        self._store = store
        self._keeper = keeper
        self._entropy = entropy
        self._transport = transport
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    def refund_request(self, gateway: Gateway, refund: Refund, now: datetime) -> Built:
        """Build the request for a refund; where it may have been sent already, the same bytes as then.

        Raises:
            ResendRefused: it would not be the same bytes.
            InvalidInput: the adapter cannot build it.
        """
        if refund.payment_id is None:
            raise InvalidInput(
                f"refund {refund.refund_id} names no payment, so there is nothing to give back"
            )
        first = refund.sent[0] if refund.sent else None
        if first is None:
            signed_at, nonce = now, self._nonce()
        elif first.signed_at is None or first.nonce is None:
            raise ResendRefused(refund.refund_id, "its first request was built elsewhere, not by this engine")
        else:
            signed_at, nonce = first.signed_at, first.nonce
        order = self._order(gateway, refund)
        request = self._made(gateway, lambda: gateway.build_refund(order, at=signed_at, nonce=nonce))
        if first is not None:
            self._check_same(refund, first, request)
        return Built(request, signed_at, nonce)

    def query(self, gateway: Gateway, refund: Refund, now: datetime) -> HttpRequest:
        """Build the query for a refund, by our own reference. Raises `InvalidInput`."""
        order = self._order(gateway, refund)
        return self._made(gateway, lambda: gateway.build_query(order, at=now, nonce=self._nonce()))

    def _order(self, gateway: Gateway, refund: Refund) -> RefundOrder:
        return RefundOrder(
            refund_id=refund.refund_id,
            payment_id=refund.payment_id or refund.refund_id,
            amount=refund.amount,
            requested_at=refund.requested_at,
            reason=refund.reason,
            gateway_refund_id=refund.gateway_refund_id,
            notify_url=self._transport.notify_url(gateway.name),
        )

    def _made(self, gateway: Gateway, make: Callable[[], Made]) -> Made:
        try:
            return make()
        except RefoldError:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter that breaks must not break the others
            self._log.error("adapter.error", gateway=gateway.name, **named(error))
            raise InvalidInput(f"the adapter {gateway.name} raised {type(error).__name__}") from None

    def _check_same(self, refund: Refund, first: Attempt, request: HttpRequest) -> None:
        try:
            kept = self._store.body(first.digest)
        except MessageNotFound:  # erased: what it was built with is all there is to go by
            return
        again, _ = self._keeper.keep(as_message(request, first.time))
        if again.content != kept.content or request.target != first.target:
            raise ResendRefused(
                refund.refund_id, "with the present settings its request would not be the one that was sent"
            )

    def _nonce(self) -> str:
        return self._entropy(_NONCE_BYTES).hex()


def as_message(request: HttpRequest, time: datetime, answer: Answer | None = None) -> Message:
    """Return a request as the message that left, or its answer as the message that came."""
    if answer is None:
        return Message(
            body=request.body,
            received_at=time,
            headers=request.headers,
            method=request.method,
            target=request.target,
        )
    return Message(
        body=answer.body,
        received_at=time,
        headers=answer.headers,
        http_status=answer.status,
        method=request.method,
        target=request.target,
    )
