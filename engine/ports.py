"""What the engine needs from outside, declared by the engine that uses it: Gateway, EventStore, Clock, Entropy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from .domain.evidence import Evidence, RefundOrder, SentRefund, Verification
    from .domain.message import Channel, HttpRequest, Message
    from .domain.signals import Signal


class Clock(Protocol):
    """Returns the present time, with an offset. Nothing else in refold reads the time."""

    def __call__(self) -> datetime: ...


class Entropy(Protocol):
    """Returns `size` random bytes. Nothing else in refold makes random values."""

    def __call__(self, size: int, /) -> bytes: ...


# ---- gateways -------------------------------------------------------------------------------------------------


class AmountForm(StrEnum):
    """How a gateway writes amounts."""

    MAJOR_TEXT = "decimal text in major units"
    MAJOR_NUMBER = "JSON number in major units"
    CENTS = "integer hundredths of the major unit"


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


class AbsenceRule(NamedTuple):
    """When repeated `not_found` answers prove that the gateway has no such refund.

    Attributes:
        answers: how many polls must say so, after a submission that the gateway answered.
        apart_s: the least time between the first and the last of them, in seconds.
    """

    answers: int
    apart_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a gateway can do, as documented; the docstring of each adapter names document and date.

    Attributes:
        partial: part of a payment can be refunded.
        several: one payment can have several refunds.
        lookup_by_own_reference: a query by our refund number is possible.
        refund_reference: messages carry our refund number; where not, they are matched by the payment's.
        post_timeout_s: how long to wait for the answer to a refund request.
        poll_interval_s: least time between two queries.
        outcome_window_s: after this time without an outcome a refund is overdue.
        refund_window_days: how long after the payment a refund is possible; None: not documented.
        key_retention_s: how long the gateway keeps an idempotency key; None: unknown, so look up first.
        absence: when `not_found` becomes `rejected`; None: never.
        amounts: how amounts are written.
        acknowledgement: the exact body a webhook is answered with; None: no webhook is documented.
        webhook_retry_s: the documented delays of webhook attempts, in seconds; empty: not documented.
    """

    partial: bool
    several: bool
    lookup_by_own_reference: bool
    post_timeout_s: int
    poll_interval_s: int
    outcome_window_s: int
    refund_window_days: int | None
    key_retention_s: int | None
    absence: AbsenceRule | None
    amounts: AmountForm
    acknowledgement: bytes | None
    webhook_retry_s: tuple[int, ...]
    refund_reference: bool = True


class Gateway(Protocol):
    """A payment provider's API as a pure translation: no I/O, no clock, no randomness.

    Readers return evidence or raise an `UnreadableMessage`; whatever bytes they are given, nothing else escapes.
    """

    @property
    def name(self) -> str:
        """The adapter's name in logs and on the command line."""
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


# ---- event store ----------------------------------------------------------------------------------------------

Value: TypeAlias = str | int | None


class NewEvent(NamedTuple):
    """An event to append: its wire name, the moment the fact reached us (RFC 3339, UTC) and its data (JSON text)."""

    type: str
    time: str
    data: str


class Write(NamedTuple):
    """Events for one stream, guarded by the version the writer has seen.

    Attributes:
        stream: its name, `category-id`.
        expected: the stream's version before this write, 0 for a stream that must not exist; None accepts any.
        events: may be empty: then the write only guards that the stream is still at `expected`.
    """

    stream: str
    expected: int | None
    events: Sequence[NewEvent] = ()


class StoredEvent(NamedTuple):
    """An event as stored.

    Attributes:
        position: its dense global number, from 1.
        version: its number in its stream, from 1.
        digest: SHA-256 over position, stream, version, type, time and data exactly as stored.
    """

    position: int
    stream: str
    version: int
    type: str
    time: str
    data: str
    digest: bytes


class Appended(NamedTuple):
    """Where an append stands in the log; `duplicate` where its key had been appended before."""

    first: int
    last: int
    duplicate: bool = False


class Body(NamedTuple):
    """A message body, kept apart from the events so that erasing it breaks no digest.

    Attributes:
        digest: lower-case hex SHA-256 over salt, headers and content.
        salt: random, so that nobody can confirm a guess after the erasure.
        headers: JSON object of the headers kept.
        content: the bytes.
    """

    digest: str
    salt: bytes
    headers: str
    content: bytes


