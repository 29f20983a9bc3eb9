"""Effects: what other systems are told of a refund, how often, and under which key."""

import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from refold.engine import Delivered, EffectKind, State
from refold.engine.errors import CheckpointConflict, InvalidInput, StoreBusy
from refold.engine.ports import Progress
from refold.eventstore import subscription

DELIVERER = Path(__file__).with_name("deliverer.py")
LONG_S = 60
KINDS = [EffectKind.STATE_CHANGED]


@pytest.fixture
def moves(deliver):
    return lambda engine, **options: [
        (each.refund_id, each.previous_state, each.state) for each in deliver(engine, **options)
    ]


# ---- what is delivered


def test_each_change_of_state_is_one_effect_in_the_order_of_the_log(told, moves):
    assert moves(told) == [
        ("r-1", None, State.CREATED),
        ("r-2", None, State.CREATED),
        ("r-1", State.CREATED, State.RECEIVED),
        ("r-2", State.CREATED, State.FAILED),
        ("r-1", State.RECEIVED, State.SUCCESS),
    ]


def test_an_effect_says_what_happened_and_what_the_refund_is_since(told, deliver, hkd):
    effect = deliver(told)[-1]
    entry = told.history("r-1")[-1]
    assert effect.kind is EffectKind.STATE_CHANGED
    assert (effect.refund_id, effect.gateway, effect.payment_id) == ("r-1", "evonet", "p-1")
    assert (effect.amount, effect.gateway_refund_id) == (hkd(6000), "g-1")
    assert (effect.attention, effect.raised, effect.cleared) == ((), (), ())
    assert (effect.position, effect.version, effect.time) == (entry.position, entry.version, entry.time)
    assert effect.cause == entry.type == "evidence.success"


def test_what_was_delivered_is_not_delivered_again(told, deliver):
    assert len(deliver(told)) == 5
    assert deliver(told) == []


def test_a_new_name_begins_with_what_happens_from_then_on(told, moves, ask):
    assert moves(told, start="end") == []
    ask(told, "r-3", payment="p-3")
    assert moves(told, start="end") == [("r-3", None, State.CREATED)]


def test_replays_and_looks_into_the_past_deliver_nothing(told, deliver):
    """Neither to those who are told already, nor to those who are not."""
    assert len(deliver(told)) == 5
    late = deliver(told, name="late", start="end")
    assert told.replay().agrees
    told.refund("r-1", as_of=2)
    told.history("r-1")
    assert deliver(told) + deliver(told, name="late") + late == []
    assert [each.lag for each in told.subscriptions()] == [0, 0]


def test_a_webhook_that_comes_twice_has_one_effect(engine, ask, wire, moves):
    """CASES 15."""
    ask(engine)
    moves(engine)
    hook = wire.webhook("evonet", "r-1", "success")
    assert [engine.receive_webhook("evonet", *hook).result for _ in range(3)] == [
        "accepted",
        "duplicate",
        "duplicate",
    ]
    later = wire.says("evonet", "r-1", "success", at_s=60)
    engine.record("evonet", "poll", later)
    assert moves(engine) == [("r-1", State.CREATED, State.SUCCESS)]


def test_a_success_that_is_taken_back_has_its_effect_once(open_engine, wire, reversing, ask, moves):
    """CASES 25."""
    engine = open_engine(gateways=[reversing])
    ask(engine, gateway="reversing")
    engine.record("reversing", "poll", wire.message({"signal": "success"}))
    moves(engine)
    for at_s in (0, 0, 60):
        engine.record("reversing", "poll", wire.message({"signal": "reversed"}, at_s=5 * 86400 + at_s))
    assert moves(engine) == [("r-1", State.SUCCESS, State.FAILED)]


def test_changes_of_attention_are_effects_of_their_own_for_those_who_ask(engine, ask, wire, deliver):
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "a new word"))
    engine.resolve("r-1", "failed", actor="ann", reason="by telephone 4111111111111111")
    got = deliver(engine, kinds=["refund.attention_changed"])
    assert [(each.kind, each.attention, each.raised, each.cleared) for each in got] == [
        (EffectKind.ATTENTION_CHANGED, ("unrecognised",), ("unrecognised",), ()),
        (EffectKind.ATTENTION_CHANGED, (), (), ("unrecognised",)),
    ]
    both = deliver(engine, name="both", kinds=EffectKind)
    assert [each.kind.value.rpartition(".")[2] for each in both] == [
        "state_changed",
        "attention_changed",
        "state_changed",
        "attention_changed",
    ]
    assert len({each.key for each in both}) == 4
    assert len(deliver(engine, name="states")) == 2


