"""The contract finds what it is there for: each of its tests turns red over a store with a fault of that kind."""

import json
import re
import threading
import unicodedata
from collections import Counter
from contextlib import contextmanager
from fnmatch import fnmatchcase
from hashlib import sha256
from itertools import islice

import pytest

from refold.engine.errors import InvalidInput, KeyReuse, MessageNotFound, RefoldError, VersionConflict
from refold.engine.ports import Appended, Body, Delete, Difference, NewEvent, Upsert, Write
from refold.engine.testing.store_contract import EventStoreContract
from refold.eventstore import MemoryStore

MAIN = threading.main_thread().ident


def every_event(writes, change):
    return [write._replace(events=[change(event) for event in write.events]) for write in writes]


# ---- appending


class GapsInPositions(MemoryStore):
    def read_all(self, *, after=0):
        return (event._replace(position=2 * event.position) for event in super().read_all(after=after))


class TellsTheFirstPositionTwice(MemoryStore):
    def append(self, *writes, **options):
        appended = super().append(*writes, **options)
        return appended._replace(last=appended.first)


class Reserialises(MemoryStore):
    def append(self, *writes, **options):
        again = every_event(writes, lambda event: event._replace(data=json.dumps(json.loads(event.data))))
        return super().append(*again, **options)


class NormalisesUnicode(MemoryStore):
    def append(self, *writes, **options):
        nfc = every_event(writes, lambda event: event._replace(data=unicodedata.normalize("NFC", event.data)))
        return super().append(*nfc, **options)


class HashesTheDataAlone(MemoryStore):
    def read_all(self, *, after=0):
        events = super().read_all(after=after)
        return (event._replace(digest=sha256(event.data.encode()).digest()) for event in events)


class TurnsWritesRound(MemoryStore):
    def append(self, *writes, **options):
        return super().append(*reversed(writes), **options)


class LosesTheSecondWrite(MemoryStore):
    def append(self, *writes, **options):
        return super().append(writes[0], **options)


class StoresOneByOne(MemoryStore):
    def append(self, *writes, **options):
        results = [super(StoresOneByOne, self).append(write) for write in writes[:-1]]
        last = super().append(writes[-1], **options)
        return last._replace(first=results[0].first) if results else last


class StoresEventsFirst(MemoryStore):
    def append(self, *writes, key=None, content=None, bodies=(), changes=()):
        super().append(*writes, key=key, content=content)
        return super().append(
            Write("later-x", None, [NewEvent("a", "t", "")]), bodies=bodies, changes=changes
        )


class StoresBodiesBeforeTheCheck(MemoryStore):
    def append(self, *writes, bodies=(), **options):
        for body in bodies:
            self._state.bodies[body.digest] = body
        return super().append(*writes, **options)


class MixesUpVersions(MemoryStore):
    def append(self, *writes, **options):
        try:
            return super().append(*writes, **options)
        except VersionConflict as error:
            raise VersionConflict(error.stream, error.actual, error.expected) from None


class IgnoresTheExpectedVersion(MemoryStore):
    def append(self, *writes, **options):
        return super().append(*(write._replace(expected=None) for write in writes), **options)


class AcceptsWritersThatAreAhead(MemoryStore):
    def append(self, *writes, **options):
        lax = [
            write._replace(expected=None) if (write.expected or 0) > self.version(write.stream) else write
            for write in writes
        ]
        return super().append(*lax, **options)


class TakesNoneForZero(MemoryStore):
    def append(self, *writes, **options):
        return super().append(*(write._replace(expected=write.expected or 0) for write in writes), **options)


class DropsGuards(MemoryStore):
    def append(self, *writes, **options):
        return super().append(*(write for write in writes if write.events), **options)


class AcceptsNothing(MemoryStore):
    def append(self, *writes, **options):
        if not any(write.events for write in writes):
            return Appended(self.head(), self.head())
        return super().append(*writes, **options)


class JoinsWrites(MemoryStore):
    def append(self, *writes, **options):
        joined = {}
        for write in writes:
            joined.setdefault(write.stream, []).extend(write.events)
        return super().append(*(Write(stream, None, events) for stream, events in joined.items()), **options)


class RepairsNames(MemoryStore):
    def append(self, *writes, **options):
        named = [
            write
            if re.fullmatch(r"[a-z]+-[!-~]{1,280}", write.stream)
            else write._replace(stream="refund-repaired")
            for write in writes
        ]
        return super().append(*named, **options)


