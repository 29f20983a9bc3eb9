"""Faults in the views of another version."""

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
    def _prepared(self):
        with self._writing() as connection:
            schema.migrate(connection)
            views.recreate(connection, views.stale(connection, self._views))
            if log.head(connection):
                connection.execute("UPDATE views SET definition = ''")
        return True


class EmptiesTablesBeforeARebuild(OnDisk):
    def rebuild(self, projection, **options):
        super().rebuild(Given(projection.views), compare=False)
        return super().rebuild(projection, **options)


class ReadsAnyVersion(OnDisk):
    def _check_fresh(self, view):
        pass


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
                connection.execute(views.RECORD, (view.name, views.definition(view)))
        return super().rebuild(projection, **options)


class LooksAtItsViewsOnce(OnDisk):
    @property
    def views_stale(self):
        return self._stale


CAUGHT = [
    (LooksAtItsViewsOnce, "an_older_version_changes_no_table_of_a_newer_one"),
    (EmptiesTablesAtOnce, "to_open_a_store_with_other_views_changes_nothing_for_who_has_it_open"),
    (ReadsAnyVersion, "a_view_of_another_version_is_neither_read_nor_changed"),
    (LeavesOutChangesOfAnotherVersion, "a_view_of_another_version_is_neither_read_nor_changed"),
    (EmptiesTablesBeforeARebuild, "a_newer_version_makes_its_table_beside_the_older_one"),
    (ForgetsWhatTheOlderVersionAppends, "a_newer_version_makes_its_table_beside_the_older_one"),
    (EmptiesTablesBeforeARebuild, "a_newer_version_that_fails_leaves_the_older_table"),
    (TakesViewsForMadeAtTheBeginning, "a_newer_version_that_fails_leaves_the_older_table"),
    (LeavesOutChangesOfAnotherVersion, "an_older_version_changes_no_table_of_a_newer_one"),
    (MovesOnWithoutChangesOfAnotherVersion, "an_older_version_changes_no_table_of_a_newer_one"),
]
"""Each store, and the test of the contract that finds its fault."""
