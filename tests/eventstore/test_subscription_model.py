"""Whatever is appended, fails, crashes, stalls and is repaired: the view is the fold of the log up to the checkpoint."""

import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from totals import TOTALS

from refold.engine.errors import RefoldError
from refold.engine.ports import NewEvent, Upsert, Write
from refold.eventstore import MemoryStore, SqliteStore, subscription
from refold.eventstore.postgres import PostgresStore

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

STREAMS = st.sampled_from(["refund-a", "refund-b", "refund-c"])
CRASHES = st.none() | st.tuples(st.integers(0, 40), st.booleans())
"""Which call of the store is the last one of the process, and whether it is still done."""


MOST_CALLS = 2_000


class Crash(BaseException):
    """The end of a process."""


class Dying:
    """A store as a process sees it that dies at one of its calls; nothing it calls after that is done."""

    def __init__(self, store, crash):
        self._store = store
        self._calls = 0
        self._left, self._done = crash or (float("inf"), False)

    def __getattr__(self, name):
        method = getattr(self._store, name)

        def call(*args, **options):
            self._left -= 1
            self._calls += 1
            if self._calls > MOST_CALLS:
                raise RuntimeError("it goes round in circles")
            if self._left > -1:
                return method(*args, **options)
            if self._done and self._left == -1:
                method(*args, **options)
            raise Crash

        return call


class Following(RuleBasedStateMachine):
    """One subscription, its consumers one after the other or one in the other."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.store = self.made(Path(self.folder.name))
        self.now = datetime(2026, 1, 2, tzinfo=UTC)
        self.poisoned = set()
        self.delivered = []

    def made(self, folder):
        return MemoryStore()

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def member(self, crash=None, chunk=100):
        """Return a new consumer; the leases of those before it have ended."""
        self.now += timedelta(minutes=1)
        store = Dying(self.store, crash)
        made = self.store.subscribe("totals", clock=self.clock, attempts=2, backoff_s=0, chunk=chunk)
        made._store = store
        return made

    def clock(self):
        """Go on by a second at each look, so that whoever waits for a lease gets it in the end."""
        self.now += timedelta(seconds=1)
        return self.now

    def handle(self, event):
        if event.stream in self.poisoned:
            raise ValueError
        self.delivered.append((event.stream, event.version))
        return [Upsert(TOTALS, (event.stream, 1))]

    @rule(streams=st.lists(STREAMS, min_size=1, max_size=5))
    def append(self, streams):
        for stream in streams:
            self.store.append(Write(stream, None, [NewEvent("refund.requested", "2026", "{}")]))

    @rule(stream=STREAMS)
    def poison(self, stream):
        self.poisoned ^= {stream}

    @rule(crash=CRASHES, chunk=st.integers(1, 4))
    def run(self, crash, chunk):
        try:
            self.member(crash, chunk).run(self.handle, once=True)
        except Crash:
            return
        assert self.store.checkpoint_of("totals") == self.store.head()

    @rule(crash=CRASHES)
    def retry(self, crash):
        try:
            self.member(crash).retry(self.handle)
        except Crash:
            return
        assert {each.event.stream for each in self.store.dead_letters("totals")} <= self.poisoned

    @rule(at=st.integers(1, 4), chunk=st.integers(1, 4), crash=CRASHES, again=st.booleans())
    def stall(self, at, chunk, crash, again):
        """Let another consumer take over, or retry, while one is inside its handler."""
        left = at

        def slow(event):
            nonlocal left
            left -= 1
            if left == 0:
                if again:
                    self.retry(crash)
                else:
                    self.run(crash, chunk)
            return self.handle(event)

        self.member(chunk=chunk).run(slow, once=True)

    @invariant()
    def the_view_is_the_fold_of_the_log_up_to_the_checkpoint(self):
        if not hasattr(self, "store"):
            return
        checkpoint = self.store.checkpoint_of("totals") or 0
        aside = {each.event for each in self.store.dead_letters("totals")}
        reached = [event for event in self.store.read_all() if event.position <= checkpoint]
        done = Counter(event.stream for event in reached if event not in aside)
        assert {row["id"]: row["total"] for row in self.store.rows(TOTALS)} == done
        for event in reached:
            if event not in aside:
                assert (event.stream, event.version) in self.delivered
                assert not any(each.stream == event.stream and each.version < event.version for each in aside)

    @invariant()
    def what_is_delivered_first_is_in_order_in_each_stream(self):
        versions = {}
        for stream, version in dict.fromkeys(getattr(self, "delivered", ())):
            assert version == versions.get(stream, 0) + 1
            versions[stream] = version


class FollowingOnSqlite(Following):
    def made(self, folder):
        return SqliteStore(folder / "log.db", views=[TOTALS], durability="relaxed")


@pytest.fixture(autouse=True)
def quick(logs, monkeypatch):
    """Log nothing on the terminal, and wait for nothing."""
    monkeypatch.setattr(subscription, "_PAUSE_S", 0)


TestOnMemory = Following.TestCase
TestOnMemory.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestOnSqlite = FollowingOnSqlite.TestCase
TestOnSqlite.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


class TestOnPostgres:
    def test_following(self, postgres_server):
        class FollowingOnPostgres(Following):
            def made(self, folder):
                return PostgresStore(postgres_server.schema(), views=[TOTALS], durability="relaxed")

        tried = settings(max_examples=10, stateful_step_count=15, deadline=None)
        run_state_machine_as_test(FollowingOnPostgres, settings=tried)


# ---- the model finds what it is there for


class MovesWhateverWasExpected(MemoryStore):
    def advance(self, name, *, expected, position, fence=None, **options):
        actual = self.checkpoint_of(name)
        super().advance(name, expected=actual, position=max(position, actual or 0), **options)


class LosesTheChangesOfLongChunks(MemoryStore):
    def advance(self, name, *, changes=(), **options):
        super().advance(name, changes=changes[:3], **options)


class ForgetsWhatItHasSetAside(MemoryStore):
    def dead_letters(self, name, *, stream=None, after=0):
        return iter(()) if stream else super().dead_letters(name, after=after)


@pytest.mark.parametrize(
    "fault",
    [MovesWhateverWasExpected, LosesTheChangesOfLongChunks, ForgetsWhatItHasSetAside],
)
def test_the_model_notices_a_store_that(fault):
    class Planted(Following):
        def made(self, folder):
            return fault()

    tried = settings(
        max_examples=300, stateful_step_count=25, deadline=None, database=None, phases=[Phase.generate]
    )
    with pytest.raises((AssertionError, RefoldError)):
        run_state_machine_as_test(Planted, settings=tried)
