"""The event store contract: views of another version, which stay as they are until they are made anew."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest import SkipTest

from ..errors import ViewStale
from ..ports import Column, Given, Upsert, View, Write
from .store_scenery import PAIRS, TOTALS, Failing, Interrupted, StoreScenery, event, raised, total

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..ports import Change, EventStore, Value
    from ..ports.projecting import Made

RECOUNTED: Final = View("totals", TOTALS.columns, TOTALS.key, TOTALS.indexes, TOTALS.version + 1)
"""The totals as a version keeps them that counts otherwise."""
NEWER: Final = View("totals", (*TOTALS.columns, Column("note", str)), TOTALS.key, (("note",),))
"""The totals as a newer version keeps them."""


OTHERWISE: Final = View(
    "totals", (Column("id", str), Column("kind", int), Column("total", str), Column("rank", int)), ("id",)
)
"""The totals as a version keeps them that has values of other kinds."""


class While:
    """A projection of the newer totals; somebody does something while its first rows are filled in, and afterwards."""

    views = (NEWER,)
    outlines = ()

    def __init__(self, scenery: VersionsOfViews) -> None:
        """Look, append and look again through `scenery`."""
        self._scenery = scenery
        self.last_made: list[Value] = []
        """The totals of the new row in the new table, when it was last asked."""

    def whole(self, upto: int, left: Mapping[str, Sequence[str]]) -> Iterator[Change]:
        """Tell of one row, look what others see, and let them append."""
        assert (upto, left) == (1, {})
        yield Upsert(NEWER, ("a", None, 5, None, "new"))
        self._scenery.check_older_rows(5)
        self._scenery.append_older(2)
        self._scenery.check_older_rows(7)
        assert self._scenery.store.rebuild_under_way is True

    def since(self, after: int, upto: int) -> Iterator[Change]:
        """Tell of what they appended."""
        assert (after, upto) == (1, 2)
        yield Upsert(NEWER, ("a", None, 2, None, None))

    def as_live(self, made: Made) -> Iterator[Change]:
        """Tell of nothing more, and look at what was made."""
        self.last_made = [row["total"] for row in made(NEWER, {"note": "new"})]
        yield from ()


class VersionsOfViews(StoreScenery):
    """A service of a newer version starts while one of an older version still runs."""

    def append_older(self, amount: int) -> None:
        """Append an event of an amount through the older version."""
        self.store.append(Write("refund-a", None, [event(str(amount))]), changes=[total("a", amount)])

    def check_older_rows(self, amount: int) -> None:
        """Check that the older version has the one row it should have."""
        assert self.rows() == [{"id": "a", "kind": None, "total": amount, "rank": None}]
        assert self.store.row(TOTALS, ("a",)) == self.rows()[0]

    def newer(self, totals: View = NEWER) -> EventStore:
        """Open the store as a newer version does, with an event in it."""
        if not self.durable:
            raise SkipTest("nothing of this store survives")
        self.append_older(5)
        return self.make_store(Path(self._folder.name), (totals, PAIRS))

    def test_to_open_a_store_with_other_views_changes_nothing_for_who_has_it_open(self) -> None:
        """They read and change the older table."""
        with closing(self.newer()) as newer:
            assert newer.views_stale is True
            self.check_older_rows(5)
            self.append_older(2)
            self.check_older_rows(7)
            newer.create_views([NEWER])
            self.check_older_rows(7)
            assert newer.views_stale is True

    def test_a_view_of_another_version_is_neither_read_nor_changed(self) -> None:
        """An append that would change it stores nothing; everything else goes on."""
        with closing(self.newer()) as newer:
            change = Upsert(NEWER, ("a", None, 1, None, "x"))
            pair = Upsert(PAIRS, ("l", "r", None))
            for refused in (
                raised(ViewStale, newer.row, NEWER, ("a",)),
                raised(ViewStale, lambda: list(newer.rows(NEWER))),
                raised(ViewStale, lambda: list(newer.rows(NEWER, limit=0))),
                raised(ViewStale, newer.append, Write("refund-b", 0, [event()]), changes=[pair, change]),
            ):
                assert refused.view == "totals"
            newer.append(Write("refund-b", 0, [event()]), changes=[pair])
            assert newer.row(PAIRS, ("l", "r")) is not None
            assert newer.head() == 2
        self.check_older_rows(5)

    def test_rows_of_another_version_can_be_asked_for_with_what_it_knows(self) -> None:
        """For a row that nobody can make anew; what it does not know is None."""
        with closing(self.newer()) as newer:
            found = {"id": "a", "kind": None, "total": 5, "rank": None}
            assert list(self.store.rows_of_any_version(TOTALS, where={"id": "a"})) == [found]
            assert list(newer.rows_of_any_version(NEWER, where={"id": "a"})) == [found | {"note": None}]
            assert list(newer.rows_of_any_version(NEWER, where={"id": "b"})) == []
            raised(ViewStale, lambda: list(newer.rows_of_any_version(NEWER, where={"note": "x"})))
            rows = [("a", "k", 5, None, "new"), ("b", "k", 5, 1, "new"), ("c", None, 5, None, "new")]
            newer.rebuild(Given((NEWER,), [Upsert(NEWER, values) for values in rows]))
            wheres: list[tuple[dict[str, Value], str]] = [
                ({}, "abc"),
                ({"kind": "k"}, "ab"),
                ({"kind": "k", "rank": 1}, "b"),
                ({"kind": "k", "rank": None}, "a"),
                ({"kind": None}, "c"),
            ]
            for where, expected in wheres:
                some = self.store.rows_of_any_version(TOTALS, where=where)
                assert sorted(str(row["id"]) for row in some) == [*expected]

    def test_a_row_of_another_version_has_no_values_of_another_kind(self) -> None:
        """They cannot be made rows again; what fits can."""
        with closing(self.newer(OTHERWISE)) as newer:
            (found,) = newer.rows_of_any_version(OTHERWISE, where={"id": "a"})
            assert found == {"id": "a", "kind": None, "total": None, "rank": None}
            newer.rebuild(Given((OTHERWISE,), [Upsert(OTHERWISE, tuple(found.values()))]))
            assert list(newer.rows(OTHERWISE)) == [found]

    def test_a_newer_version_makes_its_table_beside_the_older_one(self) -> None:
        """Whoever has the older version open reads and appends meanwhile, and all of it is in the newer table."""
        with closing(self.newer()) as newer:
            assert self.store.rebuild_under_way is False
            projection = While(self)
            newer.rebuild(projection, compare=False)
            assert projection.last_made == [7]
            assert (newer.rebuild_under_way, self.store.rebuild_under_way) == (False, False)
            assert newer.views_stale is False
            assert newer.row(NEWER, ("a",)) == {
                "id": "a",
                "kind": None,
                "total": 7,
                "rank": None,
                "note": "new",
            }

    def test_a_newer_version_that_fails_leaves_the_older_table(self) -> None:
        """It stays in use, and the newer one is made by the next try."""
        with closing(self.newer()) as newer:
            change = Upsert(NEWER, ("a", None, 5, None, "new"))
            raised(Interrupted, newer.rebuild, Given((NEWER,), Failing([change])))
            assert (newer.rebuild_under_way, self.store.rebuild_under_way) == (False, False)
            assert newer.views_stale is True
            self.append_older(2)
            self.check_older_rows(7)
            (found,) = newer.rebuild(Given((NEWER,), [change]))
            assert (found.view, found.key, found.live) == ("totals", ("a",), None)

    def test_a_table_whose_rows_mean_something_else_is_of_another_version(self) -> None:
        """With the same columns: what it says is not what the older version takes it for."""
        with closing(self.newer(RECOUNTED)) as newer:
            assert newer.views_stale is True
            raised(ViewStale, newer.row, RECOUNTED, ("a",))
            newer.rebuild(Given((RECOUNTED,), [Upsert(RECOUNTED, ("a", None, 50, None))]))
            assert self.store.views_stale is True
            raised(ViewStale, self.store.row, TOTALS, ("a",))
            raised(ViewStale, self.rows)
            raised(ViewStale, self.rows, where={"id": "nowhere"})
            raised(ViewStale, self.append_older, 1)
            assert list(newer.rows(RECOUNTED)) == [{"id": "a", "kind": None, "total": 50, "rank": None}]

    def test_an_older_version_changes_no_table_of_a_newer_one(self) -> None:
        """It would leave columns out that it does not know: what it appends is refused, unless it changes no view."""
        with closing(self.newer()) as newer:
            newer.rebuild(Given((NEWER,), [Upsert(NEWER, ("a", None, 5, None, "new"))]))
            assert self.store.views_stale is True
            raised(ViewStale, self.store.row, TOTALS, ("a",))
            raised(ViewStale, self.rows)
            write = Write("refund-a", None, [event()])
            assert raised(ViewStale, self.store.append, write, changes=[total("a", 1)]).view == "totals"
            assert self.store.append(write).last == 2
            told = [total("a", 1)]
            raised(ViewStale, self.store.advance, "s", expected=None, position=2, changes=told)
            assert self.store.checkpoint_of("s") is None
            assert newer.row(NEWER, ("a",)) == {
                "id": "a",
                "kind": None,
                "total": 5,
                "rank": None,
                "note": "new",
            }
