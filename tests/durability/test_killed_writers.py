"""Writers are killed at any moment: what they acknowledged is there once, what they did not is there whole or not."""

import signal
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

import history_checker as checker
import places
import processes
import pytest
import writers

from refold.engine.composition import open_store
from refold.engine.errors import MessageNotFound
from refold.engine.ports import Appended
from refold.engine.service.views import ATTENTION, PAYMENTS
from refold.eventstore import MemoryStore

HERE = Path(__file__).parent
CYCLES, CYCLES_WITH_SERVER = 100, 20
CRASH_EVERY = 4
"""In every such cycle the server is killed before the writers are."""
PROCESSES, THREADS = 2, 3

# ---- what must be in a store ------------------------------------------------------------------------------------


class Ledger:
    """All events that a store held when it was last found to be sound."""

    def __init__(self):
        self.log, self.versions, self.appends = [], Counter(), Counter()
        self._next = self.log, self.versions, self.appends

    def findings(self, store, done, undecided):
        """Return what is wrong with a store.

        Args:
            store: where the work was done.
            done: the new steps that were acknowledged, each with what was acknowledged of its appends (or None).
            undecided: the steps under way when their writers were killed.
        """
        new, found = list(store.read_all(after=len(self.log))), []
        versions, appends, placed = self.versions.copy(), self.appends.copy(), {}
        for position, event in enumerate(new, len(self.log) + 1):
            versions[event.stream] += 1
            if (event.position, event.version) != (position, versions[event.stream]):
                found.append(f"numbers: {event} is not {position}, {versions[event.stream]}")
            if event.digest != checker.digest(event):
                found.append(f"digest: of {event}")
            placed.setdefault(writers.key_of(event), []).append(event)
        for step, answers in done:
            for index, planned in enumerate(step.appends):
                there = placed.pop(planned.key, [])
                found += self._append(store, planned, there, answers and answers[index], appends)
        for step in undecided:
            there = [placed.pop(planned.key, []) for planned in step.appends]
            if any(there) and not all(there):
                found.append(f"torn: the batch {step.name}")
            for planned, events in zip(step.appends, there, strict=True):
                found += (
                    self._append(store, planned, events, None, appends)
                    if events
                    else self._absent(store, planned)
                )
        found += [f"unplanned: {key} with {len(events)} events" for key, events in placed.items()]
        found += self._views(store, done, undecided, new, versions, appends)
        if store.first_missing() is not None:
            found.append(f"missing: {store.first_missing()}")
        self._next = [*self.log, *new], versions, appends
        return found

    def accept(self):
        """Go on from what was looked at last."""
        self.log, self.versions, self.appends = self._next

    def _append(self, store, planned, there, answer, appends):
        wanted = [(write.stream, *event) for write in planned.writes for event in write.events]
        actual = [(event.stream, event.type, event.time, event.data) for event in there]
        appends.update(write.stream for write in planned.writes)
        if actual != wanted:
            kind = "lost" if not actual else "doubled" if len(actual) > len(wanted) else "torn"
            yield f"{kind}: {planned.key} has {len(actual)} events, {len(wanted)} were appended"
            return
        stands = Appended(there[0].position, there[-1].position)
        if stands.last - stands.first != len(there) - 1 or answer not in {None, stands}:
            yield f"moved: {planned.key} was acknowledged at {answer} and is at {stands}"
        if store.settle(planned.key) != stands:
            yield f"key: {planned.key} is settled as {store.settle(planned.key)}, it is at {stands}"
        for body in planned.bodies:
            if body_of(store, body.digest) != body:
                yield f"body: of {planned.key}"

    def _absent(self, store, planned):
        if store.settle(planned.key) is not None:
            yield f"key: {planned.key} is settled, and has no events"
        if any(body_of(store, body.digest) is not None for body in planned.bodies):
            yield f"body: {planned.key} has one, and no events"

    def _views(self, store, done, undecided, new, versions, appends):
        for stream in {event.stream for event in new}:
            row = store.row(PAYMENTS, ("test", f"kill {stream}", "HKD"))
            counted = row and (row["refunds"], row["reserved_minor"])
            if counted != (versions[stream], 7 * appends[stream]):
                yield f"view: {stream} is counted as {counted}, not {versions[stream]}, {7 * appends[stream]}"
        keys = {writers.key_of(event) for event in new}
        last = {}
        for step in [*(step for step, _ in done), *undecided]:
            for planned in step.appends:
                if planned.key in keys:
                    last[step.writer] = planned.key
        for writer, key in last.items():
            rows = [row["refund_id"] for row in store.rows(ATTENTION, where={"kind": writer})]
            if rows != [key]:
                yield f"view: {writer} has the rows {rows}, not {key}"


def body_of(store, digest):
    try:
        return store.body(digest)
    except MessageNotFound:
        return None


# ---- writers that are killed ------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """Give the place of a store, which outlives its writers."""
    if request.param == "sqlite":
        return places.Sqlite(tmp_path / "log.db")
    return places.Postgres(request.getfixturevalue("postgres_server"))


@pytest.fixture
def crew():
    started = processes.Crew(HERE / "workload.py")
    yield started
    started.close()


def acknowledged(names, lines):
    """Return the steps that writers told to be done, and for each writer the next one."""
    answers = {}
    for line in lines:
        if line.startswith("done "):
            _, name, *numbers = line.split()
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            answers[name] = [Appended(int(first), int(last)) for first, last in pairs] or None
    done, undecided = [], []
    for name in names:
        for step in writers.steps(name):
            if step.name not in answers:
                undecided.append(step)
                break
            done.append((step, answers.pop(step.name)))
    assert not answers, f"told to be done before an earlier one: {answers}"
    return done, undecided


