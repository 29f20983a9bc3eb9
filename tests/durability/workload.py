"""What the processes of these tests do: `writer`s that are killed, `client`s that record what they do and see.

The work is planned from a seed, so that a test knows what a process was about to write when it was killed.
"""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

import history_checker
import processes

import refold.eventstore.postgres  # noqa: F401 - loaded here, before the forks, and not by each of them
from refold.engine.composition import open_store
from refold.engine.errors import KeyReuse, OutcomeUnknown, StoreError, VersionConflict
from refold.engine.ports import Body, Delete, NewEvent, Upsert, Write
from refold.engine.service.views import ATTENTION, PAYMENTS

PATIENT_S = 60
"""Longer than any writer waits for its turn here."""
PAUSE_S = 0.02
"""How long one who follows the log waits for more of it, unless all is over."""


def event(data):
    return NewEvent("refund.requested", "2026-01-02T03:04:05Z", data)


def counted(payment, stream, count, amount=0):
    """Return the view change that counts the events of a stream, for one payment."""
    return Upsert(PAYMENTS, ("test", f"{payment} {stream}", "HKD", None, amount, 0, count))


# ---- writers that are killed ------------------------------------------------------------------------------------


class Planned(NamedTuple):
    """One append: its key, and what it appends."""

    key: str
    writes: tuple[Write, ...]
    bodies: tuple[Body, ...]
    changes: tuple[Upsert | Delete, ...]


class Step(NamedTuple):
    """What a writer does at once and then acknowledges: one append, or several in a batch."""

    writer: str
    name: str
    appends: tuple[Planned, ...]
    batch: bool


def steps(writer):
    """Yield the steps of a writer, for ever; the same ones each time."""
    random, versions, last = Random(writer), {}, None
    for number in range(1_000_000):
        batch = random.random() < 0.2
        appends = []
        for part in range(random.randint(2, 4) if batch else 1):
            key = f"{writer}.{number}.{part}"
            appends.append(_planned(key, last, writer, random, versions))
            last = key
        yield Step(writer, f"{writer}.{number}", tuple(appends), batch)


def _planned(key, last, writer, random, versions):
    own, count = f"refund-{writer}.{random.randrange(3)}", random.randint(1, 3)
    writes = [Write(own, versions.get(own, 0), _events(key, own, count))]
    versions[own] = versions.get(own, 0) + count
    if random.random() < 0.5:
        shared, count = f"payment-{random.randrange(4)}", random.randint(1, 2)
        writes.append(Write(shared, None, _events(key, shared, count)))
    changes = [counted("kill", w.stream, len(w.events), amount=7) for w in writes]
    changes.append(Upsert(ATTENTION, (writer, key, key)))
    if last is not None:
        changes.append(Delete(ATTENTION, (writer, last)))
    return Planned(key, tuple(writes), (_body(key),) if random.random() < 0.5 else (), tuple(changes))


def _events(key, stream, count):
    return tuple(event(json.dumps({"key": key, "in": stream, "n": n})) for n in range(count))


def key_of(stored):
    """Return the key of the append that a stored event is from."""
    return json.loads(stored.data)["key"]


def _body(key):
    salt, headers, content = sha256(key.encode()).digest()[:16], "{}", key.encode() * 50
    return Body(sha256(salt + headers.encode() + content).hexdigest(), salt, headers, content)


class Told(list):
    """A list that calls `seen` whenever it is gone through: the store does so in the middle of an append."""

    def __init__(self, items, seen):
        super().__init__(items)
        self.seen = seen

    def __iter__(self):
        self.seen()
        return super().__iter__()


def append(store, planned, seen=None):
    """Carry out a planned append."""
    changes = planned.changes if seen is None else Told(planned.changes, seen)
    return store.append(*planned.writes, key=planned.key, bodies=planned.bodies, changes=changes)


def writer(tell, *, url, names, die_at=None, hasty=None, server_dies=False):
    """Append until killed, telling of each step when it is done.

    Args:
        tell: `inside NAME` in the middle of a step, `done NAME FIRST LAST` after it, with the positions of each append.
        url: the store.
        names: one thread each.
        die_at: kill this process instead of telling the n-th line that begins with that word: `["done", 5]`; what it
            tells last is `dying`.
        server_dies: a thread ends when the store cannot be used any more, rather than tell of an error.
        hasty: plant the fault that a step is told to be done "before" it, or "inside" its append.
    """
    store, told = open_store(url, timeout_s=PATIENT_S), _Mortal(tell, die_at).tell

    def work(name):
        try:
            for number, step in enumerate(steps(name), 1):
                take(store, step, told, hasty)
                if number % 10 == 0:
                    store.checkpoint()
        except StoreError as error:
            tell(f"stopped {name}" if server_dies else f"error {name}: {type(error).__name__}: {error}")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is told
            tell(f"error {name}: {type(error).__name__}: {error}")

    together(work, names)


