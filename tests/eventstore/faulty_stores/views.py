"""Faults in the rows of views, and in rebuilding them."""

from contextlib import suppress

from refold.engine.errors import InvalidInput, InvalidSetting
from refold.engine.ports import Delete, Difference, Upsert
from refold.eventstore import MemoryStore


def changing(change):
    class Changed(MemoryStore):
        def append(self, *writes, changes=(), **options):
            return super().append(*writes, changes=change(self, changes), **options)

    return Changed


def replaced(_store, changes):
    for each in changes:
        if isinstance(each, Upsert):
            yield Delete(
                each.view, tuple(each.values[each.view.names().index(name)] for name in each.view.key)
            )
        yield each


def cleared_by_none(store, changes):
    for each in changes:
        key = isinstance(each, Upsert) and tuple(
            each.values[each.view.names().index(name)] for name in each.view.key
        )
        old = key and store.row(each.view, key)
        if not old:
            yield each
            continue
        yield Delete(each.view, key)
        pairs = zip(each.view.columns, each.values, strict=True)
        values = [(old[column.name] or 0) + (value or 0) if column.sums else value for column, value in pairs]
        yield Upsert(each.view, tuple(values))


def believed(store, changes):
    for each in changes:
        if not isinstance(each, Upsert) or not each.unchanged:
            yield each
        elif store.row(each.view, each.values[:1]) is not None:
            pairs = zip(each.view.names(), each.values, strict=True)
            values = [None if name in {"kind", "rank"} & each.unchanged else value for name, value in pairs]
            yield each._replace(values=tuple(values))
        else:
            yield each._replace(unchanged=frozenset())


def only_changed(store, changes):
    for each in changes:
        if not isinstance(each, Upsert) or not each.unchanged or store.row(each.view, each.values[:1]):
            yield each


def without_sums(_store, changes):
    for each in changes:
        if isinstance(each, Upsert) and "total" in each.unchanged:
            yield each._replace(values=(*each.values[:2], None, each.values[3]))
        else:
            yield each


class DropsChangesThatDoNotFit(MemoryStore):
    def append(self, *writes, **options):
        try:
            return super().append(*writes, **options)
        except InvalidInput:
            return super().append(*writes)


class MakesWhateverViewIsAskedFor(MemoryStore):
    def create_views(self, views):
        pass


