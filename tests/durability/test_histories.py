"""Of each kind of anomaly that a history can have, the checker finds it, in tiny histories and in real ones."""

import threading
from dataclasses import replace
from math import inf

import clients
import history_checker as checker
import processes
import pytest

from refold.engine.errors import StoreUnavailable
from refold.engine.ports import Appended, StoredEvent

SMALL = 3_000
"""Events of the history that faults are planted into."""

Append, Attempt, History = checker.Append, checker.Attempt, checker.History
Read, Stored, Write = checker.Read, checker.Stored, checker.Write


def kinds(history):
    return {anomaly.kind for anomaly in checker.anomalies(history)}


# ---- tiny histories ---------------------------------------------------------------------------------------------

IN = {"a": "s", "b": "t", "d": "s", "e": "t", "f": "t", "u": "t", "x": "t"}
"""The stream of each content, by its first letter."""

A = Attempt(
    "x", "a", 0, 10, "ok", (Append((Write("s", 0, ("a0", "a1")), Write("t", 0, ("b0",))), first=1, last=3),)
)
D = Attempt("y", "d", 20, 30, "ok", (Append((Write("s", 2, ("d0",)),), first=4, last=4),))
E = Attempt("z", "e", 31, 40, "ok", (Append((Write("t", None, ("e0",)),), first=4, last=4),))
F = Attempt("y", "f", 40, 50, "failed", (Append((Write("t", 1, ("f0",)),)),))
U = Attempt("x", "u", 60, inf, "unknown", (Append((Write("t", None, ("u0", "u1")),)),))
AGAIN = Attempt("y", "a", 70, 80, "ok", (A.appends[0]._replace(duplicate=True),))


def short(content):
    return content.encode().ljust(checker.MARK)


def log_of(text):
    """Return the log of these contents; `a0@7` stands at position 7, `a0#7` has version 7."""
    log, versions = [], {}
    for place, item in enumerate(text.split(), 1):
        content = item[:2]
        stream = IN[content[0]]
        versions[stream] = versions.get(stream, 0) + 1
        position = int(item[3:]) if "@" in item else place
        version = int(item[3:]) if "#" in item else versions[stream]
        log.append(Stored(position, stream, version, content, short(content)))
    return log


def read(kind, began, ended, numbers=(), *, given="", **options):
    marks = b"".join(map(short, given.split()))
    return Read("r", kind, began, ended, numbers=tuple(numbers), marks=marks, **options)


def value(kind, began, ended, value, stream=""):
    return Read("r", kind, began, ended, stream, value)


GOOD = "a0 a1 b0 d0"


