"""What people and the clock add: decisions, four eyes, and what is overdue."""

import pytest
from structlog.testing import capture_logs

from refold.engine import Attention, State
from refold.engine.errors import InvalidInput, InvalidText, RefundNotFound, SelfApproval

# ---- decisions


@pytest.mark.parametrize("outcome", ["success", "failed", "closed", State.SUCCESS])
def test_a_persons_decision_stands_above_all_evidence(engine, ask, wire, outcome):
    """CASES 39."""
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "pending"))
    view = engine.resolve("r-1", outcome, actor="bob", reason="seen on the statement")
    assert (view.state, view.attention) == (State(outcome), ())
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "pending", at_s=60))
    assert engine.refund("r-1").state == State(outcome)


def test_actor_reason_and_the_evidence_seen_are_in_the_log(engine, ask, wire):
    """CASES 39."""
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    engine.resolve("r-1", "failed", actor="bob", reason="returned by the bank")
    decided = engine.history("r-1")[-1]
    assert decided.channel == "operator"
    assert decided.data == {
        "outcome": "failed",
        "actor": "bob",
        "reason": "returned by the bank",
        "seen_mask": 16,
    }


def test_who_asked_for_a_refund_may_not_decide_it(engine, ask, log):
    """CASES 39: four eyes."""
    ask(engine, requested_by="ann")
    before = log(engine)
    with pytest.raises(SelfApproval, match="ann"):
        engine.resolve("r-1", "success", actor="ann", reason="mine")
    assert log(engine) == before
    engine.resolve("r-1", "success", actor="bob", reason="his")


def test_a_gateway_that_contradicts_a_decision_later_is_shown(engine, ask, wire):
    """CASES 39."""
    ask(engine)
    engine.resolve("r-1", "failed", actor="bob", reason="gave up")
    receipt = engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    assert (receipt.state, receipt.attention) == (State.FAILED, ("conflict",))
    assert engine.payment("evonet", "p-1").reserved_minor == 6000
    view = engine.resolve("r-1", "success", actor="bob", reason="it did go through")
    assert (view.state, view.attention) == (State.SUCCESS, ())


def test_the_same_decision_again_appends_nothing(engine, ask, log):
    ask(engine)
    engine.resolve("r-1", "failed", actor="bob", reason="no")
    before = log(engine)
    engine.resolve("r-1", "failed", actor="bob", reason="no")
    assert log(engine) == before


@pytest.mark.parametrize(
    "outcome", ["created", "received", "", "SUCCESS", "refunded", None, 4, ["failed"]], ids=repr
)
def test_only_an_outcome_can_be_decided(engine, ask, outcome):
    ask(engine)
    with pytest.raises(InvalidInput):
        engine.resolve("r-1", outcome, actor="bob", reason="because")


@pytest.mark.parametrize("reason", ["", "  ", "\u200b", "x" * 501, "\ud800", None, 7], ids=ascii)
def test_a_decision_needs_a_reason_that_says_something(engine, ask, reason):
    """CASES C12."""
    ask(engine)
    with pytest.raises(InvalidText):
        engine.resolve("r-1", "failed", actor="bob", reason=reason)


def test_a_decision_about_no_refund_is_not_found(engine):
    with pytest.raises(RefundNotFound, match="r-9"):
        engine.resolve("r-9", "failed", actor="bob", reason="x")


# ---- overdue


def test_a_refund_without_outcome_after_its_gateways_window_is_overdue_and_nothing_else(
    engine, ask, clock, wire, hkd
):
    """CASES 7: nothing fails or closes because time has passed."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(6000))
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "pending"))
    clock.tick(days=10)
    assert engine.mark_overdue() == []
    clock.tick(seconds=1)
    assert engine.mark_overdue() == ["r-1"]
    view = engine.refund("r-1")
    assert (view.state, view.attention) == (State.RECEIVED, ("overdue",))
    assert engine.payment("evonet", "p-1").reserved_minor == 6000
    assert [found.refund_id for found in engine.find(attention=Attention.OVERDUE)] == ["r-1"]


def test_a_refund_is_marked_overdue_once(engine, ask, clock, log):
    ask(engine)
    clock.tick(days=11)
    engine.mark_overdue()
    before = log(engine)
    clock.tick(days=11)
    assert engine.mark_overdue() == []
    assert log(engine) == before


def test_each_gateway_has_its_own_window(engine, ask, clock):
    for number, gateway in enumerate(("evonet", "easylink", "bbmsl")):
        ask(engine, f"r-{number}", gateway=gateway)
    clock.tick(hours=3)
    assert engine.mark_overdue() == ["r-1", "r-2"]


def test_an_outcome_takes_overdue_away(engine, ask, clock, wire):
    ask(engine)
    clock.tick(days=11)
    engine.mark_overdue()
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    assert engine.refund("r-1").attention == ()


def test_settled_refunds_and_those_of_gateways_we_have_no_adapter_for_are_not_overdue(
    open_at, ask, clock, wire, tmp_path
):
    url = f"sqlite:///{tmp_path / 'two.db'}"
    engine = open_at(url)
    ask(engine, "r-1")
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    ask(engine, "r-2", gateway="easylink")
    engine.close()
    fewer = open_at(url, gateways=engine.gateways["evonet"] and [engine.gateways["evonet"]])
    clock.tick(days=20)
    assert fewer.mark_overdue() == []


def test_more_refunds_than_one_page_are_all_looked_at(engine, ask, clock):
    wanted = [f"r-{number:03}" for number in range(505)]
    with engine.store.batch():
        for refund_id in wanted:
            ask(engine, refund_id, payment=refund_id)
    clock.tick(days=11)
    with engine.store.batch():
        assert engine.mark_overdue() == wanted


def test_a_time_at_the_end_of_the_calendar_overflows_nothing(engine, wire, clock):
    last = clock.now.replace(year=9998)
    sent = wire.request("evonet", "r-1")
    engine.record("evonet", "request", type(sent)(body=sent.body, received_at=last))
    assert engine.mark_overdue() == []


@pytest.mark.parametrize("year", [1, 999, 1969, 9999])
def test_a_message_of_a_year_no_message_has_is_refused(engine, wire, clock, year):
    sent = wire.request("evonet", "r-1")
    with pytest.raises(InvalidInput, match="outside the years"):
        engine.record(
            "evonet", "request", type(sent)(body=sent.body, received_at=clock.now.replace(year=year))
        )


# ---- the hook


def test_the_hook_hears_of_each_move_once_it_is_durable(open_engine, ask, wire):
    seen = []
    engine = open_engine(on_move=lambda *move: seen.append((*move, engine.refund(move[0]).state)))
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "pending", at_s=1))
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "pending", at_s=2))
    engine.resolve("r-1", "failed", actor="bob", reason="no")
    assert seen == [
        ("r-1", State.CREATED, State.RECEIVED, State.RECEIVED),
        ("r-1", State.RECEIVED, State.FAILED, State.FAILED),
    ]


def test_a_hook_that_raises_undoes_nothing_and_is_logged_without_its_words(open_engine, ask, wire):
    def hook(*_):
        raise ValueError("the secret is 4242")

    engine = open_engine(on_move=hook)
    ask(engine)
    with capture_logs() as logs:
        assert engine.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success")).status == 200
    assert engine.refund("r-1").state is State.SUCCESS
    (failed,) = [line for line in logs if line["event"] == "hook.failed"]
    assert (failed["refund_id"], failed["error"]) == ("r-1", "ValueError")
    assert failed["where"].startswith("test_deciding.py:")
    assert "4242" not in repr(logs)
