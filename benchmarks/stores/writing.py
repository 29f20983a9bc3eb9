"""The rows that write to SQLite: single appends, callers at once, webhooks, import."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from refold.engine import Money
from refold.engine.domain.wire import from_wire, to_wire
from refold.engine.ports import Write

from .measuring import Row, Threads, each, interleaved, ratio
from .peer import application, lived, new_refund, stored_event
from .place import TIMEOUT_S
from .raw import raw_row
from .refunds import GATEWAY, START, adapter, events_of, new_ids, refund_stream, success_of, webhook
from .same import same_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventsourcing.persistence import StoredEvent

    from refold.engine.ports import EventStore

    from .measuring import Contender
    from .peer import Peer
    from .place import Place
    from .raw import Raw, RawRow

BATCH = 1_000
"""Events an import commits at once."""


# ---- one event, one commit


def our_write(refund_id: str) -> Write:
    """Return the append of one event to a new stream, as our store takes it."""
    return Write(refund_stream(refund_id), 0, [success_of(refund_id)])


def peer_write(refund_id: str) -> StoredEvent:
    """Return the same as the peer takes it."""
    return stored_event(refund_id, 1, success_of(refund_id))


def raw_write(refund_id: str) -> RawRow:
    """Return the same as the driver takes it."""
    return raw_row(refund_stream(refund_id), 1, success_of(refund_id))


def turn(
    count: int,
    made: Callable[[str], object],
    append: Callable[[object], object],
    run: Callable[[Callable[[object], object], Sequence[object]], float] = each,
) -> Contender:
    """Return a contender that appends so many new events; they are made before its clock starts."""
    return lambda: run(append, [made(refund_id) for refund_id in new_ids(count)])


def single_append(place: Place) -> Row:
    """Append one event to a new stream, durable, one caller."""
    count = place.sizes.appends
    ours, peer, raw = place.ours(), place.peer(), place.raw()
    whole = place.closing(application(place.new_file()))
    rates = interleaved(
        place.sizes,
        {
            "ours": turn(count, our_write, ours.append),
            "peer": turn(count, new_refund, whole.save),
            "limit": turn(count, raw_write, raw.append),
            "recorder": turn(count, peer_write, peer.append),
        },
    )
    note = recorder_note(rates)
    row = Row(name="single_append_sqlite", unit="appends/s", notes=[note, encoding_note()], **rates)
    row.require("limit", 0.6)
    row.require("peer", 1.2)
    return row


def encoding_note() -> str:
    """Return how long it takes to encode an event of ours, which the peer's `save` does with its own."""
    event = success_of(new_ids(1)[0])
    said = from_wire(event.type, event.data)
    rates = [each(to_wire, [said] * 1_000) for _ in range(5)]
    return f"ours is given encoded events; to encode one takes {1e6 / median(rates):.0f} us"


def recorder_note(rates: dict[str, list[float]]) -> str:
    """Return what the peer's recorder did with events that are encoded, and take it out of the rates."""
    recorded = rates.pop("recorder")
    times = ratio(rates["ours"], recorded)
    return f"its recorder alone, nothing to encode: {median(recorded):,.0f}/s, ours/recorder {times:.2f}"


# ---- callers at once