def killed(crew, place, names, random, *, with_server):
    """Let writers work, kill them at a moment of chance, and return what they told."""
    pids, die_at = [], None
    word = random.choice(["done", "done", "inside", "dying inside", "dying done"])
    count = random.randint(1, 40)
    if word.startswith("dying"):
        die_at = [word.removeprefix("dying "), count]
        word, count = "dying", 1
    for process in range(PROCESSES):
        plan = {"names": names[process::PROCESSES], "die_at": None if process else die_at}
        pids.append(crew.start("writer", url=place.url, server_dies=with_server, **plan))
    lines = crew.until(lambda lines: sum(line.startswith(word) for line in lines) >= count)
    if with_server:
        random.choice([place.crash, place.quit])()
    for pid in random.sample(pids, len(pids)):
        ended = crew.kill(pid)
        assert ended == -signal.SIGKILL or with_server
    place.forget_clients()
    return lines + crew.told()


def repeated(store, step):
    """Take a step again, and return it with what the store says of it now."""
    placed = writers.take(store, step, lambda line: None)
    return step, [appended._replace(duplicate=False) for appended in placed]


def test_killed_writers_lose_nothing_they_acknowledged_and_double_nothing(crew, place):
    random, ledger, there = Random("killed"), Ledger(), Counter()
    open_store(place.url).close()
    for cycle in range(CYCLES_WITH_SERVER if place.has_server else CYCLES):
        names = [f"c{cycle}t{thread}" for thread in range(PROCESSES * THREADS)]
        with_server = place.has_server and cycle % CRASH_EVERY == CRASH_EVERY - 1
        told = killed(crew, place, names, random, with_server=with_server)
        done, undecided = acknowledged(names, told)
        with closing(open_store(place.url)) as store:
            assert ledger.findings(store, done, undecided) == [], f"cycle {cycle}"
            there.update(store.settle(step.appends[0].key) is not None for step in undecided)
            done += [repeated(store, step) for step in undecided]
            assert ledger.findings(store, done, []) == [], f"cycle {cycle}, repeated"
            ledger.accept()
    with closing(open_store(place.url)) as store:
        assert list(store.read_all()) == ledger.log
    # Some were killed before their append was stored, and some between that and telling of it.
    assert there[True] > 0
    assert there[False] > 0


@pytest.mark.parametrize("hasty", ["before", "inside"])
def test_a_writer_that_acknowledges_too_early_is_found(crew, place, hasty):
    open_store(place.url).close()
    pid = crew.start("writer", url=place.url, names=["hasty"], die_at=["inside", 5], hasty=hasty)
    lines = crew.until(lambda lines: "dying" in lines)
    crew.kill(pid)
    place.forget_clients()
    done, undecided = acknowledged(["hasty"], lines)
    with closing(open_store(place.url)) as store:
        found = Ledger().findings(store, done, undecided)
    assert found[0].startswith("lost: ")


# ---- faults that must be found ----------------------------------------------------------------------------------


def plain(holds):
    """Return the first step of some writer that holds, as that writer's only one."""
    return next(
        step
        for number in range(1_000)
        for step in [next(writers.steps(f"w{number}"))]
        if holds(step, step.appends[0])
    )


SINGLE = plain(lambda step, append: not step.batch and len(append.writes) > 1 and append.bodies)
BATCH = plain(lambda step, append: step.batch)


def altered(**changes):
    """Return how to append the step's only append with something changed."""

    def fault(store):
        planned = SINGLE.appends[0]._replace(**changes)
        return store.append(*planned.writes, key=planned.key, bodies=planned.bodies, changes=planned.changes)

    return fault


def unkeyed(store):
    planned = SINGLE.appends[0]
    return store.append(*planned.writes, bodies=planned.bodies, changes=planned.changes)


def again(store):
    first = writers.append(store, SINGLE.appends[0])
    store.append(*(write._replace(expected=None) for write in SINGLE.appends[0].writes))
    return first


def elsewhere(store):
    return writers.append(store, SINGLE.appends[0])._replace(first=7)


WRITES = SINGLE.appends[0].writes


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        pytest.param(altered(), [], id="nothing"),
        pytest.param(lambda store: Appended(1, 1), ["lost"], id="nothing stored"),
        pytest.param(again, ["doubled"], id="stored twice"),
        pytest.param(altered(writes=WRITES[:1]), ["torn"], id="a stream left out"),
        pytest.param(elsewhere, ["moved"], id="another position told"),
        pytest.param(unkeyed, ["key"], id="no key stored"),
        pytest.param(altered(bodies=()), ["body"], id="no body stored"),
        pytest.param(altered(changes=()), ["view"], id="no view changed"),
    ],
)
def test_a_fault_in_what_was_acknowledged_is_found(fault, found):
    store = MemoryStore()
    answer = fault(store)
    kinds = {finding.partition(":")[0] for finding in Ledger().findings(store, [(SINGLE, [answer])], [])}
    assert kinds >= set(found)
    assert bool(kinds) == bool(found)


def test_a_batch_that_is_there_in_part_is_found():
    store = MemoryStore()
    writers.append(store, BATCH.appends[0])
    found = Ledger().findings(store, [], [BATCH])
    assert found[0] == f"torn: the batch {BATCH.name}"


def test_an_event_that_no_writer_planned_is_found():
    store = MemoryStore()
    writers.append(store, SINGLE.appends[0])
    assert Ledger().findings(store, [], [])[0].startswith(f"unplanned: {SINGLE.appends[0].key}")


def test_a_body_without_its_events_is_found():
    store = MemoryStore()
    store.append(*BATCH.appends[0].writes, bodies=SINGLE.appends[0].bodies, changes=BATCH.appends[0].changes)
    assert f"body: {SINGLE.appends[0].key} has one, and no events" in Ledger().findings(store, [], [SINGLE])
