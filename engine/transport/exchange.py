"""An exchange: one request and what came of it, without any I/O. The drivers of `http` feed it.

What a network can do to a request is sorted into two kinds. *Not sent*: it is certain that no byte left, so the same
request may be sent again. *Unknown*: everything else. There is no third kind: silence never means that a refund failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ports.transport import Answer, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..domain.events import Failure


class Broken(Exception):
    """The answer cannot be taken; what it says is unknown."""


class Exchange:
    """Collects one answer, within its limits.

    Args:
        max_answer: bytes of the longest body that is taken.
    """

    def __init__(self, max_answer: int) -> None:
        self._max = max_answer
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def began(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Take status and headers; a header that comes twice is joined with a comma. Raises `Broken`."""
        self._status = status
        for name, value in headers:
            key = name.lower()
            self._headers[key] = f"{self._headers[key]}, {value}" if key in self._headers else value
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._max:
            raise Broken(f"the answer has {length[:20]} bytes, {self._max} are taken")

    def received(self, part: bytes) -> None:
        """Take a part of the body. Raises `Broken`."""
        if len(self._body) + len(part) > self._max:
            raise Broken(f"the answer has more than {self._max} bytes")
        self._body += part

    def answer(self) -> Answer:
        """Return the whole answer."""
        return Answer(self._status, self._headers, bytes(self._body))

    def broken(self, failure: Failure, what: str) -> NoAnswer:
        """Return that no whole answer came, and how far it came."""
        if self._status:
            what = f"{what}, after HTTP {self._status} and {len(self._body)} bytes of its body"
        return NoAnswer(failure, what)
