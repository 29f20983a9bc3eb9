"""Whatever is done to them, memory, SQLite and PostgreSQL hold the same log, and answer and refuse alike."""

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count, islice
from random import Random
from types import MappingProxyType
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from refold.engine.errors import KeyReuse, MessageNotFound, RefoldError, VersionConflict
from refold.engine.ports import DeadLetter, Delete, Difference, NewEvent, Upsert, Write
from refold.engine.testing.store_scenery import PAIRS, TOTALS, UNICODE, VIEWS, body
from refold.eventstore import MemoryStore, SqliteStore
from refold.eventstore.postgres import PostgresStore

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
MOMENTS = [f"2026-01-02T03:04:0{second}.000000Z" for second in range(6)]


class Interrupted(Exception):
    """Raised by the history itself, inside a batch or a rebuild."""


# ---- what a history is made of ----------------------------------------------------------------------------------


class Call(NamedTuple):
    """One call of the port; `reading` says how many of what it yields are taken."""

    name: str
    args: tuple = ()
    options: Mapping = MappingProxyType({})
    reading: int | None = None

    def on(self, _, store):
        found = getattr(store, self.name)(*self.args, **self.options)
        return found if self.reading is None else list(islice(found, self.reading))


class Append(NamedTuple):
    """An append; RIGHT stands for the version the stream is at."""

    writes: list
    options: dict


class Rebuild(NamedTuple):
    """A rebuild from the rows as they are, but for those left out and the changes that follow; it may end too early."""

    left_out: int
    changes: list
    interrupted: bool


class Claim(NamedTuple):
    name: str
    now: str
    until: str


class Release(NamedTuple):
    """The release of one of the leases there ever were, counted from the last."""

    number: int


class Advance(NamedTuple):
    """The move of a checkpoint; RIGHT stands for where it is, and the fence is a lease, counted from the last."""

    name: str
    expected: object
    position: int
    options: dict
    fence: int | None


class Batch(NamedTuple):
    """Calls in a batch."""

    calls: list
    raises: bool


RIGHT = "right"

BAD_TEXTS = ["\0", "a\0b", "\ud800"]
STREAMS = ["refund-a", "refund-b", "refund-A", "refund-a-b", "payment-x", "payment-~" + "y" * 270]
BAD_STREAMS = [
    "",
    "refund",
    "refund-",
    "Refund-a",
    "refund-a b",
    "refund-\u00e9",
    "refund-a\n",
    "refund-" + "x" * 281,
]
TYPES, BAD_TYPES = ["refund.requested", "evidence.success", "x" * 100], ["", "a b", "\u00e9", "x" * 101]
DATA = ["{}", "", '{"n": 1}', UNICODE, "\n", "\U0001f600" * 2000]
VERSIONS = [*[RIGHT] * 60, None, None, None, 0, 1, 2, -1, 2**31, 2**63, 2**70]
KEYS = ["k", "l", "K", "", "\u00e9", "e\u0301", "m", "n"]
CONTENTS = ["c", "d", ""]
BODIES = [body(1), body(2), body(3), body(1)._replace(content=b"another"), body(2)._replace(salt=b"")]
BAD_BODIES = [
    body(4)._replace(headers="\0"),
    body(4)._replace(headers="\ud800"),
    body(4)._replace(digest="\0"),
]
DIGESTS = [*(body(number).digest for number in range(1, 5)), ""]
AMOUNTS = [None, None, 0, 1, 5, -7, 10**12]
EXTREME_AMOUNTS = [2**62, 2**63 - 1, -(2**63), 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**30]
WORDS = [None, None, "x", "y", "Y", "\u00e9", "", "' OR 1=1 --"]
IDS = ["a", "b", "c", "A", "\u00e9", ""]
RIGHTS = ["x", "Y"]
BAD_CHANGES = [
    Upsert(TOTALS, ("a", "x", 1)),
    Upsert(TOTALS, ("a", "x", 1, 2, 3)),
    Upsert(TOTALS, (None, "x", 1, 2)),
    Upsert(TOTALS, ("a", "x", "1", 2)),
    Upsert(TOTALS, ("a", "x", True, 2)),
    Upsert(TOTALS, ("a", 5, 1, 2)),
    Upsert(TOTALS, ("a", "x", 1, 2.5)),
    Upsert(PAIRS, ("a", None, "x")),
    Delete(PAIRS, ("a",)),
    Delete(TOTALS, (None,)),
    Delete(TOTALS, (7,)),
]
CATEGORIES = ["refund", "payment", "ref", ""]
AFTER = [0, 0, 0, 1, 2, 3, 10, -1, 2**31]
LEASES = ["work", "poll"]
SUBSCRIPTIONS = ["s", "t"]


