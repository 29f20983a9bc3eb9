"""Orphans: messages that come before their refund wait for it, and nothing is lost in between."""

import pytest

from refold.engine import Money, Outcome, State
from refold.engine.errors import CorruptLog

# ---- adoption


@pytest.mark.parametrize("gateway", ["evonet", "evocloud", "easylink", "bbmsl"])
def test_a_message_before_its_request_is_adopted_with_its_own_time(engine, wire, gateway):
    """CASES 20."""
    refund_id = "p-1" if gateway == "bbmsl" else "r-1"
    early = wire.says(gateway, refund_id, "success", at_s=-60)
    assert engine.record(gateway, "poll", early).outcome is Outcome.ORPHANED
    receipt = engine.record(gateway, "request", wire.request(gateway, refund_id))
    assert (receipt.state, receipt.attention) == (State.SUCCESS, ())
    assert not list(engine.inbox())
    adopted = engine.history(refund_id)[-1]
    assert (adopted.time, adopted.channel) == (early.received_at, "poll")
    assert "arrived before the request" in adopted.says


def test_orphans_are_adopted_in_the_order_in_which_they_arrived(engine, ask, wire, types):
    for at_s, says in enumerate(("failed", "pending", "success")):
        engine.record("evonet", "poll", wire.says("evonet", "r-1", says, at_s=10 - at_s))
    ask(engine)
    assert types(engine)[1:] == ["evidence.failed", "evidence.pending", "evidence.success"]


def test_adopted_evidence_is_held_against_the_request(engine, wire, ask):
    """CASES 20, B21: authentic is not valid, before the request as little as after it."""
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", amount=Money(1, "HKD")))
    view = ask(engine)
    assert (view.state, view.attention) == (State.RECEIVED, ("mismatch",))


def test_an_adopted_message_that_arrives_again_is_a_duplicate(engine, ask, wire, log):
    early = wire.says("evonet", "r-1", "success")
    engine.record("evonet", "poll", early)
    assert engine.record("evonet", "poll", early).outcome is Outcome.DUPLICATE
    ask(engine)
    before = log(engine)
    again = engine.record("evonet", "poll", early)
    assert (again.outcome, again.state) == (Outcome.DUPLICATE, State.SUCCESS)
    assert log(engine) == before


def test_a_bbmsl_answer_adopted_under_another_number_is_a_duplicate_when_it_comes_again(engine, ask, wire):
    early = wire.says("bbmsl", None, "success")
    engine.record("bbmsl", "api_response", early)
    view = ask(engine, "our-number", gateway="bbmsl")
    assert view.state is State.SUCCESS
    assert engine.record("bbmsl", "api_response", early).outcome is Outcome.DUPLICATE
    assert engine.refund("our-number").events == 2


def test_a_bbmsl_orphan_kept_for_one_refund_is_not_adopted_by_another_one_of_the_order(engine, ask, wire):
    engine.record("bbmsl", "poll", wire.says("bbmsl", None, "success"), refund_id="r-1")
    assert ask(engine, "r-2", gateway="bbmsl").state is State.CREATED
    assert [row["refund_id"] for row in engine.inbox()] == ["r-1"]


def test_only_what_names_the_refund_at_its_own_gateway_is_adopted(engine, ask, wire):
    engine.record("evonet", "poll", wire.says("evonet", "r-2", "success"))
    engine.record("evocloud", "poll", wire.says("evocloud", "r-1", "success"))
    assert ask(engine).state is State.CREATED
    assert {(row["gateway"], row["refund_id"]) for row in engine.inbox()} == {
        ("evonet", "r-2"),
        ("evocloud", "r-1"),
    }


def test_a_message_for_the_number_of_a_refund_at_another_gateway_waits_in_the_inbox(engine, ask, wire):
    ask(engine)
    receipt = engine.record("evocloud", "poll", wire.says("evocloud", "r-1", "success"))
    assert receipt.outcome is Outcome.ORPHANED
    assert engine.refund("r-1").state is State.CREATED


def test_two_not_found_that_were_adopted_can_still_be_cited(engine, wire):
    not_there = {"result": {"code": "C0004"}}
    answered = {"result": {"code": "C0009"}}
    engine.record("evonet", "api_response", wire.message(answered, at_s=1), refund_id="r-1")
    engine.record("evonet", "poll", wire.message(not_there, at_s=50), refund_id="r-1")
    engine.record("evonet", "poll", wire.message(not_there, at_s=120), refund_id="r-1")
    receipt = engine.record("evonet", "request", wire.request("evonet", "r-1"))
    assert receipt.state is State.FAILED
    history = engine.history("r-1")
    (cited,) = [entry.data["cites"] for entry in history if "cites" in entry.data]
    assert [entry.type for entry in history if entry.version in cited] == ["evidence.not_found"] * 2


def test_the_hook_hears_of_what_adoption_made_of_a_new_refund(open_engine, ask, wire):
    moves = []
    engine = open_engine(on_move=lambda *move: moves.append(move))
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    ask(engine)
    assert moves == [("r-1", State.CREATED, State.SUCCESS)]


