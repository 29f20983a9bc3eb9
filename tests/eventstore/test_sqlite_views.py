"""The views of the SQLite store: their tables, their definitions, and when they are stale."""

import sqlite3
from contextlib import closing

import pytest
from totals import TOTALS

from refold.engine.errors import InvalidInput, InvalidSetting, StoreUnavailable, ViewStale
from refold.engine.ports import Column, Given, Upsert, View
from refold.eventstore.sqlite import views as tables

BY_KIND = View(
    "by_kind",
    (Column("id", str), Column("kind", str), Column("note", str), Column("count", int)),
    ("id",),
    indexes=(("kind",), ("note",)),
)


def indexes_touched(store, unchanged):
    """Return how many entries a change makes anew in the indexes of a view, by SQLite's own plan."""
    with closing(sqlite3.connect(store.path)) as file:
        explained = file.execute(
            "EXPLAIN " + tables.update(BY_KIND, "by_kind", frozenset(unchanged)), ("a",) * 4
        )
        return [step[1] for step in explained].count("IdxInsert")


def test_a_change_leaves_the_indexes_of_unchanged_columns_alone(open_store):
    store = open_store(views=[BY_KIND])
    assert indexes_touched(store, []) == 2
    assert indexes_touched(store, ["kind"]) == 1
    assert indexes_touched(store, ["kind", "note"]) == 0


WITH_MORE = View("totals", (*TOTALS.columns, Column("kind", str)), ("id",), (("kind",),))


def test_a_view_made_with_another_definition_is_stale_until_it_is_rebuilt(open_store, append):
    append(open_store(views=[TOTALS]), changes=[Upsert(TOTALS, ("t", 1))])
    for _ in range(2):
        store = open_store(views=[WITH_MORE])
        assert store.views_stale is True
    (found,) = store.rebuild(Given([WITH_MORE], [Upsert(WITH_MORE, ("t", 1, "x"))]))
    assert found.live is None
    assert store.views_stale is False
    store = open_store(views=[WITH_MORE])
    assert store.views_stale is False
    assert list(store.rows(WITH_MORE, where={"kind": "x"})) == [{"id": "t", "total": 1, "kind": "x"}]


def test_a_view_that_did_not_change_is_kept(open_store, append):
    other = View("others", (Column("id", str),), ("id",))
    append(open_store(views=[TOTALS]), changes=[Upsert(TOTALS, ("t", 1))])
    store = open_store(views=[TOTALS, other])
    assert store.views_stale is True
    assert list(store.rows(TOTALS)) == [{"id": "t", "total": 1}]


def test_a_rebuild_of_some_views_leaves_the_store_stale(open_store, append):
    other = View("others", (Column("id", str),), ("id",))
    append(open_store())
    store = open_store(views=[TOTALS, other])
    store.rebuild(Given([TOTALS], []))
    assert store.views_stale is True
    store.rebuild(Given([other], []))
    assert store.views_stale is False


def test_views_of_an_empty_log_are_never_stale(open_store):
    assert open_store(views=[TOTALS]).views_stale is False
    assert open_store(views=[WITH_MORE]).views_stale is False


def test_a_reader_with_other_views_says_so_and_changes_nothing(path, open_store, append):
    store = open_store(views=[TOTALS])
    append(store)
    store.close()
    before = path.read_bytes()
    assert open_store(read_only=True, views=[WITH_MORE]).views_stale is True
    assert path.read_bytes() == before


def drop(raw, name):
    with raw() as connection:
        connection.execute(f"DROP TABLE {name}")


def test_a_view_whose_table_is_lost_is_stale_until_it_is_made_again(open_store, append, raw):
    others = View("others", (Column("id", str),), ("id",))
    changes = [Upsert(WITH_MORE, ("t", 1, "x")), Upsert(others, ("o",))]
    with closing(open_store(views=[WITH_MORE, others])) as store:
        append(store, changes=changes)
    drop(raw, "totals")
    for _ in range(2):  # also where nobody rebuilt it the first time
        store = open_store(views=[WITH_MORE, others])
        assert store.views_stale is True
        with pytest.raises(ViewStale, match="totals is lost"):
            list(store.rows(WITH_MORE))
        assert list(store.rows(others)) == [{"id": "o"}]
    (found,) = store.rebuild(Given([WITH_MORE, others], changes))
    assert (found.view, found.key, found.live) == ("totals", ("t",), None)
    assert store.views_stale is False
    with raw() as connection:
        assert connection.execute("PRAGMA index_list(totals)").fetchall()[0][1].startswith("totals_by_kind")
    assert open_store(views=[WITH_MORE, others]).views_stale is False


