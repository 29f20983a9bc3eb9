"""The refund on one screen: its state, evolve, fold, and the decisions of people and clocks (messages: `proof`).

Evolve never decides, logs or reads a clock. A decision returns the events to append; none means: nothing new.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, overload

from ..errors import EventUnreadable, InvalidText, RefundConflict, SelfApproval
from .accumulating import later, take_evidence
from .attempt import Attempt
from .attention import Attention, attention_of
from .events import (
    ContactFailed,
    EvidenceMismatched,
    EvidenceRecorded,
    EvidenceUnrecognised,
    OutcomeOverdue,
    PollingExhausted,
    Recorded,
    RefundRequested,
    RefundResolved,
    SubmissionStarted,
)
from .evidence import Hold
from .identifiers import identifier, note
from .money import Money
from .signals import (
    TERMINAL,
    UNSETTLED,
    State,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from .accumulating import Fields
    from .events import Event


@dataclass(frozen=True, slots=True)
class Resolution:
    """A person's decision, and the evidence mask they had seen."""

    outcome: State
    seen_mask: int
    actor: str
    reason: str


Computed = TypeVar("Computed")


class _computed(Generic[Computed]):  # noqa: N801 - used as `property` is
    """A property that is computed once a refund, which never changes: `cached_property` without its lock."""

    def __init__(self, compute: Callable[[Refund], Computed]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, refund: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, refund: Refund, owner: object = None) -> Computed: ...
    def __get__(self, refund: Refund | None, owner: object = None) -> Self | Computed:
        if refund is None:
            return self
        found = refund.__dict__[self._name] = self._compute(refund)
        return found


_RELEASING: Final = frozenset({State.FAILED, State.CLOSED})


@dataclass(frozen=True, kw_only=True)
class Refund:
    """What the log says about one refund.

    Attributes:
        payment_id: from the request (`payment_asked`); else what the gateway said.
        reason: the text for the gateway.
        mask: the evidence so far.
        resolution: the last decision of a person.
        attempts: every submission, in the order of the log.
        unsent: how often it could not be sent: those of the attempts, and requests that could not even be built.
        unsent_at: when that last happened.
        answered_at: when the gateway itself last answered a submission.
        spoken_of: an answer to a submission or a webhook has come, whatever it said: somebody has sent it.
        refused_at: when an answer to a submission last refused it.
        pending_at: when the gateway first said that it holds the refund.
        endings: what it said about how the refund ended (bit), and when it first said so.
        polls: how often the gateway was asked about it, answered or not; `polled_at`: when last.
        heard_at: when the gateway last told something when it was asked.
        not_before: the gateway wants to be left alone until then.
        absent: (version, time) of each `not_found` poll.
        doubted_at: when the gateway last refused it in a way that a later query must confirm.
        confirmed_at: when a query or report last said that no money moved.
        unproven: it was closed in a way that can hide a real refund.
        reconciled: a settlement report has said that no money moved.
        mismatched, unrecognised, exhausted, overdue: raised since the last decision.
        version: of its stream; also the count of its events.
    """

    refund_id: str
    gateway: str
    payment_id: str | None
    amount: Money
    account: str | None
    requested_by: str | None
    requested_at: datetime
    updated_at: datetime
    created_position: int
    position: int
    version: int
    payment_asked: bool = False
    reason: str = ""
    mask: int = 0
    resolution: Resolution | None = None
    attempts: tuple[Attempt, ...] = ()
    unsent: int = 0
    unsent_at: datetime | None = None
    answered_at: datetime | None = None
    spoken_of: bool = False
    refused_at: datetime | None = None
    pending_at: datetime | None = None
    endings: tuple[tuple[int, datetime], ...] = ()
    polls: int = 0
    polled_at: datetime | None = None
    heard_at: datetime | None = None
    not_before: datetime | None = None
    absent: tuple[tuple[int, datetime], ...] = ()
    doubted_at: datetime | None = None
    confirmed_at: datetime | None = None
    unproven: bool = False
    reconciled: bool = False
    gateway_refund_id: str | None = None
    mismatched: bool = False
    unrecognised: bool = False
    exhausted: bool = False
    overdue: bool = False

    @_computed
    def state(self) -> State:
        """A person's decision stands above all evidence; else the highest level of the mask."""
        return self.resolution.outcome if self.resolution is not None else state_of(self.mask)

    @_computed
    def attention(self) -> frozenset[Attention]:
        """Why a person should look, computed like the state."""
        return attention_of(self)

    @_computed
    def reserved(self) -> bool:
        """Whether its amount is taken from the payment: unless it is known to have failed or closed."""
        if self.state not in _RELEASING or Attention.CONFLICT in self.attention:
            return True
        return self.resolution is None and self.held

    @property
    def held(self) -> bool:
        """Whether its amount stays reserved although the refund rests at failed or closed."""
        return self.hold is not Hold.NONE

    @property
    def sent(self) -> tuple[Attempt, ...]:
        """The submissions that may have reached the gateway."""
        return tuple(attempt for attempt in self.attempts if attempt.left)

    @property
    def submitted(self) -> bool:
        """Whether it was sent, or is about to be; not where it is certain that no byte left."""
        return bool(self.sent)

    @property
    def submitted_at(self) -> datetime | None:
        """When it was last sent, or was about to be."""
        return max((attempt.time for attempt in self.sent), default=None)

    @property
    def settled_at(self) -> datetime | None:
        """When the gateway last said something new about how it ended, in whichever order that was recorded."""
        return max((time for _, time in self.endings), default=None)

    @property
    def hold(self) -> Hold:
        """How long the amount stays reserved although the refund rests at failed or closed.

        It depends on the times of the messages and not on the order in which they were recorded.
        """
        if self.unproven and not self.reconciled:
            return Hold.UNTIL_RECONCILED
        # Where one of several submissions was refused, the others may have come through.
        refused_at = self.refused_at if len(self.sent) > 1 else None
        doubts = [time for time in (self.doubted_at, refused_at) if time is not None]
        if not doubts or (self.confirmed_at is not None and self.confirmed_at > max(doubts)):
            return Hold.NONE
        return Hold.UNTIL_QUERY