class RebuildsWhateverViewIsAskedFor(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        with suppress(InvalidSetting):
            return super().rebuild(projection, compare=compare)


class FindsRowsByTheFirstColumn(MemoryStore):
    def row(self, view, key):
        return next((row for row in self.rows(view) if row[view.key[0]] == key[0]), None)


class DeletesByTheFirstColumn(MemoryStore):
    def append(self, *writes, changes=(), **options):
        for each in changes:
            table = self._state.views.get(each.view.name, {})
            if isinstance(each, Delete):
                self._state.views[each.view.name] = {
                    key: row for key, row in table.items() if key[0] != each.key[0]
                }
        return super().append(*writes, changes=changes, **options)


class SortsWithoutCase(MemoryStore):
    def rows(self, view, **options):
        return iter(sorted(super().rows(view, **options), key=lambda row: str(row[view.key[0]]).casefold()))


class IgnoresTheOrder(MemoryStore):
    def rows(self, view, *, order=None, **options):
        return super().rows(view, **options)


class ComparesNoneAsSqlDoes(MemoryStore):
    def rows(self, view, *, where=None, **options):
        return iter(()) if where and None in where.values() else super().rows(view, where=where, **options)


class StartsWithTheValueItself(MemoryStore):
    def rows(self, view, *, after=None, limit=None, **options):
        found = [row for row in super().rows(view, **options) if after is None or row["id"] >= after]
        return iter(found[:limit])


class IgnoresUnknownColumns(MemoryStore):
    def rows(self, view, *, where=None, order=None, **options):
        try:
            return super().rows(view, where=where, order=order, **options)
        except InvalidInput:
            return super().rows(view, **options)


class ReadsRowsOfALiveTable(MemoryStore):
    def rows(self, view, **options):
        for values in self._state.views.get(view.name, {}).values():
            yield dict(zip(view.names(), values, strict=True))


class ReportsEqualRows(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        same = [Difference("totals", (row["id"],), row, row) for row in self.rows(projection.views[0])]
        return super().rebuild(projection, compare=compare) or same


class ReportsNothing(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        super().rebuild(projection, compare=compare)
        return []


class DoesNotSwap(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        live = self._state.copy()
        found = super().rebuild(projection, compare=compare)
        self._state = live
        return found


class ReportsOnlyLiveRows(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        return [each for each in super().rebuild(projection, compare=compare) if each.live is not None]


class ReportsOnlyRebuiltRows(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        return [each for each in super().rebuild(projection, compare=compare) if each.rebuilt is not None]


class ForgetsWhatCameMeanwhile(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        projection.since = lambda *_: ()
        return super().rebuild(projection, compare=compare)


class AddsTwiceWhatCameMeanwhile(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        once = projection.since
        projection.since = lambda *span: [*once(*span), *once(*span)]
        return super().rebuild(projection, compare=compare)


class ComparesAnyway(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        return super().rebuild(projection)


class Told:
    """A projection that is asked through a store with a fault."""

    def __init__(self, projection, as_live):
        self.views, self.outlines = projection.views, projection.outlines
        self.whole, self.since, self.as_live = projection.whole, projection.since, as_live


class LeavesOutWhatTheLiveTablesTell(MemoryStore):
    def rebuild(self, projection, **options):
        return super().rebuild(Told(projection, lambda _made: ()), **options)


class AsksWhatTheLiveTablesTellTooEarly(MemoryStore):
    def rebuild(self, projection, **options):
        asked = Told(projection, lambda _made: ())

        def since(after, upto):
            list(projection.as_live(lambda _view, _where: ()))
            return projection.since(after, upto)

        asked.since = since
        return super().rebuild(asked, **options)


class AsksWhatTheLiveTablesTellOnce(MemoryStore):
    def rebuild(self, projection, **options):
        asked = []

        def as_live(made):
            asked.append(made)
            return projection.as_live(made) if len(asked) > 1 else ()

        return super().rebuild(Told(projection, as_live), **options)


class AddsTwiceWhatTheLiveTablesTell(MemoryStore):
    def rebuild(self, projection, **options):
        return super().rebuild(Told(projection, lambda made: [*projection.as_live(made)] * 2), **options)


def giving(rows):
    """Return a store that gives the rows of new tables so."""

    class Gives(MemoryStore):
        def rebuild(self, projection, **options):
            def as_live(made):
                return projection.as_live(lambda view, where: rows(made, view, where))

            return super().rebuild(Told(projection, as_live), **options)

    Gives.__name__ = f"Gives{rows.__name__}"
    return Gives


def one_row(made, view, where):
    return [*made(view, where)][:1]


def those_of_one_column(made, view, where):
    return made(view, dict([*where.items()][:1]))


def none_for_none(made, view, where):
    return [] if None in where.values() else made(view, where)


class GivesTheLiveRowsForTheNewOnes(MemoryStore):
    def rebuild(self, projection, **options):
        def as_live(_made):
            return projection.as_live(lambda view, where: self.rows(view, where=where))

        return super().rebuild(Told(projection, as_live), **options)


class RebuildsInPlace(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        self._state.views.clear()
        return super().rebuild(projection, compare=compare)


CAUGHT = [
    (changing(replaced), "an_upsert_inserts_a_row_and_then_changes_it"),
    (changing(cleared_by_none), "none_leaves_a_column_as_it_is"),
    *(
        (changing(fault), "what_a_caller_takes_for_unchanged_decides_nothing")
        for fault in [believed, only_changed, without_sums]
    ),
    (
        changing(lambda _, changes: sorted(changes, key=lambda each: isinstance(each, Delete))),
        "the_changes_of_one_append_follow_each_other",
    ),
    (DropsChangesThatDoNotFit, "a_value_its_column_cannot_hold_is_refused"),
    (DropsChangesThatDoNotFit, "a_sum_beyond_64_bits_is_refused"),
    (MakesWhateverViewIsAskedFor, "a_view_that_cannot_be_a_table_is_refused"),
    (RebuildsWhateverViewIsAskedFor, "a_view_that_cannot_be_a_table_is_refused"),
    (FindsRowsByTheFirstColumn, "a_row_is_found_by_its_key"),
    (DeletesByTheFirstColumn, "a_deleted_row_is_gone_and_others_stay"),
    (SortsWithoutCase, "text_in_views_comes_back_exactly"),
    (IgnoresTheOrder, "rows_are_ordered_by_the_key_or_by_a_column"),
    (ComparesNoneAsSqlDoes, "rows_are_those_whose_columns_equal"),
    (StartsWithTheValueItself, "rows_go_on_after_a_value_up_to_a_limit"),
    (IgnoresUnknownColumns, "a_column_the_view_does_not_have_is_refused"),
    (ReadsRowsOfALiveTable, "rows_can_be_changed_while_they_are_read"),
    (ReportsEqualRows, "views_that_agree_with_the_log_have_no_differences"),
    (ReportsNothing, "a_wrong_row_is_reported_and_replaced"),
    (DoesNotSwap, "a_wrong_row_is_reported_and_replaced"),
    (ForgetsWhatCameMeanwhile, "what_is_appended_during_a_rebuild_is_rebuilt_too"),
    (AddsTwiceWhatCameMeanwhile, "what_is_appended_during_a_rebuild_is_rebuilt_too"),
    (LeavesOutWhatTheLiveTablesTell, "what_only_the_live_tables_tell_may_follow_from_the_new_rows"),
    (AsksWhatTheLiveTablesTellTooEarly, "what_is_appended_during_a_rebuild_is_rebuilt_too"),
    (AsksWhatTheLiveTablesTellOnce, "what_is_appended_during_a_rebuild_is_rebuilt_too"),
    (AddsTwiceWhatTheLiveTablesTell, "what_only_the_live_tables_tell_may_follow_from_the_new_rows"),
    *(
        (giving(rows), "what_only_the_live_tables_tell_may_follow_from_the_new_rows")
        for rows in [one_row, those_of_one_column, none_for_none]
    ),
    (GivesTheLiveRowsForTheNewOnes, "what_only_the_live_tables_tell_may_follow_from_the_new_rows"),
    (ComparesAnyway, "a_rebuild_that_compares_nothing_replaces_all_the_same"),
    (ReportsOnlyLiveRows, "a_missing_row_is_reported_and_added"),
    (ReportsOnlyRebuiltRows, "an_extra_row_is_reported_and_removed"),
    (RebuildsInPlace, "a_rebuild_that_fails_changes_nothing"),
]
"""Each store, and the test of the contract that finds its fault."""
