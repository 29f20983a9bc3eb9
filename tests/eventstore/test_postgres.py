"""What the PostgreSQL store promises beyond the contract: its address, its schema, its guards, its neighbours."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg_pool import PoolClosed, PoolTimeout

from refold.engine.errors import (
    CorruptLog,
    EventMissing,
    InvalidInput,
    InvalidSetting,
    RefoldError,
    SchemaTooNew,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    VersionConflict,
)
from refold.engine.ports import Appended, Body, Column, Delete, Given, NewEvent, Upsert, View, Write
from refold.eventstore.codec import event_digest
from refold.eventstore.postgres import PostgresStore
from refold.eventstore.postgres import log as logs
from refold.eventstore.postgres.address import Address
from refold.eventstore.postgres.connection import translation
from refold.eventstore.postgres.ddl import MIGRATIONS
from refold.eventstore.request import requested

TOTALS = View("totals", (Column("id", str), Column("total", int, sums=True)), ("id",))
WITH_MORE = View(
    "totals", (Column("id", str), Column("total", int, sums=True), Column("kind", str)), ("id",), (("kind",),)
)
ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])


def write(stream="refund-a", expected=None, data="{}"):
    return Write(stream, expected, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", data)])


# ---- the digests that the server computes

HEADER_FIELD = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
EVENTS = st.lists(st.builds(NewEvent, HEADER_FIELD, HEADER_FIELD, TEXT), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=HEADER_FIELD, events=EVENTS, key=TEXT)
def test_the_server_computes_the_digests_that_the_codec_documents(open_postgres, name, events, key):
    with closing(open_postgres()) as store:
        stream = f"refund-{name}"
        version, head = store.version(stream), store.head()
        appended = store.append(Write(stream, version, events), key=f"{head}{key}")
        found = list(store.read_all(after=head))
        assert [each.digest for each in found] == [
            event_digest(position, stream, number, *event)
            for position, number, event in zip(
                range(appended.first, appended.last + 1),
                range(version + 1, version + 1 + len(events)),
                events,
                strict=True,
            )
        ]
        assert [tuple(each[3:6]) for each in found] == [tuple(event) for event in events]
        assert store.settle(f"{head}{key}") == appended


# ---- several members in one call


def committed(store, *members, calls):
    """Append members in one call, as group commit does; `calls` is how many the server was to be sent."""
    requests = [
        requested(
            each.get("writes", (ONE,)), each.get("key"), None, each.get("bodies", ()), each.get("changes", ())
        )
        for each in members
    ]
    writer, sent = store._writer, []
    call = writer._called
    writer._called = lambda each: (sent.append(each), call(each))[1]
    found = writer.committed(requests)
    assert len(sent) == calls
    return found


def test_members_of_one_call_have_results_of_their_own_and_see_those_before_them(open_postgres):
    store = open_postgres(views=[TOTALS])
    store.append(write("refund-a", 0), key="old")
    found = committed(
        store,
        {"writes": [write("refund-b", 0)], "key": "k", "changes": [Upsert(TOTALS, ("t", 1))]},
        {
            "writes": [write("refund-b", 0)],
            "changes": [Upsert(TOTALS, ("t", 10))],
            "bodies": [Body("1" * 64, b"", "{}", b"")],
        },
        {"writes": [write("refund-b", 0)], "key": "k", "changes": [Upsert(TOTALS, ("t", 100))]},
        {"writes": [write("refund-c", 0)], "key": "k"},
        {"writes": [write("refund-a", 0)], "key": "old"},
        {
            "writes": [write("refund-b", 1), write("refund-a", 1)],
            "changes": [Upsert(TOTALS, ("t", 1000)), Delete(TOTALS, ("u",))],
        },
        calls=1,
    )
    first, conflict, duplicate, reuse, old, last = found
    assert (first, duplicate, last) == (Appended(2, 2), Appended(2, 2, duplicate=True), Appended(3, 4))
    assert old == Appended(1, 1, duplicate=True)
    assert (conflict.stream, conflict.expected, conflict.actual) == ("refund-b", 0, 1)
    assert reuse.key == "k"
    assert [(each.position, each.stream, each.version) for each in store.read_all()] == [
        (1, "refund-a", 1),
        (2, "refund-b", 1),
        (3, "refund-b", 2),
        (4, "refund-a", 2),
    ]
    assert [row["total"] for row in store.rows(TOTALS)] == [1001]
    assert store.first_missing() is None


def test_a_member_whose_values_fail_the_call_fails_alone(open_postgres):
    store = open_postgres(views=[TOTALS])
    good, bad, worse, last = committed(
        store,
        {"changes": [Upsert(TOTALS, ("t", 2**63 - 1))]},
        {"changes": [Upsert(TOTALS, ("t", 1))]},
        {"changes": [Upsert(TOTALS, ("t", 2**62))]},
        {"changes": [Upsert(TOTALS, ("u", 1))]},
        calls=5,
    )
    assert (good, last) == (Appended(1, 1), Appended(2, 2))
    assert isinstance(bad, InvalidInput)
    assert isinstance(worse, InvalidInput)
    assert [row["total"] for row in store.rows(TOTALS)] == [2**63 - 1, 1]


@pytest.mark.parametrize("value", [2**63, "\ud800", "a\0b", 1.5])
@pytest.mark.parametrize("batched", [False, True])
def test_a_value_no_column_can_hold_is_refused_whole_and_alone(open_postgres, value, batched):
    store = open_postgres(views=[TOTALS])

    def refused():
        with pytest.raises(InvalidInput):
            store.append(ONE, changes=[Upsert(TOTALS, (str(value), value))])

    if batched:
        with store.batch():
            store.append(ONE)
            refused()
            store.append(ONE)
    else:
        refused()
    assert store.head() == (2 if batched else 0)
    assert list(store.rows(TOTALS)) == []


@pytest.mark.parametrize("expected", [-1, -(2**70), 1, 2**63, 2**70])
def test_no_version_but_the_streams_own_is_taken_for_it(open_postgres, expected):
    store = open_postgres()
    with pytest.raises(VersionConflict) as caught:
        store.append(write("refund-a", expected))
    assert (caught.value.expected, caught.value.actual) == (expected, 0)


# ---- errors


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (psycopg.errors.DiskFull("no space left on device"), StoreFull),
        (psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"), StoreBusy),
        (psycopg.errors.SerializationFailure("could not serialize access"), StoreBusy),
        (psycopg.errors.DeadlockDetected("deadlock detected"), StoreBusy),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT"), StoreReadOnly),
        (psycopg.errors.InsufficientPrivilege("permission denied for table events"), StoreReadOnly),
        (psycopg.errors.NumericValueOutOfRange("bigint out of range"), InvalidInput),
        (psycopg.errors.NotNullViolation("null value in column"), InvalidInput),
        (psycopg.errors.ProgramLimitExceeded("total size exceeds the maximum"), InvalidInput),
        (psycopg.DataError("text fields cannot contain NUL bytes"), InvalidInput),
        (psycopg.errors.UniqueViolation("duplicate key value"), CorruptLog),
        (psycopg.errors.DataCorrupted("invalid page in block 0"), CorruptLog),
        (psycopg.errors.IndexCorrupted("index contains unexpected zero page"), CorruptLog),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), CorruptLog),
        (psycopg.errors.UndefinedTable("relation does not exist"), StoreUnavailable),
        (psycopg.errors.TooManyConnections("too many clients already"), StoreUnavailable),
        (psycopg.OperationalError(""), StoreUnavailable),
        (PoolTimeout("none came back"), StoreBusy),
        (PoolClosed("closed"), StoreClosed),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_an_error_of_the_server_becomes_one_of_ours(error, ours):
    address = Address("postgresql://me:hunter2@host/db", timeout_s=5)
    assert type(translation(error, address, 5)) is ours


def test_a_password_that_stands_in_a_message_of_the_server_is_blanked():
    address = Address("postgresql://me:hunter2@host/db", timeout_s=5)
    shown = translation(psycopg.OperationalError("hunter2 is wrong\nDETAIL: hunter2"), address, 5)
    assert str(shown) == "store unavailable: host=host dbname=db user=me: **** is wrong"


# ---- the guards of the log


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '[]'",
        "UPDATE events SET data = '[]' WHERE false",
        "DELETE FROM events",
        "TRUNCATE events",
        "INSERT INTO events VALUES (2, 'refund-b', 1, 'a', 't', '{}', '')",
        "INSERT INTO events VALUES (5, 'refund-b', 1, 'a', 't', '{}', '')",
        "INSERT INTO events VALUES (0, 'refund-b', 1, 'a', 't', '{}', '')",
        "INSERT INTO events VALUES (4, 'refund-a', 3, 'a', 't', '{}', '')",
        "INSERT INTO events VALUES (4, 'refund-a', 5, 'a', 't', '{}', '')",
        "INSERT INTO events VALUES (4, 'refund-a', 0, 'a', 't', '{}', '')",
        "INSERT INTO events VALUES (4, 'refund-b', 2, 'a', 't', '{}', '')",
        "INSERT INTO events VALUES (4, 'refund-b', 1, 'a', 't', '{}', ''), (6, 'refund-b', 2, 'a', 't', '{}', '')",
        "INSERT INTO events VALUES (4, 'refund-b', 1, 'a', 't', '{}', ''), (5, 'refund-b', 3, 'a', 't', '{}', '')",
    ],
)
def test_the_log_is_append_only_for_every_program(open_postgres, postgres_server, postgres_url, statement):
    store = open_postgres()
    for _ in range(3):
        store.append(ONE)
    before = list(store.read_all())
    with postgres_server.connect(postgres_url) as other, pytest.raises(psycopg.IntegrityError):
        other.execute(statement)
    assert list(store.read_all()) == before
    assert store.append(ONE) == Appended(4, 4)


def test_an_event_that_goes_on_where_the_log_ends_is_let_in(open_postgres, postgres_server, postgres_url):
    store = open_postgres()
    store.append(ONE)
    with postgres_server.connect(postgres_url) as other:
        other.execute("INSERT INTO events VALUES (2, 'refund-a', 2, 'a', 't', '{}', '')")
    assert store.head() == 2
    assert store.append(ONE) == Appended(3, 3)


@pytest.fixture
def unguarded(postgres_server, postgres_url):
    """Give a connection of another program that has taken the guards away."""
    with postgres_server.connect(postgres_url) as other:
        other.execute("SET session_replication_role = replica")
        yield other


@pytest.mark.parametrize("batched", [False, True])
def test_a_lost_tail_is_noticed_and_its_positions_are_not_used_again(open_postgres, unguarded, batched):
    store = open_postgres()
    with store.batch() if batched else nullcontext():
        for key in "abc":
            store.append(ONE, key=key)
    unguarded.execute("DELETE FROM events WHERE position > 1")
    assert (store.head(), store.first_missing()) == (3, 2)
    with pytest.raises(EventMissing):
        list(store.read_all())
    with pytest.raises(EventMissing):
        store.append(ONE, key="c")
    with pytest.raises(EventMissing):
        store.settle("c")
    assert store.append(write("refund-b")) == Appended(4, 4)


def test_a_lost_event_in_the_middle_is_named(open_postgres, unguarded):
    store = open_postgres()
    for _ in range(3):
        store.append(ONE)
    unguarded.execute("DELETE FROM events WHERE position = 2")
    assert store.first_missing() == 2
    with pytest.raises(EventMissing) as caught:
        list(store.read_stream("refund-a"))
    assert (caught.value.number, caught.value.stream) == (2, "refund-a")


def test_a_gap_in_a_stream_is_not_filled(open_postgres, postgres_server, postgres_url, unguarded):
    store = open_postgres()
    for _ in range(3):
        store.append(ONE)
    unguarded.execute("DELETE FROM events WHERE version = 2")
    filler = "INSERT INTO events VALUES (4, 'refund-a', 2, 'a', 't', '{}', '')"
    with postgres_server.connect(postgres_url) as other, pytest.raises(psycopg.IntegrityError):
        other.execute(filler)
    assert store.append(write("refund-a", 3)) == Appended(4, 4)


def test_a_lost_head_is_told(open_postgres, unguarded):
    store = open_postgres()
    store.append(ONE)
    unguarded.execute("DELETE FROM head")
    with pytest.raises(CorruptLog, match="head of the log is lost"):
        store.head()
    with pytest.raises(CorruptLog):
        store.append(ONE)


# ---- neighbours: threads, processes, other stores

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


# ---- the address

SECRETS = ["hunter2", "p%40ss%2Fword"]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_password_is_shown(postgres_server, secret, caplog):
    postgres_server.schema("with_password")
    url = postgres_server.url(search_path="with_password").replace("postgres@", f"postgres:{secret}@")
    store = PostgresStore(url, timeout_s=1)
    shown = [repr(store), str(store.describe()), repr(vars(store)), repr(store._address)]
    store.close()
    wrong = url.replace("/postgres?", "/absent?")
    with pytest.raises(StoreUnavailable, match="absent") as caught:
        PostgresStore(wrong, timeout_s=1)
    with pytest.raises(StoreUnavailable, match="absent") as read:
        PostgresStore(wrong, timeout_s=0.1, read_only=True)
    error = caught.value
    shown += [
        str(error),
        repr(error),
        str(error.__cause__),
        str(read.value),
        str(read.value.__cause__),
        caplog.text,
    ]
    for text in (secret, "p@ss/word"):
        assert not [each for each in shown if text in each]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2/3@host/db",
        "postgresql://user:12/hunter2@host/db",
        "postgresql://user:hunter2@host:port/db",
        "postgresql://user:hunter2@host/db?nonsense=1",
        "postgresql://user:hunter2@[host/db",
        "postgresql://user:hunter2%zz@host/db",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_showing_it(url):
    with pytest.raises(InvalidSetting, match="percent-encoded") as caught:
        PostgresStore(url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.__cause__)


def test_an_address_shows_host_port_database_and_user():
    address = Address("postgresql://me:hunter2@one:5433,two:5434/refunds?sslmode=require", timeout_s=5)
    assert str(address) == "host=one,two port=5433,5434 dbname=refunds user=me"
    assert "hunter2" in address.conninfo


# ---- the schema


def test_a_schema_from_a_newer_refold_is_refused(open_postgres, postgres_server, postgres_url):
    open_postgres().append(ONE)
    with postgres_server.connect(postgres_url) as other:
        other.execute("INSERT INTO migrations VALUES (99)")
    for read_only in (False, True):
        with pytest.raises(SchemaTooNew) as caught:
            open_postgres(read_only=read_only)
        assert (caught.value.found, caught.value.known) == (99, len(MIGRATIONS))


def test_a_missing_store_is_made_only_where_that_is_wanted(open_postgres):
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreUnavailable, match="there is no store"):
            open_postgres(**options)
    open_postgres().append(ONE)
    assert open_postgres(create=False).head() == 1


def test_a_schema_that_is_not_there_is_told(postgres_server):
    with pytest.raises(StoreUnavailable, match="CREATE SCHEMA"):
        PostgresStore(postgres_server.url(search_path="nowhere"))


@pytest.mark.parametrize("table", ["events (id int)", "migrations (id int)", "totals (id text)"])
def test_a_table_of_something_else_is_left_alone(postgres_server, postgres_url, open_postgres, table):
    with postgres_server.connect(postgres_url) as other:
        other.execute(f"CREATE TABLE {table}")
        with pytest.raises(StoreUnavailable, match="search_path"):
            open_postgres(views=[TOTALS])
        tables = other.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(current_schema())"
        ).fetchall()
        assert tables == [(table.partition(" ")[0],)]


def test_a_database_in_another_encoding_is_refused(postgres_server):
    postgres_server.ask("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreUnavailable, match="encoding is LATIN1"):
        PostgresStore(postgres_server.url().replace("/postgres?", "/latin?"))


# ---- read-only


def test_a_store_opened_for_reading_refuses_every_write(open_postgres):
    open_postgres().append(ONE)
    store = open_postgres(read_only=True)
    assert store.head() == 1
    for call in (lambda: store.append(ONE), lambda: store.erase_body("0"), lambda: store.release(1)):
        with pytest.raises(StoreReadOnly):
            call()
    assert store.describe()["events"] == "1"


def test_a_server_that_accepts_reads_only_is_read_and_not_written(postgres_server, open_postgres):
    postgres_server.schema("only_read")
    url = postgres_server.url(search_path="only_read")
    open_postgres(url).append(ONE)
    read_only = postgres_server.url(search_path="only_read", default_transaction_read_only="on")
    with pytest.raises(StoreReadOnly):
        open_postgres(read_only)
    assert open_postgres(read_only, read_only=True).head() == 1


def test_a_server_that_becomes_read_only_is_told_as_such(postgres_server, open_postgres):
    store = open_postgres()
    store.append(ONE)
    with postgres_server.configured(default_transaction_read_only="on"):
        with pytest.raises(StoreReadOnly):
            store.append(ONE)
        with pytest.raises(StoreReadOnly), store.batch():
            pass
        assert store.head() == 1
    store.append(ONE)


def test_a_role_that_may_only_read_reads(postgres_server, open_postgres):
    postgres_server.schema("for_reader")
    open_postgres(postgres_server.url(search_path="for_reader")).append(ONE)
    postgres_server.ask("CREATE ROLE only_reader LOGIN")
    postgres_server.ask("GRANT USAGE ON SCHEMA for_reader TO only_reader")
    postgres_server.ask("GRANT SELECT ON ALL TABLES IN SCHEMA for_reader TO only_reader")
    url = postgres_server.url(user="only_reader", search_path="for_reader")
    with pytest.raises(StoreReadOnly):
        open_postgres(url)
    assert open_postgres(url, read_only=True).head() == 1
    postgres_server.ask("CREATE SCHEMA for_nobody")
    postgres_server.ask("GRANT USAGE ON SCHEMA for_nobody TO only_reader")
    with pytest.raises(StoreReadOnly):
        open_postgres(postgres_server.url(user="only_reader", search_path="for_nobody"))


# ---- views


def test_a_view_with_another_definition_is_stale_until_it_is_rebuilt(open_postgres):
    old = open_postgres(views=[TOTALS])
    old.append(ONE, changes=[Upsert(TOTALS, ("t", 1))])
    new = open_postgres(views=[WITH_MORE])
    assert new.views_stale is True
    assert open_postgres(views=[WITH_MORE], read_only=True).views_stale is True
    (found,) = new.rebuild(Given([WITH_MORE], [Upsert(WITH_MORE, ("t", 1, "x"))]))
    assert (found.key, found.live) == (("t",), None)
    assert new.views_stale is False
    assert open_postgres(views=[WITH_MORE]).views_stale is False
    new.append(ONE, changes=[Upsert(WITH_MORE, ("t", 1, "y"))])
    assert list(new.rows(WITH_MORE, where={"kind": "y"})) == [{"id": "t", "total": 2, "kind": "y"}]


def test_a_process_with_an_older_definition_does_not_fill_the_new_table(open_postgres):
    old = open_postgres(views=[TOTALS])
    open_postgres(views=[WITH_MORE])
    with pytest.raises(StoreUnavailable, match="totals__set"):
        old.append(ONE, changes=[Upsert(TOTALS, ("t", 1))])
    assert old.head() == 0


def test_a_view_whose_table_is_lost_is_told_to_readers_and_made_again_by_writers(
    open_postgres, postgres_server, postgres_url
):
    store = open_postgres(views=[TOTALS])
    store.append(ONE, changes=[Upsert(TOTALS, ("t", 1))])
    with postgres_server.connect(postgres_url) as other:
        other.execute("DROP TABLE totals")
    with pytest.raises(StoreUnavailable, match=r"lost the table of its view totals; `refold replay` makes"):
        open_postgres(views=[TOTALS], read_only=True)
    with pytest.raises(StoreUnavailable, match="totals"):
        list(store.rows(TOTALS))
    (found,) = store.rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))]))
    assert found.live is None
    assert [row["total"] for row in store.rows(TOTALS)] == [1]


@pytest.mark.parametrize(
    "name",
    [
        "events",
        "keys",
        "views",
        "head",
        "migrations",
        "leases",
        "subscriptions",
        "dead_letters",
        "t;",
        "Totals",
        "x" * 60,
    ],
)
def test_a_view_that_would_harm_the_log_is_refused(postgres_url, name):
    with pytest.raises(InvalidSetting):
        PostgresStore(postgres_url, views=[View(name, (Column("id", str),), ("id",))])


def test_words_of_sql_can_name_columns(open_postgres):
    view = View(
        "groups",
        (Column("order", str), Column("group", str), Column("limit", int, sums=True)),
        ("order",),
        (("group",),),
    )
    store = open_postgres(views=[view])
    store.append(
        ONE, changes=[Upsert(view, ("a", "g", 1)), Upsert(view, ("a", None, 2)), Delete(view, ("b",))]
    )
    expected = [{"order": "a", "group": "g", "limit": 3}]
    assert list(store.rows(view, where={"group": "g"}, order="limit", after=0)) == expected
    assert store.rebuild(Given([view], [Upsert(view, ("a", "g", 3))])) == []


def test_many_rows_are_read_as_they_were_at_one_moment(open_postgres):
    store = open_postgres(views=[TOTALS])
    store.append(ONE, changes=[Upsert(TOTALS, (f"{n:04}", n)) for n in range(1000)])
    reader = store.rows(TOTALS)
    found = [next(reader)]
    store.append(ONE, changes=[Delete(TOTALS, ("0999",)), Upsert(TOTALS, ("0500", 1))])
    found += reader
    assert [row["total"] for row in found] == list(range(1000))
    assert len(list(store.rows(TOTALS, limit=600))) == 600
    assert len(list(store.rows(TOTALS))) == 999


def test_a_reader_of_many_rows_that_stops_gives_its_connection_back(open_postgres):
    store = open_postgres(views=[TOTALS], timeout_s=0.5)
    store.append(ONE, changes=[Upsert(TOTALS, (f"{n:04}", n)) for n in range(600)])
    for _ in range(40):
        reader = store.rows(TOTALS)
        assert next(reader)["total"] == 0
        reader.close()
    assert store.head() == 1


def test_a_store_is_closed_while_a_reader_stands_half_way(open_postgres):
    store = open_postgres(views=[TOTALS])
    store.append(ONE, changes=[Upsert(TOTALS, (f"{n:04}", n)) for n in range(600)])
    reader = store.rows(TOTALS)
    next(reader)
    store.close()
    reader.close()


def test_a_batch_must_be_left_before_the_store_is_closed(open_postgres):
    store = open_postgres()

    def close_inside():
        with store.batch():
            store.close()

    with pytest.raises(StoreUnavailable, match="leave it before closing"):
        close_inside()
    assert store.append(ONE) == Appended(1, 1)


def test_every_error_of_the_store_is_one_of_refold(open_postgres):
    store = open_postgres(views=[TOTALS])
    for call in (
        lambda: store.version("a\0b"),
        lambda: store.settle("\ud800"),
        lambda: list(store.rows(TOTALS, where={"total": "x"})),
        lambda: list(store.rows(TOTALS, limit=-1)),
        lambda: store.row(TOTALS, ("a", "b")),
        lambda: store.append(write("refund-a", 7)),
        lambda: store.append(ONE, changes=[Upsert(WITH_MORE, ("t", 1, "x"))]),
        lambda: store.claim("a\0", holder="h", now="1", until="2"),
    ):
        with pytest.raises(RefoldError):
            call()
    assert store.append(write("refund-a", 0)) == Appended(1, 1)
    with pytest.raises(VersionConflict):
        store.append(write("refund-a", 0))