class RepairsTypes(MemoryStore):
    def append(self, *writes, **options):
        repaired = every_event(
            writes,
            lambda event: event._replace(type=event.type.strip() or "x", time=event.time.strip() or "x"),
        )
        return super().append(*repaired, **options)


class RepairsText(MemoryStore):
    def append(self, *writes, **options):
        repaired = every_event(
            writes,
            lambda event: event._replace(data=event.data.replace("\0", "").encode(errors="ignore").decode()),
        )
        return super().append(*repaired, **options)


# ---- keys and bodies


class ForgetsTheKey(MemoryStore):
    def append(self, *writes, key=None, **options):
        return super().append(*writes, **options)


class AppliesChangesOfDuplicates(MemoryStore):
    def append(self, *writes, key=None, changes=(), **options):
        appended = super().append(*writes, key=key, changes=changes, **options)
        if appended.duplicate:
            super().append(Write("later-x", None, [NewEvent("a", "t", "")]), changes=changes)
        return appended


class TakesOtherContentForADuplicate(MemoryStore):
    def append(self, *writes, key=None, **options):
        try:
            return super().append(*writes, key=key, **options)
        except KeyReuse:
            return self.settle(key)._replace(duplicate=True)


class ComparesTheDataAlone(MemoryStore):
    def append(self, *writes, content=None, **options):
        data = "".join(event.data for write in writes for event in write.events)
        return super().append(*writes, content=data if content is None else content, **options)


class IgnoresContent(MemoryStore):
    def append(self, *writes, content=None, **options):
        return super().append(*writes, **options)


class TrimsKeys(MemoryStore):
    def append(self, *writes, key=None, **options):
        return super().append(*writes, key=key and key.strip().lower(), **options)


class NeverSettles(MemoryStore):
    def settle(self, key):
        return None


class KeepsBodiesAsText(MemoryStore):
    def body(self, digest):
        found = super().body(digest)
        return found._replace(content=found.content.decode(errors="replace").encode())


class ReplacesBodies(MemoryStore):
    def append(self, *writes, bodies=(), **options):
        appended = super().append(*writes, **options)
        self._state.bodies.update({body.digest: body for body in bodies})
        return appended


class InventsBodies(MemoryStore):
    def body(self, digest):
        try:
            return super().body(digest)
        except MessageNotFound:
            return Body(digest, b"", "{}", b"")


class OnlyPretendsToErase(MemoryStore):
    def erase_body(self, digest):
        return digest in self._state.bodies


class ErasesEventsToo(MemoryStore):
    def erase_body(self, digest):
        self._state.events[0] = self._state.events[0]._replace(digest=b"")
        return super().erase_body(digest)


# ---- reading


class StartsAtOne(MemoryStore):
    def head(self):
        return max(1, super().head())


class ReadsStreamsInclusively(MemoryStore):
    def read_stream(self, stream, *, after=0):
        return super().read_stream(stream, after=after - 1)


class ReadsInclusively(MemoryStore):
    def read_all(self, *, after=0):
        return super().read_all(after=after - 1)


class ReadsCategoriesStreamByStream(MemoryStore):
    def read_category(self, category, *, after=0):
        return iter(sorted(super().read_category(category, after=after), key=lambda event: event.stream))


class ReadsByPrefix(MemoryStore):
    def read_stream(self, stream, *, after=0):
        return (event for event in self.read_all(after=after) if event.stream.startswith(stream))


class ListsStreamsByAge(MemoryStore):
    def streams(self, category):
        return (name for name in self._state.streams if name.startswith(f"{category}-"))


class ListsOnePageOfStreams(MemoryStore):
    def streams(self, category):
        return islice(super().streams(category), 256)


class CountsRefusedAppends(MemoryStore):
    refused = 0

    def append(self, *writes, **options):
        try:
            return super().append(*writes, **options)
        except VersionConflict:
            self.refused += 1
            raise

    def first_missing(self):
        return self.head() + 1 if self.refused else None


class CountsUndoneBatches(MemoryStore):
    undone = 0

    @contextmanager
    def batch(self):
        self.undone += 1
        with super().batch():
            yield

    def first_missing(self):
        return self.head() + 1 if self.undone and self._batch is None else None


class MissesWhatABatchHolds(MemoryStore):
    def first_missing(self):
        return None if self._batch is None else self.head()


