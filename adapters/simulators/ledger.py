"""The ledger: what was captured, what money really moved, and what was asked, whatever the answers said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple

from ...engine.errors import InvalidSetting
from .scripts import Moves, Shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ...engine.domain.money import Money
    from .pace import Pace
    from .scripts import Outcome, Stage

_IN_WORDS: Final = {
    Shown.GENERATED: "pending",
    Shown.PENDING: "pending",
    Shown.UNDOCUMENTED: "pending",
    Shown.SUCCESS: "success",
    Shown.FAILED: "failed",
    Shown.CLOSED: "closed",
}
_KINDS: Final = {Moves.GOES_OUT: ("refunded", 1), Moves.COMES_BACK: ("reversed", -1)}
_RESERVING: Final = frozenset({"pending", "success"})


class Movement(NamedTuple):
    """Money that moved: `kind` is `refunded` (to the payer) or `reversed` (back to the merchant)."""

    payment_id: str
    refund_id: str
    amount_minor: int
    currency: str
    kind: str


class SimulatedRefund(NamedTuple):
    """The truth about a refund.

    Attributes:
        refund_id: the merchant's number; at bbmsl the order's.
        payment_id: the original transaction.
        amount_minor: in minor units.
        currency: ISO 4217.
        state: `success` where the money is out, else `failed`, `closed` or `pending`.
        shown: the state that the gateway tells, which can be another one.
        outcome: the word of the outcome table.
        settled: nothing will happen to it any more.
    """

    refund_id: str
    payment_id: str
    amount_minor: int
    currency: str
    state: str
    shown: str
    outcome: str
    settled: bool


@dataclass(slots=True)
class Record:
    """A refund as the gateway holds it; only the ledger changes it."""

    refund_id: str
    payment_id: str
    amount: Money
    number: str
    created_at: datetime
    outcome: Outcome
    reached: int = -1
    moved_minor: int = 0

    @property
    def stage(self) -> Stage:
        """The stage that was reached."""
        return self.outcome.stages[max(self.reached, 0)]

    @property
    def state(self) -> str:
        """What is true of the money."""
        return "success" if self.moved_minor > 0 else _IN_WORDS[self.stage.shown]


class Ledger:
    """The books of one simulator; may be read from any thread, and is up to date with the clock whenever it is."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._lock = RLock()
        self._captured: dict[str, Money] = {}
        self._by_refund: dict[str, list[Record]] = {}
        self._by_payment: dict[str, list[Record]] = {}
        self._due: list[tuple[datetime, int, Record]] = []
        self._order = count()
        self._movements: list[Movement] = []
        self._posts: list[str] = []
        self._queries: Counter[str] = Counter()

    # ---- reading

    @property
    def movements(self) -> Sequence[Movement]:
        """Every movement of money, in the order in which it moved."""
        with self._lock:
            self._advance()
            return tuple(self._movements)

    @property
    def refunds(self) -> Mapping[str, SimulatedRefund]:
        """The truth about each refund that the gateway holds, by refund id; the last one where it was made twice."""
        with self._lock:
            self._advance()
            return {refund_id: self._told(record) for refund_id, (*_, record) in self._by_refund.items()}

    def moved(self, refund_id: str) -> int:
        """Return the net minor units that went to the payer for a refund; paid twice shows as twice the amount."""
        with self._lock:
            self._advance()
            return sum(record.moved_minor for record in self._by_refund.get(refund_id, ()))

    @property
    def posts(self) -> Sequence[str]:
        """The refund id of every authentic refund request received, also of those that had no effect or no answer."""
        with self._lock:
            return tuple(self._posts)

    @property
    def queries(self) -> Mapping[str, int]:
        """How many authentic queries came for each refund id."""
        with self._lock:
            return dict(self._queries)

    @property
    def payments(self) -> Mapping[str, Money]:
        """What was captured, by payment id."""
        with self._lock:
            return dict(self._captured)

    def captured(self, payment_id: str) -> Money | None:
        """Return what was captured for a payment, None where it is not known."""
        with self._lock:
            return self._captured.get(payment_id)

    def as_json(self) -> dict[str, object]:
        """Return all of it for a JSON document."""
        with self._lock:
            return {
                "payments": {
                    payment_id: {"captured_minor": money.minor, "currency": money.currency}
                    for payment_id, money in self._captured.items()
                },
                "refunds": {
                    refund_id: {**told._asdict(), "moved_minor": self.moved(refund_id)}
                    for refund_id, told in self.refunds.items()
                },
                "movements": [movement._asdict() for movement in self.movements],
                "posts": list(self._posts),
                "queries": dict(self._queries),
            }

    # ---- writing: the simulators' business

    def capture(self, payment_id: str, amount: Money) -> None:
        """Enter a captured payment; entering the same again changes nothing.

        Raises:
            InvalidSetting: it is there with another amount.
        """
        with self._lock:
            known = self._captured.setdefault(payment_id, amount)
        if known != amount:
            raise InvalidSetting(
                "payment", f"{payment_id} is captured as {known}, not {amount}; use another payment id"
            )

    def posted(self, refund_id: str) -> None:
        """Count a refund request."""
        with self._lock:
            self._posts.append(refund_id)

    def queried(self, refund_id: str) -> None:
        """Count a query."""
        with self._lock:
            self._queries[refund_id] += 1

    def add(self, record: Record) -> Record:
        """Enter a refund that the gateway accepted."""
        with self._lock:
            self._by_refund.setdefault(record.refund_id, []).append(record)
            self._by_payment.setdefault(record.payment_id, []).append(record)
            self._expect(record)
            self._advance()
            return record

    def record(self, refund_id: str) -> Record | None:
        """Return the latest refund of that id, up to date."""
        with self._lock:
            self._advance()
            return self._by_refund.get(refund_id, [None])[-1]

    def of_payment(self, payment_id: str) -> Sequence[Record]:
        """Return the refunds of a payment, up to date."""
        with self._lock:
            self._advance()
            return tuple(self._by_payment.get(payment_id, ()))

    def available_minor(self, payment_id: str) -> int:
        """Return what is left of a captured payment: refunds that failed or were closed without money are free."""
        with self._lock:
            reserved = sum(
                record.amount.minor
                for record in self.of_payment(payment_id)
                if record.state in _RESERVING or record.moved_minor > 0
            )
            return self._captured[payment_id].minor - reserved

    def _advance(self) -> None:
        now = self._pace.now()
        while self._due and self._due[0][0] <= now:
            _, _, record = heappop(self._due)
            record.reached += 1
            self._move(record, record.stage)
            self._expect(record)

    def _expect(self, record: Record) -> None:
        for stage in record.outcome.stages[record.reached + 1 : record.reached + 2]:
            due = self._pace.after(record.created_at, stage.after_s)
            heappush(self._due, (due, next(self._order), record))

    def _move(self, record: Record, stage: Stage) -> None:
        if stage.money is Moves.STAYS:
            return
        kind, sign = _KINDS[stage.money]
        minor, currency = record.amount.minor, record.amount.currency
        record.moved_minor += sign * minor
        self._movements.append(Movement(record.payment_id, record.refund_id, minor, currency, kind))

    def _told(self, record: Record) -> SimulatedRefund:
        return SimulatedRefund(
            record.refund_id,
            record.payment_id,
            record.amount.minor,
            record.amount.currency,
            record.state,
            str(record.stage.shown),
            record.outcome.word,
            record.reached + 1 == len(record.outcome.stages),
        )
