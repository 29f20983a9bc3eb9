"""The views of the PostgreSQL store, and the end of its use."""

import pytest
from totals import TOTALS

from refold.engine.errors import (
    InvalidSetting,
    RefoldError,
    StoreUnavailable,
    VersionConflict,
    ViewStale,
)
from refold.engine.ports import Appended, Column, Delete, Given, NewEvent, Upsert, View, Write
from refold.eventstore.postgres import PostgresStore

WITH_MORE = View(
    "totals", (Column("id", str), Column("total", int, sums=True), Column("kind", str)), ("id",), (("kind",),)
)
ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])


def write(stream="refund-a", expected=None, data="{}"):
    return Write(stream, expected, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", data)])


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
    """Where the log is empty there is nothing to rebuild: the table is new at once."""
    old = open_postgres(views=[TOTALS])
    open_postgres(views=[WITH_MORE])
    for change in (Upsert(TOTALS, ("t", 1)), Delete(TOTALS, ("t",))):
        with pytest.raises(ViewStale, match="totals"):
            old.append(ONE, changes=[change])
    assert old.head() == 0


def test_a_view_whose_table_is_lost_is_told_to_readers_and_made_again_by_writers(
    open_postgres, postgres_server, postgres_url
):
    store = open_postgres(views=[TOTALS])
    store.append(ONE, changes=[Upsert(TOTALS, ("t", 1))])
    with postgres_server.connect(postgres_url) as other:
        other.execute("DROP TABLE totals")
    for opened in (store, open_postgres(views=[TOTALS], read_only=True)):
        for read in (lambda: list(opened.rows(TOTALS)), lambda: opened.row(TOTALS, ("t",))):  # noqa: B023 - called here
            with pytest.raises(
                ViewStale, match=r"totals is lost.*`refold replay`, makes those of refold again"
            ):
                read()
    with pytest.raises(ViewStale, match="totals is lost"):
        store.append(write("refund-a", 1), changes=[Upsert(TOTALS, ("t", 1))])
    assert store.head() == 1
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
        lambda: store.lease("a\0"),
    ):
        with pytest.raises(RefoldError):
            call()
    assert store.append(write("refund-a", 0)) == Appended(1, 1)
    with pytest.raises(VersionConflict):
        store.append(write("refund-a", 0))


@pytest.mark.parametrize("lost", ["position = 2", "true"], ids=["the last event", "all events"])
def test_views_of_an_older_definition_outlive_a_log_that_is_not_complete(
    open_postgres, postgres_server, postgres_url, lost
):
    old = open_postgres(views=[TOTALS])
    for number in (1, 2):
        old.append(ONE, key=f"k-{number}", changes=[Upsert(TOTALS, ("t", number))])
    with postgres_server.connect(postgres_url) as other:
        other.execute("SET session_replication_role = replica")
        other.execute(f"DELETE FROM events WHERE {lost}")
        other.execute("UPDATE head SET position = (SELECT coalesce(max(position), 0) FROM events)")
    assert open_postgres(views=[WITH_MORE]).views_stale is True
    assert [row["total"] for row in old.rows(TOTALS)] == [3]


def test_a_table_of_something_else_is_no_view(open_postgres, postgres_server, postgres_url):
    store = open_postgres()
    with postgres_server.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE totals AS SELECT 'theirs' AS anything")
        with pytest.raises(StoreUnavailable, match="holds a table totals of something else"):
            store.create_views([TOTALS])
        assert connection.execute("SELECT * FROM totals").fetchall() == [("theirs",)]
    with pytest.raises(InvalidSetting):
        store.create_views([View("events", TOTALS.columns, TOTALS.key)])
