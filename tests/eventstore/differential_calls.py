"""What a random history is made of: calls of the port, and how each is chosen."""

from collections.abc import Mapping
from itertools import islice
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from refold.engine.ports import DeadLetter, Delete, NewEvent, Upsert, Write
from refold.engine.testing.store_scenery import PAIRS, TOTALS, UNICODE, body

MOMENTS = [f"2026-01-02T03:04:0{second}.000000Z" for second in range(6)]


class Interrupted(Exception):
    """Raised by the history itself, inside a batch or a rebuild."""


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
