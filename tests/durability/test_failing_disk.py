"""A write or a sync fails, once or from then on: nothing acknowledged is lost, and no failure is kept quiet."""

import sqlite3
import sys
from collections import Counter

import pytest
from platter import EVERYTHING, NOTHING, Platter
from simulated_disk import Fault

from refold.engine.errors import OutcomeUnknown, RefoldError, StoreError, StoreFull
from refold.eventstore import MemoryStore
from refold.eventstore.sqlite.writer import Writer

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

FAULTS = {
    "an error, once": {},
    "errors from then on": {"sticky": True},
    "no room, once": {"full": True},
    "no room from then on": {"full": True, "sticky": True},
}


@pytest.fixture(scope="module")
def made(machine):
    """Give the files of a new store."""
    with machine() as there:
        there.open().close()
        return {
            file.name: file.read_bytes() for file in there.folder.iterdir() if file.name == there.path.name
        }


class Trial:
    """One run of the short history with one fault; what went wrong is collected in `wrong`."""

    def __init__(self, there, history, logs):
        self.there, self.history, self.logs = there, history, logs
        self.reference = MemoryStore()
        self.wrong = []
        self.said = Counter()
        self.failed = []
        self.sure = {}
        self.is_sure = True
        self.first_failure = sys.maxsize

    def seen(self, store):
        """Return all that a store can be asked for."""
        bodies = []
        for number in (0, *range(10, 14), 21, 31):
            try:
                bodies.append(store.body(self.history.body(number).digest))
            except RefoldError as error:
                bodies.append(type(error))
        return list(store.read_all()), sorted(map(str, store.rows(self.history.REFUNDS))), bodies

    def run(self, fault):
        self.there.disk.break_down(fault)
        for step in self.history.SHORT:
            self.watched(step)
        self.there.disk.heal()
        for step in list(self.failed):
            self.settle(step)
            self.watched(step, well=True)
        return self

    def watched(self, step, *, well=False):
        self.there.call(lambda: self.call(step, well=well))
        done = len(self.there.states) - 1
        self.sure[done] = self.is_sure
        if self.there.disk.failed:
            self.first_failure = min(self.first_failure, done)

    def call(self, step, *, well=False):
        """Make a call, and hold what it says against what is there."""
        store, disk = self.there.store, self.there.disk
        failures, entries = len(disk.failed), len(self.logs)
        error = None
        try:
            step.call(store)
        except StoreError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - whatever it is, it is not ours
            self.wrong.append(f"leaked: {raised!r}")
        self.said[type(error).__name__ if error else "returned"] += 1
        if error is None and not disk.failed:
            step.call(self.reference)
            return
        after = self.seen(store)
        if error is None:
            self.returned(step, after, disk.failed[failures:], self.logs[entries:])
            return
        if well or not disk.failed:
            self.wrong.append(f"refused on a disk that is well: {error}")
        self.failed.append(step)
        self.refused(step, error, after)

    def returned(self, step, after, failures, logs):
        """What a call was to do is there; what failed on the way, such as folding the write-ahead log, is told."""
        step.call(self.reference)
        if failures and "store.degraded" not in [entry["event"] for entry in logs]:
            self.wrong.append(f"swallowed: {failures}")
        if after != self.seen(self.reference):
            self.wrong.append("lost: a call returned, and what it did is not there")
        self.is_sure = self.is_sure or step not in self.history.FOLDS

    def refused(self, step, error, after):
        """What a call was to do is there as a whole or not at all: not, or it says that it does not know."""
        happened = after != self.seen(self.reference)
        if happened:
            step.call(self.reference)
        if after != self.seen(self.reference):
            self.wrong.append(f"torn by {error!r}")
        if happened and not isinstance(error, OutcomeUnknown):
            self.wrong.append(f"stored in spite of {error!r}")
        if isinstance(error, OutcomeUnknown):
            self.is_sure = False
            self.settle(step)

    def settle(self, step):
        """Once it is settled, it stays so; that takes a disk that is well."""
        if step.key is None:
            return
        try:
            found = self.there.store.settle(step.key)
        except StoreError as error:
            if not self.there.disk.fault or not self.there.disk.fault.sticky:
                self.wrong.append(f"not settled on a disk that is well: {error!r}")
            return
        self.is_sure = True
        if found != self.reference.settle(step.key):
            self.wrong.append("settled wrongly")

    def power_cuts(self, platter, cuts):
        """Cut the power after each call that was over: also what was settled must stay so."""
        done = 0
        for place, op in enumerate(self.there.disk.trace):
            platter.feed(op)
            over = op.kind == "mark" and op.name == "done"
            done += over
            if over and done >= self.first_failure:
                for name, choice in (("nothing", NOTHING), ("everything", EVERYTHING)):
                    files, _ = platter.survivors(choice)
                    cuts.check(
                        files,
                        self.there.states[: done + 1],
                        done,
                        f"cut {place}, {name} unsynced survived",
                        sure=self.sure[done],
                    )
        self.wrong += cuts.failures


