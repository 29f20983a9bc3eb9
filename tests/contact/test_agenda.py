"""The agenda follows the log, whoever writes it, and forgets nothing that is open."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from refold.engine import Money
from refold.engine.errors import EventCorrupt
from refold.engine.ports import Answer
from refold.engine.service.agenda import Agenda
from refold.engine.testing.scripted_transport import NOT_SENT, TIMEOUT

PENDING = Answer(200, {}, b'{"result":{"code":"S0000","message":""},"refund":{"status":"refund_pending"}}')
HELD = Answer(200, {}, b'{"result":{"code":"I0005","message":""}}')
UNKNOWN = Answer(200, {}, b'{"result":{"code":"C0004","message":""}}')


class Damaged:
    """A store one of whose events cannot be read, as long as it is told so."""

    def __init__(self, store):
        self._store = store
        self.corrupt = set()
        self.hide = None

    def __getattr__(self, name):
        return getattr(self._store, name)

    def read_category(self, category, *, after=0, **more):
        for event in self._store.read_category(category, after=after, **more):
            if event.position in self.corrupt:
                raise EventCorrupt(event.position, event.stream, b"a" * 32, b"b" * 32)
            yield event


@pytest.fixture
def damaged(store):
    return Damaged(store)


@pytest.fixture
def agenda(damaged, gateways, clock):
    return Agenda(damaged, {gateway.name: gateway for gateway in gateways()}, clock)


@pytest.fixture
def due(agenda, clock):
    """Take what is due, in order; with `wanted`, only those."""

    def taken(wanted=None):
        chosen = agenda.take_due(clock.now, lambda refund_id, _: wanted is None or refund_id in wanted)
        return [refund_id for refund_id, _ in chosen]

    return taken


def test_of_an_empty_log_nothing_is_due(agenda, due):
    agenda.catch_up()
    assert (len(agenda), due(), agenda.next_due()) == (0, [], None)


def test_what_was_asked_for_before_is_due_in_the_order_of_asking(agenda, due, ask, clock):
    for n in range(3):
        ask(f"r-{n}", payment_id=f"p-{n}")
        clock.tick(1)
    agenda.catch_up()
    assert due() == ["r-0", "r-1", "r-2"]


def test_what_was_taken_is_off_the_agenda(agenda, due, ask):
    ask()
    agenda.catch_up()
    assert (due(), due(), len(agenda), agenda.next_due()) == (["r-1"], [], 0, None)
    agenda.catch_up()
    assert due() == []


def test_what_another_engine_appends_is_caught_up_with(agenda, due, make):
    agenda.catch_up()
    other = make()
    other.request(gateway="evonet", payment_id="p-1", refund_id="r-1", amount=Money(6000, "HKD"))
    assert due() == []
    agenda.catch_up()
    assert due() == ["r-1"]


def test_what_another_engine_has_sent_is_looked_up_later(agenda, due, make, ask, script, clock):
    ask()
    agenda.catch_up()
    script.says(post=[TIMEOUT])
    make().submit("r-1")
    agenda.catch_up()
    assert due() == []
    assert agenda.next_due() == clock.now + timedelta(seconds=45)
    clock.tick(45)
    assert due() == ["r-1"]


def test_what_another_engine_has_settled_is_only_asked_about_again_after_a_day(agenda, due, make, ask, clock):
    ask()
    agenda.catch_up()
    make().submit("r-1")
    agenda.catch_up()
    assert due() == []
    assert timedelta(days=1) <= agenda.next_due() - clock.now <= timedelta(days=1.1)


def test_what_a_person_has_decided_leaves(agenda, due, make, ask):
    ask()
    agenda.catch_up()
    assert len(agenda) == 1
    make().resolve("r-1", outcome="closed", actor="ann", reason="not wanted any more")
    agenda.catch_up()
    assert (len(agenda), due(), agenda.next_due()) == (0, [], None)


@pytest.mark.parametrize(("days", "waiting"), [(0, 1), (13, 1), (16, 0)])
def test_what_was_settled_long_before_is_not_on_it(agenda, make, ask, clock, days, waiting):
    """An outcome is asked about again after a day and a week, even where the workers stood still for as long."""
    ask()
    make().submit("r-1")
    clock.tick(days * 86_400)
    agenda.catch_up()
    assert len(agenda) == waiting


@pytest.mark.parametrize(
    ("post", "get", "waiting"),
    [
        pytest.param(None, None, 1, id="asked"),
        pytest.param(NOT_SENT, None, 1, id="not sent"),
        pytest.param(TIMEOUT, None, 1, id="in doubt"),
        pytest.param(PENDING, None, 1, id="pending"),
        pytest.param(HELD, None, 1, id="refused and held"),
        pytest.param(HELD, UNKNOWN, 1, id="refused and freed"),
    ],
)
def test_what_is_open_is_found_after_a_restart(agenda, make, ask, script, clock, post, get, waiting):
    ask()
    if post is not None:
        script.says(post=[post])
        make().submit("r-1")
    if get is not None:
        clock.tick(60)
        script.says(get=[get])
        make().poll("r-1")
    agenda.catch_up()
    assert len(agenda) == waiting


def test_only_refunds_of_gateways_it_was_given_are_on_it(store, gateways, clock, ask):
    ask("r-1")
    ask("r-2", gateway="easylink")
    evonet = next(gateway for gateway in gateways() if gateway.name == "evonet")
    agenda = Agenda(store, {"evonet": evonet}, clock)
    agenda.catch_up()
    assert list(agenda.take_due(clock.now, lambda *_: True)) == [("r-1", "evonet")]
    ask("r-3", gateway="easylink")
    ask("r-4", payment_id="p-4")
    agenda.catch_up()
    assert list(agenda.take_due(clock.now, lambda *_: True)) == [("r-4", "evonet")]


def test_an_engine_works_only_for_gateways_it_can_reach(make, ask, script, monkeypatch):
    ask("r-1")
    ask("r-2", gateway="easylink", payment_id="p-2")
    monkeypatch.setattr(script, "reaches", lambda gateway: gateway == "evonet")
    make().work(once=True)
    assert [request.target for request in script.sent] == ["/payment/p-1/refund"]


# ---- damage


def test_an_event_that_cannot_be_read_is_told_of_and_the_others_go_on(agenda, due, damaged, store, ask):
    agenda.catch_up()
    ask("r-1")
    ask("r-2", payment_id="p-2")
    ask("r-3", payment_id="p-3")
    events = {event.stream: event.position for event in store.read_category("refund")}
    damaged.corrupt = {events["refund-r-2"]}
    with capture_logs() as logs:
        agenda.catch_up()
    assert sorted(due()) == ["r-1", "r-3"]
    assert [entry["event"] for entry in logs] == ["event.corrupt"]


def test_it_is_told_of_once(agenda, damaged, store, ask):
    agenda.catch_up()
    ask("r-1")
    damaged.corrupt = {event.position for event in store.read_category("refund")}
    with capture_logs() as logs:
        agenda.catch_up()
        agenda.catch_up()
    assert len(logs) == 1


def test_the_last_event_of_all_may_be_the_one(agenda, due, damaged, store, ask):
    agenda.catch_up()
    ask("r-1")
    ask("r-2", payment_id="p-2")
    damaged.corrupt = {max(event.position for event in store.read_category("refund"))}
    with capture_logs():
        agenda.catch_up()
    assert due() == ["r-1"]
    ask("r-3", payment_id="p-3")
    agenda.catch_up()
    assert due() == ["r-3"]


def test_a_refund_that_cannot_be_read_leaves_until_something_new_is_appended(agenda, due, monkeypatch, ask):
    ask()
    agenda.catch_up()

    def broken(_, refund_id):
        raise EventCorrupt(1, f"refund-{refund_id}", b"a" * 32, b"b" * 32)

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr("refold.engine.service.agenda.load_refund", broken)
        agenda.plan("r-1")
    assert (due(), [entry["event"] for entry in logs]) == ([], ["refund.unreadable"])


# ---- putting off


def test_what_is_put_off_comes_back_then(agenda, due, ask, clock):
    ask()
    agenda.catch_up()
    assert due() == ["r-1"]
    agenda.put_off("r-1", "evonet", clock.now + timedelta(seconds=45))
    assert (due(), len(agenda)) == ([], 1)
    clock.tick(44)
    assert due() == []
    clock.tick(1)
    assert due() == ["r-1"]


def test_what_is_set_aside_comes_back_after_ten_minutes(agenda, due, ask, clock):
    ask()
    agenda.catch_up()
    assert due() == ["r-1"]
    agenda.set_aside("r-1", "evonet")
    clock.tick(599)
    assert due() == []
    clock.tick(1)
    assert due() == ["r-1"]


def test_what_is_put_off_comes_back_as_soon_as_something_new_is_appended(
    agenda, due, ask, make, script, clock
):
    ask()
    agenda.catch_up()
    assert due() == ["r-1"]
    agenda.set_aside("r-1", "evonet")
    script.says(post=[NOT_SENT])
    make().submit("r-1")
    agenda.catch_up()
    clock.tick(6)
    assert due() == ["r-1"]


# ---- the heap


def test_what_is_planned_anew_is_taken_once(agenda, due, ask, clock):
    """Each plan leaves an entry behind; only that of the last one counts."""
    ask()
    agenda.catch_up()
    for seconds in (30, 10, 20, 10):
        agenda.put_off("r-1", "evonet", clock.now + timedelta(seconds=seconds))
    assert agenda.next_due() == clock.now + timedelta(seconds=10)
    assert due() == []
    clock.tick(60)
    assert due() == ["r-1"]
    assert (due(), agenda.next_due()) == ([], None)


def test_entries_that_no_longer_count_do_not_say_when_the_next_is_due(agenda, ask, clock, make):
    ask("r-1")
    clock.tick(5)
    ask("r-2", payment_id="p-2")
    agenda.catch_up()
    make().submit("r-1")
    agenda.catch_up()
    assert agenda.next_due() == clock.now


def test_what_is_not_wanted_stays(agenda, due, ask):
    for n in range(3):
        ask(f"r-{n}", payment_id=f"p-{n}")
    agenda.catch_up()
    assert due(wanted={"r-1"}) == ["r-1"]
    assert len(agenda) == 2
    assert due() == ["r-0", "r-2"]


def test_what_is_not_wanted_stays_when_the_taker_stops_halfway(agenda, due, ask, clock):
    """A worker whose thread pool refuses one must not lose those it has passed over."""
    for n in range(3):
        ask(f"r-{n}", payment_id=f"p-{n}")
    agenda.catch_up()
    taking = agenda.take_due(clock.now, lambda refund_id, _: refund_id != "r-0")
    assert next(taking) == ("r-1", "evonet")
    taking.close()
    assert sorted(due()) == ["r-0", "r-2"]


def test_planning_the_same_again_lets_the_heap_not_grow(agenda, ask):
    ask()
    agenda.catch_up()
    for _ in range(100):
        agenda.plan("r-1")
    assert sum(map(len, agenda._heaps.values())) == 1


def test_a_refund_nobody_knows_is_not_planned(agenda):
    agenda.plan("r-9")
    assert len(agenda) == 0


@pytest.mark.parametrize(("passed", "is_due"), [(44, False), (45, True)])
def test_whether_something_is_due(agenda, ask, make, script, clock, passed, is_due):
    ask()
    script.says(post=[TIMEOUT])
    make().submit("r-1")
    agenda.catch_up()
    clock.tick(passed)
    assert agenda.is_due("r-1", clock.now) is is_due
    assert not agenda.is_due("r-9", clock.now)
