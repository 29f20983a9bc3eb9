"""The journal: domain events in and out of the store, folded and appended with the versions they were decided on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..domain import payment as payments
from ..domain.events import Recorded
from ..domain.lifecycle import check_move
from ..domain.refund import evolve
from ..domain.wire import from_wire, time_of, time_text, to_wire
from ..errors import CorruptLog, EventUnreadable, InvalidInput, StoreError
from ..ports import NewEvent, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from ..domain.events import Event
    from ..domain.payment import Payment
    from ..domain.refund import Refund
    from ..ports import EventStore, StoredEvent

Result = TypeVar("Result")


def refund_stream(refund_id: str) -> str:
    """Return the stream of a refund."""
    return f"refund-{refund_id}"


def payment_stream(gateway: str, payment_id: str) -> str:
    """Return the stream of a payment."""
    return f"payment-{gateway}-{payment_id}"


def inbox_stream(gateway: str) -> str:
    """Return the stream of a gateway's messages that are not part of a refund."""
    return f"inbox-{gateway}"


def check_outside_batch(store: EventStore, what: str) -> None:
    """Refuse what cannot be undone inside a batch, whose appends still may be.

    Raises:
        InvalidInput: a batch of this thread is open.
    """
    if store.in_batch:
        raise InvalidInput(
            f"a batch of this thread is open, and may still be undone: leave it before you {what}"
        )


def decoded(stored: Iterable[StoredEvent]) -> Iterator[Recorded]:
    """Yield stored events as the fold reads them. Raises `CorruptLog`."""
    for position, _, version, wire, time, data, _ in stored:
        try:
            recorded = Recorded(position, version, time_of(time), from_wire(wire, data))
        except CorruptLog:
            raise
        except Exception as error:
            raise EventUnreadable(wire, f"reading it raised {type(error).__name__}") from error
        yield recorded


def encoded(events: Iterable[Event], time: datetime) -> list[NewEvent]:
    """Return domain events as the store takes them."""
    moment = time_text(time)
    return [NewEvent(event.wire, moment, to_wire(event)) for event in events]


def load_payment(store: EventStore, gateway: str, payment_id: str) -> Payment | None:
    """Fold a payment from its stream; None where it is not in the log. Raises `CorruptLog`."""
    stream = payment_stream(gateway, payment_id)
    return folded(stream, lambda: payments.fold(decoded(store.read_stream(stream))))


def folded(stream: str, fold: Callable[[], Result]) -> Result:
    """Return what the fold of a stream returns.

    Raises:
        CorruptLog: whatever it raised; an event that cannot be folded is no mistake of the caller.
    """
    try:
        return fold()
    except (CorruptLog, StoreError):
        raise
    except Exception as error:
        raise EventUnreadable(stream, f"folding it raised {type(error).__name__}") from error


def advanced(refund: Refund | None, events: Sequence[Event], time: datetime) -> Refund:
    """Fold events that are about to be appended, holding each move against the machine.

    Positions are not known before the append; nothing that is decided or shown depends on them.

    Raises:
        IllegalMove: the lifecycle has no such move.
    """
    for event in events:
        version = refund.version + 1 if refund is not None else 1
        after = evolve(refund, Recorded(0, version, time, event))
        if refund is not None:
            _check(refund, after, event)
        refund = after
    assert refund is not None, "a refund's first event opens it"  # noqa: S101 - for the type checker
    return refund


def _check(before: Refund, after: Refund, event: Event) -> None:
    if before.state is after.state:
        return
    if after.resolution is not before.resolution:
        check_move(after.refund_id, f"resolve_{after.state}", before.state, after.state)
        return
    check_move(after.refund_id, str(getattr(event, "signal", "")), before.state, after.state, before.mask)


def refund_write(refund: Refund | None, refund_id: str, events: Sequence[Event], time: datetime) -> Write:
    """Return the write of events to a refund's stream, guarded by the version they were decided on."""
    return Write(refund_stream(refund_id), refund.version if refund is not None else 0, encoded(events, time))
