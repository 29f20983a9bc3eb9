"""A store that differs from the others, in one thing and rarely, is found by comparing them."""

from contextlib import contextmanager, suppress
from functools import partial

import differential_calls as calls
import differential_machine as machine
import pytest
from hypothesis import settings

from refold.engine.errors import KeyReuse, MessageNotFound, RefoldError, VersionConflict
from refold.engine.ports import Delete, Upsert
from refold.engine.testing.store_scenery import PAIRS, TOTALS
from refold.eventstore import MemoryStore

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time


class CountsOneTooMany(MemoryStore):
    def version(self, stream):
        found = super().version(stream)
        return found + (found > 4)


class ForgetsAKey(MemoryStore):
    def append(self, *writes, key=None, **options):
        return super().append(*writes, key=None if key == "l" else key, **options)


class ForgetsThatItWasThere(MemoryStore):
    def append(self, *writes, **options):
        return super().append(*writes, **options)._replace(duplicate=False)


class AnswersAnyContent(MemoryStore):
    def append(self, *writes, **options):
        try:
            return super().append(*writes, **options)
        except KeyReuse as error:
            return self.settle(error.key)._replace(duplicate=True)


class RaisesAnotherClass(MemoryStore):
    def append(self, *writes, **options):
        try:
            return super().append(*writes, **options)
        except VersionConflict as error:
            raise KeyReuse(error.stream, "", "") from None


class TellsOtherNumbers(MemoryStore):
    def append(self, *writes, **options):
        try:
            return super().append(*writes, **options)
        except VersionConflict as error:
            raise VersionConflict(error.stream, error.actual, error.expected) from None


class ChecksTheVersionFirst(MemoryStore):
    def append(self, *writes, key=None, **options):
        for write in writes:
            if key is not None and write.expected not in {None, self.version(write.stream)}:
                return super().append(*writes, **options)
        return super().append(*writes, key=key, **options)


def with_changes(change):
    class Changes(MemoryStore):
        def append(self, *writes, changes=(), **options):
            return super().append(
                *writes, changes=[other for each in changes for other in change(each)], **options
            )

    return Changes


def replaced(change):
    """Return changes that put an upsert in the place of the row."""
    if isinstance(change, Upsert) and change.view is PAIRS:
        return [Delete(PAIRS, change.values[:2]), change]
    return [change]


def summed_only_once(change):
    return (
        [Delete(TOTALS, change.values[:1]), change]
        if isinstance(change, Upsert) and change.view is TOTALS
        else [change]
    )


class TakesAnOverflow(MemoryStore):
    def append(self, *writes, changes=(), **options):
        try:
            return super().append(*writes, changes=changes, **options)
        except RefoldError as error:
            if "a sum is out of range" not in str(error):
                raise
            return super().append(*writes, **options)


class OverwritesBodies(MemoryStore):
    def append(self, *writes, bodies=(), **options):
        appended = super().append(*writes, bodies=bodies, **options)
        with self._open() as state:
            state.bodies.update((each.digest, each) for each in bodies if not appended.duplicate)
        return appended


class KeepsWhatIsErased(MemoryStore):
    def erase_body(self, digest):
        try:
            return bool(self.body(digest))
        except MessageNotFound:
            return False


class LosesEmptyData(MemoryStore):
    def append(self, *writes, **options):
        filled = [
            write._replace(events=[each._replace(data=each.data or "{}") for each in write.events])
            for write in writes
        ]
        return super().append(*filled, **options)


class UndoesNothing(MemoryStore):
    @contextmanager
    def batch(self):
        kept = None
        with suppress(calls.Interrupted), super().batch():
            try:
                yield
            except calls.Interrupted as error:
                kept = error
        if kept is not None:
            raise kept


class SkipsOne(MemoryStore):
    def read_all(self, *, after=0):
        return super().read_all(after=after + (after == 10))


class ReadsFromTheNextOnwards(MemoryStore):
    def read_stream(self, stream, *, after=0):
        return super().read_stream(stream, after=after if after < 3 else after - 1)