class MissesTheLastEvent(MemoryStore):
    def first_missing(self):
        return self.head() or None


class ReadsOnWhileTheLogGrows(MemoryStore):
    def read_all(self, *, after=0):
        while after < len(self._state.events):
            yield self._state.events[after]
            after += 1


class SharesASnapshotWithItsReaders(MemoryStore):
    seen = None

    def read_all(self, *, after=0):
        self.seen = super().head()
        yield from super().read_all(after=after)
        self.seen = None

    def head(self):
        return super().head() if self.seen is None else self.seen


class HasOneCursor(MemoryStore):
    cursor = 0

    def read_all(self, *, after=0):
        self.cursor = after
        while self.cursor < len(self._state.events):
            self.cursor += 1
            yield self._state.events[self.cursor - 1]


class ReadsEverythingAtOnce(MemoryStore):
    def read_all(self, *, after=0):
        return iter([event._replace(data=(event.data + " ")[:-1]) for event in super().read_all(after=after)])


class TakesNamesForPatterns(MemoryStore):
    def read_category(self, category, *, after=0):
        pattern = category.replace("%", "*").replace("_", "?") + "-*"
        return (event for event in self.read_all(after=after) if fnmatchcase(event.stream, pattern))


# ---- views


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


class RebuildsInPlace(MemoryStore):
    def rebuild(self, projection, *, compare=True):
        self._state.views.clear()
        return super().rebuild(projection, compare=compare)


# ---- batches, threads, the end


class LosesBatches(MemoryStore):
    @contextmanager
    def batch(self):
        before = self._state.copy()
        yield
        self._state = before


class DoesNotRollBack(MemoryStore):
    @contextmanager
    def batch(self):
        yield


class RollsBackAllButKeys(MemoryStore):
    @contextmanager
    def batch(self):
        try:
            with super().batch():
                yield
                keys = self._batch[1].keys
        except BaseException:
            self._state.keys["k"] = (b"", Appended(1, 1))
            raise
        del keys


class HidesTheBatchFromItself(MemoryStore):
    def head(self):
        return len(self._state.events)


class IgnoresInnerBatches(MemoryStore):
    @contextmanager
    def batch(self):
        if self._batch is not None:
            yield
            return
        with super().batch():
            yield


class MarksBatches(MemoryStore):
    @contextmanager
    def batch(self):
        with super().batch():
            yield
            self.append(Write("batch-x", None, [NewEvent("a", "t", "")]))


class RemembersKeysByThread(MemoryStore):
    def append(self, *writes, key=None, **options):
        return super().append(*writes, key=key and f"{key}-{threading.get_ident()}", **options)


class ChecksVersionsInTheMainThreadOnly(IgnoresTheExpectedVersion):
    def append(self, *writes, **options):
        if threading.get_ident() == MAIN:
            return MemoryStore.append(self, *writes, **options)
        return super().append(*writes, **options)


class LosesWritesOfAllThreadsButOne(MemoryStore):
    first = None

    def append(self, *writes, **options):
        self.first = self.first or threading.get_ident()
        return super().append(*writes[: 2 if self.first == threading.get_ident() else 1], **options)


class ShowsABatchToEverybody(MemoryStore):
    @contextmanager
    def _open(self):
        with super()._open() as state:
            yield state if self._batch is None else self._batch[1]


class LetsOthersAppendDuringABatch(MemoryStore):
    @contextmanager
    def batch(self):
        self._batch = (threading.get_ident(), self._state.copy())
        yield
        self._state, self._batch = self._batch[1], None


class DropsTheTailAtACheckpoint(MemoryStore):
    def checkpoint(self):
        del self._state.events[-1:]


class DescribesItselfInNumbers(MemoryStore):
    def describe(self):
        return super().describe() | {"events": self.head()}


class CannotBeClosedTwice(MemoryStore):
    def close(self):
        assert not self._closed, "closed already"
        super().close()


def answering_after_close(name):
    def method(self, *args, **options):
        closed, self._closed = self._closed, False
        try:
            return getattr(MemoryStore, name)(self, *args, **options)
        finally:
            self._closed = closed

    @contextmanager
    def batch(self):
        yield

    return type(f"Answers_{name}", (MemoryStore,), {name: batch if name == "batch" else method})


# ---- leases


