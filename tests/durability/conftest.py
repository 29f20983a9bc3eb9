"""The store on a simulated disk, and what is left of it after a power cut."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from random import Random

import history as histories
import history_checker as checker
import places
import pytest
import runs
from power_cuts import Cuts
from simulated_connection import Connection
from simulated_machine import Machine
from tasks import PATIENT_S

from refold.eventstore.sqlite import connection as seam


@pytest.fixture(scope="session")
def history():
    return histories


@pytest.fixture(autouse=True)
def quiet(logs):
    """Log nothing on the terminal."""


@pytest.fixture(autouse=True)
def uncounted(monkeypatch):
    """Count no lines in the processes that these tests start: it would take a quarter of their time."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


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


CLIENT_PROCESSES, CLIENT_THREADS = 4, 8


@pytest.fixture
def see_one_log(run, report):
    """Let processes of clients append so many events and suffer mishaps, and check all that they recorded."""

    def see(place, events, *mishaps, **options):
        random, at_work = Random("killed and stalled"), run(place, threads=CLIENT_THREADS, **options)
        for number in range(CLIENT_PROCESSES):
            at_work.start(events, timeout_s=0.2 if number == 0 else PATIENT_S)
        step = events / (len(mishaps) + 1)
        for number, mishap in enumerate(mishaps, 1):
            at_work.until(lambda position=number * step: at_work.head >= position)
            at_work.suffer(mishap, random.choice(list(at_work.living)), events)
        history = at_work.end()
        assert checker.anomalies(history) == []
        assert len(history.log) >= events
        assert {attempt.outcome for attempt in history.attempts} == {"ok", "failed", "unknown"}
        assert any(append.duplicate for attempt in history.attempts for append in attempt.appends)
        assert {each.kind for each in history.reads} == {"head", "version", "count", "log", "stream"}
        report(
            f"{place.name}: {len(history.log)} events, {len(history.attempts)} attempts and"
            f" {len(history.reads)} reads recorded, no anomaly"
        )

    return see
