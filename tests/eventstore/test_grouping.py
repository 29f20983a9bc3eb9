"""Group commit: who comes while another one writes shares the next commit, and answers only for itself."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from refold.engine.errors import (
    InvalidInput,
    KeyReuse,
    OutcomeUnknown,
    StoreBusy,
    StoreFull,
    StoreUnavailable,
    VersionConflict,
)
from refold.engine.ports import Column, NewEvent, Upsert, View, Write
from refold.eventstore import grouping
from refold.eventstore.grouping import Turns

NUMBERS = View("numbers", (Column("name", str), Column("number", int)), key=("name",))
ABSENT = View("absent", NUMBERS.columns, key=("name",))


class Commits:
    """Commits groups one after the other; the first of them when it is let through."""

    def __init__(self):
        self.groups = []
        self.threads = []
        self.entered = threading.Event()
        self.let = threading.Event()
        self.raises = None

    def __call__(self, members):
        self.groups.append([member.request for member in members])
        self.threads.append(threading.get_ident())
        self.entered.set()
        assert self.let.wait(20)
        if self.raises is not None and len(self.groups) > 1:
            raise self.raises
        for member in members:
            if member.request == "wrong":
                member.error = InvalidInput("wrong")
            else:
                member.result = f"done {member.request}"


@pytest.fixture
def commits():
    return Commits()


@pytest.fixture
def turns(commits):
    return Turns(commits, timeout_s=20)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(40) as pool:
        yield pool


def queued(turns, count):
    """Wait until so many callers stand in the queue."""
    hurry = threading.Event()
    for _ in range(20_000):
        if len(turns._queue) == count:
            return
        hurry.wait(0.001)
    raise AssertionError(f"{len(turns._queue)} queued, not {count}")


def together(turns, commits, pool, requests):
    """Let one caller commit, the others queue behind it in their order, and return what became of each."""
    first = pool.submit(turns.run, "first")
    assert commits.entered.wait(20)
    waiting = []
    for number, request in enumerate(requests, 1):
        waiting.append(pool.submit(turns.run, request))
        queued(turns, number)
    commits.let.set()
    assert first.result(20) == "done first"
    return [each.exception(20) or each.result() for each in waiting]


def test_a_lone_caller_commits_at_once_in_its_own_thread(turns, commits):
    commits.let.set()
    assert turns.run("a") == "done a"
    assert turns.run("b") == "done b"
    assert commits.groups == [["a"], ["b"]]
    assert set(commits.threads) == {threading.get_ident()}


def test_callers_who_come_while_another_commits_share_the_next_commit_in_their_order(turns, commits, pool):
    assert together(turns, commits, pool, "abcde") == [f"done {each}" for each in "abcde"]
    assert commits.groups == [["first"], ["a", "b", "c", "d", "e"]]


def test_a_member_that_fails_does_not_fail_its_neighbours(turns, commits, pool):
    outcomes = together(turns, commits, pool, ["a", "wrong", "b"])
    assert (outcomes[0], outcomes[2]) == ("done a", "done b")
    assert isinstance(outcomes[1], InvalidInput)


def test_what_the_commit_raises_is_the_error_of_all_its_members(turns, commits, pool):
    commits.raises = StoreFull()
    outcomes = together(turns, commits, pool, "abc")
    assert [type(each) for each in outcomes] == [StoreFull] * 3


def test_a_group_has_a_bound(turns, commits, pool, monkeypatch):
    monkeypatch.setattr(grouping, "_MOST", 2)
    together(turns, commits, pool, "abcde")
    assert commits.groups == [["first"], ["a", "b"], ["c", "d"], ["e"]]


def test_who_waits_too_long_is_told_so_and_nothing_of_it_is_carried_out(commits, pool):
    turns = Turns(commits, timeout_s=0.05)
    first = pool.submit(turns.run, "first")
    assert commits.entered.wait(20)
    with pytest.raises(StoreBusy):
        turns.run("late")
    commits.let.set()
    assert first.result(20) == "done first"
    assert turns.run("next") == "done next"
    assert commits.groups == [["first"], ["next"]]


def test_who_wants_to_be_alone_is_and_keeps_its_place_in_the_queue(turns, commits, pool):
    said = []

    def alone():
        with turns.alone():
            said.append(len(commits.groups))

    first = pool.submit(turns.run, "first")
    assert commits.entered.wait(20)
    each = []
    for number, task in enumerate(["a", None, "b"], 1):
        each.append(pool.submit(alone) if task is None else pool.submit(turns.run, task))
        queued(turns, number)
    commits.let.set()
    for future in (first, *each):
        future.result(20)
    assert commits.groups == [["first"], ["a"], ["b"]]
    assert said == [2]


def test_the_turn_is_passed_on_after_a_block_that_raises(turns, commits):
    commits.let.set()
    with pytest.raises(ZeroDivisionError), turns.alone():
        raise ZeroDivisionError
    assert turns.run("a") == "done a"


def test_who_queues_at_the_moment_in_which_the_turn_becomes_free_is_not_forgotten(turns, commits, pool):
    class Turn:
        """A lock before whose release somebody comes who still finds it taken."""

        late = None

        def __init__(self, lock):
            self.acquire, self.lock = lock.acquire, lock

        def release(self):
            if self.late is None:
                self.late = pool.submit(turns.run, "late")
                queued(turns, 1)
            self.lock.release()

    turns._turn = turn = Turn(turns._turn)
    commits.let.set()
    assert turns.run("first") == "done first"
    assert turn.late.result(20) == "done late"


def test_an_interrupt_of_the_one_who_commits_leaves_its_neighbours_in_doubt_and_the_turn_free(
    turns, commits, pool
):
    commits.raises = KeyboardInterrupt()
    outcomes = together(turns, commits, pool, "abc")
    assert [type(each) for each in outcomes] == [KeyboardInterrupt, OutcomeUnknown, OutcomeUnknown]
    commits.raises = None
    assert turns.run("next") == "done next"


@pytest.mark.parametrize("passed", [False, True], ids=["before its turn", "at its turn"])
def test_an_interrupt_of_one_who_waits_does_not_lose_the_turn(turns, commits, pool, monkeypatch, passed):
    entered = threading.Event()
    wait = grouping._Waiter.wait

    def interrupted(waiter, timeout_s=-1):
        if timeout_s < 0:
            return wait(waiter, timeout_s)
        if passed:
            assert wait(waiter, timeout_s)
            waiter.wake()
        entered.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(grouping._Waiter, "wait", interrupted)
    first = pool.submit(turns.run, "first")
    assert commits.entered.wait(20)
    waiting = pool.submit(turns.run, "interrupted")
    if passed:
        queued(turns, 1)
        commits.let.set()
    assert entered.wait(20)
    commits.let.set()
    assert isinstance(waiting.exception(20), KeyboardInterrupt)
    assert first.result(20) == "done first"
    assert turns.run("next") == "done next"
    assert commits.groups == [["first"], ["next"]]


# ---- in the SQLite store


def event(number):
    return NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'{{"n":{number}}}')


def at_once(store, pool, appends):
    """Make appends that all queue up behind one writer, and return what became of each."""
    turns = store._writer._turns
    waiting = []
    with turns.alone():
        for number, append in enumerate(appends, 1):
            waiting.append(pool.submit(append))
            queued(turns, number)
    return [each.exception(20) or each.result() for each in waiting]


def commits_of(store):
    seen = []
    store._writer._connection.set_trace_callback(seen.append)
    return lambda: sum(statement == "COMMIT" for statement in seen)


def test_appends_of_one_moment_share_one_commit_of_the_file(open_store, pool):
    store = open_store()
    count = commits_of(store)
    outcomes = at_once(
        store, pool, [lambda n=n: store.append(Write(f"refund-{n}", 0, [event(n)])) for n in range(30)]
    )
    assert [(each.first, each.last) for each in outcomes] == [(n, n) for n in range(1, 31)]
    assert [each.stream for each in store.read_all()] == [f"refund-{n}" for n in range(30)]
    assert count() == 1


def test_members_of_a_group_see_what_those_before_them_appended(open_store, pool):
    store = open_store()
    count = commits_of(store)
    a, b = Write("refund-a", 0, [event(1)]), Write("refund-a", 1, [event(2)])
    outcomes = at_once(
        store,
        pool,
        [
            lambda: store.append(a, key="k"),
            lambda: store.append(a),
            lambda: store.append(b),
            lambda: store.append(a, key="k"),
            lambda: store.append(b, key="k"),
            lambda: store.append(Write("refund-a", None, [event(3)]), Write("refund-b", 0, [event(4)])),
        ],
    )
    kinds = [type(each).__name__ for each in outcomes]
    assert kinds == ["Appended", "VersionConflict", "Appended", "Appended", "KeyReuse", "Appended"]
    assert (outcomes[0], outcomes[3]) == ((1, 1, False), (1, 1, True))
    assert (outcomes[1].expected, outcomes[1].actual) == (0, 1)
    assert outcomes[5] == (3, 4, False)
    assert [(each.stream, each.version) for each in store.read_all()] == [
        ("refund-a", 1),
        ("refund-a", 2),
        ("refund-a", 3),
        ("refund-b", 1),
    ]
    assert count() == 1


def test_a_member_that_sqlite_refuses_is_alone_with_its_error(open_store, pool):
    store = open_store(views=[NUMBERS])

    def append(name, view):
        return store.append(
            Write(f"refund-{name}", 0, [event(1)]), changes=[Upsert(view, (name, 1))], key=name
        )

    views = [("a", NUMBERS), ("b", ABSENT), ("c", NUMBERS)]
    outcomes = at_once(
        store,
        pool,
        [lambda name=name, view=view: append(name, view) for name, view in views],
    )
    assert (outcomes[0], outcomes[2]) == ((1, 1, False), (2, 2, False))
    assert isinstance(outcomes[1], StoreUnavailable)
    assert [row["name"] for row in store.rows(NUMBERS)] == ["a", "c"]
    assert store.settle("b") is None


def test_a_commit_whose_outcome_is_unknown_is_so_for_each_member_by_its_own_key(
    open_store, pool, monkeypatch
):
    store = open_store()
    writer = store._writer

    def unknown(connection):
        connection.execute("ROLLBACK")
        raise OutcomeUnknown(None)

    monkeypatch.setattr(writer, "_commit", unknown)
    outcomes = at_once(
        store,
        pool,
        [lambda n=n: store.append(Write(f"refund-{n}", 0, [event(n)]), key=f"k{n}") for n in range(3)],
    )
    assert [(type(each), each.key) for each in outcomes] == [(OutcomeUnknown, f"k{n}") for n in range(3)]
    monkeypatch.undo()
    assert store.append(Write("refund-1", 0, [event(1)]), key="k1") == (1, 1, False)


def test_a_group_with_more_streams_than_one_statement_asks_for_is_whole(open_store):
    store = open_store()
    writes = [Write(f"refund-{n}", 0, [event(n)]) for n in range(2_100)]
    assert store.append(*writes, key="k") == (1, 2_100, False)
    assert store.append(*writes, key="k") == (1, 2_100, True)
    with pytest.raises(VersionConflict):
        store.append(*writes)
    with pytest.raises(KeyReuse):
        store.append(*[Write(f"refund-{n}", 1, [event(n)]) for n in range(100)], key="k")
    assert store.version("refund-2099") == 1