class GivesLeasesToAll(MemoryStore):
    def claim(self, name, *, holder, now, until):
        return super().claim(f"{name} {self._state.last_token}", holder=holder, now=now, until=until)


class HasOneLease(MemoryStore):
    def claim(self, name, **options):
        return super().claim("the lease", **options)


class FoldsTheCaseOfLeases(MemoryStore):
    def claim(self, name, **options):
        return super().claim(name.lower(), **options)


class NeverReleases(MemoryStore):
    def release(self, token):
        pass


class RefusesASecondRelease(MemoryStore):
    def release(self, token):
        if token not in [held for held, _ in self._state.leases.values()]:
            raise KeyError(token)
        super().release(token)


class HoldsLeasesForEver(MemoryStore):
    def claim(self, name, *, holder, now, until):
        return super().claim(name, holder=holder, now=now, until="9999")


class HoldsLeasesAMomentLonger(MemoryStore):
    def claim(self, name, *, holder, now, until):
        return super().claim(name, holder=holder, now=now, until=f"{until} ")


class UsesTokensAgain(MemoryStore):
    def release(self, token):
        super().release(token)
        self._state.last_token = max([held for held, _ in self._state.leases.values()], default=0)


class ReleasesByName(MemoryStore):
    def release(self, token):
        self._state.leases.clear()


class KeepsLeasesOfUndoneBatches(MemoryStore):
    def claim(self, name, **options):
        taken = super().claim(name, **options)
        if self._batch is not None:
            self._state.leases |= self._batch[1].leases
        return taken


class KeepsALeaseForEachThread(MemoryStore):
    def claim(self, name, **options):
        return super().claim(f"{name} {threading.get_ident()}", **options)


# ---- subscriptions


class FoldsTheCaseOfSubscriptions(MemoryStore):
    def advance(self, name, **options):
        super().advance(name.lower(), **options)


class IgnoresTheExpectedCheckpoint(MemoryStore):
    def advance(self, name, *, expected, position, **options):
        actual = self.checkpoint_of(name)
        super().advance(name, expected=actual, position=max(position, actual or 0), **options)


class MovesTheCheckpointFirst(MemoryStore):
    def advance(self, name, *, expected, position, **options):
        super().advance(name, expected=expected, position=position)
        super().advance(name, expected=position, position=position, **options)


class MovesCheckpointsAnywhere(MemoryStore):
    def advance(self, name, *, position, **options):
        try:
            super().advance(name, position=position, **options)
        except InvalidInput:
            self._state.checkpoints[name] = position


class RepairsNamesOfSubscriptions(MemoryStore):
    def advance(self, name, **options):
        super().advance("".join(filter("abcx".__contains__, name))[:128] or "x", **options)


class IgnoresTheFence(MemoryStore):
    def advance(self, name, *, fence=None, **options):
        super().advance(name, **options)


class KeepsCheckpointsOfUndoneBatches(MemoryStore):
    def advance(self, name, **options):
        super().advance(name, **options)
        if self._batch is not None:
            self._state.checkpoints |= self._batch[1].checkpoints


class CountsTheWholeLogAsLag(MemoryStore):
    def subscriptions(self):
        return [each._replace(lag=self.head()) for each in super().subscriptions()]


class NormalisesDeadLetters(MemoryStore):
    def advance(self, name, *, set_aside=(), **options):
        nfc = [
            letter._replace(event=letter.event._replace(data=unicodedata.normalize("NFC", letter.event.data)))
            for letter in set_aside
        ]
        super().advance(name, set_aside=nfc, **options)


class FindsDeadLettersByPrefix(MemoryStore):
    def dead_letters(self, name, *, stream=None, after=0):
        found = super().dead_letters(name, after=after)
        return (letter for letter in found if letter.event.stream.startswith(stream or ""))


class ListsDeadLettersByAge(MemoryStore):
    def advance(self, name, *, set_aside=(), **options):
        super().advance(name, set_aside=set_aside, **options)
        added = {letter.event.position: letter for letter in set_aside}
        for position in added:
            self._state.letters[name][position] = self._state.letters[name].pop(position)


class SettlesWhatIsSettled(MemoryStore):
    def advance(self, name, *, resolved=(), **options):
        there = [letter.event.position for letter in self.dead_letters(name)]
        super().advance(name, resolved=[each for each in resolved if each in there], **options)


