"""How easylink signs: sorted `name=value&` strings, the key behind them, MD5."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

from ..engine.domain.identifiers import clipped
from ..engine.errors import InvalidSignature

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGEST_SIZE: Final = 16
_ECHOED: Final = frozenset({"extParam", "extraParam"})
"""Comes back as the merchant sent it, so it may hold anything."""
_SMUGGLED = re.compile(
    r"&(appId|createdAt|currency|err(Code|Msg)|mch(No|RefundNo|OrderNo)|pay(Amount|OrderId)"
    r"|refund(Amount|OrderId)|reqTime|state|successTime)=",
    re.IGNORECASE,
)


def text_to_sign(fields: Mapping[str, object]) -> str:
    """Return the sorted `name=value&` strings; empty values and `sign` itself are left out.

    The strings are sorted, not the names, and without regard to case: that is how the gateway does it.
    """
    strings = [
        f"{name}={_rendered(value)}&"
        for name, value in fields.items()
        if name != "sign" and value is not None and value != ""
    ]
    return "".join(sorted(strings, key=str.lower))


def digest(text: str, secret: str) -> bytes:
    """Return the MD5 digest of the text with the key behind it."""
    # MD5 is the only scheme the gateway has; signType in a message is never asked which one to use.
    return hashlib.md5(f"{text}key={secret}".encode(), usedforsecurity=False).digest()


def _rendered(value: object) -> str:
    """Return a value as Jeepay signs it: as text; the documented fields are flat, nested ones become JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
        except RecursionError:
            raise InvalidSignature("easylink", "a signed value is nested too deeply") from None
    return str(value)


def refuse_smuggled_fields(fields: Mapping[str, object]) -> None:
    """Refuse a message one of whose values holds another field.

    `a=1&b=2` is signed alike whether it is two fields or the one field a with the value `1&b=2`, so whoever
    can alter a message on its way could hide its amount inside its neighbour without breaking the sign.

    Raises:
        InvalidSignature: naming the field.
    """
    for name, value in fields.items():
        if name not in _ECHOED and isinstance(value, str) and _SMUGGLED.search(value):
            raise InvalidSignature("easylink", f"the value of {clipped(name)} holds another field")
