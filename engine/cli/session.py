"""A session: where the store is, where output goes, and engines opened as a command needs them."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import structlog
import typer

from ..composition import configured_gateways
from ..configuration import STORE_VARIABLE, find_file, read_settings, store_url
from ..errors import InvalidSetting
from ..opening import OpenOptions, configured_url, open_configured, store_options
from ..service.facade import RefundEngine
from .output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from ..service.contacted import Contacted
    from ..service.observing import AppendHook
    from ..settings import Settings

Db = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="The store, as before the command.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]
RefundId = Annotated[
    str, typer.Argument(metavar="REFUND", help="The refund's own number.", show_default=False)
]


__all__ = ["AsJson", "Db", "LogLevel", "RefundId", "Session", "configure_logs", "session", "store_url"]


class LogLevel(StrEnum):
    """What the library logs on standard error."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(slots=True)
class Session:
    """What a command works with."""

    db: str | None = None
    config: str | None = None
    output: Output = field(default_factory=Output)
    _settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """What refold.toml and the environment say, read once. Raises `InvalidSetting`."""
        if self._settings is None:
            self._settings = read_settings(find_file(self.config, os.environ), os.environ)
        return self._settings

    def forget_configuration(self) -> None:
        """Go on with the defaults and REFOLD_DB where what is configured cannot be read."""
        kept = {name: text for name, text in os.environ.items() if name == STORE_VARIABLE}
        self._settings = read_settings(None, kept)

    def store_url(self, db: str | None) -> str:
        """Return the store's URL: the command's own `--db`, the one before it, the configured one, or the default."""
        given = self.db if db is None else db
        return configured_url(self.settings) if given is None else store_url(given)

    def lasting_url(self, db: str | None) -> str:
        """Return the URL of a store that is there after the command. Raises `InvalidSetting`."""
        url = self.store_url(db)
        if url == "memory:":
            raise InvalidSetting("store URL", "memory: keeps nothing after the command; name a file")
        return url

    def reading(self, db: str | None) -> RefundEngine:
        """Open an engine that only reads; a missing store is an error and never an empty new one."""
        url = self.store_url(db)
        return RefundEngine.open(
            url, gateways=(), read_only=True, create=False, **store_options(self.settings)
        )

    def deciding(self, db: str | None) -> RefundEngine:
        """Open an engine that writes without talking of gateways' messages, so it needs no keys."""
        gateways = configured_gateways(self.settings, os.environ, warn=self.output.warn, with_keys=False)
        return RefundEngine.open(
            self.lasting_url(db), gateways=gateways, create=False, **store_options(self.settings)
        )

    def recording(self, db: str | None) -> RefundEngine:
        """Open an engine that records messages, with the configured keys, creating the store if needed."""
        return self._opened(self.lasting_url(db), sends=False)

    def receiving(
        self,
        db: str | None,
        *,
        sends: bool,
        on_append: AppendHook,
        on_contact: Callable[[Contacted], None],
    ) -> RefundEngine:
        """Open an engine for the receiver, which may talk to gateways too, creating the store if needed."""
        return self._opened(self.store_url(db), sends=sends, on_append=on_append, on_contact=on_contact)

    def contacting(
        self, db: str | None, *, on_contact: Callable[[Contacted], None] | None = None
    ) -> RefundEngine:
        """Open an engine that talks to gateways; a missing store is an error."""
        return self._opened(self.lasting_url(db), sends=True, create=False, on_contact=on_contact)

    def _opened(self, url: str, *, sends: bool, **options: Unpack[OpenOptions]) -> RefundEngine:
        engine = open_configured(self.settings, url=url, sends=sends, warn=self.output.warn, **options)
        secrets = [secret for gateway in engine.gateways.values() for secret in gateway.secrets]
        self.output.secrets = secrets
        return engine


def session(context: typer.Context) -> Session:
    """Return the session of a command."""
    found: Any = context.find_root().obj
    return found if isinstance(found, Session) else Session()


# ---- logs -------------------------------------------------------------------------------------------------------


def configure_logs(level: LogLevel, output: Output) -> None:
    """Send the library's log to standard error, one line an event, from `level` on."""

    def rendered(_logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        words = [f"{name}={value}" for name, value in event.items() if name not in {"event", "exc_info"}]
        return output.guarded(" ".join([f"{method}:", str(event.get("event", "")), *words]))

    threshold: int = getattr(logging, level.upper())
    structlog.configure(
        processors=[rendered],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("psycopg").handlers = [
        logging.NullHandler()
    ]  # its errors are told as the command's own
    logger = logging.getLogger("refold")
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(threshold)
    logger.propagate = False
