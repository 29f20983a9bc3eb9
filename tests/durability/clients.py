"""Clients of a store: a `client` appends and reads in several threads, and records what it does and sees."""

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import history_checker
from tasks import PATIENT_S, counted, event, together

from refold.engine.composition import open_store
from refold.engine.errors import KeyReuse, OutcomeUnknown, StoreError, VersionConflict
from refold.engine.ports import Write
from refold.engine.service.views import PAYMENTS

PAUSE_S = 0.02
"""How long one who follows the log waits for more of it, unless all is over."""


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