class Chance(Random):
    """Makes steps by chance. What no store can hold is only ever written: some look for it in vain, some refuse."""

    def mostly(self, good, bad, share=0.02):
        return self.choice(bad if self.random() < share else good)

    def some(self, make, *, most):
        return [make() for _ in range(self.randint(0, most))]

    def event(self):
        time = self.mostly(MOMENTS, ["", "3 o'clock"], 0.005)
        return NewEvent(self.mostly(TYPES, BAD_TYPES, 0.01), time, self.mostly(DATA, BAD_TEXTS, 0.01))

    def writes(self):
        names = self.sample(STREAMS, self.choice([1, 1, 2, 3]))
        names[0] = self.mostly(names[:1], [*BAD_STREAMS, names[-1]], 0.05)
        return [Write(name, self.choice(VERSIONS), self.some(self.event, most=3)) for name in names]

    def change(self):
        made = {
            "bad": lambda: self.choice(BAD_CHANGES),
            "total": lambda: self.upsert(TOTALS, self.id(), self.word(), self.amount(), self.amount()),
            "pair": lambda: self.upsert(PAIRS, self.id(), self.choice(RIGHTS), self.word()),
            "no total": lambda: Delete(TOTALS, (self.id(),)),
            "no pair": lambda: Delete(PAIRS, (self.id(), self.choice(RIGHTS))),
        }
        return made[self.choices(list(made), [1, 30, 15, 6, 6])[0]]()

    @staticmethod
    def upsert(view, *values):
        """Return an upsert; half of them say of some columns, right or wrong, that they have these values already."""
        names, chance = view.names(), Random(repr(values))
        return Upsert(view, values, frozenset(chance.sample(names, chance.choice([0, 0, 1, 2, len(names)]))))

    def id(self):
        return self.mostly(IDS, BAD_TEXTS, 0.01)

    def word(self):
        return self.mostly(WORDS, BAD_TEXTS, 0.01)

    def amount(self):
        return self.mostly(AMOUNTS, EXTREME_AMOUNTS, 0.1)

    def append(self):
        key = self.mostly(KEYS, BAD_TEXTS, 0.01) if self.random() < 0.3 else None
        content = self.mostly(CONTENTS, BAD_TEXTS, 0.01) if self.random() < 0.5 else None
        bodies = self.some(lambda: self.mostly(BODIES, BAD_BODIES), most=2)
        changes = self.some(self.change, most=3)
        return Append(self.writes(), {"key": key, "content": content, "bodies": bodies, "changes": changes})

    def rows(self):
        column = self.choice(["id", "kind", "rank", "none", 'id"'])
        where = {"kind": self.choice(WORDS), "total": self.choice(AMOUNTS), "none": 1}
        after = self.choice(AMOUNTS if column == "rank" else WORDS)
        options = {"order": column, "after": after, "limit": self.choice([None, None, 0, 1, 2])}
        options["where"] = {
            name: where[name] for name in self.sample(list(where), self.choice([0, 0, 0, 1, 2]))
        }
        kept = self.sample(list(options), self.randint(0, len(options)))
        if "after" in kept and "order" not in kept:
            options["after"] = self.choice(IDS)
        return Call("rows", (TOTALS,), {name: options[name] for name in kept}, self.taken())

    def taken(self):
        return self.choice([1, 2, 300, 300])

    def read(self):
        after, taken = {"after": self.choice(AFTER)}, self.taken()
        made = {
            "read_all": lambda: Call("read_all", (), after, taken),
            "read_stream": lambda: Call("read_stream", (self.mostly(STREAMS, BAD_STREAMS),), after, taken),
            "read_category": lambda: Call("read_category", (self.choice(CATEGORIES),), after, taken),
            "streams": lambda: Call("streams", (self.choice(CATEGORIES),), {}, taken),
            "head": lambda: Call("head"),
            "first_missing": lambda: Call("first_missing"),
            "version": lambda: Call("version", (self.choice(STREAMS),)),
            "settle": lambda: Call("settle", (self.choice(KEYS),)),
            "body": lambda: Call("body", (self.choice(DIGESTS),)),
            "rows": self.rows,
            "row of totals": lambda: Call("row", (TOTALS, (self.choice(IDS),))),
            "row of pairs": lambda: Call("row", (PAIRS, (self.choice(IDS), self.choice(RIGHTS)))),
        }
        return made[self.choice(list(made))]()

    def rebuild(self):
        if self.random() < 0.3:  # and no other fault: stores may come to the one or the other first
            return Rebuild(self.randint(0, 2), [], interrupted=True)
        return Rebuild(self.randint(0, 2), self.some(self.change, most=3), interrupted=False)

    def advance(self, log):
        """Move a checkpoint over some events of the log, and set some of them aside."""
        some = self.sample(log, min(len(log), self.choice([0, 0, 1, 2])))
        letters = [
            DeadLetter(each, "", "why", self.choice([0, 1, 1, 2]), self.choice(MOMENTS)) for each in some
        ]
        return Advance(
            self.mostly(SUBSCRIPTIONS, ["", "\u00e9"]),
            self.choice([*[RIGHT] * 12, None, 0, 1, 2**63]),
            self.choice([len(log)] * 3 + [0, 1, len(log) // 2, len(log) + 1, -1, 2**63]),
            {
                "changes": self.some(self.change, most=2),
                "set_aside": letters,
                "resolved": [
                    each.position for each in self.sample(log, min(len(log), self.choice([0, 0, 0, 1])))
                ],
            },
            self.choice([None, None, None, 0, 1]),
        )

    def look(self):
        """Ask how far a subscription is, and what it has set aside."""
        stream = self.choice([None, *STREAMS])
        return self.choice(
            [
                Call("checkpoint_of", (self.choice(SUBSCRIPTIONS),)),
                Call(
                    "dead_letters",
                    (self.choice(SUBSCRIPTIONS),),
                    {"stream": stream, "after": self.choice(AFTER)},
                    300,
                ),
                Call("subscriptions"),
            ]
        )

    def house(self):
        made = {
            "claim": lambda: Claim(self.choice(LEASES), self.choice(MOMENTS), self.choice(MOMENTS)),
            "release": lambda: Release(self.randint(0, 3)),
            "erase": lambda: Call("erase_body", (self.choice(DIGESTS),)),
            "checkpoint": lambda: Call("checkpoint"),
        }
        return made[self.choice(list(made))]()

    def inside(self, depth):
        kinds = [self.append, self.append, self.append, self.read, self.read, self.house, self.rebuild]
        if depth < 2:
            kinds.append(lambda: self.batch(depth + 1))
        return self.choice(kinds)()

    def batch(self, depth=0):
        return Batch([self.inside(depth) for _ in range(self.randint(1, 5))], self.random() < 0.3)


# ---- the machine ------------------------------------------------------------------------------------------------


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

        return lambda _, store: store.rebuild(VIEWS, changes())

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


# ---- the stores -------------------------------------------------------------------------------------------------


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


def test_one_history_gives_identical_logs_answers_and_errors_on_all_stores(
    tmp_path, postgres_server, record_property
):
    files = (tmp_path / f"{number}.db" for number in count())
    tally = histories(
        in_memory,
        lambda: durable(partial(SqliteStore, next(files), views=VIEWS, durability="relaxed")),
        lambda: durable(partial(PostgresStore, postgres_server.schema(), views=VIEWS, durability="relaxed")),
    )
    record_property("told", f"histories on three stores: {dict(tally)}")


# ---- what the machine is there to find --------------------------------------------------------------------------


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
        with suppress(Interrupted), super().batch():
            try:
                yield
            except Interrupted as error:
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
    def rebuild(self, views, changes):
        return [each for each in super().rebuild(views, changes) if each.live is not None]


class RebuildsHalf(MemoryStore):
    def rebuild(self, views, changes):
        found = super().rebuild(views, changes)
        with self._open() as state:
            for view in views[1:]:
                state.views[view.name].update(
                    (each.key, tuple(each.live.values()))
                    for each in found
                    if each.view == view.name and each.live
                )
        return found


class LeasesTwice(MemoryStore):
    def claim(self, name, *, holder, now, until):
        return super().claim(name, holder=holder, now=max(now, MOMENTS[3]), until=until)


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
    pytest.param(with_changes(replaced), id="ReplacesRows"),
    pytest.param(with_changes(summed_only_once), id="ReplacesSums"),
    pytest.param(
        with_changes(lambda change: [] if isinstance(change, Delete) else [change]), id="KeepsDeletedRows"
    ),
]


@pytest.mark.parametrize("faulty", FAULTS)
def test_a_planted_difference_is_found(faulty):
    # In memory a history takes a fraction of the time, so that there can be many: some faults show rarely.
    with pytest.raises(Differs):
        histories(in_memory, partial(in_memory, faulty), budget=settings(BUDGET, max_examples=20 * HISTORIES))


def test_a_store_does_not_differ_from_its_twin():
    histories(in_memory, in_memory)