def test_effects_are_those_of_the_history(told, deliver):
    """An effect for each step of the timeline that changes the state, and none for others."""
    for refund_id in ("r-1", "r-2"):
        states = [None, *(entry.state for entry in told.history(refund_id))]
        steps = [step for step in pairwise(states) if step[0] is not step[1]]
        got = deliver(told, name=f"for-{refund_id}")
        assert [(each.previous_state, each.state) for each in got if each.refund_id == refund_id] == steps


def test_more_refunds_than_are_remembered_are_folded_from_the_log(monkeypatch, told, moves):
    from refold.engine.service import effects

    expected = moves(told)
    monkeypatch.setattr(effects, "_REMEMBERED", 0)
    assert moves(told, name="forgetful") == expected


# ---- the key


def test_the_key_is_the_same_in_every_subscription_and_every_engine(told, open_engine, deliver):
    keys = [each.key for each in deliver(told)]
    assert [each.key for each in deliver(told, name="mail")] == keys
    assert len(set(keys)) == 5
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_the_key_is_the_same_in_a_copy_of_the_log_whatever_the_positions(told, open_memory, ask, deliver):
    from refold.engine.ports import NewEvent, Write

    copy = open_memory()
    ask(copy, "r-0", payment="p-0")
    for event in told.store.read_category("refund"):
        copy.store.append(Write(event.stream, None, [NewEvent(event.type, event.time, event.data)]))
    copied = {each.key: each.position for each in deliver(copy)}
    original = {each.key: each.position for each in deliver(told)}
    assert original.keys() < copied.keys()
    assert [copied[key] for key in original] != list(original.values())


def test_an_effect_is_given_again_under_its_key_until_the_handler_has_it(told, deliver):
    got = []

    def handle(effect):
        got.append(effect)
        if len(got) < 3:
            raise ValueError

    assert told.deliver("ledger", handle, once=True, start="beginning", backoff_s=0) == Delivered(5, 0)
    assert len({effect.key for effect in got[:3]}) == 1
    assert got[0] == got[1] == got[2]


# ---- what fails


def test_a_refund_whose_effect_fails_is_set_aside_and_others_go_on(told, moves):
    got = []

    def handle(effect):
        if effect.refund_id == "r-1":
            raise ConnectionError("https://user:password@ledger.example")
        got.append(effect.refund_id)

    done = told.deliver("ledger", handle, once=True, start="beginning", attempts=2, backoff_s=0)
    assert (got, done) == (["r-2", "r-2"], Delivered(2, 3))
    assert told.subscriptions() == [Progress("ledger", told.store.head(), 0, 3)]
    letters = list(told.store.dead_letters("ledger"))
    assert [(letter.error, letter.attempts) for letter in letters] == [
        ("ConnectionError", 2),
        ("", 0),
        ("", 0),
    ]
    assert "password" not in str(letters)
    assert moves(told) == []
    again = []
    assert told.redeliver("ledger", again.append, kinds=KINDS) == Delivered(3, 0)
    assert [effect.state for effect in again] == [State.CREATED, State.RECEIVED, State.SUCCESS]
    assert told.redeliver("ledger", again.append, kinds=KINDS) == Delivered(0, 0)


def test_a_refund_that_fails_again_stays_set_aside(told):
    def fail(_):
        raise ValueError

    told.deliver("ledger", fail, once=True, start="beginning", attempts=1)
    assert told.redeliver("ledger", fail, kinds=KINDS) == Delivered(0, 2)

    def busy(_):
        with pytest.raises(CheckpointConflict):
            told.redeliver("ledger", fail, kinds=KINDS)

    assert told.redeliver("ledger", busy, kinds=KINDS) == Delivered(5, 0)


def test_a_store_that_is_busy_makes_no_dead_letter(told):
    def busy(_):
        raise StoreBusy(1)

    with pytest.raises(StoreBusy):
        told.deliver("ledger", busy, once=True, start="beginning", attempts=1)
    assert told.subscriptions() == [Progress("ledger", 0, told.store.head(), 0)]


def test_an_event_that_no_model_reads_sets_its_refund_aside_and_others_go_on(told, moves):
    """CASES A19."""
    from refold.engine.ports import NewEvent, Write

    told.store.append(Write("refund-r-2", None, [NewEvent("evidence.newer", "2026-01-01T00:00:00Z", "{}")]))
    told.resolve("r-1", "failed", actor="ann", reason="by telephone")
    assert [refund_id for refund_id, _, _ in moves(told, attempts=2)][-1] == "r-1"
    (letter,) = told.store.dead_letters("ledger")
    assert (letter.event.type, letter.error, letter.attempts) == ("evidence.newer", "EventUnreadable", 2)


