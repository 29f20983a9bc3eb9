"""The composition root: the one module that joins engine, adapters and event stores, the clock and the entropy."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict
from urllib.parse import unquote, urlsplit

from .errors import InvalidSetting
from .secret_sources import found_in, places, secret_of
from .service import arguments
from .service.observing import ObservedStore
from .service.views import VIEWS
from .transport.endpoint import Endpoint, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..adapters import SigningKey
    from ..eventstore.postgres import PostgresStore
    from .ports import Capabilities, Clock, Entropy, EventStore, Gateway, Transport
    from .ports.simulation import ServedSimulators
    from .secret_sources import Warn
    from .service.observing import AppendHook
    from .settings import BbmslSettings, GatewaySettings, KeyedSettings, Settings


def system_clock() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def system_entropy(size: int) -> bytes:
    """Return `size` random bytes from the operating system."""
    return os.urandom(size)


def system_stopwatch() -> float:
    """Return seconds from a fixed moment, for measuring how long something takes."""
    return time.perf_counter()


def open_store(
    url: str,
    *,
    durability: Literal["full", "relaxed"] = "full",
    timeout_s: float = 5.0,
    read_only: bool = False,
    create: bool = True,
    on_append: AppendHook | None = None,
) -> EventStore:
    """Open the store a URL names: `memory:`, `sqlite:///PATH` (four slashes for an absolute path) or `postgresql://…`.

    Raises:
        InvalidSetting: any other URL.
        StoreError: the store cannot be opened.
    """
    from ..eventstore import MemoryStore, SqliteStore  # noqa: PLC0415 - joined here, and only when a store is opened

    if not isinstance(url, str):
        raise InvalidSetting("store URL", f"a text is needed, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        path = unquote(parts.path[1:], errors="strict")
    except ValueError:  # such as a [ that opens an IPv6 address and is never closed, or %ff, which is no text
        raise InvalidSetting("store URL", f"{_without_password(url)} is no URL; {_STORE_URLS}") from None
    if url.strip() != url or not _ONE_LINE.fullmatch(url):  # urlsplit would leave such characters out
        raise InvalidSetting(
            "store URL", f"{_without_password(url)} has blanks around it, or a line's end in it"
        )
    if url == "memory:":
        store: EventStore = MemoryStore()
    elif (
        parts.scheme == "sqlite"
        and not (parts.netloc or parts.query or parts.fragment)
        and len(parts.path) > 1
    ):
        store = SqliteStore(
            path,
            views=VIEWS,
            durability=durability,
            timeout_s=timeout_s,
            read_only=read_only,
            create=create,
        )
    elif parts.scheme in {"postgresql", "postgres"}:
        store = _postgres()(
            parts.scheme + url[len(parts.scheme) :],
            views=VIEWS,
            durability=durability,
            timeout_s=timeout_s,
            read_only=read_only,
            create=create,
        )
    else:
        raise InvalidSetting(
            "store URL",
            f"{_without_password(url)} is not understood; {_STORE_URLS}",
        )
    return store if on_append is None else ObservedStore(store, on_append, system_stopwatch)


def _postgres() -> type[PostgresStore]:
    try:
        from ..eventstore.postgres import PostgresStore  # noqa: PLC0415 - an extra, and only when asked for
    except ImportError:
        raise InvalidSetting("store URL", POSTGRES_MISSING) from None
    return PostgresStore


POSTGRES_MISSING: Final = "postgresql:// needs `pip install 'refold[postgres]'`"


def _without_password(url: str) -> str:
    """Return what may be shown of a URL that is not understood: no more than its scheme, unless it is our own."""
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[0] == "sqlite:":
        return ascii(url)
    return f"{scheme[0]}****"


_STORE_URLS: Final = "use memory:, sqlite:///PATH or postgresql://…"
_ONE_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def open_transport(endpoints: Mapping[str, Endpoint]) -> Transport:
    """Return the way to these gateways, over HTTPS. Raises `InvalidSetting`."""
    from .transport.http import HttpTransport  # noqa: PLC0415 - httpx is loaded only where something is sent

    return HttpTransport(endpoints)


class Parts(TypedDict):
    """What an engine is made of, beside its store."""

    gateways: Sequence[Gateway]
    clock: Clock
    entropy: Entropy
    transport: Transport | None


def parts(
    gateways: Sequence[Gateway] | None,
    clock: Clock | None,
    entropy: Entropy | None,
    endpoints: Mapping[str, Endpoint] | None,
) -> Parts:
    """Return what an engine is made of; what is None is taken from the system, or left out.

    Raises:
        InvalidSetting: an endpoint that is none, or of a gateway that there is not.
    """
    adapters = all_gateways() if gateways is None else gateways
    names = arguments.adapters(adapters) if endpoints else {}
    for name, endpoint in (endpoints or {}).items():
        if name not in names:
            raise InvalidSetting(
                f"endpoint of {name}", f"there is no such gateway; {', '.join(sorted(names))} are"
            )
        if not isinstance(endpoint, Endpoint):
            raise InvalidSetting(
                f"endpoint of {name}", 'an Endpoint is needed: Endpoint(base_url="https://…")'
            )
    return {
        "gateways": adapters,
        "clock": clock or system_clock,
        "entropy": entropy or system_entropy,
        "transport": None if endpoints is None else open_transport(endpoints),
    }


def all_gateways() -> Sequence[Gateway]:
    """Return every adapter without keys: enough to read messages, whose evidence is then marked unverified."""
    from ..adapters import Bbmsl, Easylink, Evocloud, Evonet  # noqa: PLC0415 - joined here, and only when asked for

    return (Evocloud(), Evonet(), Bbmsl(), Easylink())


KEY_VARIABLES: Final[Mapping[str, str]] = {
    "evocloud": "REFOLD_EVOCLOUD_KEY",
    "evonet": "REFOLD_EVONET_KEY",
    "bbmsl": "REFOLD_BBMSL_PRIVATE_KEY",
    "easylink": "REFOLD_EASYLINK_KEY",
}
"""Each gateway's environment variable for its key; the same with `_FILE` behind it names a file that holds the key."""
_LEAST_TIMEOUT_S: Final[Mapping[str, int]] = {"evocloud": 45, "evonet": 45}
"""How long the documents tell a merchant to wait for an answer, at least."""


