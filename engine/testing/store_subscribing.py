"""The event store contract: checkpoints, dead letters and waiting, which subscriptions are made of."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Final
from unittest import SkipTest

from ..errors import CheckpointConflict, InvalidInput
from ..ports import DeadLetter, Filter, Handled, Progress, Write
from .store_scenery import UNICODE, Failing, Interrupted, StoreScenery, event, nine_o_clock, raised, total

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..ports import Change, StoredEvent

WHEN: Final = "2026-01-02T09:00:00.000000Z"
LONG_S: Final = 60
"""Seconds a test waits for what another thread does; it never takes that long."""


class _Following(StoreScenery):
    """A log with events, and a subscription that is somewhere in it."""

    def appended(self, *streams: str, data: str = "{}") -> list[StoredEvent]:
        """Append one event to each stream and return the log."""
        for stream in streams:
            self.store.append(Write(stream, None, [event(data)]))
        return list(self.store.read_all())

    def letter(self, position: int, *, attempts: int = 1) -> DeadLetter:
        """Return the event at a position as a dead letter."""
        found = next(self.store.read_all(after=position - 1))
        return DeadLetter(found, "ValueError" if attempts else "", f"reason {position}", attempts, WHEN)

    def set_aside(self, *letters: DeadLetter, name: str = "a") -> None:
        """Set events aside, wherever the checkpoint is."""
        at = self.store.checkpoint_of(name)
        self.store.advance(name, expected=at, position=at or 0, set_aside=letters)

    def positions(self, name: str = "a", *, stream: str | None = None, after: int = 0) -> list[int]:
        """Return the positions of the dead letters."""
        found = self.store.dead_letters(name, stream=stream, after=after)
        return [letter.event.position for letter in found]


class Checkpoints(_Following):
    """How far a subscription is, moved together with what it has computed."""

    def test_a_checkpoint_is_kept_by_name(self) -> None:
        """Exactly by that name; there is none before it was made."""
        self.appended("refund-a", "refund-b")
        assert self.store.checkpoint_of("a") is None
        self.store.advance("a", expected=None, position=0)
        self.store.advance("A", expected=None, position=2)
        self.store.advance("a", expected=0, position=1)
        assert [self.store.checkpoint_of(name) for name in ("a", "A", "b")] == [1, 2, None]

    def test_a_checkpoint_that_is_another_one_is_a_conflict(self) -> None:
        """Named with both; nothing of that call is done."""
        self.appended("refund-a", "refund-b")
        self.store.advance("a", expected=None, position=1)
        for expected in (None, 0, 2):
            error = raised(
                CheckpointConflict,
                self.store.advance,
                "a",
                expected=expected,
                position=2,
                changes=[total("t", 1)],
                set_aside=[self.letter(1)],
            )
            assert (error.name, error.expected, error.actual) == ("a", expected, 1)
        assert raised(CheckpointConflict, self.store.advance, "b", expected=0, position=1).actual is None
        assert (self.store.checkpoint_of("a"), self.rows(), self.positions()) == (1, [], [])

    def test_checkpoint_view_changes_and_dead_letters_are_kept_together_or_not_at_all(self) -> None:
        """A change that fails leaves the others undone."""
        self.appended("refund-a", "refund-b")
        self.store.advance(
            "a", expected=None, position=1, changes=[total("t", 1)], set_aside=[self.letter(1)]
        )
        failing: list[Change] = [total("t", 2)]
        raised(
            Interrupted,
            self.store.advance,
            "a",
            expected=1,
            position=2,
            changes=Failing(failing),
            set_aside=[self.letter(2)],
            resolved=[1],
        )
        assert (self.store.checkpoint_of("a"), self.positions()) == (1, [1])
        assert [row["total"] for row in self.rows()] == [1]

    def test_a_checkpoint_moves_neither_back_nor_beyond_the_head(self) -> None:
        """It would skip events, or deliver them again."""
        self.appended("refund-a", "refund-b")
        self.store.advance("a", expected=None, position=1)
        for position in (-1, 0, 3):
            raised(InvalidInput, self.store.advance, "a", expected=1, position=position)
        self.store.advance("a", expected=1, position=1)
        assert self.store.checkpoint_of("a") == 1

    def test_a_subscription_has_a_name_that_can_be_shown(self) -> None:
        """Printable ASCII without blanks."""
        for name in ("", "a b", "\u00e9", "a\n", "x" * 129):
            raised(InvalidInput, self.store.advance, name, expected=None, position=0)

    def test_a_lease_that_was_taken_over_moves_no_checkpoint(self) -> None:
        """Even where the checkpoint is still the expected one; a lease that is held does."""
        self.appended("refund-a")
        late = self.store.claim("lease", holder="one", now="2026-01", until="2026-02")
        held = self.store.claim("lease", holder="other", now="2026-03", until="2026-04")
        move = partial(self.store.advance, "a", expected=None, position=1)
        error = raised(CheckpointConflict, move, fence=late)
        assert (error.expected, error.actual) == (None, None)
        assert self.store.checkpoint_of("a") is None
        move(fence=held)
        assert self.store.checkpoint_of("a") == 1

    def test_a_checkpoint_moved_in_a_batch_that_raises_is_where_it_was(self) -> None:
        """So are its dead letters."""
        self.appended("refund-a")

        def fail() -> None:
            with self.store.batch():
                self.store.advance("a", expected=None, position=1, set_aside=[self.letter(1)])
                assert (self.store.checkpoint_of("a"), self.positions()) == (1, [1])
                raise Interrupted

        raised(Interrupted, fail)
        assert (self.store.checkpoint_of("a"), self.positions()) == (None, [])

    def test_every_subscription_is_listed_with_how_far_it_is(self) -> None:
        """By name."""
        self.appended("refund-a", "refund-b", "refund-c")
        self.store.advance("b", expected=None, position=1, set_aside=[self.letter(1)])
        self.store.advance("a", expected=None, position=3)
        assert self.store.subscriptions() == [Progress("a", 3, 0, 0), Progress("b", 1, 2, 1)]

    def test_checkpoints_and_dead_letters_are_there_when_the_store_is_opened_again(self) -> None:
        """Where it is durable."""
        if not self.durable:
            raise SkipTest("nothing of this store survives")
        self.appended("refund-a", data=UNICODE)
        letter = self.letter(1)
        self.store.advance("a", expected=None, position=1, set_aside=[letter])
        self.store.close()
        self.store = self.open()
        assert self.store.checkpoint_of("a") == 1
        assert list(self.store.dead_letters("a")) == [letter]


class DeadLetters(_Following):
    """What a subscription has set aside."""

    def test_a_dead_letter_keeps_the_event_exactly_as_stored(self) -> None:
        """With its digest, and why and when it was set aside."""
        (stored,) = self.appended("refund-a", data=UNICODE)
        self.set_aside(self.letter(1, attempts=3))
        assert list(self.store.dead_letters("a")) == [DeadLetter(stored, "ValueError", "reason 1", 3, WHEN)]

    def test_dead_letters_are_listed_in_order_by_name_stream_and_position(self) -> None:
        """However many there are."""
        self.appended(*["refund-a", "refund-b"] * 40)
        self.set_aside(*map(self.letter, reversed(range(1, 81))))
        self.set_aside(self.letter(5), name="b")
        assert self.positions() == list(range(1, 81))
        assert self.positions(after=78) == [79, 80]
        assert self.positions(stream="refund-a") == list(range(1, 81, 2))
        assert self.positions(stream="refund-b", after=77) == [78, 80]
        assert (self.positions("b"), self.positions("c"), self.positions(stream="refund-")) == ([5], [], [])

    def test_a_dead_letter_is_settled_once(self) -> None:
        """A second one who thinks they did it is told; the others stay."""
        self.appended("refund-a", "refund-b")
        self.set_aside(self.letter(1), self.letter(2))
        settle = partial(self.store.advance, "a", expected=0, position=0, resolved=[1])
        settle(changes=[total("t", 1)])
        error = raised(CheckpointConflict, settle, changes=[total("t", 1)])
        assert (error.expected, error.actual) == (0, 0)
        assert self.positions() == [2]
        assert [row["total"] for row in self.rows()] == [1]

    def test_a_dead_letter_that_failed_again_is_kept_anew(self) -> None:
        """In the place of what was known."""
        self.appended("refund-a")
        self.set_aside(self.letter(1, attempts=3))
        self.set_aside(self.letter(1, attempts=4))
        assert [letter.attempts for letter in self.store.dead_letters("a")] == [4]

    def test_the_dead_letters_of_another_subscription_are_none_of_its_own(self) -> None:
        """They are neither settled with its own, nor anything to wait behind."""
        self.appended("refund-a", "refund-a")
        for name in ("a", "b"):
            self.set_aside(self.letter(1), name=name)
        settle = partial(self.store.advance, "a", expected=0, position=0, resolved=[1])
        settle()
        assert (self.positions("a"), self.positions("b")) == ([], [1])
        failed, waiting = self.letter(2), self.letter(2, attempts=0)
        raised(CheckpointConflict, self.set_aside, waiting)
        raised(CheckpointConflict, settle)
        self.set_aside(waiting, name="b")
        self.set_aside(failed)
        assert list(self.store.dead_letters("a")) == [failed]
        assert list(self.store.dead_letters("b")) == [self.letter(1), waiting]

    def test_an_event_waits_only_behind_an_earlier_one_of_its_stream(self) -> None:
        """Where that one is settled, there is nothing to wait for: the event would never be delivered."""
        self.appended("refund-a", "refund-b", "refund-a", "refund-a")
        waiting = self.letter(3, attempts=0)
        raised(CheckpointConflict, self.set_aside, waiting)
        self.set_aside(self.letter(2), self.letter(4))
        raised(CheckpointConflict, self.set_aside, waiting)
        self.set_aside(waiting, self.letter(1))
        assert self.positions() == [1, 2, 3, 4]
        settle = partial(self.store.advance, "a", expected=0, position=0)
        raised(CheckpointConflict, settle, resolved=[1], set_aside=[waiting])
        settle(resolved=[1, 3])
        raised(CheckpointConflict, self.set_aside, waiting)
        assert self.positions() == [2, 4]


class Waiting(_Following):
    """Waiting for the log, or for a subscription, to be somewhere."""

    def waiting(
        self, position: int, *, subscription: str | None = None, timeout_s: float, stop: Event | None = None
    ) -> Callable[[], bool]:
        """Begin to wait; return what gives the answer, and holds nothing up where there is none."""
        wait_for = partial(
            self.store.wait_for, position, subscription=subscription, timeout_s=timeout_s, stop=stop
        )
        if not self.concurrent_threads:
            answer = wait_for()
            return lambda: answer
        future: Future[bool] = Future()

        def wait() -> None:
            try:
                future.set_result(wait_for())
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test is told
                future.set_exception(error)

        Thread(target=wait, daemon=True).start()
        return partial(future.result, LONG_S)

    def test_nobody_waits_for_what_is_no_position_or_no_time(self) -> None:
        """It would never be reached, or never be over."""
        self.appended("refund-a")
        wait_for: Callable[..., bool] = self.store.wait_for
        for position in ("1", None, 1.0, True):
            raised(InvalidInput, wait_for, position, timeout_s=0)
        for timeout_s in (float("nan"), "1", True):
            raised(InvalidInput, wait_for, 1, timeout_s=timeout_s)
        assert self.waiting(1, timeout_s=float("inf"))()
        assert not self.waiting(2, timeout_s=-1)()

    def test_waiting_tells_at_once_what_is_there(self) -> None:
        """Of the log, and of a subscription, which is nowhere before it is made."""
        self.appended("refund-a", "refund-b")
        self.store.advance("a", expected=None, position=1)
        assert self.waiting(2, timeout_s=0)()
        assert not self.waiting(3, timeout_s=0)()
        assert self.waiting(1, subscription="a", timeout_s=0)()
        assert not self.waiting(2, subscription="a", timeout_s=0.01)()
        assert not self.waiting(0, subscription="b", timeout_s=0)()

    def test_waiting_ends_with_what_another_thread_does(self) -> None:
        """An append, a batch, and the move of a checkpoint."""
        if not self.concurrent_threads:
            raise SkipTest("the store is for one thread at a time")

        def batched() -> None:
            with self.store.batch():
                self.store.append(Write("refund-b", 0, [event()]))

        acts: list[tuple[int, str | None, Callable[[], object]]] = [
            (1, None, partial(self.store.append, Write("refund-a", 0, [event()]))),
            (2, None, batched),
            (2, "a", partial(self.store.advance, "a", expected=None, position=2)),
        ]
        for position, name, act in acts:
            answer = self.waiting(position, subscription=name, timeout_s=2 * LONG_S)
            act()
            assert answer()

    def test_waiting_ends_when_it_is_told_to_stop(self) -> None:
        """Before it begins, and while it lasts."""
        stop = Event()
        stop.set()
        assert not self.waiting(1, stop=stop, timeout_s=2 * LONG_S)()
        if not self.concurrent_threads:
            raise SkipTest("the store is for one thread at a time")
        stop = Event()
        answer = self.waiting(1, stop=stop, timeout_s=2 * LONG_S)
        stop.set()
        assert not answer()


class Subscriptions(_Following):
    """All of it together."""

    def test_a_subscription_goes_on_where_it_was_and_applies_each_change_once(self) -> None:
        """Opened as often as one likes; the checkpoint moves over what the filter leaves out."""
        self.appended("refund-a", "payment-a", "refund-b")
        seen = []

        def handle(each: StoredEvent) -> list[Change]:
            seen.append(each.position)
            return [total("t", 1)]

        def run() -> Handled:
            only = Filter(categories=("refund",))
            return self.store.subscribe("a", clock=nine_o_clock, filter=only).run(handle, once=True)

        assert (run(), run()) == (Handled(2, 0), Handled(0, 0))
        self.appended("payment-a")
        assert run() == Handled(0, 0)
        assert (seen, self.store.checkpoint_of("a")) == ([1, 3], 4)
        assert [row["total"] for row in self.rows()] == [2]

    def test_a_new_subscription_begins_where_it_is_told_to(self) -> None:
        """With the first event, behind a position, or with the next event to come; one that exists goes on."""
        self.appended("refund-a", "refund-b", "refund-c")
        subscribe = partial(self.store.subscribe, clock=nine_o_clock)
        for name, checkpoint in (("a", 0), ("b", 2), ("c", 3)):
            subscribe(name, start={"a": "beginning", "b": 2, "c": "end"}[name])  # type: ignore[arg-type] # a table
            subscribe(name)
            subscribe(name, start="end")
            assert self.store.checkpoint_of(name) == checkpoint
        for wrong in (-1, 4, "middle", True):
            raised(InvalidInput, subscribe, "d", start=wrong)
        assert self.store.checkpoint_of("d") is None
