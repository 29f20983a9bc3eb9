"""Faults: what can go wrong at a gateway on request, chosen by a seed and never by timing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from ...engine.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

PER_MILLE: Final = 1000


class Fault(StrEnum):
    """One thing that goes wrong; `FAULTS` says what happens then."""

    TIMEOUT_BEFORE_EFFECT = "timeout_before_effect"
    TIMEOUT_AFTER_EFFECT = "timeout_after_effect"
    CONNECTION_REFUSED = "connection_refused"
    SERVER_ERROR_HTML = "server_error_html"
    HALF_RESPONSE = "half_response"
    WEBHOOK_DUPLICATED = "webhook_duplicated"
    WEBHOOK_DELAYED = "webhook_delayed"
    WEBHOOK_REORDERED = "webhook_reordered"
    WEBHOOK_LOST = "webhook_lost"
    LATE_FAILURE = "late_failure"
    KEY_EXPIRY = "key_expiry"
    ABSENT_FOR_A_WHILE = "absent_for_a_while"
    WRONG_AMOUNT = "wrong_amount"


class Strikes(StrEnum):
    """What a fault strikes."""

    REFUND = "refund requests"
    CALL = "refund requests and queries"
    QUERY = "queries"
    WEBHOOK = "webhooks"


class FaultRow(NamedTuple):
    """A row of the table: what is struck, and what happens then, in one sentence."""

    fault: Fault
    strikes: Strikes
    says: str


_F = Fault
_S = Strikes

FAULTS: Final = (
    FaultRow(
        _F.TIMEOUT_BEFORE_EFFECT, _S.REFUND, "No answer comes before the client gives up; nothing was done."
    ),
    FaultRow(
        _F.TIMEOUT_AFTER_EFFECT,
        _S.REFUND,
        "No answer comes before the client gives up, although the refund was made.",
    ),
    FaultRow(
        _F.CONNECTION_REFUSED,
        _S.CALL,
        "After the answer nobody listens on the port for 5 simulated seconds: new connections are refused.",
    ),
    FaultRow(
        _F.SERVER_ERROR_HTML,
        _S.CALL,
        "502 or 503 with an HTML page, before or after the effect, with Retry-After or without.",
    ),
    FaultRow(_F.HALF_RESPONSE, _S.CALL, "The connection is cut in the middle of the answer's body."),
    FaultRow(_F.WEBHOOK_DUPLICATED, _S.WEBHOOK, "The same bytes are delivered twice."),
    FaultRow(_F.WEBHOOK_DELAYED, _S.WEBHOOK, "The first attempt comes 120 simulated seconds late."),
    FaultRow(
        _F.WEBHOOK_REORDERED,
        _S.WEBHOOK,
        "It waits for the next one about the same refund, else for any other one, at most 90 simulated seconds.",
    ),
    FaultRow(_F.WEBHOOK_LOST, _S.WEBHOOK, "It is never sent, and the gateway takes it for delivered."),
    FaultRow(
        _F.LATE_FAILURE,
        _S.REFUND,
        "60 simulated seconds after its success the refund fails, and the money goes back to the merchant.",
    ),
    FaultRow(
        _F.KEY_EXPIRY,
        _S.REFUND,
        "After 5 simulated seconds idempotency key and merchantTransID are forgotten: asked again, it pays twice.",
    ),
    FaultRow(
        _F.ABSENT_FOR_A_WHILE,
        _S.QUERY,
        "For 90 simulated seconds queries answer that there is no such refund, although there is.",
    ),
    FaultRow(_F.WRONG_AMOUNT, _S.REFUND, "The answer shows another amount than the one refunded."),
)
"""Every fault. CONNECTION_REFUSED needs a server: an application called in the same process has no port.

LATE_FAILURE, KEY_EXPIRY and webhooks do not exist at bbmsl, KEY_EXPIRY not at easylink: nothing of the kind is
documented there.
"""


def fault_table() -> str:
    """Return the table of faults as Markdown."""
    rows = (f"| `{row.fault}` | {row.strikes} | {row.says} |\n" for row in FAULTS)
    return "| Fault | Strikes | What happens |\n| --- | --- | --- |\n" + "".join(rows)


_ONE_IN_TWO: Final = frozenset(row.fault for row in FAULTS if row.strikes is Strikes.CALL) | {
    Fault.TIMEOUT_BEFORE_EFFECT,
    Fault.TIMEOUT_AFTER_EFFECT,
}


@dataclass(frozen=True)
class Faults:
    """Which faults strike, and how often.

    Whether a fault strikes is a function of seed, gateway, fault, refund id and occurrence alone. Faults of the
    connection never strike the same operation on the same refund twice in a row, so that whoever keeps asking is
    answered, even at 1000 per mille.

    Args:
        seed: another seed, other refunds are struck.
        per_mille: how many of a thousand chances each fault takes, 0 to 1000; a fault that is not named takes none.

    Raises:
        InvalidSetting: a name that is no fault, or a number outside 0 to 1000.
    """

    seed: str
    per_mille: Mapping[Fault, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chances: dict[Fault, int] = {}
        for name, chance in self.per_mille.items():
            try:
                fault = Fault(name)
            except ValueError:
                raise InvalidSetting(
                    "fault", f"{name!r} is none; the faults are {', '.join(Fault)}"
                ) from None
            if type(chance) is not int or not 0 <= chance <= PER_MILLE:
                raise InvalidSetting(f"fault {fault}", "a whole number per mille is needed, from 0 to 1000")
            chances[fault] = chance
        object.__setattr__(self, "per_mille", MappingProxyType(chances))

    @classmethod
    def none(cls) -> Faults:
        """Return faults that never strike."""
        return cls("")

    @classmethod
    def all(cls, seed: str, per_mille: int) -> Faults:
        """Return every fault with the same chance, in a thousand."""
        return cls(seed, dict.fromkeys(Fault, per_mille))

    @classmethod
    def named(cls, seed: str, per_mille: Mapping[str, int]) -> Faults:
        """Return faults whose chances are given by their names, as on the command line."""
        return cls(seed, cast("Mapping[Fault, int]", per_mille))  # names are looked up when it is made

    def strikes(self, fault: Fault, gateway: str, refund_id: str, nth: int) -> bool:
        """Tell whether a fault strikes the nth occurrence (from 0) for a refund."""
        if fault in _ONE_IN_TWO and nth % 2:
            return False
        return self.draw(fault, gateway, refund_id, nth) % PER_MILLE < self.per_mille.get(fault, 0)

    def draw(self, fault: Fault, gateway: str, refund_id: str, nth: int) -> int:
        """Return the number, from 0 to 2^256 - 1, that decides everything about an occurrence."""
        return int(derived(self.seed, gateway, fault, refund_id, str(nth)), 16)


def derived(seed: str, *parts: str) -> str:
    """Return 64 hexadecimal digits that depend on the seed and the parts, and on nothing else."""
    return hashlib.sha256("\x00".join((seed, *parts)).encode()).hexdigest()


def derived_digits(length: int, seed: str, *parts: str) -> str:
    """Return up to 70 decimal digits that depend on the seed and the parts; the first one is no zero."""
    return ("1" + str(int(derived(seed, *parts), 16)).rjust(78, "0")[::-1])[:length]
