"""What is kept of a message: masked, salted, content-addressed, apart from the events."""

from __future__ import annotations

import base64
import json
import re
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

from ..domain.events import MessageRef
from ..domain.identifiers import displayed, note
from ..domain.masking import mask_cards, mask_text, may_hold_secrets
from ..domain.message import body_digest
from ..ports import Body

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..domain.message import Message
    from ..ports import Entropy

_SALT_BYTES: Final = 16
_KEPT_HEADERS: Final = frozenset(
    {"authorization", "content-type", "date", "datetime", "idempotency-key", "keyid", "msgid"}
    | {"retry-after", "signtype"}
)
"""Headers worth keeping as evidence; all others (cookies, forwarding, tracing) are dropped."""
_SIGNATURE: Final = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128}", re.ASCII)
_KEY_BASED: Final = "key-based"
_MASK: Final = "****"


class Keeper:
    """Turns messages and texts into what is safe to keep."""

    def __init__(self, secrets: Iterable[str], entropy: Entropy) -> None:
        """Blank `secrets` wherever a message repeats them, encoded or not; salt with `entropy`."""
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._secrets = sorted(forms, key=lambda form: (-len(form), form))
        self._looked_for = [form.decode("latin-1") for form in self._secrets]
        self._entropy = entropy

    def keep(self, message: Message) -> tuple[Body, MessageRef]:
        """Return the body to store and the reference the event carries; its size is that of the original bytes."""
        content, headers = message.body, _kept_headers(message)
        together = ",".join(headers.values())
        if not (_is_plain(together) and self._holds_nothing(b"%b,%b" % (content, together.encode()))):
            content = mask_cards(self._blanked(content))
            headers = dict(zip(headers, self.texts(*headers.values()), strict=True))
        written = _as_json(headers)
        salt = self._entropy(_SALT_BYTES)
        digest = body_digest(salt, written, content)
        reference = MessageRef(digest=digest, size=len(message.body), masked=content != message.body)
        return Body(digest, salt, written, content), reference

    def text(self, text: str) -> str:
        """Return a gateway's words as events and logs may carry them: displayable and masked."""
        return mask_text(self._blanked(displayed(text).encode()).decode())

    def texts(self, *texts: str) -> Sequence[str]:
        """Return each as `text` does; most hold nothing to hide, and one look at all of them together tells."""
        together = ",".join(texts)  # neither a digit nor what may stand between two
        if _is_plain(together) and self._holds_nothing(together.encode()):
            return texts
        return [self.text(text) for text in texts]

    def note(self, name: str, value: object) -> str:
        """Return a person's words as events may carry them: checked and masked. Raises `InvalidText`."""
        return mask_text(self._blanked(note(name, value).encode()).decode())

    def _blanked(self, raw: bytes) -> bytes:
        """Blank the secrets; before cards are masked, for a secret with digits in it would not be found any more."""
        text = raw.decode("latin-1")  # texts are searched in half the time that bytes are
        if any(map(text.__contains__, self._looked_for)):
            for form in self._secrets:
                raw = raw.replace(form, _MASK.encode())
        return raw

    def _holds_nothing(self, raw: bytes) -> bool:
        """Tell whether there is nothing to hide for sure; most messages hold nothing, and one look tells."""
        return self._blanked(raw) is raw and not may_hold_secrets(raw)


def _kept_headers(message: Message) -> dict[str, str]:
    """Return the headers worth keeping by their names in lower case, sorted; of an Authorization only a digest."""
    named = dict(zip(map(str.lower, message.headers), message.headers.values(), strict=True))
    kept = {name: named[name] for name in sorted(_KEPT_HEADERS & named.keys())}
    if "authorization" in kept and not _is_signature(kept):
        kept["authorization"] = _MASK
    return kept


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _as_json(headers: dict[str, str]) -> str:
    """Return headers we keep as a JSON object: their names, which are sorted and plain, and any text as their values.

    What `json.dumps` returns, which makes itself ready for everything first.
    """
    return "{" + ", ".join([f'"{name}": {quoted(value)}' for name, value in headers.items()]) + "}"


def _is_signature(headers: dict[str, str]) -> bool:
    """Tell whether the Authorization header is a digest: of anything else (a token, the key itself) none is kept."""
    key_based = headers.get("signtype", "").strip().lower() == _KEY_BASED
    return not key_based and _SIGNATURE.fullmatch(headers["authorization"]) is not None


def _forms(secret: str) -> set[bytes]:
    """Return a secret as it stands, and as JSON, URLs, hexadecimal and base64 write it."""
    raw = secret.encode()
    encoded = (base64.b64encode(raw), base64.urlsafe_b64encode(raw))
    texts = (
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        raw.hex(),
        raw.hex().upper(),
    )
    return {raw, *(form.rstrip(b"=") for form in encoded), *(text.encode() for text in texts)}
