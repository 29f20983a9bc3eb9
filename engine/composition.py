"""The composition root: the one module that joins engine, adapters and event stores, the clock and the entropy."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from .errors import InvalidSetting
from .service.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ports import EventStore, Gateway


def system_clock() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def system_entropy(size: int) -> bytes:
    """Return `size` random bytes from the operating system."""
    return os.urandom(size)


def open_store(
    url: str,
    *,
    durability: Literal["full", "relaxed"] = "full",
    timeout_s: float = 5.0,
    read_only: bool = False,
    create: bool = True,
) -> EventStore:
    """Open the store a URL names: `memory:` or `sqlite:///PATH` (four slashes for an absolute path).

    Raises:
        InvalidSetting: any other URL.
        StoreError: the store cannot be opened.
    """
    from ..eventstore import MemoryStore, SqliteStore  # noqa: PLC0415 - joined here, and only when a store is opened

    if url == "memory:":
        return MemoryStore()
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return SqliteStore(
            unquote(parts.path[1:]),
            views=VIEWS,
            durability=durability,
            timeout_s=timeout_s,
            read_only=read_only,
            create=create,
        )
    raise InvalidSetting("store URL", f"{_without_password(url)} is not understood; use memory: or sqlite:///PATH")


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://****@{rest.rpartition('@')[2]}" if separator and "@" in rest else ascii(url)


def all_gateways() -> Sequence[Gateway]:
    """Return every adapter without keys: enough to read messages, whose evidence is then marked unverified."""
    from ..adapters import Bbmsl, Easylink, Evocloud, Evonet  # noqa: PLC0415 - joined here, and only when asked for

    return (Evocloud(), Evonet(), Bbmsl(), Easylink())
