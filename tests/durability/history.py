"""What the store is asked to do while the disk is watched: each kind of write it has, in a few dozen calls."""

import hashlib
import sqlite3
from contextlib import closing
from typing import NamedTuple

from refold.engine.errors import VersionConflict
from refold.engine.ports import Body, Column, Delete, Given, NewEvent, Upsert, View, Write
from refold.eventstore.codec import event_digest

REFUNDS = View(
    "refunds",
    (Column("id", str), Column("state", str), Column("events", int, sums=True)),
    ("id",),
    (("state",),),
)
TIME = "2026-01-02T03:04:05Z"


class Step(NamedTuple):
    """One call; `key` where it can be settled."""

    call: object
    key: str | None = None


def event(number, size=40):
    return NewEvent("evidence.pending", TIME, f'{{"n":{number},"x":"{"x" * size}"}}')


def body(number, size=300):
    content = bytes([number % 251]) * size
    return Body(hashlib.sha256(content).hexdigest(), b"salt%d" % number, '{"a":"b"}', content)


def append(number, *, size=40, events=1, body_size=300):
    """Append to two streams, with a key, a body and a change of the view."""

    def call(store):
        writes = (
            Write(f"refund-{number % 7}", None, [event(number, size)] * events),
            Write(f"payment-evonet-{number}", 0, [event(number)]),
        )
        changes = [Upsert(REFUNDS, (f"{number % 7}", f"state {number}", events))]
        if number % 5 == 4:
            changes.append(Delete(REFUNDS, (f"{number % 3}",)))
        store.append(*writes, key=f"k{number}", bodies=[body(number, body_size)], changes=changes)

    return Step(call, f"k{number}")


def batch(number):
    def call(store):
        with store.batch():
            for each in range(number, number + 4):
                append(each).call(store)

    return Step(call, f"k{number}")


def undone(number):
    """A batch that is left with an error, after it wrote."""

    def call(store):
        try:
            with store.batch():
                append(number).call(store)
                store.append(Write("refund-1", 10_000, [event(number)]))
        except VersionConflict:
            return

    return Step(call)


def plain(number):
    return Step(lambda store: store.append(Write("refund-1", None, [event(number)])))


def erase(number):
    return Step(lambda store: store.erase_body(body(number).digest))


def rebuild():
    def call(store):
        counts = {}
        for each in store.read_all():
            counts[each.stream] = counts.get(each.stream, 0) + 1
        rows = [Upsert(REFUNDS, (name, "rebuilt", count)) for name, count in counts.items()]
        store.rebuild(Given([REFUNDS], rows))

    return Step(call)


def leases(number):
    claim = Step(
        lambda store: store.claim(f"lease {number}", holder="me", now=TIME, until="2026-01-02T03:05:05Z")
    )
    return [claim, Step(lambda store: store.release(1))]


def fold():
    def folded(store):
        store.checkpoint()

    return Step(folded)


LONG = [
    *[append(number) for number in range(6)],
    plain(6),
    fold(),
    *leases(1),
    batch(10),
    append(3),
    undone(20),
    append(21, size=9_000, events=3, body_size=9_000),
    erase(21),
    append(22),
    fold(),
    *[append(number) for number in range(23, 28)],
    erase(3),
    erase(3),
    rebuild(),
    append(30),
    fold(),
    append(31),
]
"""Between two of these the store may be closed and opened again."""

SHORT = [append(0), batch(10), erase(0), fold(), leases(1)[0], plain(30), rebuild(), append(31)]
FOLDS = [step for step in SHORT if step.call.__name__ == "folded"]


# ---- what is in the file


def tables(connection):
    """Return each table of a file with all its rows, and what describes the tables.

    What a rebuild leaves that has not ended is nobody's: new tables without a name of their own, and its number.
    """
    found = connection.execute(
        "SELECT name, type, sql FROM sqlite_master WHERE tbl_name NOT LIKE '%\\_\\_new' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    names = [name for name, kind, _ in found if kind == "table"]
    rows = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    if "views" in rows:
        rows["views"] = [row for row in rows["views"] if row[0] != "__new"]
    return {"": found, **rows}


def read(path, mode="rw"):
    with closing(sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None)) as connection:
        return tables(connection)


def faults_of(found):
    """Return what is wrong inside a log: positions and versions with gaps, events that do not match their digest."""
    versions = {}
    faults = []
    for place, (position, stream, version, type_, time, data, digest) in enumerate(
        found.get("events", ()), 1
    ):
        versions[stream] = versions.get(stream, 0) + 1
        if (position, version) != (place, versions[stream]):
            faults.append(f"position {position} at {place}, version {version} for {versions[stream]}")
        if digest != event_digest(position, stream, version, type_, time, data):
            faults.append(f"digest of {position}")
    return faults