@pytest.mark.parametrize(
    ("log", "attempts", "expected"),
    [
        pytest.param(GOOD, [A, D], set(), id="good"),
        pytest.param(GOOD, [A, D, F], set(), id="failed and absent"),
        pytest.param(GOOD, [A, D, U], set(), id="unknown and absent"),
        pytest.param(GOOD + " u0 u1", [A, D, U], set(), id="unknown and there"),
        pytest.param(GOOD, [A, D, AGAIN], set(), id="repeated and answered as before"),
        pytest.param(GOOD, [A, D, AGAIN._replace(outcome="unknown", ended=inf, appends=(Append(A.appends[0].writes),))], set(), id="repeated without an answer"),
        pytest.param("a0 a1 b0", [A, D], {"lost"}, id="acknowledged and absent"),
        pytest.param("a0 a1 d0 e0", [A, D, E], {"lost", "reordered"}, id="acknowledged and there in part"),
        pytest.param("a0 a1 b0 d0@5", [A, D._replace(outcome="unknown")], {"lost"}, id="no such position"),
        pytest.param("a0 a1 b0 d0#4", [A, D], {"lost"}, id="no such version"),
        pytest.param(GOOD + " u0", [A, D, U], {"torn"}, id="unknown and there in part"),
        pytest.param(GOOD + " d0", [A, D], {"duplicated"}, id="twice"),
        pytest.param(GOOD + " a0 a1 b0", [A, D, AGAIN], {"duplicated"}, id="repeated and twice"),
        pytest.param(GOOD + " d0@4", [A, D], {"duplicated", "reordered"}, id="a position twice"),
        pytest.param("a0 a1 b0 d0#2", [A, D], {"reordered"}, id="a version twice"),
        pytest.param("a1 a0 b0 d0", [A, D], {"reordered", "unguarded"}, id="an append in another order"),
        pytest.param("a0 a1 b0 e0 d0", [A, D._replace(appends=(D.appends[0]._replace(first=5, last=5),)), E], {"reordered"}, id="before what ended earlier"),
        pytest.param("a0 a1 b0 u0 u1 d0", [A, D, U], {"reordered"}, id="not where it was acknowledged"),
        pytest.param(GOOD, [A, D._replace(appends=(Append((Write("s", 1, ("d0",)),), 4, 4),))], {"unguarded"}, id="another version than expected"),
        pytest.param(GOOD + " f0", [A, D, F], {"aborted read"}, id="failed and there"),
        pytest.param(GOOD + " x0", [A, D], {"aborted read"}, id="appended by nobody"),
        pytest.param(GOOD, [A, D._replace(appends=(Append((Write("t", 1, ("d0",)),), 4, 4),))], {"aborted read", "lost"}, id="in another stream"),
    ],
)  # fmt: skip
def test_what_the_log_holds_in_the_end_is_judged(log, attempts, expected):
    assert kinds(History(attempts, [], log_of(log))) == expected


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        pytest.param([read("log", 32, 35, (1, 2, 3, 4), given=GOOD)], set(), id="all"),
        pytest.param([read("log", 32, 35, (4,), given="d0", after=3)], set(), id="the rest"),
        pytest.param([read("log", 32, 35, after=4)], set(), id="nothing more"),
        pytest.param([read("log", 22, 35, (1, 2, 3), given="a0 a1 b0")], set(), id="not what may come later"),
        pytest.param([read("log", 32, 35, (1, 2), given="a0 a1", whole=False)], set(), id="as many as asked for"),
        pytest.param([value("head", 21, 24, 4), value("head", 23, 25, 3)], set(), id="two at once"),
        pytest.param([value("version", 2, 3, 0, "t"), value("version", 2, 4, 1, "t")], set(), id="before and after"),
        pytest.param([read("stream", 32, 35, (2, 3), given="a1 d0", stream="s", after=1)], set(), id="a stream"),
        pytest.param([read("log", 32, 35, (1, 3, 4), given="a0 b0 d0")], {"skipped"}, id="all but one"),
        pytest.param([read("log", 22, 25, (2, 3), given="a1 b0", whole=False)], {"skipped"}, id="not the first"),
        pytest.param([read("stream", 32, 35, (1, 3), given="a0 d0", stream="s")], {"skipped"}, id="a stream but for one"),
        pytest.param([read("log", 32, 35, (1, 2, 2, 3, 4), given="a0 a1 a1 b0 d0")], {"duplicated"}, id="one twice"),
        pytest.param([read("log", 32, 35, (3, 4), given="b0 d0", after=3)], {"duplicated"}, id="the last one again"),
        pytest.param([read("log", 32, 35, (1, 3, 2, 4), given="a0 b0 a1 d0")], {"reordered"}, id="out of order"),
        pytest.param([read("log", 32, 35, (1, 2, 3, 4), given="a0 a1 b0 x0")], {"aborted read"}, id="other content"),
        pytest.param([read("log", 42, 45, (1, 2, 3, 4, 5), given=GOOD + " f0")], {"aborted read"}, id="what failed"),
        pytest.param([read("stream", 42, 45, (1, 2), given="b0 f0", stream="t")], {"aborted read"}, id="what failed in a stream"),
        pytest.param([value("head", 42, 45, 5)], {"aborted read"}, id="a head that never was"),
        pytest.param([value("version", 42, 45, 2, "t")], {"aborted read"}, id="a version that never was"),
        pytest.param([value("count", 42, 45, 1, "u")], {"aborted read"}, id="a count of nothing"),
        pytest.param([read("log", 32, 35, (1, 2, 3), given="a0 a1 b0")], {"non-monotonic"}, id="not what was acknowledged"),
        pytest.param([read("log", 32, 35, after=3)], {"non-monotonic"}, id="nothing, where there is more"),
        pytest.param([value("head", 32, 35, 3)], {"non-monotonic"}, id="an old head"),
        pytest.param([value("version", 32, 35, 2, "s")], {"non-monotonic"}, id="an old version"),
        pytest.param([value("count", 32, 35, 2, "s")], {"non-monotonic"}, id="an old count"),
        pytest.param([read("stream", 32, 35, (1, 2), given="a0 a1", stream="s")], {"non-monotonic"}, id="an old stream"),
        pytest.param([value("head", 21, 22, 4), value("head", 23, 24, 3)], {"non-monotonic"}, id="back again"),
        pytest.param([value("head", 21, 22, 4), value("count", 23, 24, 2, "s")], {"non-monotonic"}, id="a view behind its log"),
        pytest.param([read("log", 2, 3, (1, 2), given="a0 a1")], {"torn"}, id="part of an append"),
        pytest.param([value("head", 2, 3, 2)], {"torn"}, id="a head inside an append"),
        pytest.param([value("version", 2, 3, 1, "s")], {"torn"}, id="a version inside an append"),
        pytest.param([value("version", 2, 3, 2, "s"), value("version", 4, 5, 0, "t")], {"non-monotonic"}, id="one stream of two"),
    ],
)  # fmt: skip
def test_what_a_read_gave_is_judged(reads, expected):
    assert kinds(History([A, D, F], reads, log_of(GOOD))) == expected


