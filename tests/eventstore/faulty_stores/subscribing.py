"""Faults in checkpoints, dead letters, waiting and subscribing."""

import threading
import unicodedata
from contextlib import suppress

from refold.engine.errors import InvalidInput
from refold.eventstore import MemoryStore

MAIN = threading.main_thread().ident


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


class SettlesForEverybody(MemoryStore):
    def advance(self, name, *, resolved=(), **options):
        super().advance(name, resolved=resolved, **options)
        for letters in self._state.letters.values():
            for position in resolved:
                letters.pop(position, None)


class LetsWaitBehindWhatOthersSetAside(MemoryStore):
    def advance(self, name, *, set_aside=(), **options):
        streams = {each.event.stream for other in self._state.letters for each in self.dead_letters(other)}
        tried = [
            letter._replace(attempts=max(letter.attempts, letter.event.stream in streams))
            for letter in set_aside
        ]
        super().advance(name, set_aside=tried, **options)


class KeepsOneLetterForEachEvent(MemoryStore):
    def advance(self, name, *, set_aside=(), **options):
        super().advance(name, set_aside=set_aside, **options)
        for other in self._state.letters.keys() - {name}:
            for letter in set_aside:
                self._state.letters[other].pop(letter.event.position, None)


class FindsEverythingThere(MemoryStore):
    def wait_for(self, position, **options):
        return True


class WaitsForWhateverIsAskedFor(MemoryStore):
    def wait_for(self, position, *, timeout_s=None, **options):
        with suppress(InvalidInput):
            return super().wait_for(position, timeout_s=timeout_s, **options)


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
    *(
        (fault, "the_dead_letters_of_another_subscription_are_none_of_its_own")
        for fault in [SettlesForEverybody, LetsWaitBehindWhatOthersSetAside, KeepsOneLetterForEachEvent]
    ),
    (LetsEverythingWait, "an_event_waits_only_behind_an_earlier_one_of_its_stream"),
    (LetsWaitBehindWhatComesLater, "an_event_waits_only_behind_an_earlier_one_of_its_stream"),
    (WaitsForWhateverIsAskedFor, "nobody_waits_for_what_is_no_position_or_no_time"),
    (FindsEverythingThere, "waiting_tells_at_once_what_is_there"),
    (TakesTheHeadForEveryCheckpoint, "waiting_tells_at_once_what_is_there"),
    (WaitsInTheMainThreadOnly, "waiting_ends_with_what_another_thread_does"),
    (TakesAStopForSuccess, "waiting_ends_when_it_is_told_to_stop"),
    (ForgetsTheLastEventOfAChunk, "a_subscription_goes_on_where_it_was_and_applies_each_change_once"),
    (BeginsAtTheBeginning, "a_new_subscription_begins_where_it_is_told_to"),
]
"""Each store, and the test of the contract that finds its fault."""
