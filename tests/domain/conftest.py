"""What the tests of the domain build again and again: refunds event by event, and what to expect of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product

import pytest

from refold.engine.domain.capabilities import AmountForm, Capabilities
from refold.engine.domain.events import EVIDENCE, EvidenceRecorded, Recorded, RefundRequested
from refold.engine.domain.evidence import UNVERIFIED, AbsenceRule, Evidence, Trust
from refold.engine.domain.message import Channel
from refold.engine.domain.money import Money
from refold.engine.domain.proof import Arrival, decide_evidence
from refold.engine.domain.refund import Attempt, Refund, evolve
from refold.engine.domain.schedule import Schedule, Stage
from refold.engine.domain.signals import BIT, Signal

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Story:
    """One refund of HKD 100.00, told event by event and second by second, as the journal would."""

    def __init__(self, **asked):
        self.seconds = 0
        self.position = 0
        self.refund: Refund = None
        self.events = []
        defaults = {"gateway": "evonet", "refund_id": "r-1", "payment_id": "p-1"}
        self.append(RefundRequested(**defaults | {"amount_minor": 10_000, "currency": "HKD"} | asked))

    @property
    def now(self):
        return START + timedelta(seconds=self.seconds)

    def append(self, *events):
        for event in events:
            self.position += 1
            self.refund = evolve(self.refund, Recorded(self.position, self.position, self.now, event))
            self.events.append(event)
        return self

    def evidence(
        self, signal, channel=Channel.WEBHOOK, *, after_s=0, absence=None, by_reference=True, **said
    ):
        """Let a message arrive, decided on as the engine decides; return what was appended."""
        self.seconds += after_s
        arrival = Arrival(
            channel=channel,
            time=self.now,
            verification=UNVERIFIED,
            message=None,
            refund_reference=by_reference,
            absence=absence,
        )
        said = {"code": f"code={signal}"} | said
        events = decide_evidence(self.refund, Evidence(signal=Signal(signal), **said), arrival)
        self.append(*events)
        return events


class Oracle:
    """Section 3 of the design in its own words, written without a look at the code; signals and states by name."""

    outcomes = frozenset({"closed", "failed", "success", "reversed", "recovered"})

    def __init__(self):
        self.level = {
            "rejected": (1, "failed"),
            "pending": (2, "received"),
            "closed": (3, "closed"),
            "failed": (4, "failed"),
            "success": (4, "success"),
            "reversed": (5, "failed"),
            "recovered": (5, "success"),
        }
        self.sets = tuple(
            frozenset(signal for index, signal in enumerate(self.level) if mask >> index & 1)
            for mask in range(2**7)
        )

    def highest(self, seen):
        """Return what the signals of the highest level present mean alone."""
        top = max((self.level[signal][0] for signal in seen), default=0)
        return {self.level[signal][1] for signal in seen if self.level[signal][0] == top}

    def state(self, seen, decided=None):
        """Return the state; `decided` is a person's (outcome, signals seen by then)."""
        if decided is not None:
            return decided[0]
        if not seen:
            return "created"
        meanings = self.highest(seen)
        return "success" if len(meanings) == 2 else meanings.pop()

    def attention(self, seen, decided=None, *, submitted=False, raised=()):
        """Return the attention; `raised` is what was raised since the last decision."""
        found = {reason for reason in raised if reason in {"mismatch", "unrecognised"}}
        if self.state(seen, decided) in {"created", "received"}:
            found |= {reason for reason in raised if reason in {"overdue", "polling_exhausted"}}
        if decided is not None:
            return found | ({"conflict"} if (seen & self.outcomes) - decided[1] else set())
        if submitted and not seen:
            found.add("in_doubt")
        if len(self.highest(seen)) == 2:
            found.add("conflict")
        spoken = [self.level[signal] for signal in seen & self.outcomes]
        if any(one[0] != other[0] and one[1] != other[1] for one, other in product(spoken, spoken)):
            found.add("contradicted")
        if "rejected" in seen and len(seen) > 1:
            found.add("contradicted")
        return found


@pytest.fixture(scope="session")
def oracle():
    return Oracle()


@pytest.fixture(scope="session")
def story():
    """Return the class: each test tells its own."""
    return Story


@pytest.fixture(scope="session")
def shown():
    """Return a function: what a caller sees of a refund."""
    return lambda refund: (str(refund.state), {str(reason) for reason in refund.attention})


@pytest.fixture(scope="session")
def mask_of():
    """Return a function: the mask of signals given by name."""
    return lambda seen: sum(BIT[Signal(signal)] for signal in seen)


@pytest.fixture(scope="session")
def plain_evidence():
    """Return one event a signal, as a webhook about this very refund brings it."""
    return {
        signal: model(channel=Channel.WEBHOOK, code=f"code={signal}", trust=Trust.UNVERIFIED)
        for signal, model in EVIDENCE.items()
        if issubclass(model, EvidenceRecorded)
    }


@pytest.fixture(scope="session")
def at():
    """Return the moment so many seconds after the start of a story."""
    return moment


def moment(seconds):
    return None if seconds is None else START + timedelta(seconds=seconds)


CAPS = Capabilities(
    partial=True,
    several=True,
    lookup_by_own_reference=True,
    post_timeout_s=40,
    poll_interval_s=30,
    outcome_window_s=1000,
    refund_window_days=None,
    key_retention_s=None,
    absence=AbsenceRule(answers=2, apart_s=60),
    amounts=AmountForm.CENTS,
    acknowledgement=None,
    webhook_retry_s=(),
    in_doubt=Schedule((Stage(600, 60), Stage(7200, 600)), 86_400),
    pending=Schedule((Stage(3600, 600),), 86_400),
)


@pytest.fixture(scope="session")
def caps():
    """Return what a gateway can do, but for the changes named."""
    return partial(replace, CAPS)


@pytest.fixture(scope="session")
def refund():
    """Return a refund asked for at second 0; all times are given in seconds.

    Submissions are given as `sent`, or as `attempts` with whether each left; `denied` is when the gateway did not know
    it, and `endings` when it ended, each time in another way.
    """
    return refund_with


def refund_with(*, sent=(), attempts=(), denied=(), endings=(), **changes):
    times = {
        name: moment(value) for name, value in changes.items() if name.endswith("_at") or name == "not_before"
    }
    asked = {"refund_id": "r-1", "gateway": "g", "payment_id": "p-1", "amount": Money(100, "HKD")}
    asked |= {"account": None, "requested_by": None, "requested_at": START, "updated_at": START}
    return Refund(
        **asked,
        created_position=1,
        position=1,
        version=1,
        attempts=tuple(
            Attempt(moment(s), f"digest-{s}", moment(s), "n", "/", left)
            for s, left in [*((s, True) for s in sent), *attempts]
        ),
        absent=tuple((version, moment(s)) for version, s in enumerate(denied, 2)),
        endings=tuple((1 << place, moment(s)) for place, s in enumerate(endings, 2)),
        **changes | times,
    )
