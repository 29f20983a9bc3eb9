"""Reading: refunds found by what they are, seen as they were, and told as a story."""

from datetime import timedelta

import pytest

from refold.engine import Attention, Money, State
from refold.engine.errors import InvalidInput, RefundNotFound


@pytest.fixture
def several(engine, wire, ask, clock):
    """Four refunds asked for in the order d, c, b, a; each stands differently."""
    for refund_id, gateway, payment in (
        ("r-d", "evonet", "p-1"),
        ("r-c", "evonet", "p-2"),
        ("r-b", "easylink", "p-1"),
        ("r-a", "evonet", "p-1"),
    ):
        clock.tick(minutes=1)
        ask(engine, refund_id, gateway=gateway, payment=payment)
    engine.record("evonet", "poll", wire.says("evonet", "r-d", "success"))
    engine.record("evonet", "poll", wire.says("evonet", "r-c", "Weird"))
    engine.record("easylink", "poll", wire.says("easylink", "r-b", 9))
    engine.record("evonet", "request", wire.request("evonet", "r-a"))
    return engine


FOUND = {
    "all, in the order asked for": ({}, ["r-d", "r-c", "r-b", "r-a"]),
    "limit": ({"limit": 2}, ["r-d", "r-c"]),
    "a limit above what there is": ({"limit": 10**30}, ["r-d", "r-c", "r-b", "r-a"]),
    "state": ({"state": "success"}, ["r-d"]),
    "state as a member": ({"state": State.CREATED}, ["r-c", "r-b", "r-a"]),
    "gateway": ({"gateway": "easylink"}, ["r-b"]),
    "payment": ({"payment_id": "p-1"}, ["r-d", "r-b", "r-a"]),
    "payment at a gateway": ({"payment_id": "p-1", "gateway": "evonet"}, ["r-d", "r-a"]),
    "attention": ({"attention": "unrecognised"}, ["r-c", "r-b"]),
    "attention as a member": ({"attention": Attention.IN_DOUBT}, ["r-a"]),
    "attention and limit": ({"attention": "unrecognised", "limit": 1}, ["r-c"]),
    "attention and gateway": ({"attention": "unrecognised", "gateway": "easylink"}, ["r-b"]),
    "attention and state": ({"attention": "unrecognised", "state": "success"}, []),
    "a gateway nobody knows": ({"gateway": "paypal"}, []),
}


@pytest.mark.parametrize(("criteria", "expected"), FOUND.values(), ids=FOUND.keys())
def test_refunds_are_found_by(several, criteria, expected):
    assert [view.refund_id for view in several.find(**criteria)] == expected


def test_what_is_found_is_what_the_log_says(several):
    for view in several.find():
        assert view == several.refund(view.refund_id)


INJECTIONS = ["' OR '1'='1", "x';DROP TABLE refunds;--", '"; SELECT 1; --', "refund-%", "r_a", "*"]


@pytest.mark.parametrize("text", [text.replace(" ", "") for text in INJECTIONS])
def test_text_that_means_something_to_sql_is_only_text(several, ask, text):
    """CASES C13."""
    for criteria in ({"gateway": text}, {"payment_id": text}):
        assert list(several.find(**criteria)) == []
    with pytest.raises(RefundNotFound):
        several.refund(text)
    assert ask(several, text, payment=text).refund_id == text
    assert [view.refund_id for view in several.find(payment_id=text)] == [text]
    assert several.payment("evonet", text).refunds == 1


@pytest.mark.parametrize(
    "criteria",
    [
        {"state": "open"},
        {"attention": "'; DROP TABLE attention; --"},
        {"limit": 0},
        {"limit": -1},
        {"limit": "1"},
        {"limit": True},
    ],
    ids=repr,
)
def test_criteria_from_closed_sets_are_refused_when_they_are_none_of_them(engine, criteria):
    """CASES C13."""
    with pytest.raises(InvalidInput):
        engine.find(**criteria)


def test_each_refund_that_needs_a_person_is_listed_once(several, wire):
    several.record("evonet", "poll", wire.says("evonet", "r-c", "success", amount=Money(1, "HKD")))
    assert [view.refund_id for view in several.needing_attention()] == ["r-a", "r-b", "r-c"]
    (both,) = [view for view in several.needing_attention() if view.refund_id == "r-c"]
    assert both.attention == ("mismatch", "unrecognised")


def test_a_reason_that_is_gone_is_listed_no_more(several, wire):
    several.record("evonet", "poll", wire.says("evonet", "r-a", "success"))
    assert list(several.find(attention="in_doubt")) == []


