"""Reading the log: streams, categories and all events, page by page, for every store that keeps them in tables."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from ..engine.errors import MessageNotFound
from .codec import checked
from .gaps import dense

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from ..engine.ports import Body, StoredEvent

_PAGE: Final = 256
"""Events read at once. Between two pages no transaction is open, so a slow reader holds up nothing."""

Connection = TypeVar("Connection")
Connection_contra = TypeVar("Connection_contra", contravariant=True)


class Log(Protocol[Connection_contra]):
    """The SQL of a log, asked through one connection. A module is one."""

    @property
    def FIRST_OF_STREAM(self) -> str:  # noqa: N802 - a constant of the module, as are the next ones
        """Select by stream, version above, limit."""
        ...

    @property
    def BY_VERSION(self) -> str:  # noqa: N802
        """Select by stream, version above, version at most, limit."""
        ...

    @property
    def BY_POSITION(self) -> str:  # noqa: N802
        """Select by position above, position at most, limit."""
        ...

    @property
    def BY_CATEGORY(self) -> str:  # noqa: N802
        """Select by stream from, stream before, position above, position at most, limit."""
        ...

    def head(self, connection: Connection_contra, /) -> int:
        """Return the last position."""
        ...

    def first_missing(self, connection: Connection_contra, /) -> int | None:
        """Return the first position that is absent; None where the log is complete."""
        ...

    def version(self, connection: Connection_contra, stream: str, /) -> int:
        """Return the stream's version; 0 where it does not exist."""
        ...

    def page(
        self, connection: Connection_contra, sql: str, arguments: tuple[str | int, ...], /
    ) -> list[StoredEvent]:
        """Return the events one of the SELECTs finds, unchecked."""
        ...

    def next_streams(self, connection: Connection_contra, after: str, end: str, limit: int, /) -> list[str]:
        """Return the first names between the two, sorted."""
        ...

    def body(self, connection: Connection_contra, digest: str, /) -> Body | None:
        """Return a message body; None where there is none."""
        ...


class Reading(Generic[Connection]):
    """Reads the log of the store it is mixed into."""

    _log: Log[Connection]

    if TYPE_CHECKING:

        def _reading(self) -> AbstractContextManager[Connection]: ...

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        with self._reading() as connection:
            return self._log.head(connection)

    def first_missing(self) -> int | None:
        """Return the first position from 1 to the head whose event is absent; None where the log is complete."""
        with self._reading() as connection:
            return self._log.first_missing(connection)

    def version(self, stream: str) -> int:
        """Return the stream's version; 0 where it does not exist."""
        with self._reading() as connection:
            return self._log.version(connection, stream)

    def read_stream(self, stream: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield a stream's events in order, those with a version above `after`."""
        after, log = max(after, 0), self._log
        with self._reading() as connection:
            page = log.page(connection, log.FIRST_OF_STREAM, (stream, after, _PAGE))
            # Most streams fit one page: then it is all that has to be asked for.
            end = page[-1].version if 0 < len(page) < _PAGE else log.version(connection, stream)
            if not page and end > after:
                # Appended since, or lost: what was appended is there now.
                page = log.page(connection, log.FIRST_OF_STREAM, (stream, after, _PAGE))
        events: Iterable[StoredEvent] = page
        if len(page) == _PAGE:
            events = chain(page, self._events(log.BY_VERSION, (stream,), page[-1].version, end, "version"))
        return dense(events, "version", after, end, stream)

    def read_all(self, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield all events in the order of positions, those above `after`."""
        after, end = max(after, 0), self.head()
        return dense(self._events(self._log.BY_POSITION, (), after, end, "position"), "position", after, end)

    def read_category(self, category: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield the events of all streams `category-…` in the order of positions, those above `after`."""
        names = (f"{category}-", f"{category}.")
        return map(checked, self._events(self._log.BY_CATEGORY, names, after, self.head(), "position"))

    def _events(
        self, sql: str, names: tuple[str, ...], after: int, end: int, number: str
    ) -> Iterator[StoredEvent]:
        """Yield events page by page, unchecked."""
        while after < end:
            with self._reading() as connection:
                page = self._log.page(connection, sql, (*names, after, end, _PAGE))
            yield from page
            if len(page) < _PAGE:
                return
            after = getattr(page[-1], number)

    def streams(self, category: str) -> Iterator[str]:
        """Yield the names of all streams `category-…`, sorted."""
        end = f"{category}."
        return self._streams(self._next_streams(f"{category}-", end), end)

    def _streams(self, page: list[str], end: str) -> Iterator[str]:
        while page:
            yield from page
            page = self._next_streams(page[-1], end)

    def _next_streams(self, after: str, end: str) -> list[str]:
        with self._reading() as connection:
            return self._log.next_streams(connection, after, end, _PAGE)

    def body(self, digest: str) -> Body:
        """Return a message body."""
        with self._reading() as connection:
            found = self._log.body(connection, digest)
        if found is None:
            raise MessageNotFound(digest)
        return found
