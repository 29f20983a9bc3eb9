"""Rows of streams that cannot be read or folded: they stay as the live tables have them.

A person must look; nothing is thrown away. What such a refund has adopted waits no longer, whatever those tables say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..domain.money import MAX_MINOR
from ..domain.signals import State
from ..domain.strict_json import NotStrictJson, loads
from ..errors import EventCorrupt, EventMissing, StoreError, ViewStale
from ..ports import Delete, Upsert
from ..service.journal import inbox_stream
from ..service.views import ATTENTION, INBOX, PAYMENTS, REFUNDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..ports import Change, EventStore, Row, Value, View
    from ..ports.projecting import Made

_NAMES_OF_PAYMENT: Final = ("payment_id", "payment_alias")
"""The columns of the inbox in which a payment may stand."""


_MOST_UNREAD: Final = 100
"""Versions of a stream, one after another, that hold no event which can be read: behind them nothing is looked for."""


def as_live(
    store: EventStore, made: Made, streams: Collection[str], *, unreadable: Collection[str], adopted: set[str]
) -> Iterator[Change]:
    """Yield what makes the rows of streams those of the live tables, in place of what was made of them.

    Args:
        store: where the live tables are.
        made: gives rows of the new tables.
        streams: those to tell of.
        unreadable: all that the log does not tell; an inbox among them is told whole after each of its refunds.
        adopted: the keys of orphans that do not wait, whatever the live tables say; those of these refunds are added.
    """
    live = _Live(store)
    inboxes = {stream for stream in streams if stream.startswith("inbox-")}
    for stream in streams:
        category, _, name = stream.partition("-")
        if category == "payment":
            yield from live.payment(name)
        elif category == "refund":
            keys, all_read = _adopted(store, stream)
            adopted.update(keys)
            yield from (Delete(INBOX, (key,)) for key in keys)
            for row in live.rows(REFUNDS, refund_id=name):
                for before in made(REFUNDS, {"refund_id": name}):
                    yield from _refund_taken_back(before)
                yield from _refund_rows(row)
                inbox = inbox_stream(str(row["gateway"]))
                if inbox in unreadable:
                    inboxes.add(inbox)
                elif not all_read:
                    yield from live.perhaps_adopted(made, row)
    for stream in sorted(inboxes):
        yield from live.inbox(made, stream.removeprefix("inbox-"), adopted)


class _Live:
    """The live tables, of whatever version."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def rows(self, view: View, **where: Value) -> list[Row]:
        """Return rows as they stand, those of another version with what it knows; none of a table that is lost."""
        try:
            return list(self._store.rows_of_any_version(view, where=where))
        except ViewStale:
            return []

    def payment(self, name: str) -> Iterator[Change]:
        """Yield the row of a payment without its sums: its refunds bring those."""
        gateway, _, payment_id = name.partition("-")
        for row in self.rows(PAYMENTS, gateway=gateway, payment_id=payment_id):
            yield Upsert(PAYMENTS, (gateway, payment_id, row["currency"], row["captured_minor"], 0, 0, 0))

    def inbox(self, made: Made, gateway: str, adopted: Collection[str]) -> Iterator[Change]:
        """Yield what is different in an inbox; it may be long, and all may have to wait for it."""
        try:
            rows = list(self._store.rows_of_any_version(INBOX, where={"gateway": gateway}))
        except ViewStale:  # what was made before it became unreadable is all there is
            return
        before = {row["key"]: row for row in made(INBOX, {"gateway": gateway})}
        for row in rows:
            if row["key"] in adopted:
                continue
            known = before.pop(row["key"], None)
            if known == row:
                continue
            if known is not None:
                yield Delete(INBOX, (row["key"],))
            yield Upsert(INBOX, tuple(row[column] for column in INBOX.names()))
        yield from (Delete(INBOX, (key,)) for key in before)

    def perhaps_adopted(self, made: Made, row: Row) -> Iterator[Change]:
        """Yield the removal of the orphans that may be the refund's of this row, and that wait no longer."""
        named = [("refund_id", row["refund_id"]), *((name, row["payment_id"]) for name in _NAMES_OF_PAYMENT)]
        for name, value in named:
            if value is None:
                continue
            for orphan in made(INBOX, {"gateway": row["gateway"], name: value}):
                # One that names another refund is not adopted for its payment.
                of_this = {row["refund_id"], *(orphan[each] for each in _NAMES_OF_PAYMENT)}
                if orphan["refund_id"] in of_this and not self._waits(str(orphan["key"])):
                    yield Delete(INBOX, (orphan["key"],))

    def _waits(self, key: str) -> bool:
        """Tell whether a message waits in the inbox; where that is lost, it may."""
        try:
            return bool(list(self._store.rows_of_any_version(INBOX, where={"key": key})))
        except ViewStale:
            return True


def _adopted(store: EventStore, stream: str) -> tuple[list[str], bool]:
    """Return the keys of the orphans that a refund's events say it has adopted, and whether all could be read."""
    keys: list[str] = []
    after = unread = 0
    all_read = True
    while unread < _MOST_UNREAD:
        try:
            for stored in store.read_stream(stream, after=after):
                after, unread = stored.version, 0
                keys += _adopted_by(stored.data)
            return keys, all_read
        except StoreError:
            raise
        except (EventCorrupt, EventMissing):
            after, unread, all_read = after + 1, unread + 1, False
        except Exception:  # noqa: BLE001 - as where it was folded: one stream that cannot be read stops no other
            break
    return keys, False


def _adopted_by(data: str) -> list[str]:
    """Return the key of the orphan that an event has adopted, if any; of whatever version the event is."""
    try:
        fields = loads(data.encode())
    except NotStrictJson:
        return []
    key = fields.get("adopted_from") if isinstance(fields, dict) else None
    return [key] if isinstance(key, str) else []


def _refund_rows(row: Row) -> Iterator[Change]:
    """Yield the rows of a refund that has this one; an older version may know less of it."""
    yield Upsert(REFUNDS, tuple(row[column] for column in REFUNDS.names()))
    for kind in _kinds(row):
        yield Upsert(ATTENTION, (kind, row["refund_id"], row["sort_key"]))
    yield from _part_of_payment(row)


def _kinds(row: Row) -> list[str]:
    return str(row["attention"] or "").split()


def _part_of_payment(row: Row, times: int = 1) -> Iterator[Change]:
    key = (row["gateway"], row["payment_id"], row["currency"])
    if None in key:
        return
    reserved, given_back = _minor(row, "reserved_minor"), _minor(row, "amount_minor")
    if row["state"] != State.SUCCESS:
        given_back = 0
    yield Upsert(PAYMENTS, (*key, None, times * reserved, times * given_back, times))


def _minor(row: Row, column: str) -> int:
    value = row[column]
    return value if isinstance(value, int) and 0 <= value <= MAX_MINOR else 0  # a damaged one may be anything


def _refund_taken_back(row: Row) -> Iterator[Change]:
    """Yield what takes the rows of a refund away again, and its part of the payment's sums."""
    yield Delete(REFUNDS, (row["refund_id"],))
    for kind in _kinds(row):
        yield Delete(ATTENTION, (kind, row["refund_id"]))
    yield from _part_of_payment(row, -1)
