"""Applies one random history to several stores, and compares them at every step."""

import re
from collections import Counter
from contextlib import ExitStack, suppress
from functools import partial
from itertools import islice

from differential_calls import (
    KEYS,
    LEASES,
    MOMENTS,
    RIGHT,
    STREAMS,
    SUBSCRIPTIONS,
    Append,
    Batch,
    Call,
    Chance,
    Claim,
    Interrupted,
    Rebuild,
    Release,
)
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from refold.engine.errors import RefoldError
from refold.engine.ports import Difference, Given, Upsert
from refold.engine.testing.store_scenery import VIEWS, body
from refold.eventstore import MemoryStore

HISTORIES, STEPS = 16, 50
BUDGET = settings(
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate],  # to make a history smaller would take minutes
    max_examples=HISTORIES,
    stateful_step_count=STEPS,
    suppress_health_check=list(HealthCheck),  # what takes long are the stores
)


SEEDS = st.integers(0, 2**64)
"""What a step is made of: one number is drawn faster than all that is in an append, and a history is not made smaller."""


class Differs(AssertionError):
    """The stores do not answer alike."""


def place_free(text):
    """Return a text without the words that name the place, and without the place's own words."""
    return re.sub(r".* cannot hold a value: .*", "the store cannot hold a value", text)


def plain(found):
    """Return what was found as what compares by value; the order of differences is left to the stores."""
    if isinstance(found, list):
        listed = [plain(each) for each in found]
        return sorted(listed, key=repr) if found and isinstance(found[0], Difference) else listed
    return dict(found) if hasattr(found, "keys") else found


