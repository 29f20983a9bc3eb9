"""Outcomes: what becomes of a refund, chosen by its reference or its amount. Tables, no branches."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Shown(StrEnum):
    """What a gateway says about a refund; each has its own word for it."""

    GENERATED = "generated"
    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    CLOSED = "closed"
    UNDOCUMENTED = "undocumented"


class Moves(StrEnum):
    """What happens to the money."""

    STAYS = "stays"
    GOES_OUT = "goes out"
    COMES_BACK = "comes back"


class Stage(NamedTuple):
    """From when on (in simulated seconds since the request) a gateway says what, and what happens to the money."""

    after_s: int
    shown: Shown
    money: Moves = Moves.STAYS
    notifies: bool = False


class Answer(StrEnum):
    """How the refund request itself is answered."""

    AS_SHOWN = "as shown"
    REFUSED = "refused"
    INTERNAL_ERROR = "internal error"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a refund.

    Attributes:
        word: what the reference ends with, after its last `-` or `_`.
        says: one sentence for the table.
        stages: what happens when; none where the request is refused.
        answer: how the refund request is answered.
        cancels: the gateway cancels the payment instead of refunding it (evocloud).
    """

    word: str
    says: str
    stages: tuple[Stage, ...] = ()
    answer: Answer = Answer.AS_SHOWN
    cancels: bool = False

    def failing_later(self) -> Outcome:
        """Return the outcome with a late failure behind its success; itself where it does not end in one."""
        if not self.stages or self.stages[-1].money is not Moves.GOES_OUT:
            return self
        late = Stage(self.stages[-1].after_s + LATE_S, Shown.FAILED, Moves.COMES_BACK, notifies=True)
        return replace(self, stages=(*self.stages, late))


SETTLED_S: Final = 30
LATE_S: Final = 60
CLOSED_S: Final = 7200
"""Two hours: easylink closes a refund without asking the channel (GATEWAYS: the public code of the same system)."""
_STARTED_S: Final = 10

_PENDING: Final = Stage(0, Shown.PENDING)
_SUCCESS: Final = Stage(SETTLED_S, Shown.SUCCESS, Moves.GOES_OUT, notifies=True)
_FAILED: Final = Stage(SETTLED_S, Shown.FAILED, notifies=True)
_UNTOLD: Final = Stage(SETTLED_S, Shown.FAILED)
_AT_ONCE: Final = Stage(0, Shown.SUCCESS, Moves.GOES_OUT, notifies=True)
_LATE_FAILURE: Final = Stage(SETTLED_S + LATE_S, Shown.FAILED, Moves.COMES_BACK, notifies=True)
_LATE_SUCCESS: Final = Stage(SETTLED_S + LATE_S, Shown.SUCCESS, Moves.GOES_OUT, notifies=True)
_UNDOCUMENTED: Final = Stage(SETTLED_S, Shown.UNDOCUMENTED, notifies=True)

_SETTLES: Final = Outcome(
    "settles", "Pending, then success after 30 s; at bbmsl at once.", (_PENDING, _SUCCESS)
)
_SUCCEEDS: Final = Outcome("succeeds", "Success in the first answer.", (_AT_ONCE,))
_FAILS: Final = Outcome(
    "fails", "Pending, then failed after 30 s; the money never moves.", (_PENDING, _FAILED)
)
_SILENT: Final = Outcome(
    "silent", "Failed after 30 s without any webhook: only a query tells.", (_PENDING, _UNTOLD)
)
_REFUSED: Final = Outcome(
    "refused", "The request is refused; the gateway holds no such refund.", (), Answer.REFUSED
)
_ENDLESS: Final = Outcome("pending", "Pending for ever; the money never moves.", (_PENDING,))
_REVERSES: Final = Outcome(
    "reverses",
    "Success after 30 s, failed after 90 s: the money moves and comes back.",
    (_PENDING, _SUCCESS, _LATE_FAILURE),
)
_RECOVERS: Final = Outcome(
    "recovers",
    "Failed after 30 s, success after 90 s: the money moves late.",
    (_PENDING, _FAILED, _LATE_SUCCESS),
)
_UNKNOWN: Final = Outcome(
    "unknown",
    "After 30 s a word that no document has; the money never moves.",
    (_PENDING, _UNDOCUMENTED),
)
_ERRS: Final = Outcome(
    "errs",
    "The request is answered with an internal error, and the refund settles all the same.",
    (_PENDING, _SUCCESS),
    Answer.INTERNAL_ERROR,
)
_CANCELLED: Final = Outcome(
    "cancelled", "The payment is cancelled instead: a cancel object.", (_PENDING, _SUCCESS), cancels=True
)
_CLOSES: Final = Outcome(
    "closes",
    "Closed after two hours without a notification; the money never moves.",
    (_PENDING, Stage(CLOSED_S, Shown.CLOSED)),
)
_HIDES: Final = Outcome(
    "hides",
    "Closed after two hours without a notification, although the money moved after 30 s.",
    (_PENDING, Stage(SETTLED_S, Shown.PENDING, Moves.GOES_OUT), Stage(CLOSED_S, Shown.CLOSED)),
)

