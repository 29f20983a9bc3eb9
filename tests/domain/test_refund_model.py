"""Any life of a refund, step by step beside a model that keeps nothing but sets of words."""

from dataclasses import fields
from functools import reduce
from types import SimpleNamespace

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from refold.engine.domain import lifecycle
from refold.engine.domain.events import MessageRef, Recorded, SubmissionStarted
from refold.engine.domain.message import Channel
from refold.engine.domain.refund import (
    Refund,
    decide_exhausted,
    decide_overdue,
    decide_resolution,
    evolve,
    fold,
)
from refold.engine.domain.signals import Signal, State, signals_in
from refold.engine.domain.wire import from_wire, to_wire

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=200, stateful_step_count=25)
MESSAGE = MessageRef(digest="00", size=2)
ANSWERS = (Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK, Channel.REPORT)
DECISIONS = ("success", "failed", "closed")
NO_MONEY_MOVED = {"rejected", "not_found", "failed", "closed", "reversed"}
WITHOUT_EFFECT = {"uncertain", "not_found", "unrecognised"}


class Life(RuleBasedStateMachine):
    """Steps and what the model makes of them; `tools` brings the oracle, which is the design's words."""

    tools = None

    def __init__(self):
        super().__init__()
        self.told = self.tools.story()
        self.seen, self.raised, self.decided = frozenset(), set(), None
        self.submissions, self.doubted = 0, False

    @rule()
    def submit(self):
        self.told.append(SubmissionStarted(idempotency_key="r-1", message=MESSAGE))
        self.submissions += 1

    @rule(signal=st.sampled_from(sorted(Signal)), channel=st.sampled_from(ANSWERS))
    def evidence(self, signal, channel):
        before = self.told.refund
        self.told.evidence(signal, channel, after_s=30)
        if signal not in WITHOUT_EFFECT:
            self.seen |= {str(signal)}
        if signal == "unrecognised":
            self.raised.add("unrecognised")
        if signal == "rejected" and channel == "api_response":
            self.doubted = True  # of several submissions another one may have come through
        elif signal in NO_MONEY_MOVED and channel in {"poll", "report"}:
            self.doubted = False
        self.moved_legally(before, signal)

    @rule(signal=st.sampled_from(sorted(Signal)), channel=st.sampled_from(ANSWERS))
    def evidence_about_something_else(self, signal, channel):
        before = self.told.refund
        self.told.evidence(signal, channel, amount_minor=1)
        if signal not in WITHOUT_EFFECT | {"rejected"}:
            self.seen |= {"pending"}
        if signal == "unrecognised":
            self.raised.add("unrecognised")
        self.raised.add("mismatch")
        self.moved_legally(before, "pending")

    @precondition(lambda self: self.told.position > 8)  # a decision ends all other moves
    @rule(outcome=st.sampled_from(DECISIONS))
    def decide(self, outcome):
        self.told.append(*decide_resolution(self.told.refund, State(outcome), "ann", "because"))
        self.decided, self.raised = (outcome, self.seen), set()

    @rule()
    def time_passes(self):
        refund, now = self.told.refund, self.told.now
        self.told.append(*decide_overdue(refund, now.replace(year=2030), now))
        if self.tools.oracle.state(self.seen, self.decided) in {"created", "received"}:
            self.raised.add("overdue")

    @rule()
    def give_up_polling(self):
        self.told.append(*decide_exhausted(self.told.refund, 9))
        if self.tools.oracle.state(self.seen, self.decided) in {"created", "received"}:
            self.raised.add("polling_exhausted")

    def moved_legally(self, before, trigger):
        after = self.told.refund
        if before.state is not after.state:
            lifecycle.check_move("r-1", str(trigger), before.state, after.state, before.mask)

    @invariant()
    def it_is_what_the_model_says(self):
        state = self.tools.oracle.state(self.seen, self.decided)
        attention = self.tools.oracle.attention(
            self.seen, self.decided, submitted=self.submissions > 0, raised=self.raised
        )
        assert self.tools.shown(self.told.refund) == (state, attention)
        assert set(signals_in(self.told.refund.mask)) == self.seen
        held = self.submissions > 1 and self.doubted and self.decided is None
        released = state in {"failed", "closed"} and "conflict" not in attention and not held
        assert self.told.refund.reserved is not released

    def teardown(self):
        events = [from_wire(event.wire, to_wire(event)) for event in self.told.events]
        history = [
            Recorded(index, index, self.told.refund.updated_at, event)
            for index, event in enumerate(events, start=1)
        ]
        replayed = fold(history)
        assert replayed == reduce(evolve, history, None)
        assert self.tools.shown(replayed) == self.tools.shown(self.told.refund)
        assert replayed.version == len(events)


@pytest.fixture
def life(story, oracle, shown):
    tools = SimpleNamespace(story=story, oracle=oracle, shown=shown)
    return type("Life", (Life,), {"tools": tools})


def test_any_life_of_a_refund_is_as_designed_and_survives_the_wire(life):
    run_state_machine_as_test(life, settings=PROFILE)


def test_a_model_of_another_lifecycle_is_told_apart(life, oracle, monkeypatch):
    monkeypatch.setitem(oracle.level, "rejected", (3, "failed"))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(life, settings=settings(PROFILE, phases=[Phase.generate]))


def test_a_folded_refund_has_all_fields_of_one(story):
    (asked,) = (Recorded(1, 1, story().now, event) for event in story().events[:1])
    assert set(vars(fold([asked]))) == {field.name for field in fields(Refund)}


def test_folding_from_a_snapshot_is_folding_from_the_start(story):
    told = story()
    for signal in ("pending", "closed", "failed"):
        told.evidence(signal)
    history = [Recorded(n, n, told.now, event) for n, event in enumerate(told.events, start=1)]
    snapshot, again = fold(history[:2]), fold(history[:2])
    assert fold(history[2:], snapshot) == fold(history)
    assert snapshot == again
    assert fold([]) is None
    assert evolve(fold(history[:3]), history[3]) == fold(history)
