"""Subscriptions of several processes on one log: crashes, takeovers, and waiting for each other."""

import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from totals import TOTALS

from refold.engine.ports import Upsert

FOLLOWER = Path(__file__).with_name("follower.py")
LONG_S = 60


@pytest.fixture(params=["sqlite", "postgres"])
def place(request):
    return request.getfixturevalue({"sqlite": "path", "postgres": "postgres_url"}[request.param])


@pytest.fixture
def log(request, place):
    opened = request.getfixturevalue("open_postgres" if isinstance(place, str) else "open_store")
    return opened(place, views=[TOTALS], timeout_s=30)


@pytest.fixture
def follower(place):
    """Start processes on the log, and end those that are left."""
    started = []

    @contextmanager
    def start(mode, number=0):
        process = subprocess.Popen(
            [sys.executable, FOLLOWER, place, mode, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        with process:
            assert process.stdout.readline() == "ready\n"
            yield process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def lines(process):
    return [int(line) for line in process.stdout]


def later():
    return datetime.now(UTC) + timedelta(hours=1)


def totals(log):
    return {row["id"]: row["total"] for row in log.rows(TOTALS)}


def test_a_consumer_killed_in_its_handler_repeats_one_chunk_and_doubles_no_change(log, append, follower):
    for stream in ("refund-a", "refund-b") * 5:
        append(log, stream=stream)
    with follower("die", 8) as process:
        assert lines(process) == list(range(1, 9))
    assert process.returncode == -9
    assert log.checkpoint_of("totals") == 6
    assert totals(log) == {"refund-a": 3, "refund-b": 3}
    again = []

    def handle(event):
        again.append(event.position)
        return [Upsert(TOTALS, (event.stream, 1))]

    log.subscribe("totals", clock=later).run(handle, once=True)
    assert again == [7, 8, 9, 10]
    assert totals(log) == {"refund-a": 5, "refund-b": 5}


def test_of_two_processes_one_works_and_the_other_takes_over_when_it_is_killed(log, append, follower):
    append(log, 5)
    member = log.subscribe("totals", clock=later)
    with follower("run") as first:
        assert member.wait_for(5, timeout_s=LONG_S)
        with follower("run") as second:
            append(log, 5)
            assert member.wait_for(10, timeout_s=LONG_S)
            first.kill()
            first.wait()
            append(log, 5)
            assert member.wait_for(15, timeout_s=LONG_S)
            second.stdin.close()
            taken_over = lines(second)
            worked_before = lines(first)
    assert worked_before == list(range(1, 11))
    assert taken_over == list(range(11, 16))
    assert totals(log) == {"refund-a": 15}


def test_waiting_ends_with_the_append_of_another_process(log, append, follower):
    with follower("wait", 3) as process:
        append(log, 3)
        assert process.stdout.readline() == "True\n"
