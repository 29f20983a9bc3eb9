"""Effects: what happened to a refund, as other systems are told of it.

Nothing in this module keeps or sends anything; an effect is computed from the log alone, so that it is the same
whenever, wherever and however often it is computed.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..domain.refund import evolve, fold
from ..domain.wire import time_of, time_text
from .journal import decoded, folded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..domain.money import Money
    from ..domain.refund import Refund
    from ..domain.signals import State
    from ..ports import EventStore, StoredEvent

_REMEMBERED: Final = 1_000
"""Refunds that are not folded from the start again when their next event comes."""


class EffectKind(StrEnum):
    """What changed. The values are the types of CloudEvents, behind `refold.`, and never change."""

    STATE_CHANGED = "refund.state_changed"
    ATTENTION_CHANGED = "refund.attention_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A change of a refund that other systems are told of.

    Attributes:
        key: 64 hex digits, the same for every delivery of this change: in every process and subscription, after every
            restart, and from a copy of the log. Whoever receives it may drop a key seen before.
        kind: what changed.
        state: since this change.
        previous_state: before it; None for a refund that was just asked for.
        attention: why a person should look since this change, sorted.
        raised, cleared: the reasons that are new, and those that are gone.
        position, version: of the event that changed it, in the log and in the refund's stream.
        time: when that fact reached us.
        cause: the type of that event, such as `evidence.success`.
    """

    key: str
    kind: EffectKind
    refund_id: str
    gateway: str
    payment_id: str | None
    gateway_refund_id: str | None
    amount: Money
    state: State
    previous_state: State | None
    attention: tuple[str, ...]
    raised: tuple[str, ...]
    cleared: tuple[str, ...]
    position: int
    version: int
    time: datetime
    cause: str

    def to_cloudevent(self, *, source: str = "/refold/refunds") -> dict[str, Any]:
        """Return it as a CloudEvent 1.0 in the JSON format.

        Args:
            source: which system this comes from, a URI reference; with the id it is unique, so use one for each log.
        """
        return {
            "specversion": "1.0",
            "id": self.key,
            "source": source,
            "type": f"refold.{self.kind}",
            "subject": self.refund_id,
            "time": time_text(self.time),
            "datacontenttype": "application/json",
            "data": {
                "refund_id": self.refund_id,
                "gateway": self.gateway,
                "payment_id": self.payment_id,
                "gateway_refund_id": self.gateway_refund_id,
                "amount": {"minor": self.amount.minor, "currency": self.amount.currency},
                "state": str(self.state),
                "previous_state": None if self.previous_state is None else str(self.previous_state),
                "attention": list(self.attention),
                "raised": list(self.raised),
                "cleared": list(self.cleared),
                "position": self.position,
                "version": self.version,
                "cause": self.cause,
            },
        }

    def to_json(self, *, source: str = "/refold/refunds") -> str:
        """Return the CloudEvent as JSON text; to be sent as `application/cloudevents+json`."""
        return json.dumps(self.to_cloudevent(source=source), separators=(",", ":"))


class Effects:
    """Computes effects event after event, in constant memory."""

    def __init__(self, store: EventStore) -> None:
        """Read what came before an event from `store`."""
        self._store = store
        self._refunds: OrderedDict[str, Refund] = OrderedDict()

    def of(self, event: StoredEvent) -> list[Effect]:
        """Return what an event of a refund's stream changed; nothing for most events.

        Raises:
            CorruptLog: the stream cannot be read or folded.
        """
        before = self._before(event)
        (recorded,) = decoded([event])
        after = folded(event.stream, lambda: evolve(before, recorded))
        self._refunds[event.stream] = after
        if len(self._refunds) > _REMEMBERED:
            self._refunds.popitem(last=False)
        return list(_changes(before, after, event))

    def _before(self, event: StoredEvent) -> Refund | None:
        known = self._refunds.pop(event.stream, None)
        if known is not None and known.version == event.version - 1:
            return known
        earlier = decoded(islice(self._store.read_stream(event.stream), event.version - 1))
        return folded(event.stream, lambda: fold(earlier))


def _changes(before: Refund | None, after: Refund, event: StoredEvent) -> Iterator[Effect]:
    known = before.attention if before is not None else frozenset()
    previous = before.state if before is not None else None
    for kind, changed in (
        (EffectKind.STATE_CHANGED, after.state is not previous),
        (EffectKind.ATTENTION_CHANGED, after.attention != known),
    ):
        if changed:
            yield Effect(
                key=_key(kind, event),
                kind=kind,
                refund_id=after.refund_id,
                gateway=after.gateway,
                payment_id=after.payment_id,
                gateway_refund_id=after.gateway_refund_id,
                amount=after.amount,
                state=after.state,
                previous_state=previous,
                attention=_sorted(after.attention),
                raised=_sorted(after.attention - known),
                cleared=_sorted(known - after.attention),
                position=event.position,
                version=event.version,
                time=time_of(event.time),
                cause=event.type,
            )


def _sorted(reasons: frozenset[Any]) -> tuple[str, ...]:
    return tuple(sorted(map(str, reasons)))


def _key(kind: EffectKind, event: StoredEvent) -> str:
    """Return a key made of what the log says, and not of where: positions differ where logs are merged."""
    text = (
        f"refold effect 1\n{kind}\n{event.stream}\n{event.version}\n{event.type}\n{event.time}\n{event.data}"
    )
    return sha256(text.encode()).hexdigest()
