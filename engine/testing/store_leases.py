"""The event store contract: leases, which keep workers apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Final
from unittest import SkipTest

from ..ports import Write
from .store_scenery import Interrupted, StoreScenery, event, raised

NINE: Final = "2026-01-02T09:00:00.000000Z"
TEN: Final = "2026-01-02T10:00:00.000000Z"
ELEVEN: Final = "2026-01-02T11:00:00.000000Z"
THREADS: Final = 8


class Leases(StoreScenery):
    """Who may do what a name stands for."""

    def claimed(self, name: str = "refund-a", *, now: str = NINE, until: str = TEN) -> int | None:
        """Take a lease."""
        return self.store.claim(name, holder="worker", now=now, until=until)

    def test_a_lease_that_is_held_is_given_to_nobody_else(self) -> None:
        """Not even to the same holder: two of its threads are two."""
        assert self.claimed() is not None
        assert self.claimed() is None

    def test_leases_of_other_names_are_not_in_the_way(self) -> None:
        """Case counts."""
        assert None not in [self.claimed("refund-a"), self.claimed("refund-b"), self.claimed("refund-A")]

    def test_a_released_lease_can_be_taken_at_once(self) -> None:
        """Releasing it twice does nothing."""
        token = self.claimed()
        assert token is not None
        self.store.release(token)
        self.store.release(token)
        assert self.claimed() is not None

    def test_a_lease_ends_by_itself(self) -> None:
        """At its end, not after it: a worker that never comes back must not block a refund."""
        assert self.claimed(until=TEN) is not None
        assert self.claimed(now=TEN, until=ELEVEN) is not None

    def test_a_lease_can_be_looked_at(self) -> None:
        """By its name, exactly, as it was taken last, ended by itself or not; not once it was given back."""
        assert self.store.lease("refund-a") is None
        first = self.claimed(until=TEN)
        assert self.store.lease("refund-a") == (first, "worker", TEN)
        assert self.store.lease("refund-A") is None
        second = self.claimed(now=TEN, until=ELEVEN)
        assert second is not None
        assert self.store.lease("refund-a") == (second, "worker", ELEVEN)
        self.store.release(second)
        assert self.store.lease("refund-a") is None

    def test_a_batch_sees_the_lease_it_has_taken(self) -> None:
        """As everything else that it has done."""
        with self.store.batch():
            taken = self.claimed()
            assert self.store.lease("refund-a") == (taken, "worker", TEN)

    def test_a_token_is_larger_than_all_before_it(self) -> None:
        """Also when every lease has ended, so that a holder from before can be told from the present one."""
        tokens = []
        for name in ("refund-b", "refund-a", "refund-a"):
            token = self.claimed(name)
            assert token is not None
            self.store.release(token)
            tokens.append(token)
        assert tokens == sorted(set(tokens))

    def test_a_holder_that_came_too_late_ends_nobody_elses_lease(self) -> None:
        """Its own has ended and was taken by another."""
        late = self.claimed(until=TEN)
        assert late is not None
        assert self.claimed(now=TEN, until=ELEVEN) is not None
        self.store.release(late)
        assert self.claimed(now=TEN, until=ELEVEN) is None

    def test_a_lease_taken_in_a_batch_that_raises_is_not_held(self) -> None:
        """It is undone with the rest."""

        def fail() -> None:
            with self.store.batch():
                self.store.append(Write("refund-a", 0, [event()]))
                self.claimed()
                raise Interrupted

        raised(Interrupted, fail)
        assert self.claimed() is not None

    def test_of_threads_that_want_one_lease_exactly_one_gets_it(self) -> None:
        """However close together."""
        if not self.concurrent_threads:
            raise SkipTest("the store is for one thread at a time")
        together = Barrier(THREADS)

        def claim(name: str) -> int | None:
            together.wait()
            return self.claimed(name)

        with ThreadPoolExecutor(THREADS) as pool:
            for n in range(20):
                taken = list(pool.map(claim, [f"refund-{n}"] * THREADS))
                assert len([token for token in taken if token is not None]) == 1
