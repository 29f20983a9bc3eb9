"""Opening an engine as `refold.toml` and the environment say."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import structlog

from .composition import configured_endpoints, configured_gateways
from .service.facade import RefundEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .ports import Clock, Entropy
    from .service.contacted import Contacted
    from .service.noticing import MoveHook
    from .service.observing import AppendHook
    from .settings import Settings

DEFAULT_STORE = "sqlite:///refold.db"


class OpenOptions(TypedDict, total=False):
    """What `RefundEngine.open` takes and no configuration holds."""

    clock: Clock | None
    entropy: Entropy | None
    create: bool
    on_move: MoveHook | None
    on_contact: Callable[[Contacted], None] | None
    on_append: AppendHook | None


def open_configured(
    settings: Settings | str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    url: str | None = None,
    sends: bool = True,
    warn: Callable[[str], None] | None = None,
    **options: Unpack[OpenOptions],
) -> RefundEngine:
    """Open an engine with the store, the gateways, the keys and the endpoints that the configuration names.

    Args:
        settings: what `read_settings` returned, or the path of a file; None: the file REFOLD_CONFIG names, else
            ./refold.toml if it exists, else the environment alone.
        environ: the environment; by default the process's own.
        url: another store than the configured one; without either it is refold.db in the working folder.
        sends: whether this engine contacts gateways; without, it only records.
        warn: called with a sentence about each key file that everybody can read; by default it is logged.
        **options: as `RefundEngine.open` has them.

    Raises:
        InvalidSetting: the configuration cannot be used; it names the key and what to do, and shows no value.
        StoreError: the store cannot be opened.
    """
    from .configuration import find_file, read_settings  # noqa: PLC0415 - loaded only where something is configured
    from .settings import Settings  # noqa: PLC0415 - the same

    known: Mapping[str, str] = os.environ if environ is None else environ
    if not isinstance(settings, Settings):
        settings = read_settings(find_file(settings, known, "settings"), known)
    endpoints = configured_endpoints(settings)  # a wrong one is told of by whoever comes first
    gateways = configured_gateways(settings, known, warn=warn or _log_warning)
    return RefundEngine.open(
        url or configured_url(settings),
        gateways=gateways,
        endpoints=(endpoints or None) if sends else None,
        **store_options(settings),
        **options,
    )


def configured_url(settings: Settings) -> str:
    """Return the URL of the configured store."""
    return DEFAULT_STORE if settings.store.url is None else settings.store.url.get_secret_value()


def store_options(settings: Settings) -> dict[str, Any]:
    """Return how the configured store is opened, as `RefundEngine.open` takes it."""
    return {"durability": settings.store.durability, "timeout_s": settings.store.timeout_s}


def _log_warning(reason: str) -> None:
    structlog.wrap_logger(logging.getLogger("refold")).warning("settings.key_file", reason=reason)
