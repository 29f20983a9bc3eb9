"""Power cuts in the history of a simulated machine, and what they leave of its events."""

import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

import history as histories
from platter import Choice, Platter
from simulated_machine import EMPTY, FILE, fill

from refold.engine.errors import RefoldError
from refold.engine.ports import NewEvent, Write
from refold.eventstore import SqliteStore

JOURNAL = "log.db-journal"
"""Only the creation of the file uses one; what it left half done is undone by the first one to open the file."""


class Cuts:
    """Power cuts in one history, and what became of its events."""

    def __init__(self, folder, *, seed):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.path = self.folder / FILE
        self.seed = seed
        self.counts = Counter()
        self.failures = []

    def through(self, states, trace, *, each, lies=False):
        """Cut the power after each operation, as often as `each` says; what is left is looked at once."""
        platter = Platter(lies=lies)
        done, running = 0, False
        for place, op in enumerate(trace):
            platter.feed(op)
            if op.kind == "mark":
                running = op.name == "begin"
                done += op.name == "done"
            seen = set()
            for number in range(each):
                files, chosen = platter.survivors(Choice(Random(self.seed + 1_000 * place + number)))
                if chosen not in seen:
                    seen.add(chosen)
                    self.check(files, states[: done + 1 + running], done, f"cut {place}, survival {number}")
        return self

    def check(self, files, states, done, name, *, sure=True):
        """Start the machine again; `done` calls were acknowledged, and one more may have been running.

        Where it is not `sure` what became of the last call, all before it must be there.
        """
        self.counts["cuts"] += 1
        self.counts["of the creation"] += JOURNAL in files
        fill(self.folder, files)
        thorough = self.counts["cuts"] % 40 == 0 or JOURNAL in files
        wrong = self.wrong(files, states, done, thorough=thorough, sure=sure)
        if wrong:
            self.counts[wrong.partition(":")[0]] += 1
            self.failures.append(f"seed {self.seed}, {name}: {wrong}")

    def wrong(self, files, states, done, *, thorough, sure):
        """Return what is lost or corrupt; else None."""
        try:
            found = self.found(files)
        except sqlite3.DatabaseError as error:
            return f"corrupt: {error}"
        if found not in states[done:] and (sure or not follows(found, states[done])):
            return difference(found, states, done)
        if not thorough:
            return None
        fill(self.folder, files)
        return self.goes_on(found)

    def found(self, files):
        if FILE not in files:
            return EMPTY
        # A reader changes nothing, and is faster; only a journal that is to be rolled back needs a writer.
        return histories.read(self.path, "rw" if JOURNAL in files else "ro")

    def goes_on(self, found):
        """Open the store itself, append to it, and let SQLite check its file."""
        self.counts["opened by the store"] += 1
        try:
            with closing(SqliteStore(self.path, views=[histories.REFUNDS])) as store:
                events = [tuple(event) for event in store.read_all()]
                write = Write("refund-next", None, [NewEvent("evidence.success", histories.TIME, "{}")])
                position, stale = store.append(write, key="next").first, store.views_stale
        except RefoldError as error:
            return f"corrupt: {error!r}"
        if events != found.get("events", []) or position != len(events) + 1 or stale:
            return f"corrupt: the store reads {len(events)} events and appends at {position}"
        with closing(sqlite3.connect(self.path)) as connection:
            (checked,) = connection.execute("PRAGMA integrity_check").fetchone()
        return None if checked == "ok" else f"corrupt: {checked}"

    def __str__(self):
        names = ("cuts", "of the creation", "opened by the store", "lost", "corrupt")
        counted = ", ".join(f"{self.counts[name]} {name}" for name in names)
        return f"seed {self.seed}: {counted}"


def follows(found, state):
    """Tell whether a log is sound and begins with all events of another one."""
    events = state.get("events", [])
    return found.get("events", [])[: len(events)] == events and not histories.faults_of(found)


def difference(found, states, done):
    """Say whether the file is as it was after an earlier call, or as it never was."""
    if found in states:
        kept = max(number for number, state in enumerate(states) if state == found)
        return f"lost: {done - kept} of {done} acknowledged calls"
    if follows(states[done], found) and len(found.get("events", ())) < len(states[done]["events"]):
        return f"lost: {len(states[done]['events']) - len(found.get('events', ()))} acknowledged events"
    faults = histories.faults_of(found)
    differing = [name for name in {**states[done], **found} if found.get(name) != states[done].get(name)]
    return f"corrupt: {faults or differing}"
