"""EVO Cloud: `POST /g2/v1/payment/mer/{sid}/cancelOrRefund`, which cancels or refunds as the payment requires.

Source: EVO Cloud, Cancel or Refund (read 2026-11-21).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote, unquote

from ..engine.domain.evidence import Evidence, Hold
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
from .reading import member, shown_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..engine.domain.evidence import RefundOrder
    from ..engine.ports import Capabilities
    from .signing import SigningKey

_PAGE: Final = "EVO Cloud, Cancel or Refund (read 2026-11-21)"
_CHOICE: Final = "cancelOrRefund"

FAMILIES: Final = (
    Family("S", "accepted, not refunded: the status of refund or cancel tells", None),
    Family("V", "field validation", Signal.REJECTED),
    Family("C", "resource", Signal.REJECTED),
    Family("B", "business", Signal.REJECTED),
    Family("P", "payment service provider", Signal.REJECTED, Hold.UNTIL_QUERY),
    Family("I", "issuer", Signal.REJECTED, Hold.UNTIL_QUERY),
    Family("E", "internal, retry later", Signal.UNCERTAIN),
)
"""The page does not say that a result outside S means failure, so an internal error stays uncertain."""

STATUSES: Final = {"Received": Signal.PENDING, "Success": Signal.SUCCESS, "Failed": Signal.FAILED}
"""Of the refund and of the cancel alike: a cancelled payment gives the money back too."""
OBJECTS: Final = {"Refund": "refund", "Cancel": "cancel"}
"""Which object tells the outcome, by `cancelOrRefund` of an answer and by `eventCode` of a webhook."""

TABLE: Final = CodeTable(
    (
        *family_codes(FAMILIES),
        *NUMBERED_CODES,
        *word_codes("refund.status", STATUSES, _PAGE),
        *word_codes("cancel.status", STATUSES, _PAGE, "a cancelled payment gives the money back"),
        *word_codes(_CHOICE, dict.fromkeys(OBJECTS), _PAGE, "which object tells the outcome"),
        *word_codes("eventCode", dict.fromkeys(OBJECTS), _PAGE, "which object tells", [Channel.WEBHOOK]),
        *word_codes(
            "payment.status",
            dict.fromkeys(PAYMENT_STATUSES),
            PAYMENT_OBJECT,
            "the payment's status: never read as the refund's",
        ),
    ),
    FAMILIES,
)

_TARGET = re.compile(r"/mer/(?P<sid>[^/?]+)/cancelOrRefund(?:\?(?P<query>.*))?", re.DOTALL)


class Evocloud(EvoGateway):
    """The adapter `evocloud`.

    Args:
        sid: the store's number at EVO Cloud, part of every path; None is enough for importing logs.
        keys: the store's keys, the one to sign with first; none is enough for importing logs.
        sign_type: how requests are signed: `SHA256`, `SHA512`, `HMAC-SHA256`, `HMAC-SHA512` or `Key-based`.
        accepted_sign_types: what an incoming SignType header may select.
        send_key_id: send the key's id as the KeyID header; `Key-based` always does.
        base_path: what stands before every path; empty or starting with a slash.
        capabilities: where this merchant's differ from the documented ones.

    Raises:
        InvalidSetting: one of these cannot be used.
    """

    name: ClassVar[str] = "evocloud"
    table: ClassVar[CodeTable] = TABLE
    events: ClassVar[Mapping[str, str]] = OBJECTS
    amount_required: ClassVar[bool] = False

    def __init__(
        self,
        *,
        sid: str | None = None,
        keys: Iterable[SigningKey] = (),
        sign_type: str = "SHA256",
        accepted_sign_types: Iterable[str] = tuple(SIGN_TYPES),
        send_key_id: bool = False,
        base_path: str = "",
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
        if sid is not None and not is_identifier(sid):
            raise InvalidSetting("sid", "the store's number at EVO Cloud is needed, such as S024116")
        self._sid = sid

    def _target(self, merchant_trans_id: str) -> str:
        if self._sid is None:
            raise InvalidSetting("sid", "the store's number at EVO Cloud is needed to build requests")
        path = f"{self._base_path}/g2/v1/payment/mer/{path_segment('sid', self._sid)}/cancelOrRefund"
        return f"{path}?merchantTransID={quote(merchant_trans_id, safe='')}"

    def _refund_target(self, order: RefundOrder) -> str:
        return self._target(order.payment_id)

    def _query_target(self, order: RefundOrder) -> str:
        return self._target(order.refund_id)

    def _named_in(self, target: str) -> tuple[str | None, str | None]:
        found = _TARGET.search(target)
        if found is None:
            return None, None
        pairs = [pair.partition("=") for pair in (found["query"] or "").split("&")]
        named = {unquote(value) for name, _, value in pairs if name == "merchantTransID"}
        payment_id = named.pop() if len(named) == 1 else None
        account = unquote(found["sid"])
        return (
            payment_id if is_identifier(payment_id) else None,
            account if is_identifier(account) else None,
        )

    def _choose_object(self, document: dict[str, Any]) -> str | Evidence:
        choice = member(document, _CHOICE)
        if choice is None or choice == "":
            present = [name for name in OBJECTS.values() if isinstance(member(document, name), dict)]
            if len(present) == 1:
                return present[0]
            return Evidence(signal=Signal.UNCERTAIN, code=shown_code(_CHOICE, None))
        if not isinstance(choice, str) or choice not in OBJECTS:
            return Evidence(signal=Signal.UNRECOGNISED, code=shown_code(_CHOICE, choice))
        return OBJECTS[choice]
