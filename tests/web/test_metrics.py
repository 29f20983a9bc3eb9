"""Metrics: what is counted, what is asked for, and that strangers make no labels."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from refold.engine.errors import InvalidSetting, StoreBusy
from refold.engine.service.observing import Append
from refold.engine.web import Limits, Metrics, create_app
from refold.engine.web import metrics as metrics_module
from refold.engine.web.flight import InFlight


class Stopwatch:
    """Shows what it is told to."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def page(app, call):
    answer = call(app, method="GET", path="/metrics")
    assert (answer.status, answer.header("content-type")[:10]) == (200, "text/plain")
    return answer.body.decode()


def test_events_are_counted_by_type_once_however_often_they_arrive(app, wire, call, sample):
    for _ in range(3):
        call(app, *wire.webhook())
    assert sample("refold_events_total", type="refund.requested") == 1
    assert sample("refold_events_total", type="evidence.success") == 1
    assert sample("refold_append_seconds_count") == 4


def test_an_append_takes_as_long_as_the_stopwatch_says():
    metrics = Metrics()
    metrics.appended(Append(("refund.requested",), 1, 0.25))
    metrics.appended(Append(("refund.requested",), 2, None))
    assert metrics.registry.get_sample_value("refold_append_seconds_sum") == 0.25
    assert metrics.registry.get_sample_value("refold_events_total", {"type": "refund.requested"}) == 2


def test_two_applications_in_one_process_do_not_mix(open_engine, wire, call):
    both = [Metrics(), Metrics()]
    apps = [create_app(open_engine(on_append=m.appended), metrics=m) for m in both]
    call(apps[0], *wire.webhook())
    counts = [m.registry.get_sample_value("refold_append_seconds_count") for m in both]
    assert counts == [1, 0]


def test_metrics_of_one_application_are_refused_by_another(app, engine, metrics):
    with pytest.raises(InvalidSetting, match="another application"):
        create_app(engine, metrics=metrics)


@pytest.mark.parametrize("name", ["paypal", "", "é", 'a"} 1\nx', "x" * 5000])
def test_unknown_gateways_are_one_label(app, call, metrics, sample, name):
    call(app, path=f"/webhooks/{name or 'x'}")
    metrics.contact("poll", name, "answered")
    assert sample("refold_webhooks_total", gateway="other", result="unknown_gateway") == 1
    assert sample("refold_contacts_total", phase="poll", gateway="other", outcome="answered") == 1


def test_contacts_are_counted_by_phase_gateway_and_outcome(app, metrics, sample):
    metrics.contact("submit", "evonet", "answered")
    metrics.contact("poll", "evonet", "timeout")
    metrics.contact("poll", "evonet", "timeout")
    assert sample("refold_contacts_total", phase="submit", gateway="evonet", outcome="answered") == 1
    assert sample("refold_contacts_total", phase="poll", gateway="evonet", outcome="timeout") == 2


def test_phases_and_outcomes_are_few(metrics, sample):
    known = Metrics(["evonet"])
    known.contact("Submit", "evonet", "Not A Word")
    for number in range(60):
        known.contact("poll", "evonet", f"outcome_{number}")
    value = known.registry.get_sample_value
    assert value("refold_contacts_total", {"phase": "other", "gateway": "evonet", "outcome": "other"}) == 1
    assert value("refold_contacts_total", {"phase": "poll", "gateway": "evonet", "outcome": "other"}) == 10


def test_an_unknown_event_type_is_one_label():
    metrics = Metrics()
    metrics.appended(Append(("x.y", "x.z"), 2, None))
    assert metrics.registry.get_sample_value("refold_events_total", {"type": "other"}) == 2


# ---- the log


def test_the_lag_is_what_others_appended_after_this_process(open_engine, ask, tmp_path, sample, metrics):
    url = f"sqlite:///{tmp_path}/refunds.db"
    engine, other = open_engine(url), open_engine(url, on_append=None)
    create_app(engine, metrics=metrics)
    assert sample("refold_log_lag_events") is None
    ask(engine)
    assert sample("refold_log_lag_events") == 0
    ask(other, "r-2")
    assert sample("refold_log_lag_events") == other.store.head() - 2 == 2
    assert sample("refold_log_position") == 4


def test_attention_is_counted_by_kind_and_only_when_the_log_has_grown(
    app, engine, wire, call, sample, monkeypatch
):
    assert sample("refold_attention", kind="mismatch") == 0
    call(app, *wire.webhook(amount="66.00"))
    assert sample("refold_attention", kind="mismatch") == 1
    monkeypatch.setattr(engine.store, "rows", lambda *_, **__: pytest.fail("it was counted again"))
    assert sample("refold_attention", kind="mismatch") == 1


