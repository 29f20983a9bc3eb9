"""Nothing is sent that somebody else has sent, nothing is forgotten, and nothing keeps the others waiting."""

import threading
from dataclasses import replace

import pytest

from refold.adapters import Evonet, SigningKey
from refold.engine import Message, Money, State
from refold.engine.errors import InvalidInput, ResendRefused, TooSoon
from refold.engine.ports import Answer
from refold.engine.service import working
from refold.engine.service.agenda import Agenda
from refold.engine.testing.scripted_transport import NOT_SENT, TIMEOUT, ScriptedTransport

DAY = 86_400
SUCCESS = Answer(200, {}, b'{"result":{"code":"S0000","message":""},"refund":{"status":"refunded_full"}}')
PENDING = Answer(200, {}, b'{"result":{"code":"S0000","message":""},"refund":{"status":"refund_pending"}}')
UNKNOWN = Answer(200, {}, b'{"result":{"code":"C0004","message":""}}')
OTHER = b'{"result":{"code":"B0001"},"refund":{"transAmount":{"currency":"HKD","value":"1.00"}}}'


@pytest.mark.parametrize(("status", "body"), [(502, b"<html>Bad Gateway</html>"), (200, OTHER)])
def test_what_an_answer_shows_that_somebody_has_sent_is_looked_up(engine, ask, script, clock, status, body):
    """A proxy's page and an answer that names another amount are answers to a request that has left."""
    ask()
    engine.record(
        "evonet",
        "api_response",
        Message(body=body, received_at=clock(), http_status=status),
        refund_id="r-1",
    )
    script.says(get=[UNKNOWN])
    for _ in range(20):
        clock.tick(60)
        engine.work(once=True)
    assert script.submissions() == []
    assert script.sent


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_a_contact_raises_the_worker_goes_on(engine, ask, script, clock, raised):
    ask()
    script.says(post=[raised], get=[SUCCESS])
    working_thread = threading.Thread(target=lambda: engine.work(once=True), daemon=True)
    working_thread.start()
    working_thread.join(10)
    assert not working_thread.is_alive()
    clock.tick(DAY)
    engine.work(once=True)
    assert engine.refund("r-1").state is State.SUCCESS
    assert len(script.submissions()) == 1


def test_what_cannot_be_sent_again_as_it_was_is_still_asked_about(make, ask, script, clock):
    """The webhook's URL has changed since, so that the second try would be other bytes."""
    ask()
    script.says(post=[TIMEOUT], get=[UNKNOWN])
    make().work(once=True)
    moved = ScriptedTransport(post=[SUCCESS], get=[UNKNOWN])
    moved.url = "https://shop.example/elsewhere"
    engine = make(transport=moved)
    for _ in range(2 * 24 * 12):
        clock.tick(300)
        engine.work(once=True)
    assert moved.submissions() == []
    asked = len(moved.sent)
    for _ in range(2 * 24 * 12):
        clock.tick(300)
        engine.work(once=True)
    assert len(moved.sent) - asked > 20
    assert engine.refund("r-1").attention == ("in_doubt", "polling_exhausted")


def test_what_has_an_outcome_keeps_nobody_waiting_who_has_none(store, gateways, engine, ask, clock):
    for n in range(3):
        ask(f"old-{n}", payment_id=f"p-{n}")
    engine.work(once=True)
    clock.tick(3 * DAY)
    ask("new")
    agenda = Agenda(store, {gateway.name: gateway for gateway in gateways()}, clock)
    agenda.catch_up()
    clock.tick(10)
    assert next(agenda.take_due(clock.now, lambda *_: True)) == ("new", "evonet")


def test_of_a_gateway_without_room_nothing_is_looked_at(store, gateways, ask, clock):
    for n in range(50):
        ask(f"r-{n}", payment_id=f"p-{n}")
    ask("e-1", gateway="easylink")
    agenda = Agenda(store, {gateway.name: gateway for gateway in gateways()}, clock)
    agenda.catch_up()
    looked_at = []

    def wanted(refund_id, gateway):
        looked_at.append(refund_id)
        return True

    assert list(agenda.take_due(clock.now, wanted, lambda gateway: gateway == "easylink")) == [
        ("e-1", "easylink")
    ]
    assert looked_at == ["e-1"]


