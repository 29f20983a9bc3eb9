"""Signals: the small closed set of things evidence can say, and the bit mask they accumulate in.

Adding evidence is a bitwise OR, so duplicates and order cannot matter and partial results merge.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """What a refund's evidence adds up to. `received` means pending at the gateway."""

    CREATED = "created"
    RECEIVED = "received"
    SUCCESS = "success"
    FAILED = "failed"
    CLOSED = "closed"


TERMINAL: Final = frozenset({State.SUCCESS, State.FAILED, State.CLOSED})
UNSETTLED: Final = frozenset({State.CREATED, State.RECEIVED})


class Signal(StrEnum):
    """What one message says about one refund."""

    REJECTED = "rejected"
    PENDING = "pending"
    CLOSED = "closed"
    FAILED = "failed"
    SUCCESS = "success"
    REVERSED = "reversed"
    RECOVERED = "recovered"
    UNCERTAIN = "uncertain"
    NOT_FOUND = "not_found"
    UNRECOGNISED = "unrecognised"


class Meaning(NamedTuple):
    """One row of the table below."""

    signal: Signal
    says: str
    level: int
    alone: State


MEANINGS: Final = (
    Meaning(
        Signal.REJECTED, "the gateway refused the request; it claims to hold no such refund", 1, State.FAILED
    ),
    Meaning(Signal.PENDING, "the gateway holds the refund, no outcome yet", 2, State.RECEIVED),
    Meaning(Signal.CLOSED, "the gateway closed or cancelled it without refunding", 3, State.CLOSED),
    Meaning(Signal.FAILED, "the outcome: failed", 4, State.FAILED),
    Meaning(Signal.SUCCESS, "the outcome: the money moved", 4, State.SUCCESS),
    Meaning(Signal.REVERSED, "a documented late failure after success", 5, State.FAILED),
    Meaning(Signal.RECOVERED, "a documented late success after failure", 5, State.SUCCESS),
)
"""The signals with an effect, weakest first. `uncertain`, `not_found` and `unrecognised` have none."""

BIT: Final = {meaning.signal: 1 << index for index, meaning in enumerate(MEANINGS)}
ALL_BITS: Final = (1 << len(MEANINGS)) - 1
REJECTED_BIT: Final = BIT[Signal.REJECTED]
HELD_BITS: Final = ALL_BITS & ~REJECTED_BIT
"""Any of these proves that the gateway holds the refund."""
OUTCOME_BITS: Final = HELD_BITS & ~BIT[Signal.PENDING]
"""Signals that end a refund: closed, failed, success, reversed, recovered."""
ENDING_BITS: Final = OUTCOME_BITS | REJECTED_BIT
"""Signals after which nothing more is expected."""


def bit(signal: Signal) -> int:
    """Return the bit of a signal; 0 for the three without effect."""
    return BIT.get(signal, 0)


def signals_in(mask: int) -> tuple[Signal, ...]:
    """Return the signals of a mask, weakest first."""
    return tuple(meaning.signal for meaning in MEANINGS if mask & BIT[meaning.signal])


def _read(mask: int) -> tuple[State, bool, bool]:
    present = [meaning for meaning in MEANINGS if mask & BIT[meaning.signal]]
    top = max((meaning.level for meaning in present), default=0)
    highest = {meaning.alone for meaning in present if meaning.level == top}
    conflict = len(highest) > 1
    state = State.SUCCESS if conflict else next(iter(highest), State.CREATED)
    outcomes = [meaning for meaning in present if meaning.alone in TERMINAL and meaning.level > 1]
    differ = any(a.level != b.level and a.alone != b.alone for a in outcomes for b in outcomes)
    refused_yet_held = bool(mask & REJECTED_BIT and mask & HELD_BITS)
    return state, conflict, differ or refused_yet_held


_TABLE: Final = tuple(_read(mask) for mask in range(ALL_BITS + 1))
"""Every mask's (state, conflict, contradicted), computed once from the table of meanings."""


def state_of(mask: int) -> State:
    """Return the state of the highest level present; both signals of that level read as success.

    Until a person decides a conflict, assume the money moved: never refund twice.
    """
    return _TABLE[mask][0]


def conflicting(mask: int) -> bool:
    """Tell whether both signals of the highest level are present."""
    return _TABLE[mask][1]


def contradicting(mask: int) -> bool:
    """Tell whether outcomes of different levels differ, or a rejection stands beside proof of the refund."""
    return _TABLE[mask][2]
