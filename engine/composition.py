"""The composition root: the one module that joins engine, adapters and event stores, the clock and the entropy."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from .errors import InvalidSetting
from .service.observing import ObservedStore
from .service.views import VIEWS
from .transport.endpoint import Endpoint, is_loopback

if TYPE_CHECKING:
    from ..adapters import SigningKey
    from .ports import Capabilities, EventStore, Gateway, Transport
    from .service.observing import AppendHook
    from .setting_values import Secret
    from .settings import BbmslSettings, GatewaySettings, KeyedSettings, Section, Settings


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
_LEAST_TIMEOUT_S: Final[Mapping[str, int]] = {"evocloud": 45, "evonet": 45}
"""How long the documents tell a merchant to wait for an answer, at least."""

Warn = Callable[[str], None]


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
    secret = _secret(environ, variable, warn)
    if secret is None:
        return [
            SigningKey(
                key.id,
                _found(f"gateways.{gateway}.keys[{index}].secret", _places(key, "secret"), environ, warn),
                key.expires_at,
            )
            for index, key in enumerate(section.keys)
        ]
    other = f"REFOLD_GATEWAYS__{gateway.upper()}__KEYS"
    if other in environ:
        raise InvalidSetting(variable, f"{other} is set too; set one of the two")
    return [SigningKey(variable, secret)]


def _private_key(section: BbmslSettings, environ: Mapping[str, str], warn: Warn) -> str | None:
    own = _secret(environ, KEY_VARIABLES["bbmsl"], warn)
    places = _places(section, "private_key")
    if own is not None or places == (None, None, None):
        return own
    return _found("gateways.bbmsl.private_key", places, environ, warn)


def _places(section: Section, name: str) -> tuple[str | None, str | None, str | None]:
    """Return a secret as it stands in the settings, the file that holds it, and the variable that does."""
    inline: Secret | None = getattr(section, name)
    text = None if inline is None else inline.get_secret_value()
    return text, getattr(section, f"{name}_file"), getattr(section, f"{name}_env")


def _found(
    name: str, places: tuple[str | None, str | None, str | None], environ: Mapping[str, str], warn: Warn
) -> str:
    secret, file, variable = places
    if file is not None:
        name, secret = f"{name}_file", _content(f"{name}_file", file, warn)
    elif variable is not None:
        # The variable is not named: who mistakes this key for the other one has put the secret itself there.
        name, secret = f"{name}_env", environ.get(variable)
        if secret is None:
            raise InvalidSetting(name, "the environment variable it names is not set; set it, or name a file")
    if secret is None or not secret.strip():
        raise InvalidSetting(name, "the key is blank; give it as the gateway gave it, or leave it out")
    return secret


def _secret(environ: Mapping[str, str], variable: str, warn: Warn) -> str | None:
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


def _content(name: str, path: str, warn: Warn) -> str:
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
