"""Faults in the views of another version."""

from dataclasses import replace
from functools import cached_property
from itertools import islice

from refold.engine.errors import ViewStale
from refold.engine.ports import Given
from refold.eventstore import SqliteStore
from refold.eventstore.sqlite import log, schema, views


class OnDisk(SqliteStore):
    """A store that several may open."""

    @classmethod
    def at(cls, folder, views):
        return cls(folder / "log.db", views=views)


class EmptiesTablesAtOnce(OnDisk):
    def _prepare(self):
        with self._writing() as connection:
            schema.migrate(connection)
            views.recreate(connection, views.stale(connection, self._views))
            if log.head(connection):
                connection.execute("UPDATE views SET definition = ''")


class MakesTablesAnewThatAreThere(OnDisk):
    def create_views(self, made):
        with self._writing() as connection:
            views.recreate(connection, made)


class MakesNoTables(OnDisk):
    def create_views(self, made):
        """Leave them to the next rebuild."""


class NoticesNoRebuild(OnDisk):
    rebuild_under_way = False


class TakesARebuildForUnderWayThatGaveUp(OnDisk):
    def _give_up(self, given, number):
        """Leave the tables there."""


class EmptiesTablesBeforeARebuild(OnDisk):
    def rebuild(self, projection, **options):
        super().rebuild(Given(projection.views), compare=False)
        return super().rebuild(projection, **options)


class ReadsRowsOfAnyVersion(OnDisk):
    def rows(self, view, *, where=None, **_):
        return self.rows_of_any_version(view, where=where or {"id": "a"})


class ReadsARowOfAnyVersion(OnDisk):
    def row(self, view, key):
        return next(self.rows_of_any_version(view, where=dict(zip(view.key, key, strict=True))), None)


class KnowsNoRowsOfAnotherVersion(OnDisk):
    def rows_of_any_version(self, view, *, where):
        return iter(self.rows(view, where=where))


class KnowsOneRowOfAnotherVersion(OnDisk):
    def rows_of_any_version(self, view, *, where):
        return islice(super().rows_of_any_version(view, where=where), 1)


class LooksAtOneColumnOfAnotherVersion(OnDisk):
    def rows_of_any_version(self, view, *, where):
        return super().rows_of_any_version(view, where=dict([*where.items()][:1]))


class ComparesNoneOfAnotherVersionAsSqlDoes(OnDisk):
    def rows_of_any_version(self, view, *, where):
        return iter([] if None in where.values() else super().rows_of_any_version(view, where=where))


class TakesEveryValueOfAnotherVersion(OnDisk):
    def rows_of_any_version(self, view, *, where):
        for row in super().rows_of_any_version(view, where=where):
            with self._reading() as connection:
                total = connection.execute("SELECT total FROM totals WHERE id = ?", (row["id"],)).fetchone()
            yield row | {"total": total[0]}


class LeavesOutChangesOfAnotherVersion(OnDisk):
    def append(self, *writes, **options):
        try:
            return super().append(*writes, **options)
        except ViewStale:
            return super().append(*writes)


class MovesOnWithoutChangesOfAnotherVersion(OnDisk):
    def advance(self, name, *, changes=(), **options):
        try:
            return super().advance(name, changes=changes, **options)
        except ViewStale:
            return super().advance(name, **options)


class ForgetsWhatTheOlderVersionAppends(OnDisk):
    def rebuild(self, projection, **options):
        projection.since = lambda *_: ()
        return super().rebuild(projection, **options)


class TakesViewsForMadeAtTheBeginning(OnDisk):
    def rebuild(self, projection, **options):
        with self._writing() as connection:
            for view in projection.views:
                connection.execute(views.RECORD, (view.name, view.definition()))
        return super().rebuild(projection, **options)


class KnowsVersionsByTheirColumns(OnDisk):
    """Takes a table for its own that has the columns of its own."""

    @classmethod
    def at(cls, folder, views):
        return super().at(folder, [replace(view, version=1) for view in views])

    def row(self, view, key):
        return super().row(replace(view, version=1), key)


class LooksAtItsViewsOnce(OnDisk):
    @cached_property
    def views_stale(self):
        return super().views_stale

    def _open(self, **options):
        super()._open(**options)
        assert self.views_stale in {False, True}


CAUGHT = [
    (NoticesNoRebuild, "a_newer_version_makes_its_table_beside_the_older_one"),
    (TakesARebuildForUnderWayThatGaveUp, "a_newer_version_that_fails_leaves_the_older_table"),
    (MakesTablesAnewThatAreThere, "to_open_a_store_with_other_views_changes_nothing_for_who_has_it_open"),
    (MakesTablesAnewThatAreThere, "a_view_that_is_new_to_the_store_begins_empty_and_once"),
    (MakesNoTables, "a_view_that_is_new_to_the_store_begins_empty_and_once"),
    (KnowsVersionsByTheirColumns, "a_table_whose_rows_mean_something_else_is_of_another_version"),
    (LooksAtItsViewsOnce, "an_older_version_changes_no_table_of_a_newer_one"),
    (EmptiesTablesAtOnce, "to_open_a_store_with_other_views_changes_nothing_for_who_has_it_open"),
    (ReadsRowsOfAnyVersion, "a_view_of_another_version_is_neither_read_nor_changed"),
    (ReadsARowOfAnyVersion, "a_view_of_another_version_is_neither_read_nor_changed"),
    (ReadsRowsOfAnyVersion, "an_older_version_changes_no_table_of_a_newer_one"),
    (ReadsARowOfAnyVersion, "an_older_version_changes_no_table_of_a_newer_one"),
    (KnowsNoRowsOfAnotherVersion, "rows_of_another_version_can_be_asked_for_with_what_it_knows"),
    *(
        (store, "rows_of_another_version_can_be_asked_for_with_what_it_knows")
        for store in [
            KnowsOneRowOfAnotherVersion,
            LooksAtOneColumnOfAnotherVersion,
            ComparesNoneOfAnotherVersionAsSqlDoes,
        ]
    ),
    (TakesEveryValueOfAnotherVersion, "a_row_of_another_version_has_no_values_of_another_kind"),
    (LeavesOutChangesOfAnotherVersion, "a_view_of_another_version_is_neither_read_nor_changed"),
    (EmptiesTablesBeforeARebuild, "a_newer_version_makes_its_table_beside_the_older_one"),
    (ForgetsWhatTheOlderVersionAppends, "a_newer_version_makes_its_table_beside_the_older_one"),
    (EmptiesTablesBeforeARebuild, "a_newer_version_that_fails_leaves_the_older_table"),
    (TakesViewsForMadeAtTheBeginning, "a_newer_version_that_fails_leaves_the_older_table"),
    (LeavesOutChangesOfAnotherVersion, "an_older_version_changes_no_table_of_a_newer_one"),
    (MovesOnWithoutChangesOfAnotherVersion, "an_older_version_changes_no_table_of_a_newer_one"),
]
"""Each store, and the test of the contract that finds its fault."""