# ---- live, in threads and processes


def test_effects_are_delivered_as_they_happen_until_it_is_told_to_stop(engine, ask):
    stop, got, came = threading.Event(), [], threading.Semaphore(0)

    def handle(effect):
        got.append(effect.refund_id)
        came.release()

    thread = threading.Thread(
        target=engine.deliver, args=("ledger", handle), kwargs={"stop": stop, "start": "beginning"}
    )
    thread.start()
    for number in range(5):
        ask(engine, f"r-{number}", payment=f"p-{number}")
        assert came.acquire(timeout=LONG_S)
    stop.set()
    thread.join(LONG_S)
    assert not thread.is_alive()
    assert got == [f"r-{number}" for number in range(5)]


def test_of_two_who_deliver_under_one_name_one_does(monkeypatch, told, deliver, clock):
    monkeypatch.setattr(subscription, "_PAUSE_S", 0.001)
    other = []

    def stalls(effect):
        if effect.refund_id == "r-2" and not other:
            clock.tick(minutes=2)
            other.extend(deliver(told))

    told.deliver("ledger", stalls, once=True, start="beginning")
    assert [effect.refund_id for effect in other] == ["r-2", "r-1", "r-2", "r-1"]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_process_killed_in_its_handler_repeats_that_effect_alone_and_under_its_key(
    tmp_path, request, open_at, ask, clock, kind
):
    url = (
        f"sqlite:///{tmp_path / 'refunds.db'}"
        if kind == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = open_at(url)
    for number in range(4):
        ask(engine, f"r-{number}", payment=f"p-{number}")
    done = subprocess.run(
        [sys.executable, DELIVERER, url, "3"], capture_output=True, text=True, check=False, timeout=LONG_S
    )
    assert done.returncode == -signal.SIGKILL
    before = done.stdout.split()
    clock.now = datetime.now(UTC) + timedelta(hours=1)
    again = []
    engine.deliver("ledger", lambda effect: again.append(effect.key), once=True)
    assert len(before) == 3
    assert again[0] == before[2]
    assert len(set(before + again)) == len(before + again) - 1 == 4


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a b"},
        {"handler": None},
        {"kinds": ["refund.paid"]},
        {"kinds": None},
        {"kinds": []},
        {"attempts": 0},
        {"stop": 1},
        {"once": 1},
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_is_refused_and_nothing_begins(told, options):
    given = {"name": "ledger", "handler": print, "once": True} | options
    with pytest.raises(InvalidInput):
        told.deliver(given.pop("name"), given.pop("handler"), **given)
    assert told.subscriptions() == []


@pytest.fixture
def ended():
    """A stop that is set: whoever is not refused returns at once."""
    stop = threading.Event()
    stop.set()
    return stop


async def a_coroutine(effect):
    """Never run."""


def a_generator(effect):
    yield effect


async def an_async_generator(effect):
    yield effect


@pytest.mark.parametrize(
    "handler", [a_coroutine, a_generator, an_async_generator], ids=lambda each: each.__name__
)
def test_a_handler_that_would_never_run_is_refused(told, handler, ended):
    for call in (told.deliver, told.redeliver):
        with pytest.raises(InvalidInput, match="give a plain function"):
            call("ledger", handler, kinds=KINDS, stop=ended)
    assert told.subscriptions() == []


@pytest.mark.parametrize(
    "handler", [a_coroutine, a_generator, an_async_generator], ids=lambda each: each.__name__
)
def test_an_effect_is_not_told_where_the_handler_returns_what_would_have_to_run(told, handler):
    def plain(effect):
        return handler(effect)

    done = told.deliver("ledger", plain, once=True, start="beginning", attempts=1)
    assert done.effects == 0
    assert {letter.error for letter in told.store.dead_letters("ledger")} == {"InvalidInput", ""}


def test_nobody_is_told_of_what_a_batch_may_still_undo(told, ended):
    heard = []
    for call in (told.deliver, told.redeliver):
        with told.store.batch(), pytest.raises(InvalidInput, match="a batch of this thread is open"):
            call("ledger", heard.append, kinds=KINDS, stop=ended)
    assert (heard, told.subscriptions()) == ([], [])


def test_nothing_is_delivered_again_under_a_name_that_is_none(told):
    with pytest.raises(InvalidInput, match="no subscription 'ledgre'"):
        told.redeliver("ledgre", print, kinds=KINDS)
    assert told.subscriptions() == []
