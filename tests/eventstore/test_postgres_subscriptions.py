"""The checkpoints and dead letters of subscriptions on PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from totals import TOTALS

from refold.engine.errors import (
    CheckpointConflict,
    CorruptLog,
    InvalidInput,
    OutcomeUnknown,
    StoreClosed,
    WrongProcess,
)
from refold.engine.ports import DeadLetter, Delete, NewEvent, Progress, Upsert, Write

ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])
WHEN = "2026-01-02T09:00:00.000000Z"
LONG_S = 60


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


# ---- the checkpoint


def test_of_many_who_make_one_subscription_one_does(open_postgres, background):
    stores = [open_postgres(timeout_s=30) for _ in range(4)]
    stores[0].append(ONE)
    together = threading.Barrier(8)

    def make(store):
        together.wait(LONG_S)
        try:
            store.advance("a", expected=None, position=1)
        except CheckpointConflict as conflict:
            return conflict.actual
        return "made"

    made = [background(make, store) for store in stores * 2]
    assert sorted((each.result(LONG_S) for each in made), key=str) == [1] * 7 + ["made"]


def test_a_lease_that_is_renewed_is_free_for_nobody_in_between(open_postgres, pool, postgres_server, until):
    mine, other = open_postgres(timeout_s=30), open_postgres(timeout_s=30)
    token = mine.claim("lease", holder="me", now="2026-01", until="2026-02")
    blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'refold'"
    with mine.batch():
        mine.release(token)
        attempt = pool.submit(other.claim, "lease", holder="other", now="2026-01", until="2026-02")
        until(lambda: postgres_server.ask(blocked))
        again = mine.claim("lease", holder="me", now="2026-01", until="2026-03")
    assert attempt.result(LONG_S) is None
    mine.advance("a", expected=None, position=0, fence=again)


def test_a_move_whose_answer_is_cut_off_is_of_unknown_outcome(postgres_server, proxy, open_postgres):
    name = f"moved_{proxy.folder.name[-8:]}"
    postgres_server.schema(name)
    store = open_postgres(postgres_server.url(host=proxy.folder, search_path=name))
    store.append(ONE)
    store.advance("a", expected=None, position=0)
    store.advance("a", expected=0, position=0)
    proxy.cut = 0
    with pytest.raises(OutcomeUnknown):
        store.advance("a", expected=0, position=1)
    assert store.checkpoint_of("a") == 1
    store.advance("a", expected=1, position=1)


def test_a_move_that_the_server_refused_has_changed_nothing_and_undoes_no_batch(open_postgres):
    store = open_postgres(views=[TOTALS])
    store.append(ONE, changes=[Upsert(TOTALS, ("full", 2**63 - 1))])
    too_much = Upsert(TOTALS, ("full", 1))
    with pytest.raises(InvalidInput):
        store.advance("a", expected=None, position=1, changes=[Upsert(TOTALS, ("t", 1)), too_much])
    with store.batch():
        store.append(ONE)
        with pytest.raises(InvalidInput):
            store.advance("a", expected=None, position=1, changes=[Upsert(TOTALS, ("t", 1)), too_much])
        store.advance("a", expected=None, position=2, changes=[Upsert(TOTALS, ("u", 1))])
    assert [row["id"] for row in store.rows(TOTALS)] == ["full", "u"]
    assert (store.checkpoint_of("a"), store.head()) == (2, 2)


def test_a_move_that_is_a_conflict_leaves_a_batch_as_it_was(open_postgres):
    store = open_postgres(views=[TOTALS])
    store.append(ONE)
    (event,) = store.read_all()
    letter = DeadLetter(event, "ValueError", "", 1, WHEN)
    store.advance("a", expected=None, position=1, set_aside=[letter])
    with store.batch():
        with pytest.raises(CheckpointConflict, match="event 7 is not set aside any more"):
            store.advance("a", expected=1, position=1, resolved=[1, 7], changes=[Delete(TOTALS, ("t",))])
        store.append(ONE)
    assert list(store.dead_letters("a")) == [letter]
    assert store.subscriptions() == [Progress("a", 1, 1, 1)]


@pytest.mark.parametrize("value", ["5", True, 5.0], ids=repr)
def test_a_value_that_the_server_would_convert_is_refused_with_the_move(open_postgres, value):
    store = open_postgres(views=[TOTALS])
    store.append(ONE)
    with pytest.raises(InvalidInput):
        store.advance("a", expected=None, position=1, changes=[Upsert(TOTALS, ("t", value))])
    assert (store.checkpoint_of("a"), list(store.rows(TOTALS))) == (None, [])


def test_of_several_events_set_aside_the_one_that_cannot_be_is_named(open_postgres):
    store = open_postgres()
    store.append(ONE)
    store.append(ONE._replace(stream="refund-b"))
    failed, waiting = store.read_all()
    letters = [DeadLetter(failed, "ValueError", "", 1, WHEN), DeadLetter(waiting, "", "waits", 0, WHEN)]
    with pytest.raises(CheckpointConflict, match="event 2"):
        store.advance("a", expected=None, position=2, set_aside=letters)
    assert (store.checkpoint_of("a"), list(store.dead_letters("a"))) == (None, [])


def test_an_answer_of_the_server_that_means_nothing_is_no_move(open_postgres, postgres_server, postgres_url):
    store = open_postgres()
    with postgres_server.connect(postgres_url) as other:
        (text,) = other.execute("SELECT pg_get_functiondef('advance_checkpoint'::regproc)").fetchone()
        other.execute(text.replace("outcome := 0", "outcome := 9"))
    with pytest.raises(CorruptLog, match="answered 9"):
        store.advance("a", expected=None, position=0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"expected": 2**63}, CheckpointConflict),
        ({"expected": 0.0}, CheckpointConflict),
        ({"expected": None, "position": 2**63}, InvalidInput),
        ({"expected": None, "fence": 2**63}, CheckpointConflict),
        ({"expected": None, "resolved": [2**63]}, CheckpointConflict),
    ],
    ids=["expected", "fraction", "position", "fence", "resolved"],
)
def test_a_number_that_the_server_cannot_hold_is_one_that_is_not_there(open_postgres, options, error):
    store = open_postgres()
    with pytest.raises(error):
        store.advance("a", **{"position": 0} | options)
    assert store.checkpoint_of("a") is None


def test_reading_dead_letters_keeps_no_connection(open_postgres):
    store = open_postgres()
    for _ in range(40):
        store.append(ONE)
    letters = [DeadLetter(event, "ValueError", "", 1, WHEN) for event in store.read_all()]
    store.advance("a", expected=None, position=40, set_aside=letters)
    readers = [store.dead_letters("a") for _ in range(20)]  # more than there are connections
    for position in range(1, 41):
        assert {next(each).event.position for each in readers} == {position}


def test_dead_letters_that_cannot_be_read_are_refused_before_the_first_is_asked_for(
    open_postgres, monkeypatch
):
    store = open_postgres()
    with monkeypatch.context() as forked:
        forked.setattr(store, "_process", store._process + 1)
        with pytest.raises(WrongProcess):
            store.dead_letters("a")
    store.close()
    with pytest.raises(StoreClosed):
        store.dead_letters("a")


def test_a_checkpoint_that_moved_while_it_was_looked_at_lags_by_nothing(open_postgres, monkeypatch):
    store = open_postgres()
    store.append(ONE)
    store.advance("a", expected=None, position=1)
    monkeypatch.setattr(store, "head", lambda: 0)
    assert store.subscriptions() == [Progress("a", 1, 0, 0)]


def test_a_schema_of_an_older_refold_opened_for_reading_has_no_subscriptions(
    open_postgres, postgres_server, postgres_url
):
    open_postgres().close()
    with postgres_server.connect(postgres_url) as other:
        other.execute("DROP TABLE subscriptions; DROP TABLE dead_letters")
        other.execute("DELETE FROM migrations WHERE number >= 3")
    assert open_postgres(read_only=True).subscriptions() == []


def test_a_schema_of_an_older_refold_gets_what_subscriptions_need(
    open_postgres, postgres_server, postgres_url
):
    open_postgres().append(ONE)
    with postgres_server.connect(postgres_url) as other:
        other.execute("DROP TABLE subscriptions; DROP TABLE dead_letters; DROP FUNCTION advance_checkpoint")
        other.execute("DROP FUNCTION tell_waiters CASCADE; DELETE FROM migrations WHERE number >= 3")
    store = open_postgres()
    store.advance("a", expected=None, position=1)
    assert store.subscriptions() == [Progress("a", 1, 0, 0)]
