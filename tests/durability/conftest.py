"""The store on a simulated disk, and what is left of it after a power cut."""

import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import history as histories
import history_checker as checker
import places
import pytest
import runs
from platter import Choice, Platter
from simulated_connection import Connection
from simulated_disk import Disk
from tasks import PATIENT_S

from refold.engine.errors import RefoldError
from refold.engine.ports import NewEvent, Write
from refold.eventstore import SqliteStore
from refold.eventstore.sqlite import connection as seam

EMPTY = {"": []}
FILE = "log.db"
JOURNAL = "log.db-journal"
"""Only the creation of the file uses one; what it left half done is undone by the first one to open the file."""


@pytest.fixture(scope="session")
def history():
    return histories


@pytest.fixture(autouse=True)
def quiet(logs):
    """Log nothing on the terminal."""


@pytest.fixture
def report(record_property):
    """Tell a line at the end of the run, from whichever process it is."""
    return lambda line: record_property("told", line)


@pytest.fixture(scope="module")
def folder():
    """Give a folder in memory where there is one: these tests write some tens of gigabytes."""
    memory = Path("/dev/shm")  # noqa: S108 - what is made in it has a name of its own
    made = Path(tempfile.mkdtemp(prefix="refold-", dir=memory if memory.is_dir() else None))
    yield made
    shutil.rmtree(made)


class Machine:
    """A folder on a simulated disk, and the store in it."""

    def __init__(self, folder, files=(), inodes=()):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.path = self.folder / FILE
        fill(self.folder, dict(files))
        self.disk = Disk(inodes)
        self.states = []
        self.store = None

    def open(self, **options):
        self.store = SqliteStore(self.path, views=[histories.REFUNDS], timeout_s=0, **options)
        return self.store

    def state(self):
        with closing(Connection(self.disk, self.path, "ro", 0)) as connection:
            return histories.tables(connection)

    def run(self, steps, **options):
        """Run a whole history; after each call the trace is marked, and what the file says is kept."""
        self.states = [EMPTY]
        self.call(lambda: self.open(**options))
        for number, step in enumerate(steps):
            self.call(lambda step=step: step.call(self.store))
            if number in {5, 12, 18}:
                self.call(self.store.close)
                self.call(lambda: self.open(**options))
        self.call(self.store.close)

    def call(self, function):
        self.disk.mark("begin")
        function()
        self.disk.mark("done")
        waits = self.disk.fault is not None and not self.disk.failed
        self.states.append(None if waits else self.state())

    def leave(self):
        """Close the store on a disk that is well."""
        self.disk.heal()
        if self.store is not None:
            self.store.close()
        self.disk.unregister()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def machine(folder):
    """Make machines whose stores use the simulated disk."""
    made = []
    real = seam._connect

    def connected(path, mode, timeout_s):
        for there in made:
            if there.path == path:
                return Connection(there.disk, path, mode, timeout_s)
        return real(path, mode, timeout_s)

    def make(*arguments):
        made.append(Machine(folder, *arguments))
        return made[-1]

    @contextmanager
    def started(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seam, "_connect", connected)
            there = make(*arguments)
            try:
                yield there
            finally:
                there.leave()
                made.remove(there)

    return started


def fill(folder, files):
    """Make a folder hold exactly these files; they are written over, which is faster than making them anew."""
    for old in os.listdir(folder):  # noqa: PTH208 - some ten thousand times: no objects
        if old not in files:
            (folder / old).unlink()
    for name, content in files.items():
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(file, content, 0)
        os.ftruncate(file, len(content))
        os.close(file)


