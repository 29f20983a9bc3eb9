"""What the PostgreSQL store promises beyond the contract: digests, members of one call, errors, the guards of the log."""

from contextlib import closing, nullcontext

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg_pool import PoolClosed, PoolTimeout
from totals import TOTALS

from refold.engine.errors import (
    CorruptLog,
    EventMissing,
    InvalidInput,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    VersionConflict,
)
from refold.engine.ports import Appended, Body, Delete, NewEvent, Upsert, Write
from refold.eventstore.codec import event_digest
from refold.eventstore.postgres.address import Address
from refold.eventstore.postgres.connection import translation
from refold.eventstore.request import requested

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


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_an_event_that_a_trigger_of_others_keeps_out_is_not_acknowledged(
    open_postgres, postgres_server, postgres_url, batched, older
):
    open_postgres().append(ONE)
    with postgres_server.connect(postgres_url) as other:
        if older:  # of a time when nobody counted what was inserted
            other.execute("DELETE FROM migrations WHERE number = 4")
        other.execute(
            "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER mine BEFORE INSERT ON events"
            " FOR EACH ROW WHEN (NEW.version > 1) EXECUTE FUNCTION nothing()"
        )
        store = open_postgres()
        with store.batch() if batched else nullcontext():
            store.append(write("refund-b", 0))
            for events in (1, 3):
                kept_out = f"a trigger on the table events kept {events} of {events} events out"
                with pytest.raises(StoreUnavailable, match=kept_out):
                    store.append(Write("refund-a", 1, ONE.events * events), key="k")
        assert [(each.position, each.stream) for each in store.read_all()] == [
            (1, "refund-a"),
            (2, "refund-b"),
        ]
        assert store.settle("k") is None
        other.execute("DROP TRIGGER mine ON events")
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
