"""The machine and the fold agree, and their legal moves are the design's: proved by enumeration, not assumed."""

from datetime import UTC, datetime
from itertools import product

import pytest

from refold.engine.domain import lifecycle
from refold.engine.domain.events import EVIDENCE, Recorded, RefundRequested, RefundResolved
from refold.engine.domain.evidence import Trust
from refold.engine.domain.message import Channel
from refold.engine.domain.refund import evolve, fold
from refold.engine.domain.signals import ALL_BITS, BIT, Signal, State, signals_in
from refold.engine.errors import IllegalMove

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MASKS = range(2**7)
SIGNALS = tuple(Signal)
OUTCOMES = ("success", "failed", "closed")

# Transcribed by hand, so that a change of the table in the source turns a test red.
BY_EVIDENCE = {
    "created": {"received", "success", "failed", "closed"},
    "received": {"success", "failed", "closed"},
    "closed": {"success", "failed"},
    "failed": {"received", "success", "closed"},
    "success": {"failed"},
}
ONLY_REJECTIONS_SO_FAR = {("failed", "received"), ("failed", "closed")}
REVERSED_ONLY = ("success", "failed")
LEGAL_BY_EVIDENCE = {(source, target) for source, targets in BY_EVIDENCE.items() for target in targets}
LEGAL_BY_A_PERSON = {
    (source, outcome) for source, outcome in product(BY_EVIDENCE, OUTCOMES) if source != outcome
}

EVENTS = {
    signal: EVIDENCE[signal](channel=Channel.WEBHOOK, code="x=y", trust=Trust.VERIFIED) for signal in SIGNALS
}
REQUESTED = RefundRequested(
    gateway="evonet", refund_id="r-1", payment_id="p-1", amount_minor=1, currency="HKD"
)


def recorded(event):
    return Recorded(1, 1, NOW, event)


def decision(outcome, seen_mask):
    return recorded(RefundResolved(outcome=outcome, actor="ann", reason="because", seen_mask=seen_mask))


def refund_with(mask):
    return fold([recorded(REQUESTED), *(recorded(EVENTS[signal]) for signal in signals_in(mask))])


UNDECIDED = [refund_with(mask) for mask in MASKS]
DECIDED = {
    (mask, outcome): evolve(UNDECIDED[mask], decision(outcome, mask))
    for mask, outcome in product(MASKS, OUTCOMES)
}


def disagreements(step):
    """Yield each (mask, signal) after which the machine is elsewhere than the fold."""
    for refund, signal in product(UNDECIDED, SIGNALS):
        after = evolve(refund, recorded(EVENTS[signal]))
        if step(refund.state, str(signal), refund.mask) is not after.state:
            yield refund.mask, signal


def driven(monkeypatch, moves):
    """Return `step` of a machine built from other moves."""
    monkeypatch.setattr(lifecycle, "MOVES", tuple(moves))
    monkeypatch.setattr(lifecycle, "_MACHINE", lifecycle._machine())
    return lifecycle.step.__wrapped__


def test_there_are_seven_signals_with_an_effect_and_three_without():
    assert (len(BIT), len(SIGNALS), ALL_BITS) == (7, 10, MASKS[-1])
    assert set(SIGNALS) - set(BIT) == {Signal.UNCERTAIN, Signal.NOT_FOUND, Signal.UNRECOGNISED}


def test_a_mask_is_exactly_the_evidence_that_was_folded():
    assert [refund.mask for refund in UNDECIDED] == list(MASKS)


def test_after_every_mask_and_every_signal_the_machine_is_where_the_fold_is():
    assert list(disagreements(lifecycle.step.__wrapped__)) == []
    assert list(disagreements(lifecycle.step)) == []  # what is remembered, too


