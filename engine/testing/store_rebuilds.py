"""The event store contract: views are computed again from the log, compared and replaced, while others write."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ..ports import Difference, Given, Write
from .store_scenery import TOTALS, VIEWS, Failing, Interrupted, StoreScenery, event, raised, total

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..ports import Change, Value
    from ..ports.projecting import Made

_MANY: Final = 250
"""Events that no store leaves for the end, when nobody else writes."""


class Meanwhile:
    """A projection during whose filling the log grows."""

    views = VIEWS
    outlines = ()

    def __init__(self, scenery: Rebuilding) -> None:
        """Append through `scenery`."""
        self._scenery = scenery
        self.asked: list[str] = []
        """The methods the store has called, in turn."""
        self.last_made: list[Value] = []
        """The total of row a in the new tables, when they were last asked."""

    def whole(self, upto: int, left: Mapping[str, Sequence[str]]) -> Iterator[Change]:
        """Tell of the events up to the position; then there are more."""
        assert not left
        self.asked.append("whole")
        yield from self._told(0, upto)
        for _ in range(_MANY):
            self._scenery.append("a", 2, live=2)
        self._scenery.append("b", 3, live=3)

    def since(self, after: int, upto: int) -> Iterator[Change]:
        """Tell of those that came since."""
        self.asked.append("since")
        return self._told(after, upto)

    def as_live(self, made: Made) -> Iterator[Change]:
        """Tell of nothing, and look at what was made."""
        self.asked.append("as_live")
        self.last_made = [row["total"] for row in made(TOTALS, {"id": "a"})]
        yield from ()

    def _told(self, after: int, upto: int) -> Iterator[Change]:
        for each in self._scenery.store.read_all(after=after):
            if each.position <= upto:
                yield total(each.stream.removeprefix("refund-"), int(each.data))


class Doubling:
    """A projection that adds to the row a what it has, until there are 8, and counts how often it is asked to."""

    views = VIEWS
    outlines = ()
    asked = 0

    def whole(self, upto: int, left: Mapping[str, Sequence[str]]) -> Iterator[Change]:  # noqa: ARG002 - it is all known
        """Tell of three rows."""
        yield from (total("a", 4, "new"), total("b", 4, "new", 1), total("c", 4))

    def since(self, after: int, upto: int) -> Iterator[Change]:  # noqa: ARG002 - as the protocol has it
        """Tell of nothing."""
        yield from ()

    def as_live(self, made: Made) -> Iterator[Change]:
        """Look rows up, and tell of as much again."""
        self.asked += 1
        (row,) = made(TOTALS, {"id": "a"})
        assert row == {"id": "a", "kind": "new", "total": row["total"], "rank": None}
        wheres: list[tuple[dict[str, Value], str]] = [
            ({"kind": "new"}, "ab"),
            ({"kind": "new", "rank": 1}, "b"),
            ({"kind": "new", "rank": None}, "a"),
            ({"kind": None}, "c"),
            ({"kind": "older"}, ""),
        ]
        for where, expected in wheres:
            assert "".join(sorted(str(each["id"]) for each in made(TOTALS, where))) == expected
        if row["total"] == 4:
            yield total("a", 4)
        yield total("asked", 1, "asked")


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
        projection, expected = Meanwhile(self), 5 + 2 * _MANY
        assert self.store.rebuild(projection) == []
        assert projection.last_made == [expected]
        assert {row["id"]: row["total"] for row in self.rows()} == {"a": expected, "b": 3}
        # What only the live tables tell is asked for after each part of what the log does.
        assert {following for asked, following in pairwise(projection.asked) if asked != "as_live"} == {
            "as_live"
        }
        assert projection.asked[-1] == "as_live"
        assert self.rebuilt() == {}

    def test_what_only_the_live_tables_tell_may_follow_from_the_new_rows(self) -> None:
        """For rows that no event tells: what was made of their streams before can be taken back."""
        self.append("a", 5, live=6)
        projection = Doubling()
        self.store.rebuild(projection)
        made = {row["id"]: row["total"] for row in self.rows()}
        assert made == {"a": 8, "b": 4, "c": 4, "asked": projection.asked}

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
