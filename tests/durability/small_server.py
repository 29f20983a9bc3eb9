"""Run in a mount namespace of its own: a PostgreSQL server with its data, or its write-ahead log, on a full disk.

`python small_server.py SMALL data|log [swallows]`, where SMALL is a file system of 64 MiB, and empty. `swallows` plants a
store that acknowledges the first append that fails.
"""

import logging
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

import psycopg

from refold.engine.errors import StoreBusy, StoreError, StoreFull, StoreUnavailable
from refold.engine.ports import Appended, Body, NewEvent, Write
from refold.eventstore.postgres import PostgresStore

# What pytest does for the tests, by its setting `pythonpath`.
sys.path.append(str(Path(__file__).parents[1] / "shared"))
from postgres_server import PostgresServer
from waiting import wait_until

MIB = 1 << 20
ROOM = 6 * MIB
"""What is left of the small file system when the server has its tables."""
MOST = 200
"""Appends that need far more room than that."""


class Swallows(PostgresStore):
    """Counts its appends, and takes the first one that fails for one that is stored."""

    counted = 0
    has_swallowed = False

    def append(self, *writes, **options):
        self.counted += 1
        try:
            return super().append(*writes, **options)
        except StoreError:
            if self.has_swallowed:
                raise
            self.has_swallowed = True
            return Appended(self.counted, self.counted)


def append(store, number):
    event = NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'"{number}"')
    body = Body(f"{number:064}", b"salt", "{}", Random(number).randbytes(100_000))
    return store.append(Write("refund-a", None, [event]), key=f"k{number}", bodies=[body])


def fill(store):
    """Append until it fails; return how many were acknowledged, and the error."""
    for number in range(MOST):
        try:
            assert append(store, number).first == number + 1
        except StoreError as error:
            return number, error
    raise AssertionError("it was never full")


def leave(folder, room):
    """Take what is free in a file system but for `room`, and return the file that does."""
    ballast = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - room)
    return ballast


def check(store, count):
    """Check that the log is the first `count` appends, whole."""
    assert [event.data for event in store.read_all()] == [f'"{number}"' for number in range(count)]
    assert store.first_missing() is None
    for number in range(count):
        assert store.settle(f"k{number}").first == number + 1
        assert store.body(f"{number:064}").content == Random(number).randbytes(100_000)


def full_of_data(store, ballast):
    acknowledged, error = fill(store)
    print("full:", type(error).__name__)
    for _ in range(2):
        try:
            append(store, acknowledged)
        except StoreFull:
            assert store.settle(f"k{acknowledged}") is None
        else:
            raise AssertionError("there was room")
    check(store, acknowledged)
    print("what was settled is true, nothing lost")
    ballast.unlink()
    assert append(store, acknowledged).first == acknowledged + 1
    check(store, acknowledged + 1)
    print("goes on once there is room")


def what_became_of(server):
    """Tell whether a server that could write no more of its log has ended, or found room and is back."""
    if server.process.poll() is not None:
        return "gone"
    if "reinitializing" in (server.folder / "log").read_text():
        with suppress(psycopg.OperationalError):
            server.ask("SELECT 1")
            return "back"
    return None


def when_it_answers(call):
    """Return what a call returns that a server just started is first too busy for."""

    def answered():
        with suppress(StoreBusy, StoreUnavailable):
            return [call()]

    return wait_until(answered)[0]


def full_of_log(store, ballast, server):
    """The server ends when it cannot write its log, and what became of the append under way is not told."""
    acknowledged, error = fill(store)
    print("full:", type(error).__name__)
    assert "No space left on device" in (server.folder / "log").read_text()
    if wait_until(lambda: what_became_of(server)) == "gone":
        for call in (lambda: store.settle(f"k{acknowledged}"), lambda: append(store, acknowledged)):
            try:
                call()
            except StoreUnavailable:
                continue
            raise AssertionError("there is no server that could have answered")
        ballast.unlink()
        server.start()
    else:
        ballast.unlink()
    stored = when_it_answers(lambda: store.settle(f"k{acknowledged}"))
    check(store, acknowledged + (stored is not None))
    print("what was settled is true, nothing lost")
    again = append(store, acknowledged)
    assert again == Appended(acknowledged + 1, acknowledged + 1, duplicate=stored is not None)
    check(store, acknowledged + 1)
    print("goes on once there is room")


def main():
    small, what = Path(sys.argv[1]), sys.argv[2]
    kind = Swallows if "swallows" in sys.argv else PostgresStore
    logging.disable()  # the pool of connections tells of each that it could not open
    with tempfile.TemporaryDirectory() as roomy:
        tempfile.tempdir = str(small) if what == "data" else roomy
        write_ahead = Path(roomy if what == "data" else small) / "wal"
        server = PostgresServer("--wal-segsize=1", f"--waldir={write_ahead}")
        try:
            store = kind(server.schema(), timeout_s=1)
            ballast = leave(small, ROOM)
            if what == "data":
                full_of_data(store, ballast)
            else:
                full_of_log(store, ballast, server)
            store.close()
        finally:
            server.remove()


if __name__ == "__main__":
    main()
