"""Writers that are killed: a `writer` appends in steps and tells of each.

The steps are planned from a seed, so that a test knows what a process was about to write when it was killed.
"""

import json
import os
import signal
import threading
from hashlib import sha256
from random import Random
from typing import NamedTuple

from tasks import PATIENT_S, counted, event, together

from refold.engine.composition import open_store
from refold.engine.errors import StoreError
from refold.engine.ports import Body, Delete, Upsert, Write
from refold.engine.service.views import ATTENTION


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
