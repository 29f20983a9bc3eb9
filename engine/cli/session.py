"""A session: where the store is, where output goes, and engines opened as a command needs them."""

from __future__ import annotations

import logging
import os
import re
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import structlog
import typer

from ..composition import all_gateways, gateways_from_environment
from ..errors import InvalidSetting, StoreReadOnly
from ..service.facade import RefundEngine
from .output import Output

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from ..service.observing import AppendHook

DEFAULT_STORE: Final = "refold.db"
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")

Db = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="The store, as before the command.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]
RefundId = Annotated[
    str, typer.Argument(metavar="REFUND", help="The refund's own number.", show_default=False)
]


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
    output: Output = field(default_factory=Output)

    def store_url(self, db: str | None) -> str:
        """Return the store's URL: the command's own `--db`, the one before it, REFOLD_DB, or the default."""
        return store_url(db or self.db or os.environ.get("REFOLD_DB") or DEFAULT_STORE)

    def reading(self, db: str | None) -> RefundEngine:
        """Open an engine that only reads; a missing store is an error and never an empty new one."""
        url = self.store_url(db)
        try:
            return RefundEngine.open(url, gateways=(), read_only=True, create=False)
        except StoreReadOnly:
            # Its views are those of another refold and must be rebuilt first, which is a write.
            return self.deciding(db)

    def deciding(self, db: str | None) -> RefundEngine:
        """Open an engine that writes without talking of gateways' messages, so it needs no keys."""
        return RefundEngine.open(self.store_url(db), gateways=all_gateways(), create=False)

    def recording(self, db: str | None, *, on_append: AppendHook | None = None) -> RefundEngine:
        """Open an engine that records messages, with the keys of the environment, creating the store if needed."""
        gateways = gateways_from_environment(os.environ, warn=self.output.warn)
        self.output.secrets = [secret for gateway in gateways for secret in gateway.secrets]
        return RefundEngine.open(self.store_url(db), gateways=gateways, on_append=on_append)


def store_url(text: str) -> str:
    """Return the URL of a store given as a URL or as a file's path.

    Raises:
        InvalidSetting: it is blank.
    """
    if not text.strip():
        raise InvalidSetting("--db", "it is blank; name a file or a URL such as sqlite:///refunds.db")
    return text if _URL.match(text) else f"sqlite:///{quote(os.fsencode(text))}"


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
    logger = logging.getLogger("refold")
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(threshold)
    logger.propagate = False
