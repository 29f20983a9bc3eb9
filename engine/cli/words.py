"""What refold's words mean to a person, and what the person can do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ..domain.attention import Attention
from ..domain.signals import State

if TYPE_CHECKING:
    from collections.abc import Mapping


class Explanation(NamedTuple):
    """Why a person should look, and what to do."""

    means: str
    do: str


ATTENTION: Final[Mapping[Attention, Explanation]] = {
    Attention.IN_DOUBT: Explanation(
        "It was sent, and nothing yet says that the gateway has it. Its amount stays reserved.",
        "Query the gateway by the refund's own number. A second refund could pay twice.",
    ),
    Attention.CONFLICT: Explanation(
        "The gateway said both outcomes, or spoke again after a person's decision. Until somebody decides, refold"
        " assumes that the money moved.",
        "Look it up in the gateway's portal or on the bank statement, then decide.",
    ),
    Attention.CONTRADICTED: Explanation(
        "The gateway first said that the refund had ended one way, and stronger evidence says otherwise.",
        "Check that the money moved once and as the state says, then decide.",
    ),
    Attention.MISMATCH: Explanation(
        "The gateway spoke of another amount, currency, account or reference than was asked for. Such a message"
        " proves no outcome.",
        "Ask the gateway what it refunded, then decide.",
    ),
    Attention.UNRECOGNISED: Explanation(
        "The gateway used a code that is in none of its documents; it had no effect on the state.",
        "Ask the gateway what the code means, or query the refund again.",
    ),
    Attention.OVERDUE: Explanation(
        "There is no proven outcome within the time that this gateway takes.",
        "Query the gateway, or look for the refund in its settlement report, then decide.",
    ),
    Attention.POLLING_EXHAUSTED: Explanation(
        "The schedule of queries ended without an outcome.",
        "Ask the gateway's support, then decide.",
    ),
    Attention.OVER_REFUNDED: Explanation(
        "The refunds of this payment not known to have failed add up to more than was captured.",
        "Find the refund that should not be; a second one may have been asked for by mistake.",
    ),
}

INBOX: Final[Mapping[str, str]] = {
    "orphaned": "waits for its refund: adopted as soon as the refund's request is recorded",
    "quarantined": "authentic, and cannot be used",
}

STATE_STYLE: Final[Mapping[State, str]] = {
    State.CREATED: "cyan",
    State.RECEIVED: "yellow",
    State.SUCCESS: "green",
    State.FAILED: "red",
    State.CLOSED: "magenta",
}
UNKNOWN: Final = "this version has no such word; `refold replay` makes the tables again"
"""Of a word that stands in neither of the two: a newer version's, or damage."""

ATTENTION_STYLE: Final = "bold yellow"