@pytest.fixture
def trials(machine, history, made, cuts, logs):
    """Run the history with a fault at each operation in turn; return all that went wrong, and what was said."""

    def run(*, enough=lambda _wrong: False, **options):
        at, said, wrong, cut = 0, Counter(), [], cuts(0)
        while True:
            at += 1
            platter = Platter()
            with machine(made, platter.load(made)) as there:
                there.open()
                there.states = [there.state()]
                trial = Trial(there, history, logs).run(Fault(at, **options))
                trial.power_cuts(platter, cut)
                cut.failures = []
                wrong += [f"fault {at}, {there.disk.failed[:1]}: {each}" for each in trial.wrong]
                said += trial.said
                if not there.disk.failed or enough(wrong):
                    break
        return at - 1, said, wrong, cut

    return run


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_that_returned_did_it_and_one_that_failed_did_not_or_says_so(trials, report, fault):
    faults, said, wrong, cut = trials(**FAULTS[fault])
    report(f"{fault}, at each of {faults} operations: {dict(said)}, {len(wrong)} wrong; power cuts: {cut}")
    assert wrong == []
    assert faults > 20
    assert said[StoreFull.__name__ if "room" in fault else OutcomeUnknown.__name__] > 5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_whose_creation_fails_can_be_created_afterwards(machine, history, cuts, report, fault):
    at, refused, cut = 0, Counter(), cuts(0)
    while True:
        at += 1
        with machine() as there:
            there.disk.break_down(Fault(at, **FAULTS[fault]))
            try:
                there.open()
            except StoreError as error:
                refused[type(error).__name__] += 1
                there.disk.heal()
                there.open()
            failed = there.disk.failed
            there.disk.heal()
            history.append(0).call(there.store)
            platter = Platter()
            for op in there.disk.trace:
                platter.feed(op)
            cut.check(platter.survivors(NOTHING)[0], [there.state()], 0, f"fault {at}, {failed[:1]}")
        if not failed:
            break
    report(
        f"{fault}, at each of {at - 1} operations of the creation: refused by {dict(refused)}; power cuts: {cut}"
    )
    assert cut.failures == []
    assert at > 10
    assert sum(refused.values()) > at / 2


def swallowing(self, connection, *_):
    """Take a commit that failed for one that did not."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        return


def retrying(self, connection, *_):
    """Commit again, on the same connection."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("COMMIT")


@pytest.mark.parametrize("commit", [swallowing, retrying])
def test_a_store_that_makes_light_of_a_failed_commit_is_caught(trials, monkeypatch, commit):
    def caught(wrong):
        return any("swallowed" in each for each in wrong) and any("lost" in each for each in wrong)

    monkeypatch.setattr(Writer, "_commit", commit)
    _, _, wrong, _ = trials(enough=caught)
    assert caught(wrong)
