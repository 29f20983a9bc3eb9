"""What the engine needs to talk to gateways: `Transport`, which sends a request and tells what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..domain.events import Failure
    from ..domain.message import HttpRequest


class Answer(NamedTuple):
    """A whole HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(NamedTuple):
    """No whole answer came.

    Attributes:
        failure: `not_sent` where it is certain that no byte of the request left, so that it is safe to send it again;
            `timeout` and `http_error` leave the outcome unknown.
        detail: what happened, in words that hold nothing of the message.
    """

    failure: Failure
    detail: str


class Transport(Protocol):
    """Sends requests to the gateways it has an address of. Nothing is raised for what a network can do."""

    def reaches(self, gateway: str) -> bool:
        """Tell whether it has an address of the gateway."""
        ...

    def notify_url(self, gateway: str) -> str | None:
        """Return where the gateway shall send its webhooks; None: it is not told."""
        ...

    def send(self, gateway: str, request: HttpRequest, *, timeout_s: int) -> Answer | NoAnswer:
        """Send a request and wait for its whole answer, `timeout_s` seconds at most, all in all.

        Raises:
            InvalidSetting: it has no address of the gateway.
        """
        ...

    async def asend(self, gateway: str, request: HttpRequest, *, timeout_s: int) -> Answer | NoAnswer:
        """Do the same without blocking the event loop."""
        ...