def gateways_from_environment(environ: Mapping[str, str], *, warn: Warn) -> Sequence[Gateway]:
    """Return every adapter, with the keys that `KEY_VARIABLES` or the files they name hold, and nothing else.

    Args:
        environ: the environment; `KEY_VARIABLES` says what is looked up in it.
        warn: called with a sentence about each key file that everybody can read.

    Raises:
        InvalidSetting: a key is blank, given twice or no key, or its file cannot be read; its text is never shown.
    """
    from .settings import Settings  # noqa: PLC0415 - pydantic-settings is loaded only where something is configured

    return configured_gateways(Settings(), environ, warn=warn)


def configured_gateways(
    settings: Settings, environ: Mapping[str, str], *, warn: Warn, with_keys: bool = True
) -> Sequence[Gateway]:
    """Return every adapter as configured; one without a section reads messages only.

    Args:
        settings: what was read.
        environ: holds the keys that the settings or `KEY_VARIABLES` name; the latter stand above the former.
        warn: called with a sentence about each key file that everybody can read.
        with_keys: whether keys are looked up; without them every message stays unverified and nothing is signed.

    Raises:
        InvalidSetting: a key or another setting that cannot be used, by its dotted name; no value is shown.
    """
    return tuple(
        configured_gateway(name, settings, environ, warn=warn, with_keys=with_keys) for name in KEY_VARIABLES
    )


def configured_gateway(
    name: str, settings: Settings, environ: Mapping[str, str], *, warn: Warn, with_keys: bool = True
) -> Gateway:
    """Return one adapter as configured; arguments and errors are those of `configured_gateways`."""
    from ..adapters import Bbmsl, Easylink, Evocloud, Evonet  # noqa: PLC0415 - joined here, and only when asked for

    kinds: tuple[Any, ...] = (Evocloud, Evonet, Bbmsl, Easylink)
    kind = next(kind for kind in kinds if kind.name == name)
    section: Any = getattr(settings.gateways, name)
    given: dict[str, Any] = {
        key: value for key in section.ADAPTER if (value := getattr(section, key)) is not None
    }
    given["capabilities"] = _capabilities(name, kind.capabilities, section)
    with _named(name):
        if with_keys and kind is Bbmsl:
            given["private_key_pem"] = _private_key(section, environ, warn)
        elif with_keys:
            given["keys"] = _keys(name, section, environ, warn)
        made: Gateway = kind(**given)
    return made


