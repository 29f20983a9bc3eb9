"""What is kept of a message: masked, salted, content-addressed, apart from the events."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from ..domain.events import MessageRef
from ..domain.identifiers import displayed
from ..domain.masking import mask_cards
from ..ports import Body

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..domain.message import Message
    from ..ports import Entropy

_SALT_BYTES: Final = 16
_KEPT_HEADERS: Final = frozenset(
    {"authorization", "content-type", "date", "datetime", "idempotency-key", "keyid", "msgid", "retry-after", "signtype"}
)
"""Headers worth keeping as evidence; all others (cookies, forwarding, tracing) are dropped."""
_MASK: Final = "****"


class Keeper:
    """Turns messages into bodies that are safe to keep."""

    def __init__(self, secrets: Iterable[str], entropy: Entropy) -> None:
        """Blank `secrets` wherever a message repeats them; salt with `entropy`."""
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._entropy = entropy

    def keep(self, message: Message) -> tuple[Body, MessageRef]:
        """Return the body to store and the reference the event carries; its size is that of the original bytes."""
        content = self.blank(mask_cards(message.body))
        headers = json.dumps(self._headers(message), ensure_ascii=True, sort_keys=True)
        salt = self._entropy(_SALT_BYTES)
        digest = body_digest(salt, headers, content)
        reference = MessageRef(digest=digest, size=len(message.body), masked=content != message.body)
        return Body(digest, salt, headers, content), reference

    def blank(self, raw: bytes) -> bytes:
        """Return `raw` with every configured secret blanked."""
        for secret in self._secrets:
            raw = raw.replace(secret.encode(), _MASK.encode())
        return raw

    def text(self, text: str) -> str:
        """Return a gateway's words as events and logs may carry them: displayable and masked."""
        return self.blank(mask_cards(displayed(text).encode())).decode()

    def _headers(self, message: Message) -> dict[str, str]:
        kept = {name.lower(): value for name, value in message.headers.items() if name.lower() in _KEPT_HEADERS}
        # Under sign type `Key-based` the Authorization header is the key itself.
        if kept.get("signtype", "").lower() == "key-based":
            kept["authorization"] = _MASK
        return {name: self.text(value) for name, value in kept.items()}


def body_digest(salt: bytes, headers: str, content: bytes) -> str:
    """Return the lower-case hex SHA-256 of a kept body: salt, then headers on a line, then the content."""
    return sha256(salt + headers.encode() + b"\n" + content).hexdigest()
