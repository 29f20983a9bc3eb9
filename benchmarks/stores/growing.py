"""The rows that show growth: appends and reading at 10^5 and 10^6 events."""

from __future__ import annotations

from functools import partial
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from refold.engine.ports import Write

from .filled import filled, peer_filled
from .measuring import Row, Target, counted, each, interleaved, ratio
from .raw import raw_row
from .refunds import events_of, refund_stream, success_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from refold.engine.ports import EventStore, NewEvent

    from .measuring import Contender
    from .place import Place
    from .postgres.contenders import RawPostgres
    from .raw import Raw


# ---- appends


def sizes(place: Place) -> dict[str, int]:
    """Return how many events the stores of these rows hold, by what a row's name says."""
    return {"1e5": place.sizes.small, "1e6": place.sizes.large}


def _places(refunds: list[str], order: Random) -> Iterator[tuple[str, int]]:
    """Yield, in turn, a refund of the store that nobody has appended to yet, and a new one, with their versions."""
    last = len(events_of(refunds[0]))
    for refund_id in order.sample(refunds, len(refunds)):
        yield refund_id, last
        yield uuid4().hex, 0


def our_appends(place: Place, store: EventStore, refunds: Sequence[str]) -> Contender:
    """Return what appends single events to old and new streams of our store."""
    return _appends(place, store.append, refunds, lambda *one: Write(refund_stream(one[0]), one[1], [one[2]]))


def raw_appends(place: Place, raw: Raw | RawPostgres, refunds: Sequence[str]) -> Contender:
    """Return the same of the driver."""
    return _appends(
        place, raw.append, refunds, lambda *one: raw_row(refund_stream(one[0]), one[1] + 1, one[2])
    )


def _appends(
    place: Place,
    append: Callable[[Any], object],
    refunds: Sequence[str],
    made: Callable[[str, int, NewEvent], object],
) -> Contender:
    places = _places(refunds, Random(1))  # noqa: S311 - the same order for both

    def take() -> float:
        some = [
            made(refund_id, version, success_of(refund_id))
            for refund_id, version in islice(places, place.sizes.appends // 2)
        ]
        if not some:
            raise SystemExit("the store has fewer refunds than the rounds need; lower the appends a turn")
        return each(append, some)

    return take


def append_rows(place: Place, name: str, contenders: Mapping[str, Contender]) -> list[Row]:
    """Measure durable single appends at both sizes, all four taking turns.

    Args:
        place: where the run takes place.
        name: of the rows, before the size.
        contenders: by size and column, as `1e5 ours`.
    """
    rates = interleaved(place.sizes, contenders)
    rows = [
        Row(
            name=f"{name}_at_{size}",
            unit="appends/s",
            ours=rates[f"{size} ours"],
            limit=rates[f"{size} limit"],
            notes=[f"{filled(place, events).events:,} events before; old and new streams in turn"],
        )
        for size, events in sizes(place).items()
    ]
    small, large = rows
    grown = ratio(small.ours, large.ours)
    large.targets.append(Target(text="cost 1e6/1e5 <= 1.3", reached=grown, at_most=1.3))
    large.notes.append(f"cost of the raw driver: {ratio(small.limit, large.limit):.2f} x that at 1e5")
    return rows


def appending(place: Place) -> list[Row]:
    """Append to the small and the large store; the driver to copies of both."""
    contenders = {}
    for size, events in sizes(place).items():
        full = filled(place, events)
        ours, raw = place.ours(full.copy(place.new_file())), place.raw(full.copy(place.new_file()))
        contenders[f"{size} ours"] = our_appends(place, ours, full.refunds)
        contenders[f"{size} limit"] = raw_appends(place, raw, full.refunds)
    return append_rows(place, "append", contenders)


# ---- reading


def reading(read: Callable[[], Iterable[Any]]) -> Contender:
    """Return what reads everything that there is to read."""
    return counted(lambda: sum(1 for _ in read()))


def reading_all(place: Place) -> list[Row]:
    """Read the log in order, ours with each digest checked; of the large one only as much as the small one has."""
    rows = []
    for name, events in sizes(place).items():
        full = filled(place, events)
        after = full.events - place.sizes.small
        ours, raw = place.ours(full.path), place.raw(full.copy(place.new_file()))
        peer = place.peer(peer_filled(place, events).copy(place.new_file())) if name == "1e5" else None
        rates = interleaved(
            place.sizes,
            {
                "ours": reading(partial(ours.read_all, after=after)),
                "peer": None if peer is None else reading(peer.all),
                "limit": reading(partial(raw.all, after)),
            },
        )
        rows.append(Row(name=f"read_all_at_{name}", unit="events/s", **rates))
    return rows


def reading_streams(place: Place) -> list[Row]:
    """Read a stream of eight events that lie far apart, ours with each digest checked."""
    contenders: dict[str, Contender] = {}
    for name, events in sizes(place).items():
        full = filled(place, events)
        ours, raw = place.ours(full.path), place.raw(full.copy(place.new_file()))
        order = Random(1)  # noqa: S311 - where it reads matters to nobody

        def some(refunds: Sequence[str] = full.refunds, order: Random = order) -> list[str]:
            return [refund_stream(one) for one in order.choices(refunds, k=place.sizes.loads)]

        contenders[f"{name} ours"] = lambda ours=ours, some=some: each(
            lambda stream: list(ours.read_stream(stream)), some()
        )
        contenders[f"{name} limit"] = lambda raw=raw, some=some: each(raw.stream, some())
    rates = interleaved(place.sizes, contenders)
    return [
        Row(
            name=f"read_stream_at_{name}",
            unit="streams/s",
            ours=rates[f"{name} ours"],
            limit=rates[f"{name} limit"],
        )
        for name in sizes(place)
    ]