def configured_endpoints(settings: Settings) -> dict[str, Endpoint]:
    """Return where each gateway is that has a base_url.

    Raises:
        InvalidSetting: a URL that cannot be used.
    """
    found = {}
    for name in KEY_VARIABLES:
        section: GatewaySettings = getattr(settings.gateways, name)
        if section.base_url is None:
            continue
        with _named(name):
            found[name] = Endpoint(
                base_url=section.base_url,
                notify_url=section.notify_url,
                proxy=None if section.proxy is None else section.proxy.get_secret_value(),
                ca_file=section.ca_file,
                connect_timeout_s=section.connect_timeout_s,
            )
    return found


@contextmanager
def _named(gateway: str) -> Iterator[None]:
    """Put the section before the name of a setting that an adapter or an endpoint refuses."""
    try:
        yield
    except InvalidSetting as error:
        if error.name.startswith(("REFOLD_", "gateways.")):
            raise
        name = error.name.replace("private_key_pem", "private_key")
        raise InvalidSetting(f"gateways.{gateway}.{name}", error.reason) from None


def _capabilities(gateway: str, documented: Capabilities, section: GatewaySettings) -> Capabilities:
    changes: dict[str, Any] = {
        name: value for name in section.TIMES if (value := getattr(section, name)) is not None
    }
    least = _LEAST_TIMEOUT_S.get(gateway, 1)
    if changes.get("post_timeout_s", least) < least and not _is_local(section.base_url):
        raise InvalidSetting(
            f"gateways.{gateway}.post_timeout_s",
            f"{gateway} documents that an answer may take {least} s, and whoever stops waiting earlier does not know"
            f" what became of the money; leave it out, or write {least} or more (less is for loopback addresses only)",
        )
    return replace(documented, **changes)


def _is_local(url: str | None) -> bool:
    try:
        return is_loopback(urlsplit(url or "").hostname or "")
    except ValueError:
        return False


def _keys(
    gateway: str, section: KeyedSettings, environ: Mapping[str, str], warn: Warn
) -> Sequence[SigningKey]:
    from ..adapters import SigningKey  # noqa: PLC0415 - as above

    variable = KEY_VARIABLES[gateway]
    secret = secret_of(environ, variable, warn)
    if secret is None:
        return [
            SigningKey(
                key.id,
                found_in(f"gateways.{gateway}.keys[{index}].secret", places(key, "secret"), environ, warn),
                key.expires_at,
            )
            for index, key in enumerate(section.keys)
        ]
    other = f"REFOLD_GATEWAYS__{gateway.upper()}__KEYS"
    if other in environ:
        raise InvalidSetting(variable, f"{other} is set too; set one of the two")
    return [SigningKey(variable, secret)]


def _private_key(section: BbmslSettings, environ: Mapping[str, str], warn: Warn) -> str | None:
    own = secret_of(environ, KEY_VARIABLES["bbmsl"], warn)
    given = places(section, "private_key")
    if own is not None or given == (None, None, None):
        return own
    return found_in("gateways.bbmsl.private_key", given, environ, warn)


# ---- simulators -------------------------------------------------------------------------------------------------

SIMULATORS_MISSING: Final = "the simulators need `pip install 'refold[simulators]'`"


@contextmanager
def serve_simulators(
    names: Sequence[str] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: int = 60,
    seed: str = "refold",
    faults: Mapping[str, int] | None = None,
    all_faults: int = 0,
    hurried: bool = False,
    notify_url: str | None = None,
) -> Iterator[ServedSimulators]:
    """Serve simulators of these gateways, or of all, until the block ends.

    Args:
        names: which gateways; none: all.
        host: an address of this machine.
        port: 0 for one that is free.
        speed: simulated seconds a second.
        seed: what keys, numbers and faults are derived from.
        faults: chances per mille by the fault's name.
        all_faults: the chance per mille of every fault that `faults` does not name.
        hurried: the adapters' time-outs, intervals and schedules are divided by `speed` too.
        notify_url: what serves webhooks, in the settings; each gateway's name is appended.

    Raises:
        InvalidSetting: one of these cannot be used, or the extra `simulators` is not installed.
    """
    try:
        from ..adapters import simulators as found  # noqa: PLC0415 - an extra, and only when asked for
    except ImportError:
        raise InvalidSetting("simulators", SIMULATORS_MISSING) from None
    chances = {**dict.fromkeys(map(str, found.Fault), all_faults), **(faults or {})}
    with found.staged(
        names,
        clock=system_clock,
        chances=chances,
        host=host,
        port=port,
        speed=speed,
        seed=seed,
        hurried=hurried,
        notify_url=notify_url,
    ) as served:
        yield served
