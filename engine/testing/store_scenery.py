"""What the event store contract plays with: a view, events, bodies, and a way to ask for an error."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, ParamSpec, TypeVar

from ..ports import Body, Column, NewEvent, Upsert, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..ports import EventStore, StoredEvent, Value

Failure = TypeVar("Failure", bound=BaseException)
Arguments = ParamSpec("Arguments")

TOTALS: Final = View(
    "totals",
    (Column("id", str), Column("kind", str), Column("total", int, sums=True), Column("rank", int)),
    ("id",),
    (("kind",),),
)
PAIRS: Final = View(
    "pairs", (Column("left", str), Column("right", str), Column("note", str)), ("left", "right")
)
VIEWS: Final = (TOTALS, PAIRS)

UNICODE: Final = (
    '{"note":"\u00e9 e\u0301 \u6f22\u5b57 \u202eabc\u202c \U0001f600 \u200b \ufeff \u0007 \\u0000"}'
)
"""JSON with twins in NFC and NFD, an RTL override, an astral character, invisible ones and an escaped NUL."""


def nine_o_clock() -> datetime:
    """Return a moment that does not move."""
    return datetime(2026, 1, 2, 9, tzinfo=UTC)


def event(data: str = "{}", *, type_: str = "refund.requested") -> NewEvent:
    """Return an event; its time is always the same."""
    return NewEvent(type_, "2026-01-02T03:04:05.000006Z", data)


def body(number: int) -> Body:
    """Return a message body whose digest is made up: stores keep it, they do not compute it."""
    return Body(
        f"{number:064x}", bytes([number]) * 16, '{"a":"\u00e9"}', b"\x00\xff body " + str(number).encode()
    )


def total(name: str, amount: int | None, kind: str | None = None, rank: int | None = None) -> Upsert:
    """Return a change of the totals."""
    return Upsert(TOTALS, (name, kind, amount, rank))


def numbers(events: Iterator[StoredEvent]) -> list[int]:
    """Return the positions of the events."""
    return [each.position for each in events]


class Failing(tuple[Any, ...]):
    """A sequence that raises `Interrupted` after its last element: a failure in the middle of an append."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        """Yield the elements, then fail."""
        yield from super().__iter__()
        raise Interrupted


class Interrupted(Exception):
    """Raised by the contract's own code, so that it cannot be mistaken for an error of the store."""


def raised(
    kind: type[Failure],
    call: Callable[Arguments, object],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Failure:
    """Return the error of that kind the call raises; an `AssertionError` where it raises none."""
    try:
        got = call(*args, **kwargs)
    except kind as error:
        return error
    except Exception as error:
        raise AssertionError(f"{kind.__name__} was to be raised, not {error!r}") from error
    raise AssertionError(f"{kind.__name__} was to be raised; the call returned {got!r}")


def snapshot(store: EventStore) -> tuple[Any, ...]:
    """Return all that appends change, but for the keys and bodies, which are asked for by name."""
    return (
        store.head(),
        list(store.read_all()),
        [list(store.streams(category)) for category in ("payment", "refund")],
        [[dict(row) for row in store.rows(view)] for view in VIEWS],
    )


class StoreScenery:
    """A new store for each test, in a folder of its own; a class of tests inherits it."""

    durable: ClassVar[bool] = True
    """The store holds everything when it is closed and opened again."""
    concurrent_threads: ClassVar[bool] = True
    """Several threads may use one store at the same time."""

    store: EventStore
    """The store under test."""

    def make_store(self, tmp_path: Path, views: Sequence[View]) -> EventStore:
        """Open a store in a folder; with the same folder again, the same store where it is durable."""
        raise NotImplementedError

    def setup_method(self) -> None:
        """Open an empty store."""
        self._folder = tempfile.TemporaryDirectory(prefix="refold-contract-")
        self.store = self.open()

    def teardown_method(self) -> None:
        """Close the store and remove its folder."""
        try:
            self.store.close()
        finally:
            self._folder.cleanup()

    def open(self) -> EventStore:
        """Open another handle on this test's folder."""
        return self.make_store(Path(self._folder.name), VIEWS)

    def rows(self, view: View = TOTALS, **options: Any) -> list[dict[str, Value]]:  # noqa: ANN401 - those of `rows`
        """Return rows of a view as plain dictionaries."""
        return [dict(row) for row in self.store.rows(view, **options)]
