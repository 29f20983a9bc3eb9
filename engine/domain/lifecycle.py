"""The lifecycle: the legal moves of a refund as one table, and the `transitions` machine built from it.

The fold reads a state off the evidence mask (`signals.state_of`); the machine guards each move before it is appended
(and so what the hooks are told) and draws the diagrams. The tests prove by enumeration that both agree on every mask,
signal and resolution.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Final, NamedTuple

from transitions import Machine

from ..errors import IllegalMove
from .signals import BIT, HELD_BITS, TERMINAL, Signal, State


class Move(NamedTuple):
    """One legal move.

    Attributes:
        trigger: the signal, or `resolve_<state>` for a person's decision.
        source: the state before.
        target: the state after.
        only: the condition, a method of `_Guard`; None where there is none.
    """

    trigger: str
    source: State
    target: State
    only: str | None = None


_UNSETTLED = (State.CREATED, State.RECEIVED, State.CLOSED)

MOVES: Final = (
    Move(Signal.REJECTED, State.CREATED, State.FAILED),
    Move(Signal.PENDING, State.CREATED, State.RECEIVED),
    Move(Signal.PENDING, State.FAILED, State.RECEIVED, "only_rejections_so_far"),
    Move(Signal.CLOSED, State.CREATED, State.CLOSED),
    Move(Signal.CLOSED, State.RECEIVED, State.CLOSED),
    Move(Signal.CLOSED, State.FAILED, State.CLOSED, "only_rejections_so_far"),
    *(Move(Signal.FAILED, source, State.FAILED) for source in _UNSETTLED),
    *(Move(Signal.SUCCESS, source, State.SUCCESS) for source in _UNSETTLED),
    Move(Signal.SUCCESS, State.FAILED, State.SUCCESS, "not_reversed"),
    *(Move(Signal.REVERSED, source, State.FAILED) for source in _UNSETTLED),
    Move(Signal.REVERSED, State.SUCCESS, State.FAILED, "not_recovered"),
    *(Move(Signal.RECOVERED, source, State.SUCCESS) for source in _UNSETTLED),
    Move(Signal.RECOVERED, State.FAILED, State.SUCCESS),
    *(
        Move(f"resolve_{target}", source, target)
        for target in State
        if target in TERMINAL
        for source in State
        if source is not target
    ),
)
"""Every legal move; what is not here is no move."""


class _Guard:
    """The model the machine moves: a state, and the conditions of the table above."""

    state: str

    def only_rejections_so_far(self, before: int) -> bool:
        return not before & HELD_BITS

    def not_reversed(self, before: int) -> bool:
        return not before & BIT[Signal.REVERSED]

    def not_recovered(self, before: int) -> bool:
        return not before & BIT[Signal.RECOVERED]


def _machine() -> Machine:
    return Machine(
        model=None,
        states=[str(state) for state in State],
        transitions=[
            {
                "trigger": str(move.trigger),
                "source": str(move.source),
                "dest": str(move.target),
                "conditions": move.only,
            }
            for move in MOVES
        ],
        initial=str(State.CREATED),
        auto_transitions=False,
        ignore_invalid_triggers=True,
    )


_LOCK: Final = threading.Lock()
_MACHINE: Final = _machine()


@cache
def step(state: State, trigger: str, before: int = 0) -> State:
    """Ask the machine for the state after `trigger`, with the mask `before` it; the same state where there is no move.

    The answer depends on nothing else, so each question is put to the machine once.
    """
    event = _MACHINE.events.get(trigger)
    if event is None:  # a signal without effect
        return state
    guard = _Guard()
    with _LOCK:
        _MACHINE.add_model(guard, initial=str(state))
        try:
            event.trigger(guard, before=before)
        finally:
            _MACHINE.remove_model(guard)
    return State(guard.state)


def check_move(refund_id: str, trigger: str, source: State, target: State, before: int = 0) -> None:
    """Hold a move the fold has computed against the machine.

    Raises:
        IllegalMove: the table leads elsewhere.
    """
    if step(source, trigger, before) is not target:
        raise IllegalMove(refund_id, source, target)


def moves_by_pair() -> list[tuple[State, State, tuple[str, ...]]]:
    """Return (source, target, triggers with their conditions) for each pair of states the machine joins."""
    joined: dict[tuple[State, State], list[str]] = {}
    for trigger, event in _MACHINE.events.items():
        for transition in (found for each in event.transitions.values() for found in each):
            only = " and ".join(str(condition.func).replace("_", " ") for condition in transition.conditions)
            label = f"{trigger} ({only})" if only else trigger
            joined.setdefault((State(transition.source), State(str(transition.dest))), []).append(label)
    return [
        (source, target, tuple(joined[source, target]))
        for source in State
        for target in State
        if (source, target) in joined
    ]
