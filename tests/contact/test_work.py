"""Working: what is due is done, once, by however many workers, whatever happens to one of them."""

import json
import sqlite3
import threading
from contextlib import closing

import pytest

from refold.engine import Message, Money, RefundEngine, State
from refold.engine.errors import InvalidInput, InvalidSetting, StoreBusy, StoreUnavailable, WrongProcess
from refold.engine.ports import Answer
from refold.engine.service.views import VIEWS
from refold.engine.testing.scripted_transport import NOT_SENT, TIMEOUT, ScriptedTransport
from refold.eventstore import SqliteStore

MINUTE, HOUR, DAY = 60, 3600, 86_400
UNKNOWN = Answer(200, {}, b'{"result":{"code":"C0004","message":""}}')
PENDING = Answer(200, {}, b'{"result":{"code":"S0000","message":""},"refund":{"status":"refund_pending"}}')
SUCCESS = Answer(200, {}, b'{"result":{"code":"S0000","message":""},"refund":{"status":"refunded_full"}}')


def worked(engine, clock, seconds, step=15):
    for _ in range(seconds // step):
        engine.work(once=True)
        clock.tick(step)


def work_until(engine, done):
    """Let an engine work in a thread until something is done."""
    stop = threading.Event()
    thread = threading.Thread(target=engine.work, args=(stop,))
    thread.start()
    assert done.wait(20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def states(engine):
    return {view.refund_id: str(view.state) for view in engine.find()}


def test_everything_that_was_asked_for_is_sent_once(engine, ask, script):
    for n in range(30):
        ask(f"r-{n}", payment_id=f"p-{n}", minor=100)
    report = engine.work(once=True)
    assert set(states(engine).values()) == {"success"}
    assert len(script.submissions()) == 30
    assert report.contacts == {("evonet", "submit", "answered"): 30}
    assert (report.waiting, report.rechecks, report.under_way) == (0, 30, 0)
    assert engine.work(once=True).contacts == {}


def test_a_doubt_is_looked_up_and_then_sent_again_by_itself(engine, ask, script, clock):
    ask()
    script.says(post=[TIMEOUT, SUCCESS], get=[UNKNOWN])
    worked(engine, clock, 5 * MINUTE)
    assert states(engine) == {"r-1": "success"}
    first, second = script.submissions()
    assert first == second
    assert len(script.sent) == 4


def test_a_refund_that_could_not_be_sent_is_sent_later_and_ever_more_rarely(
    engine, ask, script, clock, types
):
    """CASES 9."""
    ask()
    script.says(post=[NOT_SENT])
    worked(engine, clock, DAY, step=MINUTE)
    tries = types().count("refund.contact_failed")
    assert 20 <= tries <= 45
    assert engine.refund("r-1").attention == ()
    script.says(post=[SUCCESS])
    worked(engine, clock, 2 * HOUR, step=MINUTE)
    assert states(engine) == {"r-1": "success"}


def test_a_second_try_that_could_not_be_sent_waits_like_a_first_one(engine, ask, script, clock):
    ask()
    script.says(post=[TIMEOUT, NOT_SENT], get=[UNKNOWN])
    worked(engine, clock, 30 * MINUTE)
    assert 2 < len(script.submissions()) < 12


def test_a_refund_that_cannot_be_built_is_noted_and_keeps_nothing_else_from_being_sent(
    engine, ask, script, clock
):
    ask("r" * 40, gateway="easylink")
    ask("r-2", payment_id="p-2")
    worked(engine, clock, MINUTE)
    assert engine.refund("r-2").state is State.SUCCESS
    entry = engine.history("r" * 40)[-1]
    assert entry.data["failure"] == "not_sent"
    assert "easylink takes at most 30" in entry.data["detail"]
    assert len(script.sent) == 1


def test_of_one_payment_easylink_gets_the_next_refund_when_the_last_is_settled(engine, ask, script, clock):
    link = {
        state: Answer(200, {}, json.dumps({"code": 0, "msg": "", "data": {"state": state}}).encode())
        for state in (1, 2)
    }
    for n in range(3):
        ask(f"r-{n}", gateway="easylink", minor=100)
    script.says(post=[link[1]], get=[link[1]])
    worked(engine, clock, 2 * MINUTE)
    assert len(script.submissions()) == 1
    script.says(get=[link[2]])
    worked(engine, clock, 20 * MINUTE)
    assert set(states(engine).values()) == {"success"}
    assert len(script.submissions()) == 3


def test_refunds_of_other_payments_do_not_wait_for_each_other(engine, ask, script):
    for n in range(3):
        ask(f"r-{n}", gateway="easylink", payment_id=f"p-{n}", minor=100)
    script.says(post=[TIMEOUT])
    engine.work(once=True)
    assert len(script.submissions()) == 3


def test_what_was_requested_while_it_works_is_sent(engine, ask, script):
    done = threading.Event()
    script.at_send = lambda request: ask("r-2", payment_id="p-2") if len(script.sent) == 1 else done.set()
    ask("r-1")
    work_until(engine, done)
    assert len(script.sent) == 2


def test_a_webhook_that_settles_a_refund_ends_the_queries(engine, ask, script, clock):
    ask()
    script.says(post=[PENDING], get=[PENDING])
    worked(engine, clock, MINUTE)
    engine.record(
        "evonet",
        "webhook",
        Message(body=b'{"eventCode":"Refund",' + SUCCESS.body[1:], received_at=clock()),
        refund_id="r-1",
    )
    before = len(script.sent)
    worked(engine, clock, DAY, step=10 * MINUTE)
    assert len(script.sent) == before


def test_what_has_no_outcome_within_the_gateways_window_is_marked_as_overdue(engine, ask, script, clock):
    ask()
    script.says(post=[PENDING], get=[PENDING])
    worked(engine, clock, 11 * DAY, step=6 * HOUR)
    assert "overdue" in engine.refund("r-1").attention


# ---- several workers


def test_two_workers_on_one_store_send_each_refund_once(tmp_path, gateways, clock):
    """CASES C7: two hundred refunds, two engines with stores of their own on one file, real threads."""
    url = f"sqlite:///{tmp_path / 'refunds.db'}"
    scripts = [ScriptedTransport(post=[SUCCESS], get=[SUCCESS]) for _ in range(2)]
    numbers = iter(range(10**6))
    lock = threading.Lock()

    def entropy(size):
        with lock:
            return next(numbers).to_bytes(size, "big")

    def opened(script):
        store = SqliteStore(tmp_path / "refunds.db", views=VIEWS, timeout_s=60)
        return RefundEngine(store, gateways(), clock=clock, entropy=entropy, transport=script)

    with RefundEngine.open(url, gateways=gateways(), clock=clock) as engine:
        for n in range(200):
            engine.request(
                gateway="evonet", payment_id=f"p-{n}", refund_id=f"r-{n}", amount=Money(100, "HKD")
            )
    engines = [opened(script) for script in scripts]
    threads = [threading.Thread(target=engine.work, kwargs={"once": True}) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    sent = [request.target for script in scripts for request in script.submissions()]
    found = states(engines[0])
    for engine in engines:
        engine.close()
    assert len(sent) == len(set(sent)) == 200
    assert set(found.values()) == {"success"}


def test_while_one_worker_talks_about_a_refund_another_leaves_it_alone(make, ask, script, clock):
    ask()
    other = make()
    inner = []
    script.at_send = lambda request: inner.append(other.work(once=True))
    make().work(once=True)
    assert len(script.sent) == len(inner) == 1
    assert inner[0].contacts == {}


class Crash(BaseException):
    """The process dies here."""


def test_what_a_dead_worker_left_is_taken_up_when_its_lease_has_ended(make, ask, script, clock, store):
    """CASES 12, C1: by looking it up."""
    ask()
    store.claim(
        "refund-r-1", holder="dead", now="2026-11-21T12:00:00.000000Z", until="2026-11-21T12:01:30.000000Z"
    )
    engine = make()
    worked(engine, clock, MINUTE)
    assert script.sent == []
    worked(engine, clock, 2 * MINUTE)
    assert states(engine) == {"r-1": "success"}


# ---- what goes wrong around it


def test_a_gateway_that_fails_is_left_alone_for_a_while_and_tried_by_one_refund_first(
    engine, ask, script, clock
):
    for n in range(40):
        ask(f"r-{n:02}", payment_id=f"p-{n}", minor=100)
    script.says(post=[NOT_SENT])
    report = engine.work(once=True, concurrency=1)
    assert len(script.sent) == 5
    assert set(report.resting) == {"evonet"}
    clock.tick(16)
    engine.work(once=True, concurrency=1)
    first_probe = len(script.sent)
    script.says(post=[SUCCESS])
    worked(engine, clock, HOUR, step=MINUTE)
    assert first_probe <= 10
    assert set(states(engine).values()) == {"success"}


def test_a_gateway_that_hangs_keeps_no_other_gateway_waiting(engine, ask, script):
    """Each has its own threads."""
    go = threading.Event()
    sent = threading.Event()

    def at_send(request):
        if request.target == "/api/refund/refundOrder":
            sent.set()
        else:
            assert go.wait(20)

    script.at_send = at_send
    for n in range(20):
        ask(f"r-{n}", payment_id=f"p-{n}", minor=100)
    ask("link-1", gateway="easylink", payment_id="p-link", minor=100)
    stop = threading.Event()
    thread = threading.Thread(target=engine.work, args=(stop,), kwargs={"concurrency": 2})
    thread.start()
    assert sent.wait(20)
    stop.set()
    go.set()
    thread.join(20)
    assert not thread.is_alive()


def test_when_it_is_told_to_stop_it_finishes_what_it_has_begun(engine, ask, script):
    begun, go, stop = threading.Event(), threading.Event(), threading.Event()

    def at_send(request):
        begun.set()
        assert go.wait(20)

    script.at_send = at_send
    for n in range(10):
        ask(f"r-{n}", payment_id=f"p-{n}", minor=100)
    reports = []
    thread = threading.Thread(target=lambda: reports.append(engine.work(stop, concurrency=1)))
    thread.start()
    assert begun.wait(20)
    stop.set()
    go.set()
    thread.join(20)
    assert list(states(engine).values()).count("success") == 1
    assert reports[0].under_way == 0
    assert len(script.sent) == 1


def test_a_store_that_fails_for_a_moment_does_not_end_the_work(engine, ask, script, store, monkeypatch):
    ask()
    head, failures, done = store.head, [1, 1, 1], threading.Event()

    def failing():
        if failures:
            failures.pop()
            raise StoreBusy(5)
        return head()

    monkeypatch.setattr(store, "head", failing)
    script.at_send = lambda request: done.set()
    work_until(engine, done)
    assert failures == []


def test_a_store_that_fails_ends_the_work_that_was_to_be_done_once(engine, ask, store, monkeypatch):
    ask()

    def failing():
        raise StoreUnavailable("gone")

    monkeypatch.setattr(store, "head", failing)
    with pytest.raises(StoreUnavailable):
        engine.work(once=True)


def test_a_store_of_another_process_ends_the_work_for_no_later_round_does_better(
    engine, ask, store, monkeypatch
):
    ask()

    def elsewhere():
        raise WrongProcess(1, 2)

    monkeypatch.setattr(store, "head", elsewhere)
    with pytest.raises(WrongProcess):
        engine.work()


def test_a_refund_whose_log_is_damaged_keeps_no_other_from_being_sent(tmp_path, gateways, clock, script):
    store = SqliteStore(tmp_path / "refunds.db", views=VIEWS)
    with RefundEngine(
        store, gateways(), clock=clock, entropy=lambda size: b"x" * size, transport=script
    ) as engine:
        for n in range(3):
            engine.request(
                gateway="evonet", payment_id=f"p-{n}", refund_id=f"r-{n}", amount=Money(100, "HKD")
            )
        with store._writer.transaction() as connection:
            connection.execute("DROP TRIGGER events_keep_update")
            connection.execute(
                "UPDATE events SET data = replace(data, '100', '900') WHERE stream = 'refund-r-1'"
            )
        engine.work(once=True)
        assert sorted(request.target for request in script.sent) == [
            "/payment/p-0/refund",
            "/payment/p-2/refund",
        ]


def test_a_listener_that_raises_disturbs_nothing(make, ask, script):
    told = []

    def listener(contacted):
        told.append((contacted.phase, contacted.outcome))
        raise ValueError

    engine = make(on_contact=listener)
    ask()
    engine.work(once=True)
    assert told == [("submit", "answered")]
    assert states(engine) == {"r-1": "success"}


def test_without_any_endpoint_there_is_nothing_to_work_on(make):
    with pytest.raises(InvalidSetting, match="endpoints"):
        make(transport=None).work(once=True)


@pytest.mark.parametrize("concurrency", [0, 257, True, "8"])
def test_a_wrong_concurrency_is_refused(engine, concurrency):
    with pytest.raises(InvalidInput, match="concurrency"):
        engine.work(once=True, concurrency=concurrency)


# ---- damaged rows


@pytest.mark.parametrize(
    "damage",
    [
        "updated_at = CAST(x'ff' AS TEXT)",
        "currency = NULL",
        "gateway = x'00'",
        "refund_id = NULL",
        "sort_key = NULL",
    ],
)
def test_a_damaged_row_keeps_no_refund_from_being_sent(gateways, script, clock, tmp_path, damage, logs):
    """Not even its own: the log says what is to be done."""
    file = SqliteStore(tmp_path / "refunds.db", views=VIEWS)
    with RefundEngine(file, gateways(), clock=clock, entropy=bytes, transport=script) as engine:
        for number in (1, 2, 3):
            engine.request(
                gateway="evonet", payment_id=f"p-{number}", refund_id=f"r-{number}", amount=Money(100, "HKD")
            )
        with closing(sqlite3.connect(tmp_path / "refunds.db", isolation_level=None)) as connection:
            connection.execute(f"UPDATE refunds SET {damage} WHERE refund_id = 'r-1'")
        assert engine.work(once=True).contacts == {("evonet", "submit", "answered"): 3}
        assert len(script.submissions()) == 3
        assert "row.corrupt" in [each["event"] for each in logs if each["level"] == "error"]