class _Mortal:
    """Tells lines, until one that this process is to die of."""

    def __init__(self, tell, die_at):
        self._tell, self._lock = tell, threading.Lock()
        self._word, self._left = die_at or ("", 0)

    def tell(self, line):
        with self._lock:
            if self._word and line.startswith(self._word):
                self._left -= 1
                if not self._left:
                    self._tell("dying")
                    os.kill(os.getpid(), signal.SIGKILL)
            self._tell(line)


def together(work, names):
    """Do the work for each name in a thread, and wait for all."""
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def take(store, step, told, hasty=None):
    """Take one step and tell of it; return where its appends stand."""

    def seen():
        if hasty == "inside":
            told(f"done {step.name}")
        told(f"inside {step.name}")

    if hasty == "before":
        told(f"done {step.name}")
    if step.batch:
        with store.batch():
            placed = [append(store, planned, seen) for planned in step.appends]
    else:
        placed = [append(store, step.appends[0], seen)]
    if hasty is None:
        told(" ".join([f"done {step.name}", *(f"{first} {last}" for first, last, _ in placed)]))
    return placed


# ---- clients that record ----------------------------------------------------------------------------------------


class Recorder:
    """Writes a line for each begin and end to a file that stays when its process is killed."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, **record):
        os.write(self._file, (json.dumps(record) + "\n").encode())


def recorded(path):
    """Return the lines of a recorder; a last one that was cut short by a kill is no record."""
    return Path(path).read_text().split("\n")[:-1]


class Undone(Exception):
    """Raised inside a batch to undo it."""


class Client:
    """Appends and reads, one call after the other, and records each."""

    def __init__(self, name, store, recorder):
        self.name, self.store, self._recorder = name, store, recorder

    # ---- appends

    def append(self, unit, appends, *, undo=False):
        """Append a unit: one append, or several in a batch; return the last position, None where it failed.

        Args:
            unit: its name.
            appends: (name, ((stream, expected, count), …)) each.
            undo: raise at the end of the batch.
        """
        began = time.monotonic_ns()
        self._recorder.write(
            **{"is": "begin", "client": self.name, "unit": unit, "began": began, "appends": appends}
        )
        answers, outcome = [], "failed"
        try:
            if len(appends) > 1 or undo:
                with self.store.batch():
                    answers = [self._append(*each) for each in appends]
                    if undo:
                        raise Undone  # noqa: TRY301 - a batch is undone by what its block raises
            else:
                answers = [self._append(*appends[0])]
            outcome = "ok"
        except OutcomeUnknown:
            outcome = self._settled(appends)
        except VersionConflict as conflict:
            if len(appends) == 1:
                self._read("version", began, stream=conflict.stream, value=conflict.actual)
        except (KeyReuse, StoreError, Undone):
            pass
        self._recorder.write(
            **{
                "is": "end",
                "client": self.name,
                "ended": time.monotonic_ns(),
                "outcome": outcome,
                "answers": answers if outcome == "ok" else [],
            }
        )
        return answers[-1].last if outcome == "ok" and answers else None

    def _append(self, name, writes):
        return self.store.append(
            *(
                Write(stream, expected, [event(c) for c in history_checker.contents(name, stream, count)])
                for stream, expected, count in writes
            ),
            key=name,
            changes=[counted("history", stream, count) for stream, _, count in writes],
        )

    def _settled(self, appends):
        try:
            return "failed" if self.store.settle(appends[0][0]) is None else "ok"
        except StoreError:
            return "unknown"

    # ---- reads

    def head(self):
        began = time.monotonic_ns()
        value = self.store.head()
        self._read("head", began, value=value)
        return value

    def version(self, stream):
        began = time.monotonic_ns()
        value = self.store.version(stream)
        self._read("version", began, stream=stream, value=value)
        return value

    def count(self, stream):
        began = time.monotonic_ns()
        row = self.store.row(PAYMENTS, ("test", f"history {stream}", "HKD"))
        self._read("count", began, stream=stream, value=0 if row is None else row["refunds"])

    def log(self, after, limit=None):
        """Read on from a position, not more than `limit` events; return the last position seen."""
        began = time.monotonic_ns()
        events = self.store.read_all(after=after)
        return self._given("log", began, events, 0, limit, after=after)

    def stream(self, stream, after, limit=None):
        """Read on from a version, not more than `limit` events; return the last version seen."""
        began = time.monotonic_ns()
        events = self.store.read_stream(stream, after=after)
        return self._given("stream", began, events, 2, limit, stream=stream, after=after)

    def _given(self, kind, began, events, number, limit, **where):
        numbers, marks, whole = [], [], True
        for each in events:
            numbers.append(each[number])
            marks.append(history_checker.mark(each))
            if len(numbers) == limit:
                whole = False
                break
        self._read(kind, began, numbers=numbers, marks=b"".join(marks).hex(), whole=whole, **where)
        return numbers[-1] if numbers else where["after"]

    def _read(self, kind, began, **seen):
        ended = time.monotonic_ns()
        self._recorder.write(
            **{"is": "read", "client": self.name, "kind": kind, "began": began, "ended": ended, **seen}
        )


STREAMS = tuple(f"refund-{n}" for n in range(40))


def client(tell, *, url, path, name, threads, target, most=40, timeout_s=PATIENT_S, heir_of=None):
    """Append and read in several threads until the log has `target` events, recording it all.

    The first thread follows the log; the others append, and read what is asked for in between. What is told is the
    position of each append, and `end NAME`.

    Args:
        tell: takes a line for the test.
        url: the store.
        path: the file of the records.
        name: what the clients' names begin with.
        threads: how many.
        target: when to end.
        most: how many events one write has at most.
        timeout_s: how long to wait for other writers; a short one makes appends fail.
        heir_of: the records of a process that was killed: what it had not finished is tried again first.
    """
    store, recorder = open_store(url, timeout_s=timeout_s), Recorder(path)
    over = threading.Event()

    def work(number):
        one = Client(f"{name}.{number}", store, recorder)
        try:
            if number == 0:
                for unit, appends in unfinished(heir_of):
                    one.append(unit, appends)
                follow(one, one.head() if heir_of else 0, target, over)
            else:
                mix(one, target, over, tell, most)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is told
            over.set()
            tell(f"error {one.name}: {type(error).__name__}: {error}")

    together(work, range(threads))
    store.close()
    tell(f"end {name}")


def unfinished(path):
    """Return the units that a killed process had begun and not ended."""
    begun = {}
    for record in map(json.loads, recorded(path) if path else ()):
        if record["is"] == "begin":
            begun[record["client"]] = record
        elif record["is"] == "end":
            del begun[record["client"]]
    return [(record["unit"], record["appends"]) for record in begun.values()]


def follow(one, position, target, over):
    """Read the log on from a position to the target, in slices and to its end by turns."""
    random = Random(one.name)
    while position < target and not over.wait(PAUSE_S):
        with suppress(StoreError):
            position = one.log(position, random.choice([None, 500]))
            one.head()
    over.set()


def mix(one, target, over, tell, most):
    """Append until the target is reached; read now and then."""
    random, seen, last, number = Random(one.name), {}, None, 0
    while not over.is_set():
        number += 1
        stream = random.choice(STREAMS)
        chance = random.random()
        with suppress(StoreError):
            if chance < 0.1:
                one.head()
            elif chance < 0.2:
                one.count(stream)
            elif chance < 0.3:
                seen[stream] = one.version(stream)
            elif chance < 0.4 and stream in seen:
                seen[stream] = one.stream(stream, seen[stream], random.choice([None, 10]))
            elif chance < 0.45 and last is not None:
                one.append(*last)
            else:
                last = f"{one.name}.{number}", _unit(f"{one.name}.{number}", one, random, most)
                undo = random.random() < 0.03
                position = one.append(*last, undo=undo)
                last = None if undo else last
                if position is not None:
                    tell(position)
                    if position >= target:
                        return


def _unit(name, one, random, most):
    """Plan one append or a batch of them, some with the version of a stream as it was a moment ago."""
    appends = []
    for part in range(random.choice([1, 1, 1, 3])):
        chosen = random.sample(STREAMS, random.choice([1, 1, 2, 3]))
        writes = [(stream, None, random.randint(1, most)) for stream in chosen]
        if random.random() < 0.3 and not part:
            writes[0] = (chosen[0], one.version(chosen[0]), writes[0][2])
        appends.append((f"{name}.{part}", writes))
    return appends


if __name__ == "__main__":
    processes.serve({"writer": writer, "client": client})