class KeepsTheFirstFailure(MemoryStore):
    def advance(self, name, *, set_aside=(), **options):
        there = [letter.event.position for letter in self.dead_letters(name)]
        new = [letter for letter in set_aside if letter.event.position not in there]
        super().advance(name, set_aside=new, **options)


class LetsEverythingWait(MemoryStore):
    def advance(self, name, *, set_aside=(), **options):
        tried = [letter._replace(attempts=max(letter.attempts, 1)) for letter in set_aside]
        super().advance(name, set_aside=tried, **options)


class LetsWaitBehindWhatComesLater(MemoryStore):
    def advance(self, name, *, set_aside=(), **options):
        streams = {letter.event.stream for letter in self.dead_letters(name)}
        tried = [
            letter._replace(attempts=max(letter.attempts, letter.event.stream in streams))
            for letter in set_aside
        ]
        super().advance(name, set_aside=tried, **options)


class FindsEverythingThere(MemoryStore):
    def wait_for(self, position, **options):
        return True


class TakesTheHeadForEveryCheckpoint(MemoryStore):
    def wait_for(self, position, *, subscription=None, **options):
        return super().wait_for(position, **options)


class WaitsInTheMainThreadOnly(MemoryStore):
    def wait_for(self, position, **options):
        return threading.get_ident() == MAIN and super().wait_for(position, **options)


class TakesAStopForSuccess(MemoryStore):
    def wait_for(self, position, *, stop=None, **options):
        return super().wait_for(position, stop=stop, **options) or (stop is not None and stop.is_set())


class ForgetsTheLastEventOfAChunk(MemoryStore):
    def advance(self, name, *, expected, position, **options):
        super().advance(name, expected=expected, position=max(position - 1, expected or 0), **options)


class BeginsAtTheBeginning(MemoryStore):
    def subscribe(self, name, *, start="beginning", **options):
        return super().subscribe(name, **options)


