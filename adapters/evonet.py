"""Evonet: `POST /payment/{merchantTransID}/refund`, a synchronous answer, then a webhook with eventCode Refund.

Sources: Evonet, Refund API; Evonet, Refund asynchronous notification; Evonet, POST refund reference (read 2026-11-21).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote

from ..engine.domain.evidence import Hold
from ..engine.domain.identifiers import is_identifier
from ..engine.domain.message import Channel
from ..engine.domain.signals import Signal
from ..engine.errors import InvalidSetting
from .evo import EvoGateway, path_segment
from .evo_codes import (
    NUMBERED_CODES,
    PAYMENT_OBJECT,
    PAYMENT_STATUSES,
    CodeTable,
    Family,
    family_codes,
    word_codes,
)
from .evo_signing import SIGN_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..engine.domain.evidence import Evidence, RefundOrder
    from ..engine.ports import Capabilities
    from .signing import SigningKey

_REFUND_API: Final = "Evonet, Refund API (read 2026-11-21)"
_NOTIFICATION: Final = "Evonet, Refund asynchronous notification (read 2026-11-21)"
_INTEGRATIONS: Final = "public integrations with Evonet (read 2026-11-21)"

FAMILIES: Final = (
    Family("S", "accepted, not refunded: refund.status tells", None),
    Family("V", "field validation", Signal.REJECTED),
    Family("C", "resource", Signal.REJECTED),
    Family("B", "business", Signal.REJECTED),
    Family("P", "payment service provider", Signal.REJECTED, Hold.UNTIL_QUERY),
    Family("I", "issuer", Signal.REJECTED, Hold.UNTIL_QUERY),
    Family("E", "internal, retry later", Signal.REJECTED, Hold.UNTIL_QUERY),
)
"""The Refund API says of its POST that a result outside S means that the refund failed."""

STATUSES: Final = {
    "refund_pending": Signal.PENDING,
    "refunded_full": Signal.SUCCESS,
    "refunded_partial": Signal.SUCCESS,
}
BORROWED_STATUSES: Final = {
    "Received": Signal.PENDING,
    "Success": Signal.SUCCESS,
    "Refunded": Signal.SUCCESS,
    "Partial Refunded": Signal.SUCCESS,
    "Failed": Signal.FAILED,
}
"""The other dialect's words: they were seen in Evonet's webhooks, and Evonet documents no word for a failure."""

_NOT_READ = "the payment's status: never read as the refund's"

TABLE: Final = CodeTable(
    (
        *family_codes(FAMILIES),
        *NUMBERED_CODES,
        *word_codes("refund.status", STATUSES, _REFUND_API),
        *word_codes("refund.status", BORROWED_STATUSES, _INTEGRATIONS),
        *word_codes("payment.status", dict.fromkeys(PAYMENT_STATUSES), PAYMENT_OBJECT, _NOT_READ),
        *word_codes("payment.status", dict.fromkeys(STATUSES), _REFUND_API, _NOT_READ),
        *word_codes(
            "eventCode",
            dict.fromkeys(("Refund", "Payment", "Cancel", "MerchandiseCredit", "Capture")),
            _NOTIFICATION,
            "only Refund is about a refund; all others are unreadable here",
            [Channel.WEBHOOK],
        ),
    ),
    FAMILIES,
)

_TARGET = re.compile(r"/payment/(?P<payment>[^/?]+)/refund(?:\?|$)")
QUERY_PATH: Final = "/refund/{merchantTransID}"


class Evonet(EvoGateway):
    """The adapter `evonet`.

    Args:
        keys: the merchant's keys, the one to sign with first; none is enough for importing logs.
        sign_type: how requests are signed: `SHA256`, `SHA512`, `HMAC-SHA256`, `HMAC-SHA512` or `Key-based`.
        accepted_sign_types: what an incoming SignType header may select.
        send_key_id: send the key's id as the KeyID header; `Key-based` always does.
        base_path: what stands before every path; empty or starting with a slash.
        capabilities: where this merchant's differ from the documented ones.
        query_path: the path that returns a refund by its own merchantTransID. The pages above promise such a GET and
            do not print its path, so it is a setting.

    Raises:
        InvalidSetting: one of these cannot be used.
    """

    name: ClassVar[str] = "evonet"
    table: ClassVar[CodeTable] = TABLE
    events: ClassVar[Mapping[str, str]] = {"Refund": "refund"}
    amount_required: ClassVar[bool] = True

    def __init__(
        self,
        *,
        keys: Iterable[SigningKey] = (),
        sign_type: str = "SHA256",
        accepted_sign_types: Iterable[str] = tuple(SIGN_TYPES),
        send_key_id: bool = False,
        base_path: str = "",
        query_path: str = QUERY_PATH,
        capabilities: Capabilities | None = None,
    ) -> None:
        super().__init__(
            keys=keys,
            sign_type=sign_type,
            accepted_sign_types=accepted_sign_types,
            send_key_id=send_key_id,
            base_path=base_path,
            capabilities=capabilities,
        )
        before, field, after = query_path.partition("{merchantTransID}")
        if not before.startswith("/") or not field:
            raise InvalidSetting(
                "query_path", f"a path with {{merchantTransID}} is needed, such as {QUERY_PATH}"
            )
        self._query_path = (before, after)

    def _refund_target(self, order: RefundOrder) -> str:
        return f"{self._base_path}/payment/{path_segment('payment_id', order.payment_id)}/refund"

    def _query_target(self, order: RefundOrder) -> str:
        return self._base_path + path_segment("refund_id", order.refund_id).join(self._query_path)

    def _named_in(self, target: str) -> tuple[str | None, str | None]:
        found = _TARGET.search(target)
        payment_id = unquote(found["payment"]) if found else None
        return payment_id if is_identifier(payment_id) else None, None

    def _choose_object(self, document: dict[str, Any]) -> str | Evidence:  # noqa: ARG002 - there is one only
        return "refund"