_COMPUTED: Final = tuple(name for name, value in vars(Refund).items() if isinstance(value, _computed))
_FIELDS: Final = len(fields(Refund))
_AT_FIRST: Final = {field.name: field.default for field in fields(Refund) if field.default is not MISSING}


# ---- evolve and fold --------------------------------------------------------------------------------------------


def evolve(refund: Refund | None, recorded: Recorded) -> Refund:
    """Return the refund after one event of its stream."""
    if refund is None:
        return _opened(recorded)
    after = _copy(refund)
    _advance(after.__dict__, recorded)
    return after


# What `Refund(…)` and `dataclasses.replace` do, field by field, takes longer than all the rest of the fold: below they
# are made of all their fields at once.


def fold(history: Iterable[Recorded], refund: Refund | None = None) -> Refund | None:
    """Return the refund after its events; None for no events.

    It is `evolve` event by event, with one copy for all of them: nobody sees the refunds in between.
    """
    if refund is not None:
        refund = _copy(refund)
    for recorded in history:
        if refund is None:
            refund = _opened(recorded)
        else:
            _advance(refund.__dict__, recorded)
    return refund


def _opened(recorded: Recorded) -> Refund:
    event = recorded.event
    if not isinstance(event, RefundRequested):
        raise EventUnreadable(event.wire, f"it opens a refund's stream at position {recorded.position}")
    opened = object.__new__(Refund)
    opened.__dict__.update(
        _AT_FIRST,
        refund_id=event.refund_id,
        gateway=event.gateway,
        payment_id=event.payment_id,
        amount=Money(event.amount_minor, event.currency),
        account=event.account,
        requested_by=event.requested_by,
        requested_at=recorded.time,
        updated_at=recorded.time,
        created_position=recorded.position,
        position=recorded.position,
        version=recorded.version,
        payment_asked=event.payment_id is not None,
        reason=event.reason or "",
    )
    return opened


def _copy(refund: Refund) -> Refund:
    copy = object.__new__(Refund)
    inside = copy.__dict__
    inside.update(refund.__dict__)
    if len(inside) > _FIELDS:
        for name in _COMPUTED:
            inside.pop(name, None)
    return copy