def test_attention_is_counted_up_to_a_limit(app, engine, ask, wire, call, sample, monkeypatch):
    monkeypatch.setattr(metrics_module, "MOST_COUNTED", 1)
    for refund_id in ("r-1", "r-2"):
        if refund_id != "r-1":
            ask(engine, refund_id)
        call(app, *wire.webhook(refund_id=refund_id, amount="66.00"))
    assert len(list(engine.needing_attention())) == 2
    assert sample("refold_attention", kind="mismatch") == 1


@pytest.mark.parametrize("error", [StoreBusy(5), RuntimeError("a bug")], ids=["busy", "anything"])
def test_a_store_that_fails_is_a_metric_and_no_error(app, engine, call, monkeypatch, error):
    assert "refold_store_up 1.0" in page(app, call)

    def failing():
        raise error

    monkeypatch.setattr(engine.store, "head", failing)
    shown = page(app, call)
    assert "refold_store_up 0.0" in shown
    assert "refold_log_position" not in shown


SUBSCRIPTION = ("refold_subscription_checkpoint", "refold_subscription_lag_events")
SUBSCRIPTION += ("refold_subscription_dead_letters",)


def test_each_subscription_tells_how_far_it_is_and_what_it_has_set_aside(app, engine, ask, sample):
    def fail(effect):
        raise ValueError(effect.refund_id)

    def told(name):
        return [sample(metric, subscription=name) for metric in SUBSCRIPTION]

    assert told("mail") == [None] * 3
    engine.deliver("ledger", print, once=True, start="beginning")
    head = engine.store.head()
    assert told("ledger") == [head, 0, 0]
    ask(engine, "r-2")
    engine.deliver("mail", fail, once=True, start="beginning", attempts=1)
    assert told("ledger") == [head, engine.store.head() - head, 0]
    set_aside = len(list(engine.store.dead_letters("mail")))
    assert told("mail") == [engine.store.head(), 0, set_aside]
    assert set_aside > 0


def test_a_store_that_cannot_tell_of_its_subscriptions_is_a_metric_and_no_error(
    app, engine, call, monkeypatch
):
    def failing():
        raise StoreBusy(5)

    monkeypatch.setattr(engine.store, "subscriptions", failing)
    shown = page(app, call)
    assert "refold_store_up 0.0" in shown
    assert "refold_subscription" not in shown


def test_a_store_that_somebody_writes_to_tells_how_far_its_subscriptions_are(
    open_engine, ask, tmp_path, sample, metrics
):
    engine = open_engine(f"sqlite:///{tmp_path}/refunds.db")
    create_app(engine, metrics=metrics)
    engine.deliver("ledger", print, once=True, start="beginning")
    with engine.store.batch(), ThreadPoolExecutor(1) as elsewhere:
        ask(engine)
        assert elsewhere.submit(sample, "refold_store_up").result() == 1
        assert elsewhere.submit(sample, SUBSCRIPTION[1], subscription="ledger").result() == 0
    assert sample(SUBSCRIPTION[1], subscription="ledger") == engine.store.head()


# ---- what is under way


def test_the_oldest_webhook_under_way_has_an_age():
    stopwatch = Stopwatch()
    flight = InFlight(2, stopwatch)
    assert flight.oldest_s() == 0
    first = flight.enter()
    stopwatch.seconds = 3.0
    second = flight.enter()
    assert (len(flight), flight.oldest_s(), flight.enter()) == (2, 3.0, None)
    flight.leave(first)
    flight.leave(first)
    assert (len(flight), flight.oldest_s()) == (1, 0.0)
    flight.leave(second)
    assert flight.enter() is not None


def test_webhooks_under_way_are_shown_and_gone_afterwards(engine, metrics, wire, call, sample):
    stopwatch, seen = Stopwatch(), {}
    app = create_app(engine, metrics=metrics, stopwatch=stopwatch)
    receive = engine.receive_webhook

    def looking(*hook):
        stopwatch.seconds = 2.5
        seen["count"] = sample("refold_webhooks_in_flight")
        seen["age"] = sample("refold_webhook_oldest_in_flight_seconds")
        return receive(*hook)

    engine.receive_webhook = looking
    assert call(app, *wire.webhook()).status == 200
    assert seen == {"count": 1, "age": 2.5}
    assert sample("refold_webhooks_in_flight") == 0


@pytest.mark.parametrize(
    "setting",
    [
        {"body_bytes": 0},
        {"body_bytes": 262_145},
        {"body_s": 0},
        {"in_flight": 0},
        {"threads": -1},
        {"probe_s": 0.0},
    ],
    ids=repr,
)
def test_a_limit_outside_its_range_is_refused(setting):
    with pytest.raises(InvalidSetting, match=next(iter(setting))):
        Limits(**setting)


def test_counting_from_many_threads_loses_nothing(metrics):
    threads = [
        threading.Thread(target=lambda: [metrics.contact("poll", "x", "answered") for _ in range(200)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    labels = {"phase": "poll", "gateway": "other", "outcome": "answered"}
    assert metrics.registry.get_sample_value("refold_contacts_total", labels) == 1600
