"""How BBMSL requests are signed: RSA, PKCS#1 v1.5, SHA-256 over the exact request text, base64 once.

`cryptography` is imported inside the functions only: it is the extra `bbmsl`, and logs can be read without it.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final, Never

from ..engine.errors import InvalidSetting, InvalidSignature
from .signing import same_digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_SETTING: Final = "private_key_pem"
_LEAST_BITS: Final = 2048


class MerchantKey:
    """The merchant's RSA key: signs requests, and its public half verifies those read back.

    Args:
        pem: an unencrypted PEM of an RSA private key of at least 2048 bits.

    Attributes:
        key_id: names the key without telling it: the start of its public half's SHA-256.
        pem: the secret as it was given.

    Raises:
        InvalidSetting: the PEM is blank or no such key, or `cryptography` is not installed.
    """

    __slots__ = ("_key", "key_id", "pem")

    def __init__(self, pem: str | bytes) -> None:
        try:
            self.pem: Final = pem.decode() if isinstance(pem, bytes) else pem
            raw = self.pem.encode()
        except UnicodeError:
            raise InvalidSetting(_SETTING, "a PEM text is needed") from None
        if not raw.strip():
            raise InvalidSetting(_SETTING, "it is blank; give the merchant's RSA key as PEM")
        self._key: Final = _loaded(raw)
        self.key_id: Final = _fingerprint(self._key)

    def __repr__(self) -> str:
        return f"MerchantKey({self.key_id!r}, Secret(****))"

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a MerchantKey is never pickled or copied: it holds a secret")

    def sign(self, request: str) -> str:
        """Return the base64 signature of a request text."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        return base64.b64encode(self._key.sign(request.encode(), PKCS1v15(), SHA256())).decode()

    def verify(self, request: str, signature: str) -> None:
        """Check a base64 signature of a request text.

        Raises:
            InvalidSignature: it is not one base64 of that size, or signs something else.
        """
        from cryptography.exceptions import InvalidSignature as Mismatch  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        raw = _decoded(signature, self._key.key_size // 8)
        try:
            self._key.public_key().verify(raw, request.encode(), PKCS1v15(), SHA256())
        except Mismatch:
            raise InvalidSignature("bbmsl", "another request text or another key was signed") from None


def _loaded(pem: bytes) -> RSAPrivateKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    except ImportError:
        raise InvalidSetting(_SETTING, "RSA needs `pip install 'refold[bbmsl]'`") from None
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidSetting(_SETTING, "it is no unencrypted PEM of a private key") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _LEAST_BITS:
        raise InvalidSetting(_SETTING, f"an RSA key of at least {_LEAST_BITS} bits is needed")
    return key


def _fingerprint(key: RSAPrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"rsa-{hashlib.sha256(public).hexdigest()[:16]}"


def _decoded(signature: str, size: int) -> bytes:
    try:
        raw = base64.b64decode(signature)
    except ValueError:  # wrong padding, not ASCII
        raw = b""
    # Encoded again, because decoders skip foreign characters and the last unused bits: one signature, one text.
    if len(raw) != size or not same_digest(base64.b64encode(raw), signature.encode()):
        raise InvalidSignature("bbmsl", f"one base64 of {size} bytes is needed")
    return raw
