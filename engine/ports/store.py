"""What the engine needs from an event store: an append-only log, and the views computed from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from .subscribing import Subscribable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from .projecting import Projection

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


class Lease(NamedTuple):
    """Who may do what a name stands for, and how long.

    Attributes:
        token: larger than that of every lease taken before it.
        holder: who took it, for operators.
        until: when it ends by itself, by the clock of who took it (RFC 3339, UTC).
    """

    token: int
    holder: str
    until: str


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
    kind: type[str | int]
    sums: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A table computed from the log, changed in the append's transaction and rebuilt by replay.

    Attributes:
        version: of the rows; a higher one where the same events make other rows, or change another view as well.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    version: int = 1

    def names(self) -> tuple[str, ...]:
        """Return the column names in order."""
        return tuple(column.name for column in self.columns)

    def definition(self) -> str:
        """Return the definition as text, so that a table made with another one is noticed."""
        columns = ",".join(
            f"{name}:{kind.__name__}{'+' if sums else ''}" for name, kind, sums in self.columns
        )
        indexes = ";".join(",".join(columns) for columns in self.indexes)
        edition = f"|{self.version}" if self.version > 1 else ""
        return f"{columns}|{','.join(self.key)}|{indexes}{edition}"

    def __hash__(self) -> int:
        """Hash by the name: every change looks its view up, and to hash all columns takes longer than to use them."""
        return hash(self.name)


class Upsert(NamedTuple):
    """Insert a row, or change it: sums add, other columns take the new value, None leaves them as they are.

    Attributes:
        unchanged: columns, none of them a sum, that have these values already where the row is there, as far as the
            caller knows. It is a hint and decides nothing: where they have others, they take the new ones.
    """

    view: View
    values: tuple[Value, ...]
    unchanged: frozenset[str] = frozenset()


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


class EventStore(Subscribable, Protocol):
    """An append-only log with atomic appends over several streams, and the views computed from it.

    Raises, from every method: `StoreError` (nothing was stored, safe to repeat) and `CorruptLog`; no error of a
    library underneath leaks. All readers stream in constant memory, yield what the log held when they were asked,
    and check each event: `EventCorrupt` where its bytes do not match its digest, `EventMissing` where the log or a
    stream has a gap; reading on after it is another call. A batch is seen by other threads and processes at its end,
    as a whole.
    """

    @property
    def views_stale(self) -> bool:
        """Whether the views must be rebuilt before use: one is lost, or another version has made it its own way.

        What is read from such a view, or would change it, raises `ViewStale`. It may become so while the store is open.
        """
        ...

    @property
    def rebuild_under_way(self) -> bool:
        """Whether somebody, in whichever process, makes views anew now, or has died while doing so."""
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
            InvalidInput: no event at all, one stream twice, a name or text that cannot be stored, a value that its
                column cannot hold, a number or sum beyond 64 bits.
            VersionConflict: a stream is not at its expected version.
            KeyReuse: the key stands for other content.
            EventMissing: the key was appended before, and the events of that append are gone.
        """
        ...

    def batch(self) -> AbstractContextManager[None]:
        """Make the appends of this thread inside the block durable together, at its end; undo them on an error."""
        ...

    @property
    def in_batch(self) -> bool:
        """Whether a batch of this thread is open: what it has appended is not durable, and may be undone."""
        ...

    def settle(self, key: str) -> Appended | None:
        """Tell whether the append of that key happened, reading afresh.

        The answer is final for an append whose caller is gone, or was told `OutcomeUnknown`: what the store had begun
        of it is waited for, and None is told only where the store could make sure that it does not come back, by a
        write where it takes one. Inside a batch of this thread, and where the store was opened read-only, None says no
        more than that it is not there yet.

        Raises:
            StoreBusy: it was not over in time; ask again.
            StoreFull, StoreReadOnly, StoreUnavailable, OutcomeUnknown: it was not found, and nobody could make sure;
                ask again when the store can be written.
        """
        ...

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        ...

    def first_missing(self) -> int | None:
        """Return the first position from 1 to the head whose event is absent; None where the log is complete.

        It reads no event's data, so it is cheap where nothing is missing; a lost tail is noticed as well.
        """
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

    def create_views(self, views: Sequence[View]) -> None:
        """Make the tables of views that the store has never had, empty; those it has stay, of whatever version.

        Raises:
            InvalidSetting: one cannot be a table.
            StoreUnavailable: a table of that name is of something else.
        """
        ...

    def rows_of_any_version(self, view: View, *, where: Mapping[str, Value]) -> Iterator[Row]:
        """Yield rows of a view's table whichever version has made it: what does not fit the view is None.

        Raises:
            ViewStale: the table is lost, or has not all columns of `where`.
        """
        ...

    def claim(self, name: str, *, holder: str, now: str, until: str) -> int | None:
        """Take the lease of that name, so that of several workers one does what it stands for.

        A lease is no event: it only keeps workers apart; what they append is guarded by versions as always.

        Args:
            name: what is leased.
            holder: who takes it, for operators.
            now: the present (RFC 3339, UTC, as `time_text` writes it).
            until: when it ends by itself, should its holder not come back.

        Returns:
            its token, larger than that of every lease before it; None where another one has not ended.
        """
        ...

    def lease(self, name: str) -> Lease | None:
        """Return the lease of that name as it was taken, ended by itself or not; None where it was given back."""
        ...

    def release(self, token: int) -> None:
        """End the lease of that token; where it has ended, or was taken by another, nothing."""
        ...

    def rebuild(self, projection: Projection, *, compare: bool = True) -> list[Difference]:
        """Fill new tables from the log, compare them with the live ones, swap, and return every difference.

        Others go on writing meanwhile: the new tables are filled as of the position there was at the beginning, and
        what was appended since is added. Only the last of that, the comparison and the swap keep writers waiting.

        Args:
            projection: what computes the views.
            compare: whether differences are looked for; without, none is returned.

        Raises:
            InvalidInput: as for an append; the views stay as they were.
            StoreUnavailable: another rebuild began before this one had ended; the views stay as they were.
        """
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