def test_a_refund_of_a_gateway_nobody_can_reach_becomes_overdue(make, clock):
    class Half(ScriptedTransport):
        def reaches(self, gateway):
            return gateway == "evonet"

    engine = make(transport=Half(post=[SUCCESS], get=[SUCCESS]))
    engine.request(gateway="easylink", payment_id="p-1", refund_id="r-1", amount=Money(100, "HKD"))
    clock.tick(30 * DAY)
    engine.work(once=True)
    assert engine.refund("r-1").attention == ("overdue",)


def test_marking_many_as_overdue_keeps_no_refund_from_being_sent(make, script, clock, monkeypatch):
    """Each mark is an append that waits for the disk."""
    monkeypatch.setattr(working, "_MARKS_A_ROUND", 2)
    monkeypatch.setattr(working, "_TICK_S", 0)
    seen, sent = [], threading.Event()
    engine = make()

    def note(_):
        seen.append(sum("overdue" in view.attention for view in engine.find()))
        sent.set()

    script.at_send = note
    for n in range(7):
        engine.request(
            gateway="easylink", payment_id=f"p-{n}", refund_id=f"old-{n}", amount=Money(100, "HKD")
        )
    clock.tick(30 * DAY)
    engine.request(gateway="evonet", payment_id="p-9", refund_id="new", amount=Money(100, "HKD"))
    script.reaches = lambda gateway: gateway == "evonet"
    stop, rounds = threading.Event(), []

    def count(_):
        rounds.append(sum("overdue" in view.attention for view in engine.find()))
        if len(rounds) == 2:  # the thread that sends may be slower than the one that marks
            sent.wait(60)
        if len(rounds) == 6:
            stop.set()

    engine.work(stop, on_progress=count)
    assert seen[0] <= 4
    assert rounds[-1] == 7


def test_an_outcome_that_came_long_after_the_request_is_rechecked_by_the_next_worker(
    make, script, ask, clock
):
    ask()
    script.says(post=[PENDING], get=[PENDING])
    engine = make()
    for _ in range(17 * 4):
        engine.work(once=True)
        clock.tick(DAY // 4)
    script.says(get=[SUCCESS])
    clock.tick(DAY)
    engine.work(once=True)
    assert engine.refund("r-1").state is State.SUCCESS
    script.sent.clear()
    for _ in range(10):
        clock.tick(DAY)
        make().work(once=True)
    assert len(script.sent) == 2


# ---- clocks that are wrong


@pytest.mark.parametrize(
    ("answer", "most_s"), [(PENDING, 1.2 * DAY), (NOT_SENT, 2 * 3600)], ids=["pending", "unsent"]
)
def test_a_clock_that_was_put_back_keeps_no_refund_waiting_until_it_has_caught_up(
    engine, ask, script, clock, store, answer, most_s
):
    ask()
    script.says(post=[answer], get=[PENDING])
    engine.submit("r-1")
    clock.tick(-30 * DAY)
    agenda = Agenda(store, engine.gateways, clock)
    agenda.catch_up()
    due_at = agenda.next_due()
    assert 0 < (due_at - clock()).total_seconds() <= most_s
    clock.now = due_at
    assert engine._contactor.perform(engine.gateways["evonet"], "r-1") is not None


def test_a_query_from_the_future_proves_no_absence(engine, ask, script, clock):
    ask()
    script.says(post=[TIMEOUT], get=[UNKNOWN])
    engine.submit("r-1")
    clock.tick(10 * DAY)
    for _ in range(2):
        engine.poll("r-1")
        clock.tick(61)
    clock.tick(-9 * DAY)
    with pytest.raises((ResendRefused, TooSoon)):
        engine.submit("r-1")
    assert len(script.submissions()) == 1


# ---- a gateway that knows refunds by their order alone


def test_an_order_that_has_a_later_refund_is_not_asked_about_the_earlier_one(make, clock, script):
    gateway = Evonet(keys=[SigningKey("k-1", "evonet-0123456789abcdef")])
    gateway.capabilities = replace(gateway.capabilities, refund_reference=False, recheck_s=())
    engine = make([gateway])
    for refund_id in ("r-1", "r-2"):
        engine.request(gateway="evonet", payment_id="p-1", refund_id=refund_id, amount=Money(100, "HKD"))
    with pytest.raises(InvalidInput, match="r-2 is a later one"):
        engine.poll("r-1")
    assert script.sent == []
