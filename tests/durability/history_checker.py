"""What a recorded history of concurrent appends and reads proves about a store: nothing, or a list of anomalies.

The model is a log of which a prefix is visible at each moment. The prefix only grows, and only by whole units (an
append, or all appends of a batch). So each call that a client made bounds the prefix that it met, from below by what
it saw and from above by what it did not see, and the bounds of all calls must fit together in real time:

    lost            an acknowledged event is not in the final log, or a number of that log is missing
    duplicated      an event stands twice in the log, or was given twice by one read
    reordered       positions contradict real time, versions or what the append answered; a read gave them out of order
    unguarded       an append stands at another version than the one it expected
    skipped         a read went past an event that it did not give
    aborted read    a read, or the final log, holds what failed, was never appended or has other content
    non-monotonic   a read did not see what had been seen or acknowledged before it began
    torn            a unit is in the log, or was visible, in part

Nothing here reads a file, a clock or a store.
"""

import json
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from math import inf
from typing import NamedTuple

MARK = 8
"""Bytes of a mark: the begin of the SHA-256 over all that a reader was given of an event."""


class Write(NamedTuple):
    """Events for one stream; the contents are unique in a history."""

    stream: str
    expected: int | None
    contents: tuple[str, ...]


class Append(NamedTuple):
    """One append of a unit; what the store answered is None where it did not."""

    writes: tuple[Write, ...]
    first: int | None = None
    last: int | None = None
    duplicate: bool = False


class Attempt(NamedTuple):
    """One try at a unit. `outcome` is ok, failed or unknown; a later try at the same unit has its name again."""

    client: str
    unit: str
    began: int
    ended: float
    outcome: str
    appends: tuple[Append, ...]


class Read(NamedTuple):
    """What one read gave.

    Attributes:
        kind: head, version or count (of a view) with a `value`; log or stream with `numbers` and `marks`.
        stream: for a version, a count and a stream.
        after: the position or version from which a log or a stream was read on.
        numbers: positions or versions, as they came.
        marks: `MARK` bytes an event.
        whole: the store gave no more, rather than the client asking for no more.
    """

    client: str
    kind: str
    began: int
    ended: int
    stream: str = ""
    value: int = 0
    after: int = 0
    numbers: tuple[int, ...] | range = ()
    marks: bytes = b""
    whole: bool = True


class Stored(NamedTuple):
    """An event of the final log."""

    position: int
    stream: str
    version: int
    content: str
    mark: bytes


class Anomaly(NamedTuple):
    """Something that must not be, and where."""

    kind: str
    what: str


@dataclass
class History:
    """All that clients recorded, and the log as it was read when all had ended."""

    attempts: list[Attempt]
    reads: list[Read]
    log: list[Stored]


def digest(event):
    """Return the digest of a stored event, whatever digest the store says it has."""
    fields = "\n".join(map(str, event[:6]))
    return sha256(f"refold event 1\n{fields}".encode()).digest()


def mark(event):
    """Return the mark of a stored event."""
    return digest(event)[:MARK]


def contents(name, stream, count):
    """Return what the events of one write say: JSON, unique to the append's name, the stream and the event."""
    return tuple(f'{{"of":"{name}","in":"{stream}","n":{n}}}' for n in range(count))


# ---- from records -----------------------------------------------------------------------------------------------


def history_of(records, log):
    """Return the history that was recorded as lines of JSON, with the final log as the store gave it."""
    begun, attempts, reads = {}, [], []
    for record in map(json.loads, records):
        if record["is"] == "read":
            reads.append(_read(record))
        elif record["is"] == "begin":
            begun[record["client"]] = record
        else:
            attempts.append(_attempt(begun.pop(record["client"]), record))
    attempts += [_attempt(record, None) for record in begun.values()]
    return History(attempts, reads, [Stored(e.position, e.stream, e.version, e.data, mark(e)) for e in log])


def _attempt(begin, end):
    answers = (end or {}).get("answers", ())
    appends = [
        Append(tuple(Write(s, expected, contents(name, s, count)) for s, expected, count in writes))
        for name, writes in begin["appends"]
    ]
    for index, (first, last, duplicate) in enumerate(answers):
        appends[index] = Append(appends[index].writes, first, last, duplicate)
    ended, outcome = (end["ended"], end["outcome"]) if end else (inf, "unknown")
    return Attempt(begin["client"], begin["unit"], begin["began"], ended, outcome, tuple(appends))


