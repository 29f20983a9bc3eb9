"""Capabilities: what a gateway can do and what it asks of those who contact it, as its adapter declares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from .schedule import IN_DOUBT, PENDING, RECHECK_S

if TYPE_CHECKING:
    from .evidence import AbsenceRule
    from .schedule import Schedule


class AmountForm(StrEnum):
    """How a gateway writes amounts."""

    MAJOR_TEXT = "decimal text in major units"
    MAJOR_NUMBER = "JSON number in major units"
    CENTS = "integer hundredths of the major unit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a gateway can do, as documented; the docstring of each adapter names document and date.

    Attributes:
        partial: part of a payment can be refunded.
        several: one payment can have several refunds.
        lookup_by_own_reference: a query by our refund number is possible.
        refund_reference: messages carry our refund number; where not, they are matched by the payment's.
        one_at_a_time: of one payment, a refund is refused while another one is under way.
        post_timeout_s: how long to wait for the answer to a refund request.
        poll_interval_s: least time between two queries.
        in_doubt: how often to ask while nothing says that the gateway has the refund.
        pending: how often to ask while the gateway has it and tells no outcome.
        recheck_s: ages of an outcome, in seconds, at which the gateway is asked once more: outcomes can change late,
            and a webhook that says so can be lost.
        outcome_window_s: after this time without an outcome a refund is overdue.
        refund_window_days: how long after the payment a refund is possible; None: not documented.
        key_retention_s: how long the gateway keeps an idempotency key; None: unknown, so look up first.
        absence: when `not_found` becomes `rejected`; None: never.
        amounts: how amounts are written.
        acknowledgement: the exact body a webhook is answered with; None: no webhook is documented.
        webhook_retry_s: the documented delays of webhook attempts, in seconds; empty: not documented.
    """

    partial: bool
    several: bool
    lookup_by_own_reference: bool
    post_timeout_s: int
    poll_interval_s: int
    outcome_window_s: int
    refund_window_days: int | None
    key_retention_s: int | None
    absence: AbsenceRule | None
    amounts: AmountForm
    acknowledgement: bytes | None
    webhook_retry_s: tuple[int, ...]
    refund_reference: bool = True
    one_at_a_time: bool = False
    in_doubt: Schedule = IN_DOUBT
    pending: Schedule = PENDING
    recheck_s: tuple[int, ...] = RECHECK_S

    def hurried(self, speed: int) -> Capabilities:
        """Return the same with every duration divided by `speed`, one second at least: for simulators and tests."""
        scaled = {
            name: max(value // speed, 1)
            for name in ("post_timeout_s", "poll_interval_s", "outcome_window_s", "key_retention_s")
            if (value := getattr(self, name)) is not None
        }
        absence = self.absence
        return replace(
            self,
            **scaled,
            absence=None if absence is None else absence._replace(apart_s=max(absence.apart_s // speed, 1)),
            in_doubt=self.in_doubt.hurried(speed),
            pending=self.pending.hurried(speed),
            recheck_s=tuple(max(age_s // speed, 1) for age_s in self.recheck_s),
            webhook_retry_s=tuple(delay // speed for delay in self.webhook_retry_s),
        )