def concurrent(place: Place, *, callers: int) -> Row:
    """Append single events from so many threads through one store; the peer's column is one caller's saves."""
    count = max(place.sizes.threaded // callers, 2) * callers
    singles = place.sizes.appends
    ours, peer, raw = place.ours(), place.peer(), place.raw()
    whole = place.closing(application(place.new_file()))
    threads, peer_threads = Threads(callers), Threads(callers)
    rates = interleaved(
        place.sizes,
        {
            "ours": turn(count, our_write, ours.append, threads.each),
            "peer": turn(singles, new_refund, whole.save),
            "limit": turn(singles, raw_write, raw.append),
            "recorder": turn(singles, peer_write, peer.append),
            "peer_threads": turn(count, peer_write, peer.append, peer_threads.each),
        },
    )
    own, note = rates.pop("peer_threads"), recorder_note(rates)
    row = Row(name=f"concurrent_{callers}_sqlite", unit="appends/s", **rates, latency=threads.latency())
    row.notes += [note, peer_note(callers, own, peer_threads)]
    row.notes.append("peer and limit: their single appends, one caller")
    if callers == FOUR_TIMES_AT:
        row.require("peer", 4.0)
    return row


FOUR_TIMES_AT = 32


def peer_note(callers: int, rates: Sequence[float], threads: Threads) -> str:
    """Return what the peer did with as many threads."""
    middle, late = (1_000 * second for second in threads.latency())
    return (
        f"its recorder with {callers} threads: {median(rates):,.0f}/s, p50 {middle:.2f} ms, p99 {late:.2f} ms"
    )


# ---- a webhook through the engine


def record_webhook(place: Place) -> Row:
    """`engine.record` of one signed webhook, each for another refund: verify, read, decide, append, project."""
    from refold.engine import RefundEngine  # noqa: PLC0415 - beside the row that opens one

    count = place.sizes.webhooks
    engine = place.closing(
        RefundEngine.open(
            f"sqlite:///{place.new_file()}", gateways=[adapter()], clock=lambda: START, timeout_s=TIMEOUT_S
        )
    )
    raw = place.raw()

    def ours() -> float:
        ids = new_ids(count)
        with engine.store.batch():
            for refund_id in ids:
                engine.request(
                    gateway=GATEWAY,
                    payment_id=f"pay_{refund_id}",
                    refund_id=refund_id,
                    amount=Money(1234, "HKD"),
                )
        rate = each(partial(engine.record, GATEWAY, "webhook"), [webhook(refund_id) for refund_id in ids])
        states = {engine.refund(refund_id).state for refund_id in ids}
        if states != {"success"}:
            raise SystemExit(f"the refunds are {states} after their webhooks, not success")
        return rate

    rates = interleaved(
        place.sizes,
        {
            "ours": ours,
            "limit": turn(place.sizes.appends, raw_write, raw.append),
            "same": same_rows(place),
        },
    )
    same = rates.pop("same")
    row = Row(name="record_webhook_sqlite", unit="webhooks/s", **rates)
    row.notes.append("limit: raw single commits of one event")
    row.notes.append(
        f"the driver alone, writing the event, its key, its body and both rows: {median(same):,.0f}/s,"
        f" {ratio(same, rates['limit']):.2f} of limit; ours is {ratio(rates['ours'], same):.2f} of it"
    )
    row.require("limit", 0.35)
    return row


# ---- import


def our_batch(ids: Sequence[str]) -> list[Write]:
    """Return all events of these refunds as one append."""
    return [Write(refund_stream(refund_id), 0, events_of(refund_id)) for refund_id in ids]


def peer_batch(ids: Sequence[str]) -> list[StoredEvent]:
    """Return the same as the peer takes it."""
    return [
        stored_event(refund_id, version, event)
        for refund_id in ids
        for version, event in enumerate(events_of(refund_id), 1)
    ]


def raw_batch(ids: Sequence[str]) -> list[RawRow]:
    """Return the same as the driver takes it."""
    return [
        raw_row(refund_stream(refund_id), version, event)
        for refund_id in ids
        for version, event in enumerate(events_of(refund_id), 1)
    ]


def batches(
    place: Place, made: Callable[[Sequence[str]], object], append: Callable[[object], object]
) -> Contender:
    """Return a contender that appends batches of 1,000 new events; they are made before its clock starts."""
    refunds = BATCH // len(events_of(new_ids(1)[0]))

    def take() -> float:
        some = [made(new_ids(refunds)) for _ in range(place.sizes.batches)]
        return BATCH * each(append, some)

    return take


def importing(place: Place) -> Row:
    """Append 1,000 events of 125 new streams at once, one transaction each."""
    ours: EventStore = place.ours()
    peer: Peer = place.peer()
    raw: Raw = place.raw()
    whole = place.closing(application(place.new_file()))
    rates = interleaved(
        place.sizes,
        {
            "ours": batches(place, our_batch, lambda writes: ours.append(*writes)),
            "peer": batches(place, lambda ids: [*map(lived, ids)], lambda refunds: whole.save(*refunds)),
            "limit": batches(place, raw_batch, raw.append_many),
            "recorder": batches(place, peer_batch, peer.recorder.insert_events),
        },
    )
    notes = [recorder_note(rates), encoding_note()]
    row = Row(name="import_sqlite", unit="events/s", notes=notes, **rates)
    row.require("limit", 0.5)
    row.require("peer", 3.0)
    return row