def test_a_batch_is_one_unit():
    batch = Attempt(
        "x", "a", 0, 10, "ok", (Append(A.appends[0].writes, 1, 3), Append(D.appends[0].writes, 4, 4))
    )
    assert kinds(History([batch], [value("head", 2, 3, 4)], log_of(GOOD))) == set()
    assert kinds(History([batch], [value("head", 2, 3, 3)], log_of(GOOD))) == {"torn"}


# ---- faults that must be found ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request):
    return request.getfixturevalue(f"{request.param}_place")()


@pytest.fixture(scope="module")
def recorded(run, place):
    """Give a history that was recorded from a real store and has no anomaly."""
    at_work = run(place, threads=4)
    for _ in range(2):
        at_work.start(SMALL)
    history = at_work.end()
    assert checker.anomalies(history) == []
    return history


def changed(rows, index, **values):
    return [*rows[:index], rows[index]._replace(**values), *rows[index + 1 :]]


def first(rows, holds):
    return next(index for index, row in enumerate(rows) if holds(row))


def without_its_end(history):
    return replace(history, log=history.log[:-1])


def with_an_event_twice(history):
    again = history.log[0]._replace(position=len(history.log) + 1)
    return replace(history, log=[*history.log, again])


def with_two_events_exchanged(history):
    log = history.log
    index = first(range(len(log)), lambda at: log[at].stream == log[at + 1].stream)
    one, other = log[index].content, log[index + 1].content
    return replace(history, log=changed(changed(log, index, content=other), index + 1, content=one))


def with_an_early_answer(history):
    """An append was answered before another one began, and stands behind it."""
    done = [attempt for attempt in history.attempts if attempt.outcome == "ok"]
    earliest = min(done, key=lambda attempt: attempt.appends[0].first)
    rest = [attempt for attempt in history.attempts if attempt is not earliest]
    began = max(attempt.ended for attempt in done) + 1
    return replace(history, attempts=[*rest, earliest._replace(began=began, ended=began + 1)])


def with_another_expectation(history):
    def guarded(attempt):
        return attempt.outcome == "ok" and attempt.appends[0].writes[0].expected is not None

    index = first(history.attempts, guarded)
    append = history.attempts[index].appends[0]
    write = append.writes[0]._replace(expected=append.writes[0].expected + 1)
    append = append._replace(writes=(write, *append.writes[1:]))
    appends = (append, *history.attempts[index].appends[1:])
    return replace(history, attempts=changed(history.attempts, index, appends=appends))


def with_a_gap_in_a_read(history):
    index = first(history.reads, lambda read: read.kind == "log" and len(read.numbers) > 2)
    numbers, marks = history.reads[index].numbers, history.reads[index].marks
    marks = marks[: checker.MARK] + marks[2 * checker.MARK :]
    return replace(
        history, reads=changed(history.reads, index, numbers=(numbers[0], *numbers[2:]), marks=marks)
    )