class Column(NamedTuple):
    """A column of a view: `kind` is str or int; a `sums` column adds what an upsert brings."""

    name: str
    kind: type[str] | type[int]
    sums: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A table computed from the log, changed in the append's transaction and rebuilt by replay."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return the column names in order."""
        return tuple(column.name for column in self.columns)


class Upsert(NamedTuple):
    """Insert a row, or change it: sums add, other columns take the new value, None leaves them as they are."""

    view: View
    values: tuple[Value, ...]


class Delete(NamedTuple):
    """Remove the row of that key, if it is there."""

    view: View
    key: tuple[Value, ...]


Change: TypeAlias = Upsert | Delete
Row: TypeAlias = "Mapping[str, Value]"


class Difference(NamedTuple):
    """A row that differs between the live view and the one rebuilt from the log; None where it is missing."""

    view: str
    key: tuple[Value, ...]
    live: Row | None
    rebuilt: Row | None


class EventStore(Protocol):
    """An append-only log with atomic appends over several streams, and the views computed from it.

    Raises, from every method: `StoreError` (nothing was stored, safe to repeat) and `CorruptLog`; no error of a
    library underneath leaks. All readers stream in constant memory and check each event's digest.
    """

    @property
    def views_stale(self) -> bool:
        """Whether the views must be rebuilt before use: the file was written with other view definitions."""
        ...

    def append(
        self,
        *writes: Write,
        key: str | None = None,
        content: str | None = None,
        bodies: Sequence[Body] = (),
        changes: Sequence[Change] = (),
    ) -> Appended:
        """Append all writes, bodies and view changes, or nothing; durable when it returns.

        Args:
            writes: one a stream; at least one of them with an event.
            key: makes the append idempotent.
            content: what the key stands for, where that is less than the writes (times and salts differ between
                two tries of one message); by default the writes themselves.
            bodies: message bodies the events refer to.
            changes: view changes the caller computed from the versions it expects.

        Returns:
            the positions; those of the first append and `duplicate=True` for a key seen with the same content.

        Raises:
            VersionConflict: a stream is not at its expected version.
            KeyReuse: the key stands for other content.
        """
        ...

    def batch(self) -> AbstractContextManager[None]:
        """Make the appends of this thread inside the block durable together, at its end; undo them on an error."""
        ...

    def settle(self, key: str) -> Appended | None:
        """Tell whether the append of that key happened, reading afresh."""
        ...

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        ...

    def version(self, stream: str) -> int:
        """Return the stream's version; 0 where it does not exist."""
        ...

    def read_stream(self, stream: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield a stream's events in order, those with a version above `after`."""
        ...

    def read_all(self, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield all events in the order of positions, those above `after`."""
        ...

    def read_category(self, category: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield the events of all streams `category-…` in the order of positions, those above `after`."""
        ...

    def streams(self, category: str) -> Iterator[str]:
        """Yield the names of all streams `category-…`, sorted."""
        ...

    def body(self, digest: str) -> Body:
        """Return a message body. Raises `MessageNotFound` where it was erased."""
        ...

    def erase_body(self, digest: str) -> bool:
        """Erase a message body and its salt for good; tell whether it was there."""
        ...

    def row(self, view: View, key: tuple[Value, ...]) -> Row | None:
        """Return one row of a view."""
        ...

    def rows(
        self,
        view: View,
        *,
        where: Mapping[str, Value] | None = None,
        order: str | None = None,
        after: Value = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows whose columns equal `where`, ordered by one unique column (default: the key), above `after`."""
        ...

    def rebuild(self, views: Sequence[View], changes: Iterable[Change]) -> list[Difference]:
        """Fill new tables from `changes`, compare them with the live ones, swap, and return every difference."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Return what an operator wants to know: kind, place, schema, durability, sizes."""
        ...

    def checkpoint(self) -> None:
        """Fold what the store keeps beside its main file back into it, where it does."""
        ...

    def close(self) -> None:
        """Release all connections; calling it again does nothing."""
        ...