class Alike(RuleBasedStateMachine):
    """Applies each step to all stores, and compares."""

    makers = ()
    """Each makes the place of a store, the reference first: a function that opens it, and closes it before."""
    tally = None
    """What all histories did, for people to see."""

    @initialize()
    def open(self):
        self.tally["histories"] += 1
        self.made = [maker() for maker in self.makers]
        self.stores = [made() for made in self.made]
        self.tokens = [[] for _ in self.stores]
        self.readers, self.steps = None, 0

    def teardown(self):
        if hasattr(self, "stores"):
            try:
                self.compare_all()
                self.reopen()
                self.compare_all()
            finally:
                for store in self.stores:
                    store.close()

    def every(self, work):
        """Let each store do the work, and compare what comes of it."""
        self.tally["calls"] += 1
        outcomes = [outcome(partial(work, number, store)) for number, store in enumerate(self.stores)]
        for store, other in zip(self.stores[1:], outcomes[1:], strict=True):
            if other != outcomes[0]:
                raise Differs(f"{type(store).__name__}: {other}\ninstead of: {outcomes[0]}\nto: {work}")
        return outcomes[0]

    def do(self, step):
        if isinstance(step, Batch):
            self.batched(step)
        elif isinstance(step, Append):
            reference = self.stores[0]
            writes = [
                each._replace(expected=reference.version(each.stream)) if each.expected == RIGHT else each
                for each in step.writes
            ]
            self.tally[self.every(Call("append", tuple(writes), step.options).on)[1]] += 1
        elif isinstance(step, Rebuild):
            self.every(self.rebuilding(step))
        elif isinstance(step, Claim):
            self.every(partial(self.claimed, step))
        elif isinstance(step, Release):
            self.every(partial(self.released, step))
        else:
            self.every(step.on)

    def batched(self, batch):
        kept = [tokens.copy() for tokens in self.tokens]
        with suppress(Interrupted), ExitStack() as stack:
            for store in self.stores:
                stack.enter_context(store.batch())
            for step in batch.calls:
                self.do(step)
            if batch.raises:
                self.tokens = kept
                raise Interrupted

    def rebuilding(self, step):
        rows = [Upsert(view, tuple(row.values())) for view in VIEWS for row in self.stores[0].rows(view)]

        def changes():
            yield from rows[: len(rows) - step.left_out]
            yield from step.changes
            if step.interrupted:
                raise Interrupted

        return lambda _, store: store.rebuild(Given(VIEWS, changes()))

    def claimed(self, step, number, store):
        token = store.claim(step.name, holder="me", now=step.now, until=step.until)
        if token is not None:
            assert token > max(self.tokens[number], default=0)
            self.tokens[number].append(token)
        return token is not None

    def released(self, step, number, store):
        tokens = self.tokens[number]
        store.release(tokens[-1 - step.number] if step.number < len(tokens) else 10**6)

    def advanced(self, step, expected, number, store):
        tokens = self.tokens[number]
        fence = step.fence
        if fence is not None:
            fence = tokens[-1 - fence] if fence < len(tokens) else 10**6
        store.advance(step.name, expected=expected, position=step.position, fence=fence, **step.options)

    # ---- rules

    def by_chance(self, seed):
        self.steps += 1
        return Chance(f"{seed} {self.steps}")

    @rule(seed=SEEDS)
    def append(self, seed):
        chance = self.by_chance(seed)
        for _ in range(3):
            self.do(chance.append())

    @rule(seed=SEEDS)
    def append_again(self, seed):
        step = self.by_chance(seed).append()
        self.do(step)
        self.do(step)

    @rule(seed=SEEDS)
    def batch(self, seed):
        self.do(self.by_chance(seed).batch())

    @rule(seed=SEEDS)
    def read(self, seed):
        chance = self.by_chance(seed)
        for _ in range(4):
            self.do(chance.read())

    @rule(seed=SEEDS)
    def keep_house(self, seed):
        self.do(self.by_chance(seed).house())

    @rule(seed=SEEDS)
    def rebuild(self, seed):
        self.do(self.by_chance(seed).rebuild())

    @rule(seed=SEEDS)
    def advance(self, seed):
        chance, reference = self.by_chance(seed), self.stores[0]
        for _ in range(3):
            step = chance.advance(list(reference.read_all()))
            right = reference.checkpoint_of(step.name) if step.expected == RIGHT else step.expected
            self.tally["moves: " + self.every(partial(self.advanced, step, right))[1]] += 1
            self.do(chance.look())

    @precondition(lambda self: self.readers is None)
    @rule(name=st.sampled_from(["read_all", "read_category"]), seed=SEEDS)
    def begin_to_read(self, name, seed):
        args = ("refund",) if name == "read_category" else ()
        self.readers = [getattr(store, name)(*args) for store in self.stores]
        self.do(self.by_chance(seed).append())

    @precondition(lambda self: self.readers is not None)
    @rule(number_of=st.sampled_from([1, 2, 300]))
    def read_on(self, number_of):
        self.every(lambda number, _: list(islice(self.readers[number], number_of)))
        if number_of == 300:
            self.readers = None

    @rule()
    def reopen(self):
        self.readers = None
        for number, made in enumerate(self.made):
            self.stores[number] = made()

    # ---- everything

    def compare_all(self):
        for each in EVERYTHING:
            self.do(each)
        self.every(lambda _, store: store.describe()["events"])
        self.every(lambda _, store: [(store.lease(name) or (0, "", ""))[1:] for name in LEASES])
        for now in MOMENTS:  # what is leased until then, is told by who gets it
            for name in LEASES:
                self.do(Claim(name, now, now))


EVERYTHING = [
    Call("head"),
    Call("first_missing"),
    Call("read_all", reading=10**6),
    *(Call("read_category", (category,), reading=10**6) for category in ("refund", "payment")),
    *(Call("streams", (category,), reading=10**6) for category in ("refund", "payment")),
    *(Call("read_stream", (stream,), reading=10**6) for stream in STREAMS),
    *(Call("settle", (key,)) for key in KEYS),
    *(Call("body", (body(number).digest,)) for number in range(1, 5)),
    *(Call("rows", (view,), reading=10**6) for view in VIEWS),
    *(Call("dead_letters", (name,), reading=10**6) for name in SUBSCRIPTIONS),
    Call("subscriptions"),
]


def outcome(work):
    """Return what came of a call: what it returned, or the error it raised."""
    try:
        return "returned", type(found := work()).__name__, plain(found)
    except RefoldError as error:
        return "raised", type(error).__name__, place_free(str(error))
    except Interrupted:
        return "raised", "Interrupted", ""


def in_memory(kind=MemoryStore):
    """Make a place that is the store."""
    store = kind()
    return lambda: store


def durable(open_it):
    """Make a place that outlives the store."""
    opened = []

    def made():
        if opened:
            opened.pop().close()
        opened.append(open_it())
        return opened[-1]

    return made


def histories(*makers, budget=BUDGET):
    """Run histories on places of stores, and return what they did."""
    tally = Counter()
    run_state_machine_as_test(
        type("Histories", (Alike,), {"makers": makers, "tally": tally}), settings=budget
    )
    return tally