def with_other_bytes_in_a_read(history):
    index = first(history.reads, lambda read: read.marks)
    marks = bytes([history.reads[index].marks[0] ^ 1]) + history.reads[index].marks[1:]
    return replace(history, reads=changed(history.reads, index, marks=marks))


def with_a_failure_that_was_stored(history):
    index = first(history.attempts, lambda attempt: attempt.outcome == "ok")
    unit = history.attempts[index].unit
    attempts = [a._replace(outcome="failed") if a.unit == unit else a for a in history.attempts]
    return replace(history, attempts=attempts)


def with_an_old_head(history):
    latest = max(read.began for read in history.reads if read.kind == "head")
    index = first(history.reads, lambda read: read.kind == "head" and read.began == latest)
    return replace(history, reads=changed(history.reads, index, value=0))


def with_an_old_count(history):
    latest = max(read.began for read in history.reads if read.kind == "count")
    index = first(history.reads, lambda read: read.kind == "count" and read.began == latest)
    return replace(history, reads=changed(history.reads, index, value=0))


def with_a_head_inside_an_append(history):
    append = next(
        append
        for attempt in history.attempts
        for append in attempt.appends
        if append.first is not None and append.last > append.first
    )
    index = first(history.reads, lambda read: read.kind == "head")
    return replace(history, reads=changed(history.reads, index, value=append.first))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (without_its_end, "lost"),
        (with_an_event_twice, "duplicated"),
        (with_two_events_exchanged, "reordered"),
        (with_an_early_answer, "reordered"),
        (with_another_expectation, "unguarded"),
        (with_a_gap_in_a_read, "skipped"),
        (with_other_bytes_in_a_read, "aborted read"),
        (with_a_failure_that_was_stored, "aborted read"),
        (with_an_old_head, "non-monotonic"),
        (with_an_old_count, "non-monotonic"),
        (with_a_head_inside_an_append, "torn"),
    ],
)
def test_a_fault_planted_into_a_recorded_history_is_found(recorded, fault, expected):
    assert expected in kinds(fault(recorded))


class Naive:
    """A store that takes positions from a sequence, and lets readers see whatever has been committed.

    With `dirty` they see what has not been committed as well. `hold` is called between the two.
    """

    def __init__(self, hold, *, dirty=False):
        self.hold, self.dirty = hold, dirty
        self.lock, self.taken, self.events, self.visible = threading.Lock(), 0, {}, set()

    def append(self, write, *, key, changes):
        with self.lock:
            position = self.taken = self.taken + 1
            version = 1 + sum(event.stream == write.stream for event in self.events.values())
            (event,) = write.events
            self.events[position] = StoredEvent(position, write.stream, version, *event, b"")
        try:
            self.hold(key)
        except StoreUnavailable:
            del self.events[position]
            raise
        self.visible.add(position)
        return Appended(position, position)

    def read_all(self, *, after=0):
        seen = self.events if self.dirty else self.visible
        return (self.events[position] for position in sorted(seen) if position > after)


@pytest.mark.parametrize(
    ("dirty", "fails", "expected"),
    [(False, False, {"skipped"}), (True, True, {"aborted read"}), (True, False, set())],
)
def test_a_reader_that_sees_commits_out_of_order_is_found(tmp_path, dirty, fails, expected):
    """The slow append has the first position and is committed last; the reader goes on behind both."""
    within, go_on = threading.Event(), threading.Event()

    def hold(key):
        if key == "slow":
            within.set()
            assert go_on.wait(processes.LONGEST_WAIT_S)
            if fails:
                raise StoreUnavailable("planted")

    store, recorder = Naive(hold, dirty=dirty), clients.Recorder(tmp_path / "records")
    slow, quick, reader = (clients.Client(name, store, recorder) for name in ("a", "b", "r"))
    slowly = threading.Thread(target=slow.append, args=("slow", [("slow", [("refund-s", None, 1)])]))
    slowly.start()
    assert within.wait(processes.LONGEST_WAIT_S)
    if not fails:
        quick.append("quick", [("quick", [("refund-q", None, 1)])])
    position = reader.log(0)
    go_on.set()
    slowly.join()
    reader.log(position)
    history = checker.history_of(clients.recorded(tmp_path / "records"), store.read_all())
    assert kinds(history) == expected
