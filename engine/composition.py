"""The composition root: the one module that joins engine, adapters and event stores, the clock and the entropy."""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypedDict
from urllib.parse import unquote, urlsplit

from .errors import InvalidSetting
from .service.observing import ObservedStore
from .service.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .ports import Clock, Entropy, EventStore, Gateway, Transport
    from .service.observing import AppendHook
    from .transport.endpoint import Endpoint


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
    """Open the store a URL names: `memory:` or `sqlite:///PATH` (four slashes for an absolute path).

    Raises:
        InvalidSetting: any other URL.
        StoreError: the store cannot be opened.
    """
    from ..eventstore import MemoryStore, SqliteStore  # noqa: PLC0415 - joined here, and only when a store is opened

    if not isinstance(url, str):
        raise InvalidSetting("store URL", f"a text is needed, not {type(url).__name__}")
    parts = urlsplit(url)
    if url == "memory:":
        store: EventStore = MemoryStore()
    elif parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        store = SqliteStore(
            unquote(parts.path[1:]),
            views=VIEWS,
            durability=durability,
            timeout_s=timeout_s,
            read_only=read_only,
            create=create,
        )
    else:
        raise InvalidSetting(
            "store URL", f"{_without_password(url)} is not understood; use memory: or sqlite:///PATH"
        )
    return store if on_append is None else ObservedStore(store, on_append, system_stopwatch)


def _without_password(url: str) -> str:
    """Return what may be shown of a URL that is not understood: no more than its scheme, unless it is our own."""
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[0] == "sqlite:":
        return ascii(url)
    return f"{scheme[0]}****"


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
    """Return what an engine is made of; what is None is taken from the system, or left out."""
    return {
        "gateways": all_gateways() if gateways is None else gateways,
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
_MAX_KEY_FILE: Final = 64 * 1024


def gateways_from_environment(
    environ: Mapping[str, str], *, warn: Callable[[str], None]
) -> Sequence[Gateway]:
    """Return every adapter, with the keys that environment variables or the files they name hold.

    Args:
        environ: the environment; `KEY_VARIABLES` says what is looked up in it.
        warn: called with a sentence about each key file that everybody can read.

    Raises:
        InvalidSetting: a key is blank, given twice or no key, or its file cannot be read; its text is never shown.
    """
    from ..adapters import Bbmsl, Easylink, Evocloud, Evonet, SigningKey  # noqa: PLC0415 - as above

    def keys(gateway: str) -> list[SigningKey]:
        variable = KEY_VARIABLES[gateway]
        secret = _secret(environ, variable, warn)
        return [] if secret is None else [SigningKey(variable, secret)]

    return (
        Evocloud(keys=keys("evocloud")),
        Evonet(keys=keys("evonet")),
        Bbmsl(private_key_pem=_secret(environ, KEY_VARIABLES["bbmsl"], warn)),
        Easylink(keys=keys("easylink")),
    )


def _secret(environ: Mapping[str, str], variable: str, warn: Callable[[str], None]) -> str | None:
    given, file = environ.get(variable), environ.get(f"{variable}_FILE")
    if given is not None and file is not None:
        raise InvalidSetting(variable, f"{variable}_FILE is set too; set one of the two")
    name = variable if file is None else f"{variable}_FILE"
    secret = given if file is None else _content(name, file, warn)
    if secret is not None and not secret.strip():
        raise InvalidSetting(
            name, "the key is blank; unset the variable, or give the key as the gateway gave it"
        )
    return secret


def _content(name: str, path: str, warn: Callable[[str], None]) -> str:
    # The path is not shown: who mistakes this variable for the other one has put the key itself there.
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the name may be that of a pipe, such as /dev/fd/3
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & stat.S_IROTH:
                warn(f"everybody on this machine can read the file that {name} names; chmod 600 it")
            raw = file.read(_MAX_KEY_FILE + 1)
        if len(raw) > _MAX_KEY_FILE:
            raise InvalidSetting(
                name, f"the file it names is above {_MAX_KEY_FILE} bytes, so it holds no key"
            )
        return raw.decode().rstrip("\r\n")
    except OSError as error:
        raise InvalidSetting(name, f"the file it names cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidSetting(name, "the file it names holds no UTF-8 text") from None


# ---- simulators -------------------------------------------------------------------------------------------------

SIMULATORS_MISSING: Final = "the simulators need `pip install 'refold[simulators]'`"


class ServedSimulators(NamedTuple):
    """Simulators that are being served.

    Attributes:
        urls: the base URL of each gateway.
        settings: what points refold at them, as TOML. It holds keys.
        outcomes: word, last two digits of the amount, gateways, what happens.
        ledger_url: of the first gateway's ledger.
    """

    urls: Mapping[str, str]
    settings: str
    outcomes: Sequence[tuple[str, str, str, str]]
    ledger_url: str


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

    Raises:
        InvalidSetting: one of these cannot be used, or the extra `simulators` is not installed.
    """
    try:
        from ..adapters import simulators as found  # noqa: PLC0415 - an extra, and only when asked for
    except ImportError:
        raise InvalidSetting("simulators", SIMULATORS_MISSING) from None
    chances = {**dict.fromkeys(map(str, found.Fault), all_faults), **(faults or {})}
    made = found.simulators(
        names or found.NAMES,
        clock=system_clock,
        seed=seed,
        speed=speed,
        faults=found.Faults.named(seed, chances),
    )
    with found.serve(made, host, port) as running:
        urls = {name: running.url(name) for name in made}
        ledger_url = f"{running.origin}/_simulator/{next(iter(made))}/ledger"
        yield ServedSimulators(urls, found.settings_toml(running), found.outcome_rows(), ledger_url)
