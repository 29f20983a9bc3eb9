"""Faults in appending, in keys and in the bodies of messages."""

import json
import re
import unicodedata
from hashlib import sha256

from refold.engine.errors import KeyReuse, MessageNotFound, VersionConflict
from refold.engine.ports import Appended, Body, NewEvent, Write
from refold.eventstore import MemoryStore


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


CAUGHT = [
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
    (StoresOneByOne, "an_append_refused_inside_a_batch_undoes_only_itself"),
]
"""Each store, and the test of the contract that finds its fault."""