def _advance(refund: Fields, recorded: Recorded) -> None:
    """Let one more event of its stream have happened."""
    position, version, time, event = recorded
    refund["version"] = version
    refund["position"] = position
    refund["updated_at"] = max(refund["updated_at"], time)
    if isinstance(event, EvidenceRecorded):
        take_evidence(refund, event, time, version)
    elif isinstance(event, SubmissionStarted):
        attempt = Attempt(time, event.message.digest, event.signed_at, event.nonce, event.target)
        refund["attempts"] += (attempt,)
    elif isinstance(event, ContactFailed):
        _without_answer(refund, event, time)
    elif isinstance(event, RefundResolved):
        refund["resolution"] = Resolution(event.outcome, event.seen_mask, event.actor, event.reason)
        refund.update(dict.fromkeys(_RAISED.values(), False))
    else:  # an event that says nothing about the refund itself changes nothing
        raised = _RAISED.get(type(event))
        if raised is not None:
            refund[raised] = True


_RAISED: Final[dict[type[Event], str]] = {
    EvidenceMismatched: "mismatched",
    EvidenceUnrecognised: "unrecognised",
    PollingExhausted: "exhausted",
    OutcomeOverdue: "overdue",
}
"""What an event raises until a person has decided."""


def _without_answer(refund: Fields, event: ContactFailed, time: datetime) -> None:
    if event.phase == "poll":
        refund["polls"] += 1
        later(refund, "polled_at", time)
    elif event.failure == "not_sent":
        refund["attempts"] = tuple(
            attempt._replace(left=False) if attempt.digest == event.request else attempt
            for attempt in refund["attempts"]
        )
        refund["unsent"] += 1
        later(refund, "unsent_at", time)


# ---- decide -----------------------------------------------------------------------------------------------------


def decide_request(refund: Refund | None, asked: RefundRequested) -> list[Event]:
    """Open the refund, or nothing where it was asked for with the same content.

    Raises:
        RefundConflict: the refund id exists with another gateway, payment, amount or currency.
    """
    identifier("refund_id", asked.refund_id)
    if asked.payment_id is not None:
        identifier("payment_id", asked.payment_id)
    if refund is None:
        return [asked]
    pairs = [
        ("gateway", refund.gateway, asked.gateway),
        ("amount", str(refund.amount), str(Money(asked.amount_minor, asked.currency))),
    ]
    if asked.payment_id is not None and refund.payment_id is not None:
        pairs.append(("payment_id", refund.payment_id, asked.payment_id))
    differences = [pair for pair in pairs if pair[1] != pair[2]]
    if differences:
        raise RefundConflict(asked.refund_id, differences)
    return []


def decide_resolution(refund: Refund, outcome: State, actor: str, reason: str) -> list[Event]:
    """Record a person's decision, or nothing where the same decision already stands over the same evidence.

    Raises:
        InvalidText: the outcome is no terminal state, or actor or reason say nothing.
        SelfApproval: the person asked for this refund.
    """
    if outcome not in TERMINAL:
        raise InvalidText("outcome", f"{outcome} is no outcome; use success, failed or closed")
    identifier("actor", actor)
    if refund.requested_by == actor:
        raise SelfApproval(actor)
    event = RefundResolved(
        outcome=outcome,  # type: ignore[arg-type]  # narrowed by TERMINAL
        actor=actor,
        reason=note("reason", reason, required=True),
        seen_mask=refund.mask,
    )
    standing = refund.resolution
    if (
        standing is not None
        and (standing.outcome, standing.seen_mask) == (outcome, refund.mask)
        and not refund.attention
    ):
        return []
    return [event]


def decide_overdue(refund: Refund, now: datetime, due_at: datetime) -> list[Event]:
    """Raise `overdue` once for a refund without an outcome after `due_at`."""
    if refund.state not in UNSETTLED or refund.overdue or now <= due_at:
        return []
    return [OutcomeOverdue(due_at=due_at)]


def decide_exhausted(refund: Refund, polls: int) -> list[Event]:
    """Raise `polling_exhausted` once for a refund without an outcome."""
    if refund.state not in UNSETTLED or refund.exhausted:
        return []
    return [PollingExhausted(polls=polls)]
