"""Stores that use outlines, and what other programs do in them; outlines work in parts of a few events."""

import sqlite3
from contextlib import closing

import pytest

from refold.engine.audit.projecting import Folding
from refold.engine.ports import NewEvent, Write
from refold.engine.service.views import VIEWS
from refold.eventstore import outlining

TIME = "2026-11-21T12:00:00.000000Z"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Let a few events be several parts, and no event wait for the end."""
    monkeypatch.setattr(outlining, "_EVENTS_IN_PART", 8)
    monkeypatch.setattr(outlining, "_SAMPLES", 2)


class Lite:
    """A file of SQLite."""

    def __init__(self, folder):
        self.path = folder / "refunds.db"
        self.url = f"sqlite:///{self.path}"

    def run(self, *statements):
        """Run statements that the store itself would refuse; return the rows of the last one."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as raw:
            triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                raw.execute(f"DROP TRIGGER {name}")
            found = [raw.execute(statement).fetchall() for statement in statements]
            for _, trigger in triggers:
                raw.execute(trigger)
        return found[-1]

    def tables(self):
        return {name for (name,) in self.run("SELECT name FROM sqlite_master WHERE type = 'table'")}


class Postgres:
    """A schema of a server."""

    def __init__(self, server):
        self.server = server
        self.url = server.schema()

    def run(self, *statements):
        """Run statements that the store itself would refuse; return the rows of the last one."""
        with self.server.connect(self.url) as raw:
            raw.execute("SET session_replication_role = replica")
            for statement in statements:
                cursor = raw.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def hold(self, events):
        """Put these events in the place of the log."""
        with self.server.connect(self.url) as raw, raw.transaction(), raw.cursor() as cursor:
            raw.execute("SET LOCAL session_replication_role = replica")
            raw.execute("DELETE FROM events")
            with cursor.copy("COPY events FROM STDIN") as copy:
                for each in events:
                    copy.write_row(each)
            raw.execute("UPDATE head SET position = (SELECT coalesce(max(position), 0) FROM events)")

    def tables(self):
        listed = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text = current_schema()"
        return {name for (name,) in self.run(listed)}


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """Where a store lies that uses outlines."""
    if request.param == "sqlite":
        return Lite(tmp_path)
    return Postgres(request.getfixturevalue("postgres_server"))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "memory":
        return "memory:"
    return Lite(tmp_path).url if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def engine(open_at, place):
    """An engine on each store that uses outlines."""
    return open_at(place.url)


@pytest.fixture
def postgres(open_at, postgres_server):
    """A schema of a server and an engine there, for what is so only there."""
    place = Postgres(postgres_server)
    return place, open_at(place.url)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "refunds.db"


@pytest.fixture
def lite(open_at, path):
    """An engine on SQLite, for what is so only there."""
    return open_at(f"sqlite:///{path}")


@pytest.fixture
def file(path):
    """The file of `lite`."""
    return Lite(path.parent)


@pytest.fixture
def dump():
    """Return a function that reads all rows of all views."""
    return lambda engine: {view.name: [dict(row) for row in engine.store.rows(view)] for view in VIEWS}


@pytest.fixture
def left_of():
    """Return a function that rebuilds, and gives the streams that outlines leave to the fold, by category."""

    def left_of(engine, given):
        found = {}

        class Noting(Folding):
            def whole(self, upto, left):
                found.update(left)
                return super().whole(upto, left)

        engine.store.rebuild(Noting(engine.store, outlines=given))
        return found

    return left_of


@pytest.fixture
def plain(ask, wire):
    """Return a function that makes refunds of each plain kind: asked for, sent, held by the gateway, refunded."""

    def plain(engine, *names):
        for name in names:
            for kind in ("asked", "sent", "held", "done"):
                payment = f"p-{name}-{kind}"
                if kind == "asked":
                    ask(engine, f"{name}-{kind}", payment=payment)
                    continue
                engine.record("evonet", "request", wire.request("evonet", f"{name}-{kind}", payment=payment))
                if kind == "held":  # an answer that says nothing stands before the one that does
                    unknown = wire.message("busy", http_status=503)
                    engine.record("evonet", "api_response", unknown, refund_id=f"{name}-{kind}")
                for says in {"held": ("pending",), "done": ("pending", "success")}.get(kind, ()):
                    answer = wire.says(
                        "evonet", f"{name}-{kind}", says, payment=payment, number=f"n-{name}-{kind}"
                    )
                    engine.record("evonet", "poll", answer)

    return plain


@pytest.fixture
def written():
    """Return a function that appends streams of (type, data) or (type, data, time) as they are."""

    def written(engine, streams):
        for name, events in streams.items():
            told = [(*each, TIME)[:3] for each in events]
            engine.store.append(Write(name, 0, [NewEvent(type_, time, data) for type_, data, time in told]))

    return written
