"""Rounds, rows and threads: how each figure is measured.

The contenders of a row take turns (ours, peer, limit, ours, peer, limit, …), so that whatever else the machine does
meets all of them. A figure is the median of its rounds, a ratio the median of the ratios within each round.
"""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Contender = Callable[[], float]
    """Does its share once and returns how many a second it did."""

MILLISECONDS = 1_000


class Skipped(Exception):
    """A row that cannot be measured here; its text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        rounds: how often each contender has its turn.
        appends: durable commits a turn.
        webhooks: webhooks a turn.
        batches: batches of 1,000 events a turn.
        loads: streams read a turn.
        threaded: appends a turn, all threads together.
        small, large: events in the stores of the rows that show growth.
        budget_s: a row begins no further round after so many seconds.
    """

    rounds: int
    appends: int
    webhooks: int
    batches: int
    loads: int
    threaded: int
    small: int
    large: int
    budget_s: float


FULL = Sizes(
    rounds=11,
    appends=500,
    webhooks=200,
    batches=6,
    loads=400,
    threaded=1_920,
    small=100_000,
    large=1_000_000,
    budget_s=12.0,
)
QUICK = Sizes(
    rounds=3,
    appends=100,
    webhooks=50,
    batches=2,
    loads=100,
    threaded=256,
    small=5_000,
    large=20_000,
    budget_s=3.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a ratio has to reach.

    Attributes:
        text: the words of the requirement.
        reached: the ratio that was measured.
        at_least: its least value; None where `at_most` counts.
        at_most: its largest value.
    """

    text: str
    reached: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        low = self.at_least is None or self.reached >= self.at_least
        return low and (self.at_most is None or self.reached <= self.at_most)


@dataclass(slots=True, kw_only=True)
class Row:
    """One row of the table: rates of each round; None where a column does not apply."""

    name: str
    unit: str
    ours: Sequence[float] | None = None
    peer: Sequence[float] | None = None
    limit: Sequence[float] | None = None
    targets: list[Target] = field(default_factory=list)
    latency: tuple[float, float] | None = None
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values; `vs_peer` and `vs_limit` are medians of the ratios within each round."""
        found: dict[str, Any] = {"name": self.name, "unit": self.unit}
        for column in ("ours", "peer", "limit"):
            rates = getattr(self, column)
            found[column] = None if rates is None else round(median(rates), 1)
        for column in ("peer", "limit"):
            times = self.against(getattr(self, column))
            found[f"vs_{column}"] = None if times is None else round(times, 3)
        if self.latency is not None:
            found["p50_ms"], found["p99_ms"] = (round(each * MILLISECONDS, 3) for each in self.latency)
        found["targets"] = [
            {"text": each.text, "reached": round(each.reached, 3), "met": each.met} for each in self.targets
        ]
        found["notes"] = self.notes
        return found

    def against(self, other: Sequence[float] | None) -> float | None:
        """Return how many times the other's rate ours is."""
        return None if self.ours is None or other is None else ratio(self.ours, other)

    def require(self, other: str, at_least: float) -> None:
        """Hold our rate against the `peer` or the `limit`."""
        rates = getattr(self, other)
        if self.ours is not None and rates is not None:
            text = f"of {other} >= {at_least:g}"
            self.targets.append(Target(text=text, reached=ratio(self.ours, rates), at_least=at_least))


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Return the median of the ratios within each round."""
    return median(one / other for one, other in zip(these, those, strict=True))


def interleaved(sizes: Sizes, contenders: Mapping[str, Contender | None]) -> dict[str, list[float]]:
    """Return each contender's rates; the first round warms up and does not count, unless it alone takes too long."""
    taking = {name: contender for name, contender in contenders.items() if contender is not None}
    rates: dict[str, list[float]] = {name: [] for name in taking}
    # What was prepared for the turns is no garbage: without this each collection would walk over it.
    gc.collect()
    gc.freeze()
    began = time.perf_counter()
    try:
        for number in range(sizes.rounds + 1):
            turns = {name: contender() for name, contender in taking.items()}
            late = time.perf_counter() - began > sizes.budget_s
            if number or late:
                for name, rate in turns.items():
                    rates[name].append(rate)
            if late:
                break
    finally:
        gc.unfreeze()
    return rates


def each(action: Callable[[Any], object], things: Sequence[Any]) -> float:
    """Do something with each thing; return how many a second."""
    began = time.perf_counter()
    for thing in things:
        action(thing)
    return len(things) / (time.perf_counter() - began)


def counted(work: Callable[[], int]) -> Contender:
    """Return a contender that does a work, which returns how much it was."""

    def take() -> float:
        began = time.perf_counter()
        return work() / (time.perf_counter() - began)

    return take


class Threads:
    """So many threads that each do something again and again, all at once; keeps how long each time took.

    The first turn warms up; its times are not kept.
    """

    def __init__(self, callers: int) -> None:
        """Let `callers` threads work."""
        self.callers = callers
        self.taken_s: list[float] = []
        self._turns = 0

    def each(self, action: Callable[[Any], object], things: Sequence[Any]) -> float:
        """Share the things out among the threads; return how many a second all of them did."""
        shares = [things[number :: self.callers] for number in range(self.callers)]
        taken: list[list[float]] = [[] for _ in shares]
        errors: list[BaseException] = []
        start = threading.Barrier(self.callers + 1)

        def work(share: Sequence[Any], own: list[float]) -> None:
            start.wait()
            try:
                for thing in share:
                    began = time.perf_counter()
                    action(thing)
                    own.append(time.perf_counter() - began)
            except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that measures
                errors.append(error)

        workers = [threading.Thread(target=work, args=both) for both in zip(shares, taken, strict=True)]
        for worker in workers:
            worker.start()
        start.wait()
        began = time.perf_counter()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - began
        if errors:
            raise errors[0]
        self._turns += 1
        if self._turns > 1:
            self.taken_s.extend(second for own in taken for second in own)
        return len(things) / seconds

    def latency(self) -> tuple[float, float]:
        """Return the median and the 99th percentile, in seconds."""
        cuts = quantiles(self.taken_s, n=100)
        return cuts[49], cuts[98]
