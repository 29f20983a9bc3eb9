"""Endpoints: where a gateway is, and the way to it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ..errors import InvalidSetting

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer's body; of a longer one the outcome is unknown."""
_PLAIN: Final = re.compile(r"[!-\[\]-~]+")
"""No space, no control character, no backslash: what reads a URL reads those in more than one way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a gateway is, and the way to it. TLS certificates are always verified.

    Attributes:
        base_url: what stands before the target of every request, such as `https://api.gateway.example`; plain http
            is for loopback only.
        notify_url: where the gateway shall send its webhooks; None: it is not told.
        proxy: URL of a forward proxy; proxies of the environment are not asked.
        ca_file: PEM file of the certificate authorities to trust instead of the public ones.
        connect_timeout_s: how long to wait for a connection.

    Raises:
        InvalidSetting: a URL that cannot be used.
    """

    base_url: str
    notify_url: str | None = None
    proxy: str | None = None
    ca_file: str | None = None
    connect_timeout_s: int = 10

    def __post_init__(self) -> None:
        _check_url("base_url", self.base_url, secure=True)
        if self.notify_url is not None:
            _check_url("notify_url", self.notify_url, secure=False)
        if self.proxy is not None:
            _check_url("proxy", self.proxy, secure=False)
        if self.connect_timeout_s < 1:
            raise InvalidSetting("connect_timeout_s", "at least one second is needed")

    def __repr__(self) -> str:
        # A proxy's URL may carry a password.
        proxy = None if self.proxy is None else "****"
        return f"Endpoint(base_url={self.base_url!r}, proxy={proxy!r}, ca_file={self.ca_file!r})"


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_url(name: str, url: str, *, secure: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidSetting(name, "it is no URL") from None
    if parts.scheme not in {"http", "https"} or not host or not _PLAIN.fullmatch(url):
        raise InvalidSetting(name, "a URL that starts with https:// is needed")
    if "?" in url or "#" in url:
        raise InvalidSetting(name, "it has no query and no fragment")
    if secure and (parts.username is not None or parts.password is not None):
        raise InvalidSetting(name, "no user and no password may stand in it")
    if secure and parts.scheme == "http" and not is_loopback(host):
        raise InvalidSetting(name, f"https:// is needed; plain http is for this machine only, not for {host}")
