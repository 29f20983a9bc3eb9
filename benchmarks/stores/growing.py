"""The rows that show growth: appends, reading and rebuilding at 10^5 and 10^6 events."""

from __future__ import annotations

import threading
import time
from functools import partial
from itertools import islice
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from refold.engine.ports import Write

from .filled import filled
from .measuring import Row, Target, each, interleaved, ratio
from .peer import application, lived, rebuilt
from .raw import raw_row
from .refunds import engine, events_of, new_ids, refund_stream, success_of
from .writing import BATCH, peer_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from refold.engine import RefundEngine

    from .filled import Filled
    from .measuring import Contender
    from .peer import Peer
    from .place import Place


# ---- appends


def _names(place: Place) -> dict[str, int]:
    return {"1e5": place.sizes.small, "1e6": place.sizes.large}


def _places(refunds: list[str], order: Random) -> Iterator[tuple[str, int]]:
    """Yield, in turn, a refund of the store that nobody has appended to yet, and a new one, with their versions."""
    last = len(events_of(refunds[0]))
    for refund_id in order.sample(refunds, len(refunds)):
        yield refund_id, last
        yield uuid4().hex, 0


def _appending(
    place: Place,
    path: Path,
    refunds: list[str],
    *,
    ours: bool,
) -> Contender:
    places = _places(refunds, Random(1))  # noqa: S311 - the same order for both
    opened = place.ours(path) if ours else place.raw(path)

    def write(refund_id: str, version: int) -> Any:  # noqa: ANN401 - what the one or the other takes
        event = success_of(refund_id)
        stream = refund_stream(refund_id)
        return Write(stream, version, [event]) if ours else raw_row(stream, version + 1, event)

    def take() -> float:
        some = [write(*one) for one in islice(places, place.sizes.appends // 2)]
        if not some:
            raise SystemExit("the store has fewer refunds than the rounds need; lower the appends a turn")
        return each(opened.append, some)

    return take


def appending(place: Place) -> list[Row]:
    """Durable single appends to old and new streams of the small and the large store, all four taking turns."""
    contenders = {}
    for name, events in _names(place).items():
        full = filled(place, events)
        for ours in (True, False):
            copy = full.copy(place.new_file())
            contenders[f"{name} {ours}"] = _appending(place, copy, list(full.refunds), ours=ours)
    rates = interleaved(place.sizes, contenders)
    rows = [
        Row(
            name=f"append_at_{name}",
            unit="appends/s",
            ours=rates[f"{name} True"],
            limit=rates[f"{name} False"],
        )
        for name in _names(place)
    ]
    small, large = rows
    for row, events in zip(rows, _names(place).values(), strict=True):
        row.notes.append(f"{filled(place, events).events:,} events before; old and new streams in turn")
    grown = ratio(small.ours, large.ours)
    large.targets.append(Target(text="cost 1e6/1e5 <= 1.3", reached=grown, at_most=1.3))
    large.notes.append(f"cost of the raw driver: {ratio(small.limit, large.limit):.2f} x that at 1e5")
    return rows


# ---- reading


def _rate(read: Callable[[], Iterable[Any]]) -> Contender:
    def take() -> float:
        began = time.perf_counter()
        count = sum(1 for _ in read())
        return count / (time.perf_counter() - began)

    return take


def _peer_filled(place: Place, events: int) -> Peer:
    peer = place.peer()
    size = len(events_of(new_ids(1)[0]))
    for _ in range(events // BATCH):
        peer.recorder.insert_events(peer_batch(new_ids(BATCH // size)))
    return peer


def reading_all(place: Place) -> list[Row]:
    """Read the log in order, ours with each digest checked; of the large one only as much as the small one has."""
    rows = []
    for name, events in _names(place).items():
        full = filled(place, events)
        after = full.events - place.sizes.small
        ours, raw = place.ours(full.path), place.raw(full.copy(place.new_file()))
        peer = _peer_filled(place, events) if name == "1e5" else None
        rates = interleaved(
            place.sizes,
            {
                "ours": _rate(partial(ours.read_all, after=after)),
                "peer": None if peer is None else _rate(peer.all),
                "limit": _rate(partial(raw.all, after)),
            },
        )
        rows.append(Row(name=f"read_all_at_{name}", unit="events/s", **rates))
    return rows


def reading_streams(place: Place) -> list[Row]:
    """Read a stream of eight events that lie far apart, ours with each digest checked."""
    contenders: dict[str, Contender] = {}
    for name, events in _names(place).items():
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
        for name in _names(place)
    ]


# ---- rebuilding


def rebuild(refunds: RefundEngine) -> int:
    """Rebuild the views and return how many events they were made from: the one call that this row measures."""
    return refunds.rebuild().events


def _rebuilding(refunds: RefundEngine) -> Contender:
    def take() -> float:
        began = time.perf_counter()
        return rebuild(refunds) / (time.perf_counter() - began)

    return take


def _beside(refunds: RefundEngine) -> str:
    """Append single events while the views are rebuilt, and say how long these took."""
    began, taken = threading.Event(), []
    rebuilding = threading.Thread(target=lambda: (began.set(), refunds.rebuild()))
    rebuilding.start()
    began.wait()
    while rebuilding.is_alive():
        refund_id = uuid4().hex
        at = time.perf_counter()
        refunds.store.append(Write(refund_stream(refund_id), 0, events_of(refund_id)[:1]))
        taken.append(1_000 * (time.perf_counter() - at))
    rebuilding.join()
    return f"{len(taken):,} appends beside a rebuild took {median(taken):.2f} ms, at most {max(taken):.0f} ms"


def _checked(refunds: RefundEngine) -> str:
    """Fold the whole log, digests and all, compare it with the rebuilt views, and say how fast that was."""
    began = time.perf_counter()
    report = refunds.replay()
    if not report.agrees:
        raise SystemExit(f"the replay found {len(report.differences)} differences, {report.set_aside}")
    rate = report.events / (time.perf_counter() - began)
    return f"replay, which checks every digest and compares: {rate:,.0f} events/s, no difference"


_READ_ALL_INSIDE = "SELECT count(*), sum(length(stream) + length(type) + length(data)) FROM events"


def _passing(place: Place, path: Path) -> Contender:
    raw = place.raw(path)

    def take() -> float:
        began = time.perf_counter()
        (count, _) = raw.connection.execute(_READ_ALL_INSIDE).fetchone()
        rate: float = count / (time.perf_counter() - began)
        return rate

    return take


def rebuilding(place: Place) -> list[Row]:
    """Rebuild the views of refunds and payments; the limit is one pass of SQLite over the same log."""
    small = filled(place, place.sizes.small)
    peer = place.closing(application(place.new_file()))
    for _ in range(place.sizes.small // BATCH):
        peer.save(*map(lived, new_ids(BATCH // len(events_of(small.refunds[0])))))

    def peer_take() -> float:
        began = time.perf_counter()
        return rebuilt(peer) / (time.perf_counter() - began)

    row, refunds = _rebuilt("rebuild_refunds", place, small, peer_take)
    row.notes.append(
        "peer: its mapper and a policy over its notifications, as its SQLite has no subscriptions"
    )
    row.notes.append("limit: one SELECT that reads every event inside SQLite and writes nothing")
    row.notes.append(_checked(refunds))
    large, many = _rebuilt("rebuild_refunds_at_1e6", place, filled(place, place.sizes.large), None)
    for one, opened in ((row, refunds), (large, many)):
        one.notes.append(_beside(opened))
    for one in (row, large):
        one.targets.append(Target(text=">= 1,000,000", reached=median(one.ours), at_least=1e6))
    return [row, large]


def _rebuilt(name: str, place: Place, full: Filled, peer: Contender | None) -> tuple[Row, RefundEngine]:
    refunds = place.closing(engine(f"sqlite:///{full.copy(place.new_file())}"))
    rates = interleaved(
        place.sizes,
        {
            "ours": _rebuilding(refunds),
            "peer": peer,
            "limit": _passing(place, full.copy(place.new_file())),
        },
    )
    return Row(name=name, unit="events/s", notes=[f"{full.events:,} events"], **rates), refunds
