"""A log that has lost events is never taken for all there is: the views stay, and everybody is told."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from refold.engine.audit.agreement import disagreements
from refold.engine.errors import EventMissing, ViewStale
from refold.engine.service.views import VIEWS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


@pytest.fixture
def busy(open_at, path, ask, wire):
    """An engine with something in every view."""
    engine = open_at(f"sqlite:///{path}")
    ask(engine, "r-1")
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    engine.record("evonet", "poll", wire.says("evonet", "r-9", "success"))
    ask(engine, "r-2", payment="p-2")
    return engine


@pytest.fixture
def cut(path):
    """Delete events as another program could that does not care for the triggers."""

    def cut_out(condition, *also):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TRIGGER events_keep_delete")
            assert connection.execute(f"DELETE FROM events WHERE {condition}").rowcount
            for statement in also:
                connection.execute(statement)

    return cut_out


def dump(path):
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(f"SELECT * FROM {view.name} ORDER BY 1, 2").fetchall() for view in VIEWS]


CUTS = {
    "the last event": ("position = (SELECT max(position) FROM events)",),
    "the tail": ("position > 2",),
    "the middle": ("position = 2",),
    "a whole stream": ("stream = 'refund-r-1'",),
    "everything": ("1",),
}


@pytest.mark.parametrize("condition", CUTS.values(), ids=CUTS.keys())
def test_a_replay_of_a_log_that_lost_events_touches_no_view(busy, path, cut, condition):
    before = dump(path)
    assert all(before[:1])
    cut(*condition)
    with pytest.raises(EventMissing) as caught:
        busy.replay()
    assert caught.value.number == busy.store.first_missing()
    assert caught.value.stream is None
    assert dump(path) == before
    with pytest.raises(EventMissing):
        list(disagreements(busy.store))


def test_a_tail_is_missed_by_its_keys_where_the_counter_was_set_back(busy, path, cut):
    before = dump(path)
    cut("position > 2", "UPDATE sqlite_sequence SET seq = 2")
    with pytest.raises(EventMissing):
        busy.replay()
    assert dump(path) == before


def test_an_engine_does_not_open_where_stale_views_would_need_what_is_lost(busy, open_at, path, cut):
    busy.close()
    cut("position > 2", "UPDATE views SET definition = 'older' WHERE name = 'refunds'")
    before = dump(path)
    with pytest.raises(EventMissing):
        open_at(f"sqlite:///{path}")
    with pytest.raises(ViewStale):
        list(open_at(f"sqlite:///{path}", read_only=True).find())
    assert dump(path) == before


def test_a_message_known_by_its_key_alone_is_no_duplicate(busy, wire, path, cut):
    before = dump(path)
    said = wire.says("evonet", "r-1", "pending", at_s=90)
    cut(f"position >= {busy.record('evonet', 'poll', said).position}")
    with pytest.raises(EventMissing):
        busy.record("evonet", "poll", said)
    assert [len(rows) for rows in dump(path)] == [len(rows) for rows in before]


@pytest.mark.parametrize("command", ["replay", "doctor"])
def test_the_command_ends_with_5_and_names_the_event(busy, path, cut, command):
    busy.close()
    before = dump(path)
    cut("position > 2")
    done = subprocess.run(
        [sys.executable, "-m", "refold.engine.cli", command, "--db", path],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 5
    assert b"event 3 of the log is missing" in b" ".join((done.stdout + done.stderr).split())
    assert b"Traceback" not in done.stderr
    assert dump(path) == before