class ReadsCategoriesThatBeginAlike(MemoryStore):
    def read_category(self, category, *, after=0):
        return (each for each in self.read_all(after=after) if each.stream.startswith(category))


class ReadsWhatCameLater(MemoryStore):
    def read_all(self, *, after=0):
        while found := next(super().read_all(after=after), None):
            yield found
            after = found.position


class TurnsStreamsRound(MemoryStore):
    def streams(self, category):
        return iter(sorted(super().streams(category), reverse=True))


class IgnoresTheLimit(MemoryStore):
    def rows(self, view, *, limit=None, **options):
        return super().rows(view, **options)


class BeginsWithTheValue(MemoryStore):
    def rows(self, view, *, after=None, **options):
        found = list(super().rows(view, **options))
        named = options.get("order") or view.key[0]
        return (row for row in found if after is None or (row[named] is not None and row[named] >= after))


class HidesDifferences(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        return [each for each in super().rebuild(projection, compare=compare) if each.live is not None]


class RebuildsHalf(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        found = super().rebuild(projection, compare=compare)
        with self._open() as state:
            for view in projection.views[1:]:
                state.views[view.name].update(
                    (each.key, tuple(each.live.values()))
                    for each in found
                    if each.view == view.name and each.live
                )
        return found


class LeasesTwice(MemoryStore):
    def claim(self, name, *, holder, now, until):
        return super().claim(name, holder=holder, now=max(now, calls.MOMENTS[3]), until=until)


class ShowsNoLease(MemoryStore):
    def lease(self, name):
        return None


class NeverReleases(MemoryStore):
    def release(self, token):
        pass


class MovesBack(MemoryStore):
    def advance(self, name, *, expected, position, **options):
        before = self.checkpoint_of(name)
        if before is not None and before == expected and 0 <= position < before:
            return
        super().advance(name, expected=expected, position=position, **options)


class IgnoresTheFence(MemoryStore):
    def advance(self, name, *, fence=None, **options):
        super().advance(name, **options)


class KeepsWhatIsResolved(MemoryStore):
    def advance(self, name, *, resolved=(), **options):
        there = {each.event.position for each in self.dead_letters(name)}
        super().advance(name, resolved=[each for each in resolved if each not in there], **options)


class ListsLettersOfAllStreams(MemoryStore):
    def dead_letters(self, name, *, stream=None, after=0):
        return super().dead_letters(name, after=after)


FAULTS = [
    MovesBack,
    IgnoresTheFence,
    KeepsWhatIsResolved,
    ListsLettersOfAllStreams,
    CountsOneTooMany,
    ForgetsAKey,
    ForgetsThatItWasThere,
    AnswersAnyContent,
    RaisesAnotherClass,
    TellsOtherNumbers,
    ChecksTheVersionFirst,
    TakesAnOverflow,
    OverwritesBodies,
    KeepsWhatIsErased,
    LosesEmptyData,
    UndoesNothing,
    SkipsOne,
    ReadsFromTheNextOnwards,
    ReadsCategoriesThatBeginAlike,
    ReadsWhatCameLater,
    TurnsStreamsRound,
    IgnoresTheLimit,
    BeginsWithTheValue,
    HidesDifferences,
    RebuildsHalf,
    LeasesTwice,
    NeverReleases,
    ShowsNoLease,
    pytest.param(with_changes(replaced), id="ReplacesRows"),
    pytest.param(with_changes(summed_only_once), id="ReplacesSums"),
    pytest.param(
        with_changes(lambda change: [] if isinstance(change, Delete) else [change]), id="KeepsDeletedRows"
    ),
]


@pytest.mark.parametrize("faulty", FAULTS)
def test_a_planted_difference_is_found(faulty):
    # In memory a history takes a fraction of the time, so that there can be many: some faults show rarely.
    with pytest.raises(machine.Differs):
        machine.histories(
            machine.in_memory,
            partial(machine.in_memory, faulty),
            budget=settings(machine.BUDGET, max_examples=20 * machine.HISTORIES),
        )


def test_a_store_does_not_differ_from_its_twin():
    machine.histories(machine.in_memory, machine.in_memory)