def test_every_step_by_evidence_is_a_legal_move_or_no_move_and_every_legal_move_is_made():
    steps = {
        (refund.state, evolve(refund, recorded(EVENTS[signal])).state, signal, refund.mask)
        for refund, signal in product(UNDECIDED, SIGNALS)
    }
    moves = {step for step in steps if step[0] is not step[1]}
    assert {(source, target) for source, target, _, _ in moves} == LEGAL_BY_EVIDENCE
    for source, target, signal, mask in moves:
        if (source, target) in ONLY_REJECTIONS_SO_FAR:
            assert signals_in(mask) == (Signal.REJECTED,)
        if (source, target) == REVERSED_ONLY:
            assert signal is Signal.REVERSED


def test_a_signal_without_effect_moves_nothing():
    for refund, signal in product(UNDECIDED, set(SIGNALS) - set(BIT)):
        after = evolve(refund, recorded(EVENTS[signal]))
        assert (after.mask, after.state) == (refund.mask, refund.state)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_person_can_move_every_refund_to_every_outcome(outcome):
    pairs = set()
    for before in [*UNDECIDED, *DECIDED.values()]:
        after = evolve(before, decision(outcome, before.mask))
        assert after.state == outcome
        assert lifecycle.step.__wrapped__(before.state, f"resolve_{outcome}", before.mask) == outcome
        if before.state is not after.state:
            pairs.add((before.state, after.state))
    assert pairs == {pair for pair in LEGAL_BY_A_PERSON if pair[1] == outcome}


def test_after_a_decision_no_evidence_moves_the_state():
    for (_, outcome), refund in DECIDED.items():
        for signal in SIGNALS:
            after = evolve(refund, recorded(EVENTS[signal]))
            assert after.state == outcome
            assert after.mask == refund.mask | BIT.get(signal, 0)


def test_the_machine_joins_exactly_the_legal_pairs():
    joined = {(source, target) for source, target, _ in lifecycle.moves_by_pair()}
    assert joined == LEGAL_BY_EVIDENCE | LEGAL_BY_A_PERSON
    resolving = {
        (source, target)
        for source, target, triggers in lifecycle.moves_by_pair()
        if f"resolve_{target}" in triggers
    }
    assert resolving == LEGAL_BY_A_PERSON


def test_the_machine_names_the_condition_of_a_move():
    (triggers,) = [
        triggers
        for source, target, triggers in lifecycle.moves_by_pair()
        if (source, target) == ("success", "failed")
    ]
    assert triggers == ("reversed (not recovered)", "resolve_failed")


@pytest.mark.parametrize("index", range(len(lifecycle.MOVES)), ids=lambda i: " ".join(lifecycle.MOVES[i][:3]))
def test_a_table_that_lacks_one_move_is_found(monkeypatch, index):
    dropped = lifecycle.MOVES[index]
    step = driven(monkeypatch, (move for move in lifecycle.MOVES if move is not dropped))
    if dropped.trigger.startswith("resolve_"):
        assert step(dropped.source, dropped.trigger) is not dropped.target
        return
    assert any(disagreements(step))


@pytest.mark.parametrize("move", [move for move in lifecycle.MOVES if move.only], ids=" ".join)
def test_a_move_without_its_condition_is_found(monkeypatch, move):
    moves = [other._replace(only=None) if other is move else other for other in lifecycle.MOVES]
    assert any(disagreements(driven(monkeypatch, moves)))


@pytest.mark.parametrize("extra", ["success received", "received created", "closed received"])
def test_a_move_the_design_does_not_have_is_found(monkeypatch, extra):
    source, target = map(State, extra.split())
    step = driven(monkeypatch, (*lifecycle.MOVES, lifecycle.Move(Signal.PENDING, source, target)))
    assert any(disagreements(step))


def test_a_fold_that_reads_another_state_is_held_against_the_machine():
    lifecycle.check_move("r-1", "pending", State.CREATED, State.RECEIVED)
    with pytest.raises(IllegalMove, match=r"'r-1': the lifecycle has no move from success to received"):
        lifecycle.check_move("r-1", "pending", State.SUCCESS, State.RECEIVED, BIT[Signal.SUCCESS])
    with pytest.raises(IllegalMove, match="from created to closed"):
        lifecycle.check_move("r-1", "", State.CREATED, State.CLOSED)
