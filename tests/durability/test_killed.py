"""A process is killed, another one starts, and only then the power is cut.

What the first one wrote can be read, because the system has it in memory, and need not be on the disk.
"""

import copy
from contextlib import suppress

import pytest
from platter import EVERYTHING, NOTHING, Platter
from simulated_disk import Fault

from refold.engine.errors import OutcomeUnknown
from refold.eventstore.sqlite.writer import Writer

NEXT = 31
"""The last call of the short history: it does not depend on the others."""


@pytest.fixture(scope="module")
def base(machine):
    """Give the file of a new store."""
    with machine() as there:
        there.open().close()
        return {there.path.name: there.path.read_bytes()}


@pytest.fixture
def kills(machine, history, base):
    """Yield what is there when a process is killed: after each operation of a call, or in a sync that failed."""

    def run(fault=None):
        platter = Platter()
        with machine(base, platter.load(base)) as there:
            there.open()
            fed = 0
            there.disk.break_down(fault)
            for step in history.SHORT:
                with suppress(OutcomeUnknown):
                    step.call(there.store)
                for op in there.disk.trace[fed:]:
                    platter.feed(op)
                    if fault is None or op.kind == "failed sync":
                        yield step, copy.deepcopy(platter)
                    if op.kind == "failed sync":
                        return
                fed = len(there.disk.trace)

    return run


@pytest.fixture
def restarted(machine, history, cuts):
    """Start again, settle the call that was interrupted, repeat it, make another one; cut the power after each."""

    def run(step, platter):
        cut = cuts(0)
        with machine(*platter.running()) as there:
            there.open()
            there.states = [there.state()]
            fed = 0
            settled = history.Step(lambda store: store.settle(step.key))
            for call in [settled] * (step.key is not None) + [step, history.append(NEXT)]:
                there.call(lambda call=call: call.call(there.store))
                for op in there.disk.trace[fed:]:
                    platter.feed(op)
                fed = len(there.disk.trace)
                for choice in (NOTHING, EVERYTHING):
                    files, _ = platter.survivors(choice)
                    cut.check(
                        files, there.states, len(there.states) - 1, f"after call {len(there.states) - 1}"
                    )
        return cut

    return run


@pytest.fixture
def outcome(kills, restarted):
    """Count the kills, and return all that went wrong after them."""

    def run(fault=None):
        found = [restarted(step, platter).failures for step, platter in kills(fault)]
        return len(found), [failure for failures in found for failure in failures]

    return run


def test_what_a_killed_process_wrote_is_safe_before_anybody_builds_on_it(outcome, report):
    count, wrong = outcome()
    report(f"kills, then a power cut after each call of the next process: {count} kills, {len(wrong)} wrong")
    assert wrong == []
    assert count > 100


def test_what_a_sync_left_that_failed_is_safe_before_anybody_builds_on_it(outcome, report):
    """The system takes what it could not sync for synced: no later sync writes it again."""
    count, wrong = 0, []
    for at in range(1, 200):
        kills, found = outcome(Fault(at))
        count, wrong = count + kills, wrong + found
    report(f"kills in a sync that failed, then power cuts: {count} kills, {len(wrong)} wrong")
    assert wrong == []
    assert count > 8


def test_a_store_that_builds_on_what_it_finds_is_caught(outcome, monkeypatch):
    begun = Writer._begun

    def careless(self, **_touch):
        self._sure = True
        return begun(self)

    monkeypatch.setattr(Writer, "_begun", careless)
    _, wrong = outcome()
    assert [each for each in wrong if "lost" in each]