class Cuts:
    """Power cuts in one history, and what became of its events."""

    def __init__(self, folder, *, seed):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.path = self.folder / FILE
        self.seed = seed
        self.counts = Counter()
        self.failures = []

    def through(self, states, trace, *, each, lies=False):
        """Cut the power after each operation, as often as `each` says; what is left is looked at once."""
        platter = Platter(lies=lies)
        done, running = 0, False
        for place, op in enumerate(trace):
            platter.feed(op)
            if op.kind == "mark":
                running = op.name == "begin"
                done += op.name == "done"
            seen = set()
            for number in range(each):
                files, chosen = platter.survivors(Choice(Random(self.seed + 1_000 * place + number)))
                if chosen not in seen:
                    seen.add(chosen)
                    self.check(files, states[: done + 1 + running], done, f"cut {place}, survival {number}")
        return self

    def check(self, files, states, done, name, *, sure=True):
        """Start the machine again; `done` calls were acknowledged, and one more may have been running.

        Where it is not `sure` what became of the last call, all before it must be there.
        """
        self.counts["cuts"] += 1
        self.counts["of the creation"] += JOURNAL in files
        fill(self.folder, files)
        thorough = self.counts["cuts"] % 40 == 0 or JOURNAL in files
        wrong = self.wrong(files, states, done, thorough=thorough, sure=sure)
        if wrong:
            self.counts[wrong.partition(":")[0]] += 1
            self.failures.append(f"seed {self.seed}, {name}: {wrong}")

    def wrong(self, files, states, done, *, thorough, sure):
        """Return what is lost or corrupt; else None."""
        try:
            found = self.found(files)
        except sqlite3.DatabaseError as error:
            return f"corrupt: {error}"
        if found not in states[done:] and (sure or not follows(found, states[done])):
            return difference(found, states, done)
        if not thorough:
            return None
        fill(self.folder, files)
        return self.goes_on(found)

    def found(self, files):
        if FILE not in files:
            return EMPTY
        # A reader changes nothing, and is faster; only a journal that is to be rolled back needs a writer.
        return histories.read(self.path, "rw" if JOURNAL in files else "ro")

    def goes_on(self, found):
        """Open the store itself, append to it, and let SQLite check its file."""
        self.counts["opened by the store"] += 1
        try:
            with closing(SqliteStore(self.path, views=[histories.REFUNDS])) as store:
                events = [tuple(event) for event in store.read_all()]
                write = Write("refund-next", None, [NewEvent("evidence.success", histories.TIME, "{}")])
                position = store.append(write, key="next").first
        except RefoldError as error:
            return f"corrupt: {error!r}"
        if events != found.get("events", []) or position != len(events) + 1 or store.views_stale:
            return f"corrupt: the store reads {len(events)} events and appends at {position}"
        with closing(sqlite3.connect(self.path)) as connection:
            (checked,) = connection.execute("PRAGMA integrity_check").fetchone()
        return None if checked == "ok" else f"corrupt: {checked}"

    def __str__(self):
        names = ("cuts", "of the creation", "opened by the store", "lost", "corrupt")
        counted = ", ".join(f"{self.counts[name]} {name}" for name in names)
        return f"seed {self.seed}: {counted}"


def follows(found, state):
    """Tell whether a log is sound and begins with all events of another one."""
    events = state.get("events", [])
    return found.get("events", [])[: len(events)] == events and not histories.faults_of(found)


def difference(found, states, done):
    """Say whether the file is as it was after an earlier call, or as it never was."""
    if found in states:
        kept = max(number for number, state in enumerate(states) if state == found)
        return f"lost: {done - kept} of {done} acknowledged calls"
    if follows(states[done], found) and len(found.get("events", ())) < len(states[done]["events"]):
        return f"lost: {len(states[done]['events']) - len(found.get('events', ()))} acknowledged events"
    faults = histories.faults_of(found)
    differing = [name for name in {**states[done], **found} if found.get(name) != states[done].get(name)]
    return f"corrupt: {faults or differing}"


@pytest.fixture(scope="module")
def cuts(folder):
    return lambda seed: Cuts(folder, seed=seed)


# ---- recorded histories -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sqlite_place(tmp_path_factory):
    """Make places of SQLite stores, each of them new."""
    return lambda: places.Sqlite(tmp_path_factory.mktemp("store") / "log.db")


@pytest.fixture(scope="module")
def postgres_place(postgres_server):
    """Make places of PostgreSQL stores, each of them new."""
    return lambda: places.Postgres(postgres_server)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Start runs of clients on a store, and end their processes."""
    started = []

    def start(place, **options):
        started.append(runs.Run(place, tmp_path_factory.mktemp("records"), **options))
        return started[-1]

    yield start
    for each in started:
        each.crew.close()


CLIENT_PROCESSES, CLIENT_THREADS, RECORDED_EVENTS = 4, 8, 200_000


@pytest.fixture
def see_one_log(run, report):
    """Let processes of clients suffer mishaps, at even distances, and check all that they recorded."""

    def see(place, *mishaps, **options):
        random, at_work = Random("killed and stalled"), run(place, threads=CLIENT_THREADS, **options)
        for number in range(CLIENT_PROCESSES):
            at_work.start(RECORDED_EVENTS, timeout_s=0.2 if number == 0 else PATIENT_S)
        step = RECORDED_EVENTS / (len(mishaps) + 1)
        for number, mishap in enumerate(mishaps, 1):
            at_work.until(lambda position=number * step: at_work.head >= position)
            at_work.suffer(mishap, random.choice(list(at_work.living)), RECORDED_EVENTS)
        history = at_work.end()
        assert checker.anomalies(history) == []
        assert len(history.log) >= RECORDED_EVENTS
        assert {attempt.outcome for attempt in history.attempts} == {"ok", "failed", "unknown"}
        assert any(append.duplicate for attempt in history.attempts for append in attempt.appends)
        assert {each.kind for each in history.reads} == {"head", "version", "count", "log", "stream"}
        report(
            f"{place.name}: {len(history.log)} events, {len(history.attempts)} attempts and"
            f" {len(history.reads)} reads recorded, no anomaly"
        )

    return see
