"""Where a store is: what psycopg needs to connect, and what may be shown of it."""

from __future__ import annotations

import math
import re
from typing import Final
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ...engine.errors import InvalidSetting

_SHOWN: Final = ("host", "hostaddr", "port", "dbname", "user")
_PORTS: Final = re.compile(r"[0-9]{1,5}(,[0-9]{0,5})*", re.ASCII)
# A server that is gone without a word is noticed within a minute, not after the two hours of the operating system.
_DEFAULTS: Final = {
    "fallback_application_name": "refold",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_LEAST_CONNECT_S: Final = 2
"""libpq's own least time for a connection."""


class Address:
    """A server, database and user; its text shows no password."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Read a URL.

        Args:
            url: `postgresql://user:password@host:port/database?options`, as libpq reads it.
            timeout_s: how long to wait for a connection, unless the URL says so itself.

        Raises:
            InvalidSetting: it is none; the message shows nothing of it.
        """
        found = _parts(url)
        given: dict[str, str | int] = {
            "connect_timeout": max(_LEAST_CONNECT_S, math.ceil(timeout_s)),
            **_DEFAULTS,
            **found,
            "client_encoding": "UTF8",
        }
        self.conninfo = make_conninfo("", **given)
        """All of it, the password too: for psycopg only."""
        self._shown = make_conninfo("", **{name: found[name] for name in _SHOWN if name in found})
        self._secrets = [found[name] for name in ("password", "sslpassword") if found.get(name)]

    def __str__(self) -> str:
        """Return host, port, database and user."""
        return self._shown or "the local server"

    def __repr__(self) -> str:
        """Return the same."""
        return f"Address({self._shown!r})"

    def hidden(self, text: str) -> str:
        """Return a message of libpq with the password blanked, should it ever stand there."""
        for secret in self._secrets:
            text = text.replace(secret, "****")
        return text


def _parts(url: str) -> dict[str, str]:
    """Return the parameters of a URL.

    Raises:
        InvalidSetting: it is none.
    """
    try:
        found = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
        misread = "@" in urlsplit(url).path
    except (psycopg.Error, ValueError):
        found, misread = {}, True
    # libpq takes what follows a slash or an @ inside a password for a port or a database, and would show it.
    if misread or not _PORTS.fullmatch(found.get("port", "0")):
        raise InvalidSetting(
            "store URL",
            "it is no PostgreSQL URL; write postgresql://user:password@host:5432/database, with every"
            " : / ? # @ % of the password percent-encoded (/ is %2F)",
        )
    return found
