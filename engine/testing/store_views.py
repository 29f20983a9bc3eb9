"""The event store contract: views, changed by appends and rebuilt by replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import InvalidInput, InvalidSetting
from ..ports import Column, Delete, Given, Upsert, View, Write
from .store_scenery import (
    PAIRS,
    TOTALS,
    VIEWS,
    StoreScenery,
    event,
    raised,
    snapshot,
    total,
)

if TYPE_CHECKING:
    from ..ports import Change


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

    def test_a_view_that_cannot_be_a_table_is_refused(self) -> None:
        """In every store for the same reasons, before anything is made of it."""
        number, text = Column("number", int), Column("note", str)
        many = tuple(Column(f"c{place}", int) for place in range(33))
        wrong = [
            View("notes", (number, text), ()),
            View("notes", (number, text), ("",)),
            View("notes", (number, text), ("id",)),
            View("notes", (number, text), ("number", "number")),
            View("notes", (number, text), ("number",), (("id",),)),
            View("notes", (number, text), ("number",), ((),)),
            View("notes", (number, number), ("number",)),
            View("notes", (number, Column("note", float)), ("number",)),  # type: ignore[arg-type] # that is it
            View("notes", (number, Column("note", str, sums=True)), ("number",)),
            View("notes", (Column("number", int, sums=True), text), ("number",)),
            View("Notes", (number, text), ("number",)),
            View("notes", (number, Column('a"b', str)), ("number",)),
            View("n" * 41, (number, text), ("number",)),
            View("head", (number, text), ("number",)),
            View("pg_notes", (number, text), ("number",)),
            View("sqlite_notes", (number, text), ("number",)),
            View("events_by_stream", (number, text), ("number",)),
            View("notes", (number, Column("ctid", str)), ("number",)),
            View("notes", (number, Column("rowid", str)), ("number",)),
            View("notes", (number, text), ("number",), (("note",), ("note",))),
            View("notes", (number, Column("n" * 40, str)), ("number",), (("number", "n" * 40),)),
            View("notes", many, tuple(column.name for column in many)),
        ]
        for view in wrong:
            raised(InvalidSetting, self.store.create_views, [view])
            raised(InvalidSetting, self.store.rebuild, Given([view], []))
        raised(InvalidSetting, self.store.create_views, [NOTES, NOTES])
        self.store.create_views([View("notes", (number, text), ("number", "note"), (("note", "number"),))])

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
