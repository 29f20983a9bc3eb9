"""Checking the configuration for `refold doctor`: the file, and each gateway's keys and the way to it.

No gateway is contacted, and no secret shown.
"""

from __future__ import annotations

import os
import socket
import stat
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ..composition import (
    KEY_VARIABLES,
    all_gateways,
    configured_endpoints,
    configured_gateway,
    open_transport,
    system_clock,
)
from ..configuration import DEFAULT_FILE, PREFIX, find_file, variable_of
from ..errors import InvalidSetting
from ..transport.endpoint import is_loopback
from .findings import OK, WARNING, Finding
from .rendering import moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..ports import Gateway
    from ..settings import GatewaySettings
    from ..transport.endpoint import Endpoint
    from .session import Session

_SOON: Final = timedelta(days=30)
_NEEDED: Final = {
    "evocloud": ("sid",),
    "evonet": (),
    "bbmsl": ("merchant_id",),
    "easylink": ("mch_no", "app_id"),
}
"""What else a gateway's requests cannot be built without."""


def configuration_findings(current: Session) -> Iterator[Finding]:
    """Yield what there is to say about the configuration."""
    yield _file(current)
    try:
        endpoints = configured_endpoints(current.settings)
    except InvalidSetting as error:
        yield Finding("configuration", WARNING, str(error))
        endpoints = {}
    now = system_clock()
    for documented in all_gateways():
        yield from _gateway(current, documented, endpoints.get(documented.name), now)


def _file(current: Session) -> Finding:
    """Read the configuration; where it cannot be used, go on without it."""
    try:
        path = find_file(current.config, os.environ)
        variables = sum(name.startswith(PREFIX) for name in os.environ)
        current.settings  # noqa: B018 - reading them is what is looked at
    except InvalidSetting as error:
        current.forget_configuration()
        return Finding("configuration", WARNING, f"{error}; checked as if there were none")
    given = f"{variables} {PREFIX}… variables" if variables != 1 else f"1 {PREFIX}… variable"
    if path is None:
        return Finding("configuration", OK, f"no {DEFAULT_FILE}; {given}, and defaults")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & stat.S_IWOTH:
        says = f"{path}, mode {mode:04o}: everybody can change where money is sent; chmod 600 it"
        return Finding("configuration", WARNING, says)
    return Finding("configuration", OK, f"{path}, mode {mode:04o}; {given}")


def _gateway(
    current: Session, documented: Gateway, endpoint: Endpoint | None, now: datetime
) -> Iterator[Finding]:
    name = documented.name
    section: Any = getattr(current.settings.gateways, name)
    warnings: list[str] = []
    try:
        gateway = configured_gateway(name, current.settings, os.environ, warn=warnings.append)
    except InvalidSetting as error:
        yield Finding(f"key of {name}", WARNING, str(error))
        gateway = documented
    else:
        yield from (Finding("keys", WARNING, warning) for warning in warnings)
        yield from _keys(gateway, section, now, sends=endpoint is not None)
    yield from _way(gateway, section, endpoint)
    changed = [
        f"{key} {value} instead of {getattr(documented.capabilities, key)}"
        for key in section.TIMES
        if (value := getattr(section, key)) is not None
    ]
    if changed:
        yield Finding(f"times of {name}", OK, ", ".join(changed))


# ---- keys -----------------------------------------------------------------------------------------------------------


def _keys(gateway: Gateway, section: GatewaySettings, now: datetime, *, sends: bool) -> Iterator[Finding]:
    what, variable = f"key of {gateway.name}", KEY_VARIABLES[gateway.name]
    if not gateway.secrets:
        ways = f"{variable}, {variable}_FILE or [gateways.{gateway.name}] in {DEFAULT_FILE}"
        if sends:
            yield Finding(what, WARNING, f"none, so nothing can be signed and sent; give one: {ways}")
        else:
            yield Finding(what, OK, f"none, signatures stay unverified ({ways})")
        return
    keys = getattr(section, "keys", ())
    if not keys or variable in os.environ or f"{variable}_FILE" in os.environ:
        yield Finding(what, OK, "****")
        return
    usable = [key for key in keys if key.expires_at is None or now < key.expires_at]
    yield Finding(
        what,
        OK if usable else WARNING,
        ", ".join(f"{key.id} ****{_until(key.expires_at, now)}" for key in keys),
    )
    if not usable:
        yield Finding(what, WARNING, "every key has expired; ask the gateway for a new one and put it first")
    elif all(key.expires_at is not None and key.expires_at - now <= _SOON for key in usable):
        yield Finding(what, WARNING, "the last key expires soon; ask the gateway for the next one and add it")


def _until(expires_at: datetime | None, now: datetime) -> str:
    if expires_at is None:
        return ""
    when = f"{moment(expires_at.astimezone(UTC))} UTC"
    return f" (expired {when}, remove it)" if expires_at <= now else f" (until {when})"


# ---- the way to a gateway -------------------------------------------------------------------------------------------


def _way(gateway: Gateway, section: GatewaySettings, endpoint: Endpoint | None) -> Iterator[Finding]:
    name = gateway.name
    what = f"endpoint of {name}"
    if endpoint is None and section.base_url is not None:
        yield Finding(what, WARNING, "not looked at: nothing is sent until the configuration is put right")
        return
    if endpoint is None:
        variable = variable_of(("gateways", name, "base_url"))
        yield Finding(what, OK, f"none, nothing is sent (gateways.{name}.base_url or {variable})")
        return
    found = _name(what, endpoint)
    troubles = [
        f"gateways.{name}.{key} is missing, and nothing can be sent without it"
        for key in _NEEDED[name]
        if getattr(section, key) is None
    ]
    try:
        open_transport({name: endpoint})
    except InvalidSetting as error:
        troubles.append(f"{error}; name a PEM file of certificate authorities, or leave it out")
    # One level for one endpoint: what is wrong stands alone.
    if found.level != OK or not troubles:
        loads = ", and its ca_file loads" if endpoint.ca_file is not None and not troubles else ""
        yield Finding(what, found.level, f"{found.says}{loads}")
    yield from (Finding(what, WARNING, trouble) for trouble in troubles)
    if gateway.capabilities.acknowledgement is not None:
        yield _notified(name, endpoint.notify_url)


def _name(what: str, endpoint: Endpoint) -> Finding:
    """Look up the name that is connected to: the proxy's, where there is one."""
    url = endpoint.base_url if endpoint.proxy is None else endpoint.proxy
    called = "its name" if endpoint.proxy is None else "the proxy's name"
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        says = f"{endpoint.base_url}, but {called} is not found; check the spelling and this machine's DNS"
        return Finding(what, WARNING, says)
    return Finding(what, OK, f"{endpoint.base_url}, {called} is found; it was not contacted")


def _notified(name: str, url: str | None) -> Finding:
    what = f"webhooks of {name}"
    if url is None:
        return Finding(
            what,
            WARNING,
            f"gateways.{name}.notify_url is missing: unless the gateway's console has the URL, outcomes come by queries"
            " only; give the https URL behind which `refold serve` listens",
        )
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        return Finding(
            what,
            WARNING,
            f"gateways.{name}.notify_url is no https URL: webhooks carry personal data; use TLS",
        )
    return Finding(what, OK, f"sent to {parts.scheme}://{parts.netloc}")
