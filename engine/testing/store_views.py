"""The event store contract: views, changed by appends and rebuilt by replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import InvalidInput
from ..ports import Column, Delete, Difference, Given, Upsert, View, Write
from .store_scenery import (
    PAIRS,
    TOTALS,
    VIEWS,
    Failing,
    Interrupted,
    StoreScenery,
    event,
    raised,
    snapshot,
    total,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..ports import Change, Value
    from ..ports.projecting import Made


NOTES: Final = View("notes", (Column("number", int), Column("note", str)), ("number",), (("note",),))
"""A view that the store was not opened with."""


class Views(StoreScenery):
    """Tables beside the log."""

    def change(self, *changes: Change) -> None:
        """Append an event with view changes."""
        self.store.append(Write("refund-a", None, [event()]), changes=changes)

    def test_a_view_that_is_new_to_the_store_begins_empty_and_once(self) -> None:
        """However many programs make its table when they start."""
        for _ in range(2):
            self.store.create_views([NOTES, TOTALS])
            self.change(Upsert(NOTES, (1, "new")), total("a", 5))
        assert self.rows(NOTES) == [{"number": 1, "note": "new"}]
        assert self.rows() == [{"id": "a", "kind": None, "total": 10, "rank": None}]
        self.store.create_views([NOTES])
        assert self.store.row(NOTES, (1,)) == {"number": 1, "note": "new"}

    def test_an_upsert_inserts_a_row_and_then_changes_it(self) -> None:
        """Sums add what it brings, other columns take the new value."""
        self.change(total("a", 5, "new", 1))
        assert self.rows() == [{"id": "a", "kind": "new", "total": 5, "rank": 1}]
        self.change(total("a", -7, "old", 2))
        assert self.rows() == [{"id": "a", "kind": "old", "total": -2, "rank": 2}]

    def test_none_leaves_a_column_as_it_is(self) -> None:
        """A sum as well; in a new row there is nothing yet."""
        self.change(total("a", 5, "new"))
        self.change(total("a", None, None, 3))
        self.change(total("b", None))
        self.change(total("b", 2))
        assert self.rows() == [
            {"id": "a", "kind": "new", "total": 5, "rank": 3},
            {"id": "b", "kind": None, "total": 2, "rank": None},
        ]

    def test_what_a_caller_takes_for_unchanged_decides_nothing(self) -> None:
        """The row becomes what it becomes without: also where it is lost, or another one than the caller knows."""
        all_columns = TOTALS.names()
        befores = [None, ("x", 1), ("x", 2), ("y", 1), ("y", 2), (None, None)]
        for unchanged in (("kind",), ("rank",), ("kind", "rank"), all_columns):
            for before in befores:
                for kind, rank in (("x", 1), ("x", None), (None, 1)):
                    known = [] if before is None else [total(name, 5, *before) for name in "ab"]
                    told = total("b", 3, kind, rank)._replace(unchanged=frozenset(unchanged))
                    self.change(*known, total("a", 3, kind, rank))
                    self.change(told)
                    plain, hinted = ({**row, "id": ""} for row in self.rows())
                    assert plain == hinted, (unchanged, before, kind, rank)
                    self.change(Delete(TOTALS, ("a",)), Delete(TOTALS, ("b",)))

    def test_the_changes_of_one_append_follow_each_other(self) -> None:
        """The second one sees what the first one did."""
        self.change(
            total("a", 1), total("a", 2), Delete(TOTALS, ("b",)), total("c", 1), Delete(TOTALS, ("c",))
        )
        self.change(Delete(TOTALS, ("a",)), total("a", 10))
        assert self.rows() == [{"id": "a", "kind": None, "total": 10, "rank": None}]

    def test_a_value_its_column_cannot_hold_is_refused(self) -> None:
        """With the whole append; no store converts it, cuts it off or keeps it."""
        self.change(total("a", 1))
        before = snapshot(self.store)
        write = Write("refund-a", None, [event()])
        values: tuple[tuple[Any, ...], ...] = (
            *(("a", "x", amount, 1) for amount in (2**63, -(2**63) - 1, "1", True, 1.5)),
            *(("a", text, 1, 1) for text in ("\ud800", "a\0b", 1)),
            *((key, "x", 1, 1) for key in (None, 1)),
            ("a", "x", 1),
            ("a", "x", 1, 1, 1),
        )
        changes: list[Change] = [Upsert(TOTALS, each) for each in values]
        changes += [Delete(TOTALS, (None,)), Delete(PAIRS, ("a",))]
        for each in changes:
            raised(InvalidInput, self.store.append, write, key="k", changes=[each])
            raised(InvalidInput, self.store.rebuild, Given(VIEWS, [each]))
            assert snapshot(self.store) == before

    def test_a_sum_beyond_64_bits_is_refused(self) -> None:
        """With the whole append: an amount is never rounded."""
        for name, most, more in (("a", 2**63 - 1, 1), ("b", -(2**63), -1)):
            self.change(total(name, most))
            before = snapshot(self.store)
            write = Write("refund-a", None, [event()])
            raised(InvalidInput, self.store.append, write, key="k", changes=[total(name, more)])
            assert snapshot(self.store) == before
            self.change(total(name, -more), total(name, more))

    def test_a_row_is_found_by_its_key(self) -> None:
        """None where there is none."""
        self.change(Upsert(PAIRS, ("l", "r", "x")), Upsert(PAIRS, ("l", "s", "y")))
        found = self.store.row(PAIRS, ("l", "s"))
        assert found is not None
        assert dict(found) == {"left": "l", "right": "s", "note": "y"}
        assert self.store.row(PAIRS, ("s", "l")) is None
        assert self.store.row(TOTALS, ("l",)) is None

    def test_a_deleted_row_is_gone_and_others_stay(self) -> None:
        """Deleting what is not there does nothing."""
        self.change(Upsert(PAIRS, ("l", "r", "x")), Upsert(PAIRS, ("l", "s", "y")))
        self.change(Delete(PAIRS, ("l", "r")), Delete(PAIRS, ("l", "t")))
        assert self.rows(PAIRS) == [{"left": "l", "right": "s", "note": "y"}]

    def test_text_in_views_comes_back_exactly(self) -> None:
        """And is compared character by character, not by language or case."""
        for name in ("b", "B", "\u00e9", "e\u0301", "\U0001f600", "\uffee", "a%", "' OR 1=1 --"):
            self.change(total(name, 1, name))
        names = [row["id"] for row in self.rows()]
        assert names == sorted(names, key=str)
        assert [row["id"] for row in self.rows(where={"kind": "e\u0301"})] == ["e\u0301"]

    def four_rows(self) -> None:
        """Insert four rows, in no order."""
        self.change(
            total("c", 3, "x", 30), total("a", 1, "x", 40), total("d", 4, None, None), total("b", 2, "y", 10)
        )

    def ids(self, **options: Any) -> str:  # noqa: ANN401 - those of `rows`
        """Return the ids of the rows found, joined."""
        return "".join(str(row["id"]) for row in self.rows(**options))

    def test_rows_are_ordered_by_the_key_or_by_a_column(self) -> None:
        """Nothing comes before something; rows that are equal in the column follow the key."""
        self.four_rows()
        assert self.ids() == "abcd"
        assert self.ids(order="rank") == "dbca"
        assert self.ids(order="kind") == "dacb"

    def test_rows_are_those_whose_columns_equal(self) -> None:
        """All of them; None equals None."""
        self.four_rows()
        for where, expected in (
            ({}, "abcd"),
            ({"kind": "x"}, "ac"),
            ({"kind": "x", "total": 3}, "c"),
            ({"kind": None}, "d"),
            ({"kind": "z"}, ""),
        ):
            assert self.ids(where=where) == expected

    def test_rows_go_on_after_a_value_up_to_a_limit(self) -> None:
        """So that a long list is read page by page."""
        self.four_rows()
        assert self.ids(after="b") == "cd"
        assert self.ids(limit=2) == "ab"
        assert self.ids(after="a", limit=2) == "bc"
        assert self.ids(order="rank", after=10) == "ca"
        assert self.ids(order="rank", after=10, where={"kind": "x"}, limit=1) == "c"
        assert (self.ids(limit=0), self.ids(limit=99)) == ("", "abcd")

    def test_a_column_the_view_does_not_have_is_refused(self) -> None:
        """Before anything is read."""
        self.four_rows()
        raised(InvalidInput, self.store.rows, TOTALS, where={"nothing": 1})
        for name in ("nothing", "rowid", "id; DROP TABLE totals", 'id"'):
            raised(InvalidInput, self.store.rows, TOTALS, order=name)

    def test_rows_can_be_changed_while_they_are_read(self) -> None:
        """The reader goes on undisturbed, and other reads see the change."""
        self.four_rows()
        found = []
        for row in self.store.rows(TOTALS):
            found.append(row["id"])
            self.change(Delete(TOTALS, (row["id"],)))
        assert found == ["a", "b", "c", "d"]
        assert self.rows() == []


class Meanwhile:
    """A projection during whose filling the log grows."""

    views = VIEWS
    outlines = ()

    def __init__(self, scenery: Rebuilding) -> None:
        """Append through `scenery`."""
        self._scenery = scenery
        self.last_made: list[Value] = []
        """The total of row a in the new tables, when they were last asked."""

    def whole(self, upto: int, left: Mapping[str, Sequence[str]]) -> Iterator[Change]:
        """Tell of the events up to the position; then there are more."""
        assert not left
        yield from self._told(0, upto)
        self._scenery.append("a", 2, live=2)
        self._scenery.append("b", 3, live=3)

    def since(self, after: int, upto: int) -> Iterator[Change]:
        """Tell of those that came since."""
        return self._told(after, upto)

    def as_live(self, made: Made) -> Iterator[Change]:
        """Tell of nothing, and look at what was made."""
        self.last_made = [row["total"] for row in made(TOTALS, {"id": "a"})]
        yield from ()

    def _told(self, after: int, upto: int) -> Iterator[Change]:
        for each in self._scenery.store.read_all(after=after):
            if each.position <= upto:
                yield total(each.stream.removeprefix("refund-"), int(each.data))


class Doubling(Given):
    """A projection that adds to the row a what it has, until there are 8."""

    def as_live(self, made: Made) -> Iterator[Change]:
        """Look the row up, and tell of as much again."""
        (row,) = made(TOTALS, {"id": "a"})
        assert row == {"id": "a", "kind": "new", "total": row["total"], "rank": None}
        if row["total"] == 4:
            yield total("a", 4)


class Rebuilding(StoreScenery):
    """Views come from the log: they can be computed again, compared and replaced."""

    def append(self, name: str, amount: int, *, live: int | None) -> None:
        """Append an event that means an amount; the live view is told another one, or nothing."""
        changes = [] if live is None else [total(name, live)]
        self.store.append(Write(f"refund-{name}", None, [event(str(amount))]), changes=changes)

    def rebuilt(self) -> dict[tuple[Value, ...], Difference]:
        """Rebuild from the log, read while it is rebuilt."""
        changes = (
            total(each.stream.removeprefix("refund-"), int(each.data)) for each in self.store.read_all()
        )
        found = self.store.rebuild(Given(VIEWS, changes))
        assert all(each.view == "totals" for each in found)
        assert len({each.key for each in found}) == len(found)
        return {each.key: each for each in found}

    def test_views_that_agree_with_the_log_have_no_differences(self) -> None:
        """And are the same afterwards; changes go on from there."""
        for name in "abca":
            self.append(name, 5, live=5)
        before = self.rows()
        assert self.rebuilt() == {}
        assert self.rows() == before
        self.append("a", 1, live=1)
        assert self.rows(where={"id": "a"})[0]["total"] == 11
        assert self.store.views_stale is False

    def test_a_wrong_row_is_reported_and_replaced(self) -> None:
        """With what was there and what belongs there."""
        self.append("a", 5, live=5)
        self.append("b", 5, live=6)
        (found,) = self.rebuilt().values()
        assert found.key == ("b",)
        assert found.live is not None
        assert found.rebuilt is not None
        assert (found.live["total"], found.rebuilt["total"]) == (6, 5)
        assert [row["total"] for row in self.rows()] == [5, 5]
        assert self.rebuilt() == {}

    def test_a_missing_row_is_reported_and_added(self) -> None:
        """There was nothing live."""
        self.append("a", 5, live=5)
        self.append("b", 5, live=None)
        found = self.rebuilt()
        assert found["b",].live is None
        assert found["b",].rebuilt == {"id": "b", "kind": None, "total": 5, "rank": None}
        assert [row["id"] for row in self.rows()] == ["a", "b"]

    def test_an_extra_row_is_reported_and_removed(self) -> None:
        """The log knows nothing of it."""
        self.append("a", 5, live=5)
        self.store.append(Write("refund-a", None, [event("0")]), changes=[total("x", 1)])
        found = self.rebuilt()
        assert found["x",].live == {"id": "x", "kind": None, "total": 1, "rank": None}
        assert found["x",].rebuilt is None
        assert [row["id"] for row in self.rows()] == ["a"]

    def test_what_is_appended_during_a_rebuild_is_rebuilt_too(self) -> None:
        """Writers are not kept waiting while the tables are filled, and nothing of theirs is lost or counted twice."""
        self.append("a", 5, live=5)
        projection = Meanwhile(self)
        assert self.store.rebuild(projection) == []
        assert projection.last_made == [7]
        assert {row["id"]: row["total"] for row in self.rows()} == {"a": 7, "b": 3}
        assert self.rebuilt() == {}

    def test_what_only_the_live_tables_tell_may_follow_from_the_new_rows(self) -> None:
        """For rows that no event tells: what was made of their streams before can be taken back."""
        self.append("a", 5, live=6)
        self.store.rebuild(Doubling(VIEWS, [total("a", 4, "new"), total("b", 4)]))
        assert [(row["id"], row["total"]) for row in self.rows()] == [("a", 8), ("b", 4)]

    def test_a_rebuild_that_compares_nothing_replaces_all_the_same(self) -> None:
        """What was wrong is right afterwards, and nobody is told."""
        self.append("a", 5, live=6)
        assert self.store.rebuild(Given(VIEWS, [total("a", 5)]), compare=False) == []
        assert [row["total"] for row in self.rows()] == [5]

    def test_a_rebuild_that_fails_changes_nothing(self) -> None:
        """The live views stay, and the next rebuild starts afresh."""
        self.append("a", 5, live=6)
        raised(Interrupted, self.store.rebuild, Given(VIEWS, Failing([total("z", 1)])))
        assert [(row["id"], row["total"]) for row in self.rows()] == [("a", 6)]
        assert self.rebuilt().keys() == {("a",)}
