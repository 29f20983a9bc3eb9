"""How EVO Cloud and Evonet sign: the string to sign, the headers of a request, and checking what comes in.

Source: EVO Cloud, API Rules, Signature (read 2026-11-21). The plain hashes hold the key inside the hashed text, which
lets anybody lengthen a signed body; what they append starts with bytes that are no UTF-8, so strict JSON refuses it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from ..engine.domain.evidence import UNVERIFIED, Trust, Verification
from ..engine.domain.identifiers import is_identifier
from ..engine.domain.masking import shown
from ..engine.domain.message import Channel
from ..engine.errors import InvalidSetting, InvalidSignature
from .signing import MAX_HEADER, SigningKey, digest_bytes, keyring, same_digest, signing_key, verifying_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ..engine.domain.message import Message


class _Hash(NamedTuple):
    name: str
    keyed: bool
    size: int


SIGN_TYPES: Final = {
    "SHA256": _Hash("sha256", keyed=False, size=32),
    "SHA512": _Hash("sha512", keyed=False, size=64),
    "HMAC-SHA256": _Hash("sha256", keyed=True, size=32),
    "HMAC-SHA512": _Hash("sha512", keyed=True, size=64),
}
"""The documented algorithms that prove something, with the size of their digests in bytes."""
KEY_BASED: Final = "Key-based"
"""The key itself in Authorization: it says who asks, and nothing about the message."""
MAX_MSG_ID: Final = 32

_WITH_PATH: Final = frozenset({Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL})


def string_to_sign(method: str, target: str, *, date_time: str, key: str, msg_id: str, body: bytes) -> bytes:
    """Return the text that is hashed: the non-empty parts, one a line, without a newline at the end.

    Args:
        method: in capitals.
        target: path and query; empty for a webhook.
        date_time: the DateTime header as it stands.
        key: the secret.
        msg_id: the MsgID header.
        body: the raw bytes.
    """
    parts = [method, _sorted_query(target), date_time, key, msg_id]
    before = "\n".join(filter(None, parts)).encode("utf-8", "surrogatepass")
    return b"\n".join(filter(None, (before, body)))


def _sorted_query(target: str) -> str:
    if "?" not in target:
        return target
    path, mark, query = target.partition("?")
    return path + mark + "&".join(sorted(query.split("&")))


def digest(sign_type: str, key: SigningKey, signed: bytes) -> bytes:
    """Return the digest of `string_to_sign` by one of `SIGN_TYPES`."""
    algorithm = SIGN_TYPES[sign_type]
    if algorithm.keyed:
        return hmac.new(key.secret.encode(), signed, algorithm.name).digest()
    return hashlib.new(algorithm.name, signed).digest()


class EvoSignature:
    """The keys and algorithms of one merchant: signs what goes out, checks what comes in.

    Args:
        gateway: the adapter's name, for messages.
        keys: the one to sign with first; none: nothing is verified and nothing can be built.
        sign_type: how requests are signed: one of `SIGN_TYPES`, or `Key-based` (the key itself is sent).
        accepted_sign_types: what an incoming SignType header may select; `Key-based` is never among them.
        send_key_id: send the key's id as KeyID, for stores with keys on several levels; `Key-based` always does.

    Raises:
        InvalidSetting: an unknown algorithm, or a key that is none.
    """

    def __init__(
        self,
        gateway: str,
        keys: Iterable[SigningKey],
        sign_type: str,
        accepted_sign_types: Iterable[str],
        *,
        send_key_id: bool,
    ) -> None:
        self.keys = keyring(keys)
        self._gateway = gateway
        self._accepted = frozenset(accepted_sign_types)
        if sign_type not in SIGN_TYPES and sign_type != KEY_BASED:
            raise InvalidSetting("sign_type", f"one of {', '.join(SIGN_TYPES)} or {KEY_BASED} is needed")
        if not self._accepted or not self._accepted <= SIGN_TYPES.keys():
            raise InvalidSetting("accepted_sign_types", f"one or more of {', '.join(SIGN_TYPES)} are needed")
        self._sign_type = sign_type
        self._send_key_id = send_key_id or sign_type == KEY_BASED

    def headers(self, method: str, target: str, body: bytes, *, at: datetime, nonce: str) -> dict[str, str]:
        """Return the headers of a signed request over exactly these bytes.

        Raises:
            InvalidSetting: no unexpired key, a nonce above 32 characters, or a time without offset.
        """
        if not is_identifier(nonce) or len(nonce) > MAX_MSG_ID:
            raise InvalidSetting("nonce", f"1 to {MAX_MSG_ID} printable ASCII characters are needed")
        if at.utcoffset() is None:
            raise InvalidSetting("at", "a time with an offset is needed")
        key = signing_key(self.keys, at)
        stamp = at.isoformat(timespec="seconds")
        if self._sign_type == KEY_BASED:
            authorization = key.secret
        else:
            signed = string_to_sign(method, target, date_time=stamp, key=key.secret, msg_id=nonce, body=body)
            authorization = digest(self._sign_type, key, signed).hex()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "DateTime": stamp,
            "MsgID": nonce,
            "SignType": self._sign_type,
            "Authorization": authorization,
        }
        return headers | {"KeyID": key.key_id} if self._send_key_id else headers

    def verify(self, channel: Channel, message: Message) -> Verification:
        """Check the Authorization header; a webhook's signature leaves the path out.

        Raises:
            InvalidSignature: a signature is present and no unexpired key verifies it.
        """
        headers = message.headers_by_name()
        authorization = headers.get("authorization")
        if not self.keys or authorization is None or not message.exact:
            return UNVERIFIED
        if channel is Channel.WEBHOOK:
            method, target = "POST", ""
        elif channel in _WITH_PATH and message.method and message.target:
            method, target = message.method, message.target
        else:
            return UNVERIFIED
        sign_type = self._header(headers, "SignType")
        if channel is Channel.REQUEST and sign_type == KEY_BASED:
            return UNVERIFIED
        sign_type = sign_type or self._sign_type
        if sign_type not in self._accepted:
            raise InvalidSignature(self._gateway, f"SignType {shown(sign_type)} is not accepted")
        given = digest_bytes(authorization, SIGN_TYPES[sign_type].size)
        if given is None:
            raise InvalidSignature(self._gateway, f"it is no {sign_type} digest in hexadecimal")
        date_time, msg_id = self._header(headers, "DateTime"), self._header(headers, "MsgID")

        def verifies(key: SigningKey) -> bool:
            signed = string_to_sign(
                method, target, date_time=date_time, key=key.secret, msg_id=msg_id, body=message.body
            )
            return same_digest(given, digest(sign_type, key, signed))

        key = verifying_key(self.keys, message.received_at, verifies)
        if key is None:
            raise InvalidSignature(self._gateway, "no unexpired key verifies it")
        return Verification(Trust.VERIFIED, key.key_id)

    def _header(self, headers: dict[str, str], name: str) -> str:
        """Return a signed header, empty where absent.

        A line break in it would let a signed answer pass for a webhook, its path folded into DateTime.
        """
        value = headers.get(name.lower())
        if not value:
            return ""
        if len(value) > MAX_HEADER:
            raise InvalidSignature(self._gateway, f"the header {name} is above {MAX_HEADER} characters")
        if not value.isprintable():
            raise InvalidSignature(self._gateway, f"the header {name} holds control characters")
        return value
