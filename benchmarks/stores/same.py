"""The rows that one recorded webhook changes, written by the driver alone: what is left when nothing is computed."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from .measuring import each
from .raw import raw_row
from .refunds import GATEWAY, new_ids, refund_stream, success_of, webhook

if TYPE_CHECKING:
    from .measuring import Contender
    from .place import Place
    from .raw import Raw, RawRow

_REFUND = (
    "INSERT INTO refunds VALUES"
    " (?, 'evonet', ?, 1234, 'HKD', 'created', '', 1234, NULL, 1, '2026-01-01T00:00:00.000000Z', '', ?)"
)
_PAYMENT = "INSERT INTO payments VALUES ('evonet', ?, 'HKD', NULL, 1234, 0, 1)"
_EVENT = "INSERT INTO events (stream, version, type, time, data, digest) VALUES (?, ?, ?, ?, ?, ?)"
_KEY = "INSERT INTO keys VALUES (?, ?, last_insert_rowid(), last_insert_rowid())"
_BODY = "INSERT INTO bodies VALUES (?, ?, ?, ?)"
_SETTLED = "UPDATE refunds SET state = 'success', gateway_refund_id = ?, events = 2, updated_at = ? WHERE refund_id = ?"
_REFUNDED = (
    "UPDATE payments SET refunded_minor = refunded_minor + 1234"
    " WHERE gateway = ? AND payment_id = ? AND currency = 'HKD'"
)


def same_rows(place: Place) -> Contender:
    """Return a contender that commits an event, its key, its body and two changed rows, each time for a new refund."""
    path = place.new_file()
    place.ours(path).close()
    raw = place.raw(path)

    def take() -> float:
        ids = new_ids(place.sizes.webhooks)
        raw.connection.execute("BEGIN IMMEDIATE")
        for refund_id in ids:
            raw.connection.execute(_REFUND, (refund_id, f"pay_{refund_id}", f"2026 {refund_id}"))
            raw.connection.execute(_PAYMENT, (f"pay_{refund_id}",))
        raw.connection.execute("COMMIT")
        made = [(refund_id, _event(refund_id), webhook(refund_id).body) for refund_id in ids]
        return each(lambda one: _commit(raw, *one), made)

    return take


def _event(refund_id: str) -> RawRow:
    return raw_row(refund_stream(refund_id), 2, success_of(refund_id))


def _commit(raw: Raw, refund_id: str, event: RawRow, body: bytes) -> None:
    digest = sha256(body)
    execute = raw.connection.execute
    execute("BEGIN IMMEDIATE")
    execute(_EVENT, event)
    execute(_KEY, (refund_id, digest.digest()))
    execute(_BODY, (digest.hexdigest(), digest.digest(), "{}", body))
    execute(_SETTLED, (f"pay_{refund_id}", event[3], refund_id))
    execute(_REFUNDED, (GATEWAY, f"pay_{refund_id}"))
    execute("COMMIT")