_BOTH: Final = (_SETTLES, _SUCCEEDS, _FAILS, _SILENT, _REFUSED, _ENDLESS, _REVERSES, _RECOVERS, _UNKNOWN)


def _generated_first(outcome: Outcome) -> Outcome:
    """Return the outcome as easylink shows it: state 0, and 1 after 10 s, where it is pending at first."""
    first = outcome.stages[:1]
    if first != (_PENDING,):
        return outcome
    started = (Stage(0, Shown.GENERATED), Stage(_STARTED_S, Shown.PENDING))
    return replace(outcome, stages=(*started, *outcome.stages[1:]))


def _synchronous(outcome: Outcome) -> Outcome:
    """Return the outcome as bbmsl has it: everything happens within the request, and nothing is notified."""
    stages = tuple(stage._replace(after_s=0, notifies=False) for stage in outcome.stages)
    return replace(outcome, stages=stages[-1:])


def _table(outcomes: Iterable[Outcome]) -> Mapping[str, Outcome]:
    return MappingProxyType({outcome.word: outcome for outcome in outcomes})


OUTCOMES: Final[Mapping[str, Mapping[str, Outcome]]] = MappingProxyType(
    {
        "evocloud": _table((*_BOTH, _ERRS, _CANCELLED)),
        "evonet": _table((*_BOTH, _ERRS)),
        "bbmsl": _table(map(_synchronous, (_SETTLES, _SUCCEEDS, _REFUSED, _ENDLESS, _UNKNOWN, _ERRS))),
        "easylink": _table(map(_generated_first, (*_BOTH, _ERRS, _CLOSES, _HIDES))),
    }
)
"""The outcomes of each gateway, by their words."""

WORDS: Final = (*_BOTH, _ERRS, _CANCELLED, _CLOSES, _HIDES)
"""Every outcome once, for the documentation."""

AMOUNTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "fails",
        2: "refused",
        3: "pending",
        4: "reverses",
        5: "unknown",
        6: "closes",
        7: "hides",
        8: "recovers",
        9: "errs",
        11: "succeeds",
        12: "silent",
        13: "cancelled",
    }
)
"""The word that the last two digits of the amount (minor units) stand for; all others settle."""

_LAST_WORD: Final = re.compile(r"[^-_]*\Z")
_HUNDRED: Final = 100


def outcome_for(gateway: str, reference: str, amount_minor: int) -> Outcome:
    """Return the outcome that a reference's last word chooses, else the amount's last two digits, else `settles`.

    A word that the gateway does not have (bbmsl has no webhook, so none is silent) chooses nothing.
    """
    known = OUTCOMES[gateway]
    found = _LAST_WORD.search(reference)
    by_amount = known.get(AMOUNTS.get(amount_minor % _HUNDRED, ""), known[_SETTLES.word])
    return known.get(found[0].lower() if found else "", by_amount)


_HEADS: Final = ("Word", "Last digits", "Gateways", "What happens")


def outcome_rows() -> tuple[tuple[str, str, str, str], ...]:
    """Return the outcome table for people: word, last two digits of the amount, gateways, what happens."""
    digits = {word: f"{number:02}" for number, word in AMOUNTS.items()}
    return tuple(
        (
            outcome.word,
            digits.get(outcome.word, "all others"),
            ", ".join(name for name, known in OUTCOMES.items() if outcome.word in known),
            outcome.says,
        )
        for outcome in WORDS
    )


def outcome_table() -> str:
    """Return the outcome table as Markdown."""
    rows = (_HEADS, ("---",) * len(_HEADS), *outcome_rows())
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
