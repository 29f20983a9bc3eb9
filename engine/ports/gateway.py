"""What the engine needs from a payment provider: `Gateway`, a pure translation of that provider's API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from ..domain.capabilities import Capabilities
    from ..domain.evidence import Evidence, RefundOrder, SentRefund, Verification
    from ..domain.message import Channel, HttpRequest, Message
    from ..domain.signals import Signal


class Code(NamedTuple):
    """One documented code of one channel: the row of an adapter's table.

    Attributes:
        channel: where the gateway says it.
        field: the field that carries it, dotted.
        value: the exact value; `S*` stands for a family.
        signal: what it says about the refund; None where it says nothing by itself.
        source: document and date.
        note: what a reader should know.
    """

    channel: Channel
    field: str
    value: str
    signal: Signal | None
    source: str
    note: str = ""


NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
"""What an adapter may be called."""


class Gateway(Protocol):
    """A payment provider's API as a pure translation: no I/O, no clock, no randomness.

    Readers return evidence or raise an `UnreadableMessage`; whatever bytes they are given, nothing else escapes.
    """

    @property
    def name(self) -> str:
        """The adapter's name in logs, on the command line and in the names of streams, where a hyphen ends it."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the gateway can do, as documented."""
        ...

    @property
    def codes(self) -> tuple[Code, ...]:
        """Every documented code of every channel."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """The configured secrets, so that they can be blanked wherever a message repeats them."""
        ...

    def verify(self, channel: Channel, message: Message) -> Verification:
        """Check the signature over the raw bytes in constant time.

        Returns verified; or unverified where no key is configured, no signature is present, or what it covers is
        unknown. Raises `InvalidSignature` where a present signature does not verify.
        """
        ...

    def signed_at(self, message: Message) -> datetime | None:
        """Return the time a webhook says it was signed at; None where it carries none."""
        ...

    def read_request(self, message: Message) -> SentRefund:
        """Read back one of our own refund requests."""
        ...

    def read_response(self, message: Message) -> Evidence:
        """Read the answer to a refund request. An answer that does not tell the outcome is `uncertain`."""
        ...

    def read_poll(self, message: Message) -> Evidence:
        """Read the answer to a query."""
        ...

    def read_webhook(self, message: Message) -> Evidence:
        """Read a notification whose signature was checked."""
        ...

    def build_refund(self, order: RefundOrder, *, at: datetime, nonce: str) -> HttpRequest:
        """Build the signed refund request; `nonce` is up to 32 characters and new for each message."""
        ...

    def build_query(self, order: RefundOrder, *, at: datetime, nonce: str) -> HttpRequest:
        """Build the signed query for a refund, by our own reference."""
        ...
