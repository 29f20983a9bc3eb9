"""A transport that answers by a script: for tests of what becomes of a refund, without any network.

    script = ScriptedTransport(post=[TIMEOUT, Answer(200, {}, body)], get=[NOT_SENT])
    engine = RefundEngine(MemoryStore(), gateways, clock=…, entropy=…, transport=script)

It is no simulator: it knows no gateway. `refold.adapters.simulators` speak the real protocols.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from ..ports import Answer, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..domain.message import HttpRequest

TIMEOUT: Final = NoAnswer("timeout", "nothing whole within 45 s")
NOT_SENT: Final = NoAnswer("not_sent", "ConnectError: connection refused")
HALF: Final = NoAnswer(
    "http_error", "RemoteProtocolError: the connection was closed, after HTTP 200 and 10 bytes"
)
BAD_GATEWAY: Final = Answer(502, {"content-type": "text/html"}, b"<html>Bad Gateway</html>")

Scripted: TypeAlias = "Answer | NoAnswer | type[BaseException]"
"""What comes back; an exception class is raised, as if the process died there."""


class ScriptedTransport:
    """A `Transport` that gives each scripted answer once, and the last one again and again.

    Attributes:
        sent: every request, in order.
        at_send: called with each request before it is answered.
        url: what `notify_url` returns.
    """

    def __init__(self, *, post: Iterable[Scripted] = (), get: Iterable[Scripted] = ()) -> None:
        """Answer refund requests with `post` and queries with `get`."""
        self.sent: list[HttpRequest] = []
        self.at_send: Callable[[HttpRequest], object] = lambda _: None
        self.url: str | None = None
        self._answers = {True: list(post), False: list(get)}

    def says(self, *, post: Iterable[Scripted] | None = None, get: Iterable[Scripted] | None = None) -> None:
        """Go on with another script."""
        for submission, answers in ((True, post), (False, get)):
            if answers is not None:
                self._answers[submission] = list(answers)

    def submissions(self) -> list[HttpRequest]:
        """Return the refund requests that were sent."""
        return [request for request in self.sent if is_submission(request)]

    def reaches(self, gateway: str) -> bool:  # noqa: ARG002 - whichever it is
        """Return that there is a way."""
        return True

    def notify_url(self, gateway: str) -> str | None:  # noqa: ARG002 - as above
        """Return `url`."""
        return self.url

    def send(self, gateway: str, request: HttpRequest, *, timeout_s: int) -> Answer | NoAnswer:  # noqa: ARG002
        """Give the next scripted answer."""
        self.sent.append(request)
        self.at_send(request)
        answers = self._answers[is_submission(request)]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, type):
            raise answer
        return answer

    async def asend(self, gateway: str, request: HttpRequest, *, timeout_s: int) -> Answer | NoAnswer:
        """Give the next scripted answer."""
        return self.send(gateway, request, timeout_s=timeout_s)


def is_submission(request: HttpRequest) -> bool:
    """Tell a refund request from a query, which is a GET or names itself one."""
    return request.method != "GET" and not request.target.partition("?")[0].endswith("/query")