def _read(record):
    numbers = record.get("numbers", ())
    dense = all(later == earlier + 1 for earlier, later in pairwise(numbers))
    return Read(
        record["client"],
        record["kind"],
        record["began"],
        record["ended"],
        record.get("stream", ""),
        record.get("value", 0),
        record.get("after", 0),
        range(numbers[0], numbers[-1] + 1) if numbers and dense else tuple(numbers),
        bytes.fromhex(record.get("marks", "")),
        record.get("whole", True),
    )


# ---- the check --------------------------------------------------------------------------------------------------


def anomalies(history):
    """Return every anomaly of a history, once."""
    found = _Check(history)
    found.check_log()
    found.check_units()
    for read in history.reads:
        found.check_read(read)
    found.check_visible()
    return list(dict.fromkeys(found.anomalies))


@dataclass
class _Unit:
    """A unit's tries and the positions of its events."""

    attempts: list[Attempt] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    def size(self):
        return sum(len(w.contents) for a in self.attempts[0].appends for w in a.writes)


class _Bounds(NamedTuple):
    """A call that met a prefix of at least `low` and less than `high` events."""

    began: float
    ended: float
    low: float
    high: float
    kind: str
    what: str


class _Check:
    def __init__(self, history):
        self.log = history.log
        self.anomalies = []
        self.units = {}
        for attempt in sorted(history.attempts, key=lambda attempt: attempt.began):
            self.units.setdefault(attempt.unit, _Unit()).attempts.append(attempt)
        self.appended = {
            content: (unit, write.stream)
            for unit, tries in self.units.items()
            for append in tries.attempts[0].appends
            for write in append.writes
            for content in write.contents
        }
        self.at = {}
        """Where each content stands."""
        self.streams = {}
        """The position of each version of a stream; versions are those counted, not those claimed."""
        self.bounds = []

    def say(self, kind, what):
        self.anomalies.append(Anomaly(kind, what))

    # ---- the log

    def check_log(self):
        """Check that the log's numbers are dense and that each event was appended, once."""
        for expected, event in enumerate(self.log, 1):
            if event.position != expected:
                self._misplaced("position", event.position, expected, "the log")
                break
        versions, misplaced = Counter(), set()
        for place, event in enumerate(self.log, 1):
            versions[event.stream] += 1
            self.streams.setdefault(event.stream, []).append(place)
            if event.version != versions[event.stream] and event.stream not in misplaced:
                misplaced.add(event.stream)
                self._misplaced("version", event.version, versions[event.stream], event.stream)
            unit, stream = self.appended.get(event.content, (None, None))
            if unit is None or stream != event.stream:
                self.say("aborted read", f"nobody appended {event.content} to {event.stream}")
            elif event.content in self.at:
                self.say("duplicated", f"{event.content} at {self.at[event.content]} and {place}")
            else:
                self.at[event.content] = place
                self.units[unit].positions.append(place)

    def _misplaced(self, number, actual, expected, where):
        if actual > expected:
            self.say("lost", f"{where} has no {number} {expected}")
        else:
            self.say("reordered", f"{where} has {number} {actual} where {expected} was to be")

    # ---- units

    def check_units(self):
        """Check that each unit is there as a whole and where it was acknowledged, or not at all."""
        for name, unit in self.units.items():
            outcomes = {attempt.outcome for attempt in unit.attempts}
            present, size = len(unit.positions), unit.size()
            if present < size and "ok" in outcomes:
                self.say("lost", f"{name} was acknowledged, and has {present} of {size} events in the log")
            elif 0 < present < size:
                self.say("torn", f"{name} has {present} of {size} events in the log")
            if present and outcomes == {"failed"}:
                self.say("aborted read", f"{name} failed, and has {present} events in the log")
            for attempt in unit.attempts:
                for append in attempt.appends:
                    self._check_append(name, append)
                if unit.positions:
                    self._bound_attempt(name, attempt, unit)

    def _check_append(self, name, append):
        places = [self.at.get(content) for write in append.writes for content in write.contents]
        if None in places:
            return  # reported as lost or torn, where it is not as it should be
        for write in append.writes:
            mine = [self.at[content] for content in write.contents]
            if mine != sorted(mine):
                self.say("reordered", f"{name} wrote to {write.stream} in another order")
            version = bisect_left(self.streams[write.stream], mine[0])
            if write.expected is not None and write.expected != version:
                self.say(
                    "unguarded", f"{name} expected {write.stream} at {write.expected}; it was at {version}"
                )
        if append.first is not None and sorted(places) != list(range(append.first, append.last + 1)):
            self.say("reordered", f"{name} was acknowledged at {append.first}, and stands at {min(places)}")

    def _bound_attempt(self, name, attempt, unit):
        first, last = min(unit.positions), max(unit.positions)
        answered = [append.duplicate for append in attempt.appends if append.first is not None]
        # An attempt that may have found the unit there already says nothing about what was there before it.
        could_be_first = attempt is next(a for a in unit.attempts if a.outcome != "failed" or a is attempt)
        if (answered and not any(answered)) or (not answered and could_be_first):
            what = f"{name}, appended at {first},"
            self.bounds.append(_Bounds(attempt.began, inf, 0, first, "reordered", what))
        if attempt.outcome == "ok":
            self.bounds.append(_Bounds(-inf, attempt.ended, last, inf, "", ""))

    # ---- reads

    def check_read(self, read):
        """Check what a read gave against the final log, and note how much it must have met."""
        what = f"{read.client} read {read.kind} {read.stream}".rstrip()
        everything = range(1, len(self.log) + 1)
        places = everything if read.kind in {"head", "log"} else self.streams.get(read.stream, [])
        if read.kind in {"log", "stream"}:
            if not self._check_given(read, places, what):
                return
            seen = read.numbers[-1] if read.numbers else None
        else:
            seen = read.value
        if seen is not None and seen > len(places):
            self.say("aborted read", f"{what} at {seen}; there are {len(places)}")
            return
        low = places[seen - 1] if seen else 0
        unseen = (read.after if seen is None else seen) + 1
        high = inf if not read.whole or unseen > len(places) else places[unseen - 1]
        if read.kind == "head":
            high = seen + 1
        self.bounds.append(
            _Bounds(read.began, read.ended, low, high, "non-monotonic", f"{what} up to {unseen - 1}")
        )

    def _check_given(self, read, places, what):
        """Tell whether a read gave what the log holds, in order and without a gap."""
        numbers, given = read.numbers, len(read.numbers)
        before = len(self.anomalies)
        expected = range(read.after + 1, read.after + 1 + given)
        if numbers == expected and self._marks(read.after, given, places) == read.marks:
            return True
        if len({read.after, *numbers}) < given + 1:
            self.say("duplicated", f"{what}: an event again after {read.after}")
        elif any(later < earlier for earlier, later in pairwise((read.after, *numbers))):
            self.say("reordered", f"{what}: not in order after {read.after}")
        elif list(numbers) != list(expected):
            missed = next(n for n, m in zip(expected, numbers, strict=True) if n != m)
            # Where nothing was ever stored under that number, the log itself is reported to have a gap.
            if missed <= len(places):
                self.say("skipped", f"{what} past {missed}")
        for index, number in enumerate(numbers):
            shown = read.marks[index * MARK : (index + 1) * MARK]
            if number > len(places) or self.log[places[number - 1] - 1].mark != shown:
                self.say("aborted read", f"{what}: what it gave at {number} is not in the log")
                break
        return len(self.anomalies) == before

    def _marks(self, after, count, places):
        return b"".join(self.log[place - 1].mark for place in places[after : after + count])

    # ---- what was visible when

    def check_visible(self):
        """Check that one growing prefix, cut between units, explains all that clients met."""
        whole = self._whole()
        ended = sorted((bound.ended, bound.low) for bound in self.bounds)
        seen, index = 0, 0
        for bound in sorted(self.bounds, key=lambda bound: bound.began):
            while index < len(ended) and ended[index][0] < bound.began:
                seen = max(seen, ended[index][1])
                index += 1
            if not bound.kind:
                continue
            if bound.kind == "reordered":
                if seen >= bound.high:
                    self.say("reordered", f"{bound.what} began after {seen} was there")
            elif whole(bound.low) >= bound.high:
                self.say("torn", f"{bound.what}, inside a unit")
            elif whole(max(bound.low, seen)) >= bound.high:
                self.say("non-monotonic", f"{bound.what}, after {seen} had been seen")

    def _whole(self):
        """Return how to find the shortest prefix of at least a length that cuts no unit."""
        cut = [0] * (len(self.log) + 2)
        for unit in self.units.values():
            if unit.positions:
                cut[min(unit.positions)] += 1
                cut[max(unit.positions)] -= 1
        lengths, inside = [], 0
        for length, change in enumerate(cut[:-1]):
            inside += change
            if not inside:
                lengths.append(length)
        return lambda least: lengths[bisect_left(lengths, least)] if least <= lengths[-1] else inf
