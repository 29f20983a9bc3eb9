"""The PostgreSQL store beside others: threads, processes, sessions of other programs."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from totals import TOTALS

from refold.engine.errors import (
    StoreBusy,
)
from refold.engine.ports import Appended, Body, Delete, NewEvent, Upsert, Write
from refold.eventstore.postgres import PostgresStore
from refold.eventstore.postgres import log as logs

ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])


def write(stream="refund-a", expected=None, data="{}"):
    return Write(stream, expected, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", data)])


WRITERS = """
import sys
from refold.engine.ports import NewEvent, Write
from refold.eventstore.postgres import PostgresStore
from refold.eventstore.postgres import log as logs
name, url = sys.argv[1:]
store = PostgresStore(url, timeout_s=60)
for n in range(40):
    event = NewEvent("refund.requested", "2026-01-02T03:04:05Z", str(n))
    store.append(Write(f"refund-{name}", n, [event]), Write("payment-all", None, [event]), key=f"{name} {n}")
store.close()
"""


def test_positions_of_many_threads_and_processes_are_dense_and_no_reader_sees_a_gap(
    open_postgres, postgres_server, postgres_url
):
    store = open_postgres(timeout_s=60)
    command = [sys.executable, "-c", WRITERS]
    processes = [subprocess.Popen([*command, f"process{n}", postgres_url]) for n in range(4)]
    done, gaps = threading.Event(), []

    def append_all(thread):
        for n in range(40):
            store.append(write(f"refund-{thread}", n), write("payment-all"))

    def look():
        with postgres_server.connect(postgres_url) as other:
            while not done.is_set():
                count, last = other.execute(
                    "SELECT count(*), coalesce(max(position), 0) FROM events"
                ).fetchone()
                read = [each.position for each in store.read_all()]
                if count != last or read != list(range(1, len(read) + 1)) or len(read) < count:
                    gaps.append((count, last, read))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(append_all, range(8)))
        assert [process.wait(120) for process in processes] == [0] * 4
    finally:
        done.set()
        reader.join()
    assert gaps == []
    assert [each.position for each in store.read_all()] == list(range(1, 12 * 80 + 1))
    assert store.version("payment-all") == 12 * 40
    assert store.first_missing() is None


def test_a_writer_held_up_for_longer_than_the_timeout_is_told_so(
    open_postgres, postgres_server, postgres_url
):
    store = open_postgres(timeout_s=0.2)
    with postgres_server.connect(postgres_url) as other, other.transaction():
        other.execute("SELECT FROM head FOR UPDATE")
        with pytest.raises(StoreBusy):
            store.append(ONE, key="k")
        with pytest.raises(StoreBusy), store.batch():
            pass
        with pytest.raises(StoreBusy):
            store.settle("k")
    assert store.settle("k") is None
    assert store.append(ONE, key="k") == Appended(1, 1)


def test_of_two_that_open_an_empty_schema_at_once_both_find_it_ready(postgres_server, until):
    for turn in range(5):
        url = postgres_server.schema(f"at_once_{turn}")
        gate = threading.Barrier(4)

        def opened(url=url, gate=gate):
            gate.wait()
            store = PostgresStore(url, views=[TOTALS], timeout_s=30)
            with_stale = store.views_stale
            store.append(ONE, changes=[Upsert(TOTALS, ("t", 1))])
            store.close()
            return with_stale

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(opened) for _ in range(4)]
            assert [future.result() for future in futures] == [False] * 4


FORKS = """
import os, sys
from refold.engine.errors import WrongProcess
from refold.engine.ports import NewEvent, Write
from refold.eventstore.postgres import PostgresStore
from refold.eventstore.postgres import log as logs
store = PostgresStore(sys.argv[1])
write = Write("refund-a", None, [NewEvent("a", "t", "{}")])
store.append(write)
reader = store.read_all()
child = os.fork()
if child == 0:
    calls = (lambda: store.append(write), store.head, lambda: next(reader), store.batch().__enter__,
             store.describe, store.checkpoint, lambda: store.settle("k"), lambda: list(store.streams("refund")),
             lambda: store.wait_for(2), lambda: store.advance("a", expected=None, position=0),
             lambda: store.checkpoint_of("a"), lambda: store.dead_letters("a"), store.subscriptions,
             lambda: store.subscribe("a", clock=None))
    status = 0
    for n, call in enumerate(calls, 1):
        try:
            call()
            status = n
        except WrongProcess as error:
            if (error.opened_in, error.used_in) != (os.getppid(), os.getpid()):
                status = 100 + n
    store.close()
    os._exit(status)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, os.waitstatus_to_exitcode(status)
store.append(write)
assert [each.position for each in reader] == [1]
print(store.head())
store.close()
"""


def test_a_child_that_was_forked_off_is_told_and_its_parent_goes_on(postgres_url):
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKS, postgres_url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("2\n", "", 0)


READ_WHOLE = (
    "SELECT relname, seq_scan FROM pg_stat_user_tables"
    " WHERE schemaname = 'with_many' AND relname IN ('events', 'keys', 'bodies', 'totals')"
)


def test_no_look_up_reads_a_whole_table_however_little_the_server_knows_of_it(postgres_server, until):
    def read_whole():
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'refold'"
        until(lambda: postgres_server.ask(sessions) == (0,))  # a session counts at its end
        with postgres_server.connect() as other:
            return dict(other.execute(READ_WHOLE).fetchall())

    url = postgres_server.schema("with_many")
    PostgresStore(url, views=[TOTALS]).close()
    before = read_whole()
    store = PostgresStore(url, views=[TOTALS])
    for n in range(60):
        body = Body(f"{n:064}", b"salt", "{}", b"content")
        changes = [Upsert(TOTALS, (f"t{n}", 1)), Upsert(TOTALS, ("all", 1)), Delete(TOTALS, (f"t{n - 9}",))]
        store.append(write(f"refund-{n}", 0), key=f"k{n}", bodies=[body], changes=changes)
        assert store.settle(f"k{n}") == Appended(n + 1, n + 1)
        assert len(list(store.read_stream(f"refund-{n}"))) == 1
        assert store.body(body.digest) == body
        assert store.row(TOTALS, ("all",)) == {"id": "all", "total": n + 1}
    assert len(list(store.read_all())) == len(list(store.read_category("refund"))) == 60
    assert len(list(store.streams("refund"))) == 60
    assert len(list(store.rows(TOTALS, limit=5))) == 5
    with store.batch():
        store.append(write("refund-0", 1), key="in a batch")
    store.close()
    assert (len(before), read_whole()) == (4, before)


def test_an_event_appended_while_its_stream_is_asked_for_is_not_taken_for_a_lost_one(
    open_postgres, monkeypatch
):
    store, other = open_postgres(), open_postgres()
    found = logs.page

    def page(*arguments):
        events = found(*arguments)
        monkeypatch.undo()
        other.append(ONE)
        return events

    monkeypatch.setattr(logs, "page", page)
    assert [each.version for each in store.read_stream("refund-a")] == [1]
