"""The peer: the eventsourcing library, through its own recorders, application and repository.

Its SQLite recorder uses a write-ahead log and leaves `synchronous` at SQLite's default. Here each of its connections is
set to FULL, as ours is, and the setting is read back. The aggregate keeps what a refund of ours keeps, and its events
carry the same fields; their moments are plain texts, which it reads faster than its own dates.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteConnectionPool, SQLiteDatastore

from .raw import durability_of
from .refunds import events_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eventsourcing.persistence import ApplicationRecorder
    from eventsourcing.sqlite import SQLiteConnection

    from refold.engine.ports import NewEvent

TOPIC = "benchmarks.stores.peer:Refund.Evidence"
PAGE = 1_000


class _FullPool(SQLiteConnectionPool):
    """Its own pool; each connection waits for the disk as ours does."""

    def _create_connection(self) -> SQLiteConnection:
        made = super()._create_connection()
        made.cursor().execute("PRAGMA synchronous = FULL")
        return made


class Recorded:
    """What its application recorder does, on SQLite and on PostgreSQL."""

    recorder: ApplicationRecorder

    def append(self, stored: StoredEvent) -> None:
        """Commit one event."""
        self.recorder.insert_events([stored])

    def stream(self, refund_id: str) -> Sequence[StoredEvent]:
        """Read one stream."""
        return self.recorder.select_events(UUID(refund_id))

    def all(self) -> Iterator[Any]:
        """Read the log, page after page."""
        start = 1
        while page := self.recorder.select_notifications(start, PAGE):
            yield from page
            start = page[-1].id + 1


class Peer(Recorded):
    """Its application recorder on one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Create the file, where it is not there."""
        self.datastore = SQLiteDatastore(str(path))
        self.datastore.pool.close()
        self.datastore.pool = _FullPool(db_name=str(path), pool_timeout=60.0, lock_timeout=60)
        self.recorder = SQLiteApplicationRecorder(self.datastore)
        self.recorder.create_table()

    def durability(self) -> str:
        """Read back how far a commit waits for the disk."""
        with self.datastore.get_connection(commit=True) as connection, connection.cursor() as cursor:
            return durability_of(cursor)

    def close(self) -> None:
        """Close all its connections."""
        self.datastore.close()


def stored_event(refund_id: str, version: int, given: NewEvent) -> StoredEvent:
    """Return an event as its recorder takes it, with the bytes that our store keeps."""
    return StoredEvent(UUID(refund_id), version, TOPIC, given.data.encode())


# ---- loading and folding


class Refund(Aggregate):
    """A refund as its users would write one: the same fields, the same mask of evidence."""

    @event("Requested")
    def __init__(self, asked: dict[str, Any]) -> None:
        """Open the refund."""
        self.gateway = asked["gateway"]
        self.refund_id = asked["refund_id"]
        self.payment_id = asked.get("payment_id")
        self.amount_minor = asked["amount_minor"]
        self.currency = asked["currency"]
        self.signals: set[str] = set()
        self.sent: list[dict[str, Any]] = []
        self.gateway_refund_id: str | None = None
        self.polls = 0
        self.state = "created"

    @event("SubmissionStarted")
    def submission_started(self, sent: dict[str, Any]) -> None:
        """Note what was sent."""
        self.sent.append(sent)

    @event("Evidence")
    def evidence(self, signal: str, said: dict[str, Any]) -> None:
        """Take in what a message said."""
        self.signals.add(signal)
        self.polls += said["channel"] == "poll"
        self.gateway_refund_id = said.get("gateway_refund_id") or self.gateway_refund_id
        self.state = "success" if "success" in self.signals else "received"


def lived(refund_id: str) -> Refund:
    """Return a refund with the same events as ours, not saved yet."""
    asked, sent, *said = events_of(refund_id)
    refund = Refund(json.loads(asked.data))
    refund.submission_started(json.loads(sent.data))
    for one in said:
        refund.evidence(one.type.removeprefix("evidence."), json.loads(one.data))
    return refund


class Refunds(Application[UUID]):
    """Its application: no snapshots and no cache, its defaults."""


def application(path: Path) -> Refunds:
    """Open its application on a SQLite file that waits for the disk."""
    opened = Refunds(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)})
    opened.factory.datastore.pool.close()
    opened.factory.datastore.pool = _FullPool(db_name=str(path))
    return opened


def new_refund(refund_id: str) -> Refund:
    """Return a refund with its first event only, not saved yet."""
    return Refund(json.loads(events_of(refund_id)[0].data))


# ---- rebuilding

_VIEW = (
    "CREATE TABLE rebuilt (refund_id TEXT PRIMARY KEY, gateway TEXT, payment_id TEXT, amount_minor INTEGER,"
    " currency TEXT, state TEXT, signals TEXT, version INTEGER)"
)
_DROP = "DROP TABLE IF EXISTS rebuilt"
FILL = "INSERT INTO rebuilt VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def rebuilt(app: Refunds, fill: str = FILL) -> int:
    """Make a table of refunds from all its notifications; return how many there were.

    Its SQLite recorder has no subscriptions, so its projections cannot run on it; on PostgreSQL they run, and commit
    after each event. This is what its user writes instead: its recorder's notifications, its mapper, a policy that
    folds, and a table filled in one transaction.

    Args:
        app: the application.
        fill: the INSERT into the table, with the placeholders of the database's driver.
    """
    refunds: dict[UUID, Refund] = {}
    start, count = 1, 0
    while page := app.recorder.select_notifications(start, PAGE):
        for notification in page:
            said = app.mapper.to_domain_event(notification)
            refunds[said.originator_id] = said.mutate(refunds.get(said.originator_id))
        count += len(page)
        start = page[-1].id + 1
    with app.factory.datastore.transaction(commit=True) as cursor:
        cursor.execute(_DROP)
        cursor.execute(_VIEW)
        cursor.executemany(fill, [*map(_view_row, refunds.values())])
    return count


def _view_row(one: Refund) -> tuple[Any, ...]:
    asked = (one.refund_id, one.gateway, one.payment_id, one.amount_minor, one.currency)
    return (*asked, one.state, " ".join(sorted(one.signals)), one.version)
