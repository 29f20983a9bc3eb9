"""The ports: what the engine needs from outside, declared by the engine that uses it."""

from ..domain.capabilities import AmountForm, Capabilities
from ..domain.evidence import AbsenceRule
from ..domain.schedule import Schedule, Stage
from .gateway import Code, Gateway
from .projecting import Given, Projection
from .store import (
    Appended,
    Body,
    Change,
    Column,
    Delete,
    Difference,
    EventStore,
    Lease,
    NewEvent,
    Row,
    StoredEvent,
    Upsert,
    Value,
    View,
    Write,
)
from .subscribing import DeadLetter, Filter, Handled, Handler, Progress, Subscription
from .system import Clock, Entropy
from .transport import Answer, NoAnswer, Transport

__all__ = [
    "AbsenceRule",
    "AmountForm",
    "Answer",
    "Appended",
    "Body",
    "Capabilities",
    "Change",
    "Clock",
    "Code",
    "Column",
    "DeadLetter",
    "Delete",
    "Difference",
    "Entropy",
    "EventStore",
    "Filter",
    "Gateway",
    "Given",
    "Handled",
    "Handler",
    "Lease",
    "NewEvent",
    "NoAnswer",
    "Progress",
    "Projection",
    "Row",
    "Schedule",
    "Stage",
    "StoredEvent",
    "Subscription",
    "Transport",
    "Upsert",
    "Value",
    "View",
    "Write",
]