CAUGHT = [
    (FoldsTheCaseOfSubscriptions, "a_checkpoint_is_kept_by_name"),
    (IgnoresTheExpectedCheckpoint, "a_checkpoint_that_is_another_one_is_a_conflict"),
    (
        MovesTheCheckpointFirst,
        "checkpoint_view_changes_and_dead_letters_are_kept_together_or_not_at_all",
    ),
    (MovesCheckpointsAnywhere, "a_checkpoint_moves_neither_back_nor_beyond_the_head"),
    (RepairsNamesOfSubscriptions, "a_subscription_has_a_name_that_can_be_shown"),
    (IgnoresTheFence, "a_lease_that_was_taken_over_moves_no_checkpoint"),
    (KeepsCheckpointsOfUndoneBatches, "a_checkpoint_moved_in_a_batch_that_raises_is_where_it_was"),
    (CountsTheWholeLogAsLag, "every_subscription_is_listed_with_how_far_it_is"),
    (MemoryStore, "checkpoints_and_dead_letters_are_there_when_the_store_is_opened_again"),
    (NormalisesDeadLetters, "a_dead_letter_keeps_the_event_exactly_as_stored"),
    (FindsDeadLettersByPrefix, "dead_letters_are_listed_in_order_by_name_stream_and_position"),
    (ListsDeadLettersByAge, "dead_letters_are_listed_in_order_by_name_stream_and_position"),
    (SettlesWhatIsSettled, "a_dead_letter_is_settled_once"),
    (KeepsTheFirstFailure, "a_dead_letter_that_failed_again_is_kept_anew"),
    (LetsEverythingWait, "an_event_waits_only_behind_an_earlier_one_of_its_stream"),
    (LetsWaitBehindWhatComesLater, "an_event_waits_only_behind_an_earlier_one_of_its_stream"),
    (FindsEverythingThere, "waiting_tells_at_once_what_is_there"),
    (TakesTheHeadForEveryCheckpoint, "waiting_tells_at_once_what_is_there"),
    (WaitsInTheMainThreadOnly, "waiting_ends_with_what_another_thread_does"),
    (TakesAStopForSuccess, "waiting_ends_when_it_is_told_to_stop"),
    (ForgetsTheLastEventOfAChunk, "a_subscription_goes_on_where_it_was_and_applies_each_change_once"),
    (BeginsAtTheBeginning, "a_new_subscription_begins_where_it_is_told_to"),
    (GivesLeasesToAll, "a_lease_that_is_held_is_given_to_nobody_else"),
    (HasOneLease, "leases_of_other_names_are_not_in_the_way"),
    (FoldsTheCaseOfLeases, "leases_of_other_names_are_not_in_the_way"),
    (NeverReleases, "a_released_lease_can_be_taken_at_once"),
    (RefusesASecondRelease, "a_released_lease_can_be_taken_at_once"),
    (HoldsLeasesForEver, "a_lease_ends_by_itself"),
    (HoldsLeasesAMomentLonger, "a_lease_ends_by_itself"),
    (UsesTokensAgain, "a_token_is_larger_than_all_before_it"),
    (ReleasesByName, "a_holder_that_came_too_late_ends_nobody_elses_lease"),
    (KeepsLeasesOfUndoneBatches, "a_lease_taken_in_a_batch_that_raises_is_not_held"),
    (KeepsALeaseForEachThread, "of_threads_that_want_one_lease_exactly_one_gets_it"),
    (GapsInPositions, "positions_are_dense_over_all_streams_and_versions_in_each"),
    (LosesTheSecondWrite, "an_append_tells_its_first_and_last_position"),
    (TellsTheFirstPositionTwice, "an_append_tells_its_first_and_last_position"),
    (Reserialises, "an_event_is_stored_exactly_as_given"),
    (NormalisesUnicode, "unicode_data_comes_back_exactly"),
    (HashesTheDataAlone, "each_digest_can_be_computed_by_anyone"),
    (TurnsWritesRound, "several_streams_are_appended_to_at_once"),
    (StoresOneByOne, "a_wrong_version_in_the_second_write_leaves_nothing"),
    (StoresBodiesBeforeTheCheck, "a_wrong_version_in_the_second_write_leaves_nothing"),
    (StoresEventsFirst, "a_failure_after_the_events_leaves_nothing"),
    (MixesUpVersions, "a_version_conflict_names_stream_expected_and_actual_version"),
    (IgnoresTheExpectedVersion, "a_version_conflict_names_stream_expected_and_actual_version"),
    (AcceptsWritersThatAreAhead, "a_version_that_is_ahead_is_a_conflict_too"),
    (TakesNoneForZero, "expecting_none_accepts_any_version"),
    (DropsGuards, "an_empty_write_only_guards"),
    (AcceptsNothing, "an_append_without_events_is_refused"),
    (JoinsWrites, "one_stream_twice_in_one_append_is_refused"),
    (RepairsNames, "names_that_cannot_be_hashed_apart_are_refused"),
    (RepairsTypes, "names_that_cannot_be_hashed_apart_are_refused"),
    (RepairsText, "text_that_not_every_store_can_hold_is_refused"),
    (ForgetsTheKey, "the_same_key_and_content_return_the_first_result_and_store_nothing_again"),
    (AppliesChangesOfDuplicates, "the_same_key_and_content_return_the_first_result_and_store_nothing_again"),
    (TakesOtherContentForADuplicate, "the_same_key_with_other_content_is_refused_with_both_digests"),
    (ComparesTheDataAlone, "every_part_of_an_event_is_part_of_the_content"),
    (IgnoresContent, "content_stands_for_the_writes_where_it_is_given"),
    (TrimsKeys, "another_key_is_another_append"),
    (NeverSettles, "settle_tells_whether_a_key_was_appended"),
    (KeepsBodiesAsText, "a_body_comes_back_byte_for_byte"),
    (ReplacesBodies, "a_body_is_stored_once_by_its_digest"),
    (InventsBodies, "a_body_nobody_stored_is_not_found"),
    (OnlyPretendsToErase, "an_erased_body_is_gone_and_every_digest_still_verifies"),
    (ErasesEventsToo, "an_erased_body_is_gone_and_every_digest_still_verifies"),
    (StartsAtOne, "an_empty_log_has_nothing_to_read"),
    (ReadsStreamsInclusively, "a_stream_is_read_in_order_from_any_version"),
    (ReadsInclusively, "the_log_is_read_in_order_from_any_position"),
    (ReadsCategoriesStreamByStream, "a_category_is_read_in_the_order_of_positions"),
    (ReadsByPrefix, "streams_whose_names_start_alike_are_kept_apart"),
    (ListsStreamsByAge, "the_streams_of_a_category_are_listed_sorted"),
    (ListsOnePageOfStreams, "a_long_list_of_streams_is_complete"),
    *(
        (fault, "nothing_is_missing_in_a_log_that_only_the_store_has_written")
        for fault in [
            CountsRefusedAppends,
            CountsUndoneBatches,
            MissesWhatABatchHolds,
            MissesTheLastEvent,
        ]
    ),
    (ReadsOnWhileTheLogGrows, "a_reader_sees_the_log_as_it_was_when_it_began"),
    (SharesASnapshotWithItsReaders, "a_reader_that_stopped_half_way_holds_up_nothing"),
    (HasOneCursor, "two_readers_in_one_thread_do_not_disturb_each_other"),
    (ReadsEverythingAtOnce, "reading_needs_no_memory_for_the_whole_log"),
    (TakesNamesForPatterns, "a_name_is_never_a_pattern"),
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
    (ComparesAnyway, "a_rebuild_that_compares_nothing_replaces_all_the_same"),
    (ReportsOnlyLiveRows, "a_missing_row_is_reported_and_added"),
    (ReportsOnlyRebuiltRows, "an_extra_row_is_reported_and_removed"),
    (RebuildsInPlace, "a_rebuild_that_fails_changes_nothing"),
    (LosesBatches, "a_batch_is_stored_at_its_end"),
    (DoesNotRollBack, "a_batch_that_raises_leaves_nothing"),
    (RollsBackAllButKeys, "a_batch_that_raises_leaves_nothing"),
    (HidesTheBatchFromItself, "a_batch_sees_its_own_appends"),
    (StoresOneByOne, "an_append_refused_inside_a_batch_undoes_only_itself"),
    (IgnoresInnerBatches, "a_batch_inside_a_batch_is_part_of_it"),
    (MarksBatches, "an_empty_batch_stores_nothing"),
    (RemembersKeysByThread, "one_key_in_parallel_threads_is_appended_once"),
    (ChecksVersionsInTheMainThreadOnly, "of_all_writers_at_one_version_exactly_one_wins"),
    (LosesWritesOfAllThreadsButOne, "appends_of_many_threads_are_all_stored_densely"),
    (ShowsABatchToEverybody, "other_threads_see_a_batch_only_as_a_whole"),
    (LetsOthersAppendDuringABatch, "the_batch_of_one_thread_keeps_out_the_appends_of_others"),
    (MemoryStore, "a_store_that_is_durable_holds_everything_when_it_is_opened_again"),
    (DropsTheTailAtACheckpoint, "folding_what_lies_beside_the_store_changes_nothing"),
    (DescribesItselfInNumbers, "a_store_describes_itself_to_an_operator"),
    (CannotBeClosedTwice, "a_closed_store_refuses_every_call_but_another_close"),
    *(
        (answering_after_close(name), "a_closed_store_refuses_every_call_but_another_close")
        for name in [
            "append",
            "batch",
            "settle",
            "head",
            "first_missing",
            "version",
            "read_stream",
            "read_all",
            "read_category",
            "streams",
            "body",
            "erase_body",
            "row",
            "rows",
            "claim",
            "release",
            "subscribe",
            "subscriptions",
            "wait_for",
            "checkpoint_of",
            "advance",
            "dead_letters",
            "rebuild",
            "describe",
            "checkpoint",
        ]
    ),
]


RED = (AssertionError, RefoldError, KeyError, RuntimeError, ValueError)
"""What a test fails with over a faulty store; other errors would be mistakes in the planted fault."""


def contract_over(store_class):
    class Planted(EventStoreContract):
        def make_store(self, tmp_path, views):
            return store_class()

    return Planted()


def names_of_tests():
    return {name.removeprefix("test_") for name in dir(EventStoreContract) if name.startswith("test_")}


@pytest.mark.parametrize(
    ("store_class", "test"), CAUGHT, ids=[f"{store.__name__}-{test}" for store, test in CAUGHT]
)
def test_the_contract_catches_a_store_that(store_class, test):
    contract = contract_over(store_class)
    contract.setup_method()
    try:
        with pytest.raises(RED):
            getattr(contract, f"test_{test}")()
    finally:
        contract._folder.cleanup()


def test_every_test_of_the_contract_has_a_fault_it_catches():
    assert names_of_tests() == {test for _, test in CAUGHT}


def test_no_two_parts_of_the_contract_use_one_name():
    defined = Counter(
        name
        for part in EventStoreContract.__mro__
        for name in vars(part)
        if not name.startswith("__") and part is not object
    )
    assert [name for name, times in defined.items() if times > 1] == []
