"""What the engine needs to talk to gateways: `Transport`, which sends a request and tells what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import InvalidSetting

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


class NoWay:
    """The `Transport` of an engine that is to send nothing."""

    def reaches(self, gateway: str) -> bool:  # noqa: ARG002 - whichever it is
        """Return that there is no way."""
        return False

    def notify_url(self, gateway: str) -> str | None:  # noqa: ARG002 - as above
        """Return None."""
        return None

    def send(self, gateway: str, request: HttpRequest, *, timeout_s: int) -> Answer | NoAnswer:  # noqa: ARG002
        """Refuse. Raises `InvalidSetting`."""
        raise no_endpoint(gateway)

    async def asend(self, gateway: str, request: HttpRequest, *, timeout_s: int) -> Answer | NoAnswer:  # noqa: ARG002
        """Refuse. Raises `InvalidSetting`."""
        raise no_endpoint(gateway)


def no_endpoint(gateway: str) -> InvalidSetting:
    """Return the error that says that a gateway has no address."""
    return InvalidSetting(f"endpoint of {gateway}", "none is configured; give the gateway's base_url")
