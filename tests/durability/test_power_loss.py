"""The power is cut: what was acknowledged is there as a whole, what was not is there as a whole or not at all."""

import pytest

from refold.eventstore import MemoryStore

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

SEED = 20_261_122


@pytest.fixture(scope="module")
def recorded(machine, history):
    """Run the history, and return what the file said after each call, and the disk's trace."""

    def run(**options):
        with machine() as there:
            there.run(history.LONG, **options)
            return there.states, there.disk.trace

    return run


@pytest.fixture(scope="module")
def full(recorded):
    return recorded()


def test_no_power_cut_loses_or_breaks_anything(full, cuts, report):
    """Each cut is another one: survivals of one moment that leave the same bytes count once."""
    states, trace = full
    cut = cuts(SEED).through(states, trace, each=64)
    report(f"power cuts, synchronous=FULL: {cut}")
    assert cut.failures == []
    assert cut.counts["cuts"] >= 20_000
    assert cut.counts["opened by the store"] >= 500
    assert cut.counts["of the creation"] >= 30


def test_a_relaxed_store_loses_what_it_acknowledged_and_breaks_nothing(recorded, cuts, report):
    """The control: were nothing lost here, the cuts above would prove nothing."""
    cut = cuts(SEED).through(*recorded(durability="relaxed"), each=3)
    report(f"power cuts, synchronous=NORMAL: {cut}")
    assert cut.counts["lost"] > 100
    assert cut.counts["corrupt"] == 0


def test_a_disk_that_lies_about_its_syncs_loses_what_was_acknowledged(full, cuts, report):
    """The other control: that a sync is what keeps the events."""
    states, trace = full
    cut = cuts(SEED).through(states, trace, each=2, lies=True)
    report(f"power cuts, a disk that ignores syncs: {cut}")
    assert cut.counts["lost"] > 100
    assert cut.counts["corrupt"] > 0


def test_the_history_is_the_one_of_the_reference(full, history):
    """What the cuts are compared with is right: the store in memory says the same of the same calls."""
    states, _ = full
    store = MemoryStore()
    for step in history.LONG:
        step.call(store)
    assert states[-1]["events"] == [tuple(event) for event in store.read_all()]
    assert sorted(states[-1]["refunds"]) == [tuple(row.values()) for row in store.rows(history.REFUNDS)]
    assert len(states[-1]["events"]) > 40
    kept = {digest for digest, *_ in states[-1]["bodies"]}
    assert len(kept) > 10
    assert [store.body(digest).digest for digest in kept] == list(kept)
    assert [key for key, *_ in states[-1]["keys"] if store.settle(key) is None] == []
    assert not [fault for state in states for fault in history.faults_of(state)]