def test_an_inbox_that_lost_the_orphan_it_names_stops_the_request(memory_engine, ask, wire, monkeypatch):
    engine = memory_engine
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    engine.record("evonet", "poll", wire.says("evonet", "r-2", "success"))
    later = engine.store.settle
    monkeypatch.setattr(engine.store, "settle", lambda key: later(key)._replace(first=2))
    with pytest.raises(CorruptLog, match="position 2 should hold the orphan"):
        ask(engine)


# ---- races


@pytest.fixture
def interleave(engine, monkeypatch):
    """Make something else happen between a call's decision and its append to a stream of a category."""
    append, waiting = engine.store.append, []

    def interleaved(*writes, **options):
        for plan in list(waiting):
            category, other = plan
            if any(write.stream.startswith(category) and write.events for write in writes):
                waiting.remove(plan)
                other()
        return append(*writes, **options)

    monkeypatch.setattr(engine.store, "append", interleaved)
    yield lambda category, other: waiting.append((category, other))
    assert not waiting, "what was planned did not happen"


REQUESTS = {
    "a request to send": lambda engine, ask, wire, gateway: ask(engine, gateway=gateway),
    "a request that left": lambda engine, ask, wire, gateway: engine.record(
        gateway, "request", wire.request(gateway, "r-1"), refund_id="r-1"
    ),
}


@pytest.mark.parametrize("gateway", ["evonet", "bbmsl"])
@pytest.mark.parametrize("request_it", REQUESTS.values(), ids=REQUESTS.keys())
def test_an_orphan_that_arrives_while_its_refund_is_requested_is_adopted(
    engine, ask, wire, interleave, request_it, gateway
):
    early = wire.says(gateway, "r-1", "success")
    interleave("refund-", lambda: engine.record(gateway, "poll", early))
    request_it(engine, ask, wire, gateway)
    assert engine.refund("r-1").state is State.SUCCESS
    assert not list(engine.inbox())


@pytest.mark.parametrize("gateway", ["evonet", "bbmsl"])
@pytest.mark.parametrize("request_it", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_refund_requested_while_its_message_is_kept_as_an_orphan_gets_the_message(
    engine, ask, wire, interleave, request_it, gateway
):
    interleave("inbox-", lambda: request_it(engine, ask, wire, gateway))
    receipt = engine.record(gateway, "poll", wire.says(gateway, "r-1", "success"))
    assert (receipt.outcome, receipt.refund_id) == (Outcome.RECORDED, "r-1")
    assert engine.refund("r-1").state is State.SUCCESS
    assert not list(engine.inbox())


def test_evidence_that_arrives_while_other_evidence_is_recorded_is_not_lost(engine, ask, wire, interleave):
    ask(engine)
    interleave(
        "refund-", lambda: engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", at_s=2))
    )
    receipt = engine.record("evonet", "poll", wire.says("evonet", "r-1", "pending", at_s=1))
    assert (receipt.state, engine.refund("r-1").events) == (State.SUCCESS, 3)


def test_the_same_message_recorded_by_two_at_once_is_one_event(engine, ask, wire, interleave):
    ask(engine)
    said = wire.says("evonet", "r-1", "success")
    interleave("refund-", lambda: engine.record("evonet", "poll", said))
    assert engine.record("evonet", "poll", said).outcome is Outcome.DUPLICATE
    assert engine.refund("r-1").events == 2


def test_a_late_payment_learned_by_two_answers_at_once_is_reserved_once(engine, wire, interleave):
    engine.record("evonet", "request", wire.request("evonet", "r-1", payment=None))
    second = wire.says("evonet", "r-1", "success", at_s=60)
    interleave("refund-", lambda: engine.record("evonet", "poll", second))
    engine.record("evonet", "api_response", wire.says("evonet", "r-1", "pending"))
    assert engine.payment("evonet", "p-1").reserved_minor == 6000
    assert [e.type for e in engine.store.read_stream("payment-evonet-p-1")] == ["payment.refund_reserved"]


def test_a_decision_and_evidence_at_once_are_both_kept(engine, ask, wire, interleave):
    ask(engine)
    interleave("refund-", lambda: engine.record("evonet", "poll", wire.says("evonet", "r-1", "failed")))
    view = engine.resolve("r-1", "closed", actor="bob", reason="duplicate order")
    assert (view.state, view.events) == (State.CLOSED, 3)


def test_a_payment_registered_while_a_refund_of_it_is_requested_guards_it(engine, ask, hkd, interleave):
    from refold.engine.errors import OverRefund

    interleave(
        "refund-",
        lambda: engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(100)),
    )
    with pytest.raises(OverRefund):
        ask(engine)


def test_a_refund_requested_while_its_payment_is_registered_is_counted(engine, ask, hkd, interleave):
    interleave("payment-", lambda: ask(engine))
    view = engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(100))
    assert (view.captured_minor, view.reserved_minor, view.over_refunded) == (100, 6000, True)
