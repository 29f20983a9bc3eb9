"""Two versions that put their own table of a view in the place of the other's, at any moment of a read."""

from contextlib import contextmanager
from functools import partial
from itertools import cycle

import pytest

from refold.engine.errors import ViewStale
from refold.engine.ports import Column, Given, NewEvent, Upsert, View, Write

TIME = "2026-11-21T12:00:00.000000Z"
COLUMNS = (Column("id", str), Column("kind", str), Column("total", int))
OWN = View("totals", COLUMNS, ("id",), (("kind",),))
OTHERS = {
    "the same columns": View("totals", COLUMNS, ("id",), (("kind",),), version=2),
    "one column more": View("totals", (*COLUMNS, Column("note", str)), ("id",), (("kind",),)),
    "one column less": View("totals", (COLUMNS[0], COLUMNS[2]), ("id",)),
    "another type": View("totals", (COLUMNS[0], Column("kind", int), COLUMNS[2]), ("id",), (("kind",),)),
    "another type of what is summed up": View("totals", (*COLUMNS[:2], Column("total", str)), ("id",)),
}
ROWS = [{"id": "a", "kind": "k", "total": 1}, {"id": "b", "kind": "k", "total": 2}]
READS = {
    "all": {},
    "some": {"where": {"kind": "k"}},
    "none": {"where": {"kind": "nowhere"}},
    "in order": {"order": "id", "after": "a"},
    "a page": {"limit": 1},
}


class Interrupted:
    """A connection of a reader; something happens before each of its statements."""

    def __init__(self, connection, happens):
        self._connection, self._happens = connection, happens

    def execute(self, *statement, **options):
        self._happens()
        return self._connection.execute(*statement, **options)

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request):
    """Return a function that opens one store with a view."""
    open_one = request.getfixturevalue("open_store" if request.param == "sqlite" else "open_postgres")
    return lambda view: open_one(views=[view])


def swapped(store, view, rows):
    store.rebuild(
        Given([view], [Upsert(view, tuple(row[name] for name in view.names())) for row in rows]),
        compare=False,
    )


@pytest.fixture(params=OTHERS, ids=lambda name: name)
def swaps(request, opened):
    """Give a store, and functions that put the tables of this and of another version in the place by turns."""
    other = OTHERS[request.param]
    store, same, another = opened(OWN), opened(OWN), opened(other)
    store.append(Write("refund-a", None, [NewEvent("refund.requested", TIME, "{}")]))
    kinds = {column.name: column.kind for column in other.columns}
    strange = [
        {"id": f"x{n}", "kind": kinds.get("kind", str)(n), "total": kinds["total"](n), "note": "n"}
        for n in (1, 2)
    ]
    return store, (partial(swapped, same, OWN, ROWS), partial(swapped, another, other, strange))


def expected(where=None, order=None, after=None, limit=None):
    found = [row for row in ROWS if all(row[name] == value for name, value in (where or {}).items())]
    return [row for row in found if after is None or row[order] > after][:limit]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("ahead", [0, 1], ids=["this one comes first", "the other comes first"])
def test_rows_are_those_of_this_version_or_refused(swaps, monkeypatch, read, ahead):
    store, turns = swaps
    turns[0]()
    turn = cycle(turns)
    for _ in range(ahead):
        next(turn)
    lend = store._readers.one

    def happens():
        next(turn)()

    @contextmanager
    def interrupted():
        with lend() as connection:
            yield Interrupted(connection, happens)

    monkeypatch.setattr(store._readers, "one", interrupted)
    seen = []
    for _ in range(12):  # the server prepares a statement that comes often
        try:
            seen.append([dict(row) for row in store.rows(OWN, **READS[read])])
        except ViewStale:
            seen.append("refused")
    assert set(map(str, seen)) == {str(expected(**READS[read])), "refused"}


def test_rows_that_are_being_read_stay_those_of_this_version(swaps):
    store, (own, others) = swaps
    own()
    rows = store.rows(OWN)
    found = [dict(next(rows))]
    others()
    assert [*found, *map(dict, rows)] == ROWS
    with pytest.raises(ViewStale):
        next(store.rows(OWN))


def test_many_rows_that_are_being_read_are_of_one_moment(opened):
    """More than one answer of a server holds."""
    store, another = opened(OWN), opened(OTHERS["the same columns"])
    many = [{"id": f"{n:04}", "kind": "k", "total": n} for n in range(600)]
    swapped(store, OWN, many)
    rows = store.rows(OWN)
    found = [dict(next(rows)) for _ in range(300)]
    if hasattr(store, "path"):  # the server lets nobody take a table away that is being read
        swapped(another, OTHERS["the same columns"], [])
    assert [*found, *map(dict, rows)] == many


def test_a_batch_reads_its_own_version_or_is_refused(swaps):
    store, (own, others) = swaps
    own()
    with store.batch():
        assert [dict(row) for row in store.rows(OWN, where={"kind": "k"})] == ROWS
        assert list(store.rows(OWN, where={"kind": "nowhere"})) == []
    others()
    for where in ({}, {"kind": "k"}, {"kind": "nowhere"}):
        with pytest.raises(ViewStale), store.batch():
            list(store.rows(OWN, where=where))


def test_a_column_may_have_the_name_of_one_that_says_what_a_table_was_made_with(opened):
    view = View("notes", (Column("name", str), Column("definition", str)), ("name",))
    store, row = opened(view), {"name": "a", "definition": "b"}
    swapped(store, view, [row])
    assert dict(store.row(view, ("a",))) == row
    assert [dict(each) for each in store.rows(view, where=row, order="name")] == [row]
    assert list(store.rows(view, after="a")) == []
