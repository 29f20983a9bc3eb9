"""Signing keys with rotation, and comparing digests in constant time: what every signed dialect needs."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Final, Never

from ..engine.domain.identifiers import is_identifier
from ..engine.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

MAX_HEADER: Final = 4096
"""Longest header value or signature that is looked at, in characters."""
_HEX = re.compile(r"[0-9A-Fa-f]*", re.ASCII)


class SigningKey:
    """A secret shared with a gateway, under a name that may be shown.

    Not a dataclass on purpose: `asdict`, equality and pickling would each spread or compare the secret.

    Args:
        key_id: the name that evidence is marked with; 1 to 128 printable ASCII characters.
        secret: the key as the gateway gave it.
        expires_at: from this time on (with an offset) the key verifies and signs nothing; None: never.

    Raises:
        InvalidSetting: a blank secret, a key id that is none, or a time without offset.
    """

    __slots__ = ("expires_at", "key_id", "secret")

    key_id: Final[str]
    secret: Final[str]
    expires_at: Final[datetime | None]

    def __init__(self, key_id: str, secret: str, expires_at: datetime | None = None) -> None:
        if not is_identifier(key_id):
            raise InvalidSetting("key_id", "1 to 128 printable ASCII characters without blanks are needed")
        if not isinstance(secret, str) or not secret.strip():
            raise InvalidSetting(
                f"secret of key {key_id}", "it is blank; give the key as the gateway gave it"
            )
        try:
            secret.encode()
        except UnicodeEncodeError:
            raise InvalidSetting(f"secret of key {key_id}", "it cannot be written as UTF-8") from None
        if expires_at is not None and expires_at.utcoffset() is None:
            raise InvalidSetting(f"expires_at of key {key_id}", "a time with an offset is needed")
        self.key_id = key_id
        self.secret = secret
        self.expires_at = expires_at

    def usable(self, at: datetime) -> bool:
        """Tell whether the key has not expired at that time (with an offset)."""
        return self.expires_at is None or at < self.expires_at

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r}, Secret(****), expires_at={self.expires_at!r})"

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a SigningKey is never pickled or copied: it holds a secret")


def keyring(keys: Iterable[SigningKey]) -> tuple[SigningKey, ...]:
    """Return the keys as a tuple, the one to sign with first.

    Raises:
        InvalidSetting: something that is no `SigningKey`, or one key id twice.
    """
    ring = tuple(keys)
    if any(not isinstance(key, SigningKey) for key in ring):
        raise InvalidSetting("keys", "a sequence of SigningKey is needed")
    if len({key.key_id for key in ring}) != len(ring):
        raise InvalidSetting("keys", "one key id stands twice")
    return ring


def signing_key(keys: Sequence[SigningKey], at: datetime) -> SigningKey:
    """Return the first key that has not expired at that time.

    Raises:
        InvalidSetting: there is none.
    """
    for key in keys:
        if key.usable(at):
            return key
    raise InvalidSetting("keys", "a key that has not expired is needed to build signed requests")


def verifying_key(
    keys: Sequence[SigningKey], at: datetime, verifies: Callable[[SigningKey], bool]
) -> SigningKey | None:
    """Return the first unexpired key that `verifies`; all are tried, so the time taken does not tell which."""
    passed = [key for key in keys if key.usable(at) and verifies(key)]
    return passed[0] if passed else None


def digest_bytes(text: str, size: int) -> bytes | None:
    """Return the `size` bytes of a hexadecimal digest written in either case; None where it is no such thing."""
    if len(text) != 2 * size or not _HEX.fullmatch(text):
        return None
    return bytes.fromhex(text)


def same_digest(given: bytes, expected: bytes) -> bool:
    """Tell whether two digests are equal; lengths first, then in constant time."""
    return len(given) == len(expected) and hmac.compare_digest(given, expected)