def test_a_view_whose_table_is_lost_in_an_empty_log_is_complete_when_it_is_made_again(open_store, raw):
    open_store(views=[TOTALS])
    drop(raw, "totals")
    store = open_store(views=[TOTALS])
    assert (store.views_stale, list(store.rows(TOTALS))) == (False, [])


def test_a_table_that_is_lost_while_the_store_is_open_can_be_rebuilt(open_store, append, raw):
    store = open_store(views=[WITH_MORE])
    append(store, changes=[Upsert(WITH_MORE, ("t", 1, "x"))])
    drop(raw, "totals")
    with pytest.raises(ViewStale):
        list(store.rows(WITH_MORE))

    def changes():
        with pytest.raises(ViewStale):
            list(store.rows(WITH_MORE))
        yield Upsert(WITH_MORE, ("t", 1, "x"))

    (found,) = store.rebuild(Given([WITH_MORE], changes()))
    assert (found.key, found.live) == (("t",), None)
    assert [row["total"] for row in store.rows(WITH_MORE)] == [1]
    assert store.rebuild(Given([WITH_MORE], [Upsert(WITH_MORE, ("t", 1, "x"))])) == []


def test_a_rebuild_that_fails_leaves_no_empty_table_in_the_place_of_a_lost_one(open_store, append, raw):
    store = open_store(views=[TOTALS])
    append(store, changes=[Upsert(TOTALS, ("t", 1))])
    drop(raw, "totals")
    with pytest.raises(ZeroDivisionError):
        store.rebuild(Given([TOTALS], (1 // 0 for _ in "x")))
    with pytest.raises(ViewStale):
        list(store.rows(TOTALS))
    assert open_store(views=[TOTALS]).views_stale is True


def test_a_reader_names_the_view_that_is_lost_and_what_makes_it_again(path, open_store, append, raw):
    with closing(open_store(views=[TOTALS])) as store:
        append(store)
    drop(raw, "totals")
    before = path.read_bytes()
    store = open_store(views=[TOTALS], read_only=True)
    for read in (lambda: list(store.rows(TOTALS)), lambda: store.row(TOTALS, ("t",))):
        with pytest.raises(ViewStale, match=r"totals is lost.*`refold replay`, makes those of refold again"):
            read()
    assert path.read_bytes() == before
    assert open_store(views=[WITH_MORE], read_only=True).views_stale is True


@pytest.mark.parametrize(
    "name", ["events", "keys", "views", "bodies", "sqlite_x y", "Totals", "t;", "a__new", ""]
)
def test_a_view_that_would_harm_the_log_is_refused(open_store, name):
    view = View(name, (Column("id", str),), ("id",))
    with pytest.raises(InvalidSetting):
        open_store(views=[view])
    with pytest.raises(InvalidSetting):
        open_store().rebuild(Given([view], []))


def test_words_of_sql_can_name_columns(open_store, append):
    view = View(
        "groups",
        (Column("order", str), Column("group", str), Column("limit", int, sums=True)),
        ("order",),
        (("group",),),
    )
    store = open_store(views=[view])
    append(store, changes=[Upsert(view, ("a", "g", 1)), Upsert(view, ("a", None, 2))])
    expected = [{"order": "a", "group": "g", "limit": 3}]
    assert list(store.rows(view, where={"group": "g"}, order="limit", after=0)) == expected
    assert store.rebuild(Given([view], [Upsert(view, ("a", "g", 3))])) == []


@pytest.mark.parametrize("value", [2**63, "\ud800"])
def test_a_value_no_column_can_hold_is_refused_whole(open_store, append, value):
    store = open_store(views=[TOTALS])
    with pytest.raises(InvalidInput):
        append(store, changes=[Upsert(TOTALS, (value, value))])
    assert store.head() == 0


def test_a_table_of_something_else_is_no_view(open_store, raw):
    store = open_store()
    with raw() as connection:
        connection.execute("CREATE TABLE totals (anything)")
        connection.execute("INSERT INTO totals VALUES ('theirs')")
        with pytest.raises(StoreUnavailable, match="holds a table totals of something else; rename one"):
            store.create_views([TOTALS])
        assert connection.execute("SELECT * FROM totals").fetchall() == [("theirs",)]
        connection.execute("CREATE VIEW report AS SELECT * FROM totals")
        with pytest.raises(StoreUnavailable, match="holds a view report of something else"):
            store.create_views([View("report", TOTALS.columns, TOTALS.key)])
    with pytest.raises(InvalidSetting):
        store.create_views([View("events", TOTALS.columns, TOTALS.key)])