def test_a_registered_payment_is_shown_in_its_own_currency(engine, wire, hkd):
    """A refund recorded in another currency must not hide what was captured."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    engine.record("evonet", "request", wire.request("evonet", "r-1", amount=Money(5, "AUD")))
    assert engine.payment("evonet", "p-1").captured_minor == 10000
    assert len(list(engine.payments())) == 2


# ---- as of


def test_a_refund_is_seen_as_of_each_position(engine, wire):
    engine.record("evonet", "request", wire.request("evonet", "r-1"))
    for at_s, says in ((1, "pending"), (2, "success"), (3, "failed")):
        engine.record("evonet", "poll", wire.says("evonet", "r-1", says, at_s=at_s))
    seen = [(entry.position, engine.refund("r-1", as_of=entry.position)) for entry in engine.history("r-1")]
    assert [(view.state, view.events) for _, view in seen] == [
        (State.CREATED, 1),
        (State.CREATED, 2),
        (State.RECEIVED, 3),
        (State.SUCCESS, 4),
        (State.SUCCESS, 5),
    ]
    assert seen[-1][1] == engine.refund("r-1")


@pytest.mark.parametrize("as_of", [0, 1])
def test_before_its_request_there_was_no_refund(engine, ask, as_of):
    ask(engine, "r-0")
    ask(engine, "r-1")
    with pytest.raises(RefundNotFound):
        engine.refund("r-1", as_of=as_of)


def test_a_refund_is_seen_as_of_a_moment_by_what_had_reached_us(engine, wire, clock):
    start = clock.now
    engine.record("evonet", "request", wire.request("evonet", "r-1"))
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", at_s=60))
    engine.record("evonet", "api_response", wire.says("evonet", "r-1", "pending", at_s=5))
    for seconds, state, events in ((0, State.CREATED, 2), (5, State.RECEIVED, 3), (60, State.SUCCESS, 4)):
        view = engine.refund("r-1", as_of=start + timedelta(seconds=seconds))
        assert (view.state, view.events) == (state, events)


def test_adopted_evidence_counts_from_when_it_reached_us_once_the_refund_was_known(engine, wire, clock):
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", at_s=-60))
    engine.record("evonet", "request", wire.request("evonet", "r-1"))
    assert engine.refund("r-1", as_of=clock.now).state is State.SUCCESS
    with pytest.raises(RefundNotFound):
        engine.refund("r-1", as_of=clock.now - timedelta(seconds=30))


@pytest.mark.parametrize("as_of", [-1, True, "1", 1.0], ids=repr)
def test_a_moment_or_position_that_is_none_is_refused(engine, ask, as_of):
    ask(engine)
    with pytest.raises(InvalidInput):
        engine.refund("r-1", as_of=as_of)


def test_a_moment_without_offset_is_refused(engine, ask, clock):
    ask(engine)
    with pytest.raises(InvalidInput, match="needs an offset"):
        engine.refund("r-1", as_of=clock.now.replace(tzinfo=None))


# ---- history


def test_the_history_tells_each_event_in_a_sentence(engine, wire, ask, hkd, clock):
    ask(engine, requested_by="ann")
    sent = engine.record("evonet", "request", wire.request("evonet", "r-1"))
    engine.record("evonet", "api_response", wire.says("evonet", "r-1", "pending", amount=hkd(1000)))
    engine.record(
        "evonet",
        "poll",
        wire.message({"result": {"code": "E0001", "message": "busy"}}, at_s=60),
        refund_id="r-1",
    )
    clock.tick(days=11)
    engine.mark_overdue()
    engine.resolve("r-1", "failed", actor="bob", reason="bank says no")
    size = len(wire.request("evonet", "r-1").body)
    assert [entry.says for entry in engine.history("r-1")] == [
        "60.00 HKD of payment p-1 at evonet asked for by ann",
        f"sent under key r-1, {size} bytes",
        'refund.status=refund_pending, 10.00 HKD, claims pending, counts as pending, "said", unverified',
        "amount_minor is 1000, asked was 6000",
        'result.code=E0001, "busy", unverified',
        "no outcome by 2026-12-01T12:00:00.000000Z",
        "bob decided failed: bank says no",
    ]
    assert sent.position == engine.history("r-1")[1].position


def test_the_history_shows_an_amount_in_the_currency_the_gateway_named(engine, ask, wire):
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", amount=Money(1000, "JPY")))
    assert engine.history("r-1")[1].says.startswith("refund.status=refunded_full, 1000 JPY, claims success")


def test_the_history_shows_state_and_attention_after_each_event(engine, wire):
    engine.record("evonet", "request", wire.request("evonet", "r-1"))
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    entries = [entry.to_json() for entry in engine.history("r-1")]
    assert [
        (entry["version"], entry["channel"], entry["state"], entry["attention"]) for entry in entries
    ] == [
        (1, None, "created", []),
        (2, "request", "created", ["in_doubt"]),
        (3, "poll", "success", []),
    ]
    assert entries[0]["time"] == "2026-11-21T12:00:00.000000Z"


def test_the_history_of_nothing_is_not_found(engine):
    with pytest.raises(RefundNotFound, match="r-1"):
        engine.history("r-1")


def test_a_refund_as_json_is_what_the_command_line_prints(engine, ask):
    assert ask(engine).to_json() == {
        "refund_id": "r-1",
        "gateway": "evonet",
        "payment_id": "p-1",
        "amount": {"minor": 6000, "currency": "HKD"},
        "state": "created",
        "attention": [],
        "gateway_refund_id": None,
        "events": 1,
        "requested_at": "2026-11-21T12:00:00.000000Z",
        "updated_at": "2026-11-21T12:00:00.000000Z",
    }
