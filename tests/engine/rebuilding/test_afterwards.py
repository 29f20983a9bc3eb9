"""What a rebuild leaves as it was: the writer, a batch, what others have made, and the views where it fails."""

import sqlite3
from contextlib import closing

import pytest

from refold.engine.audit.projecting import Folding


def test_a_rebuild_leaves_the_writer_as_it_was(lite, ask, wire, monkeypatch, plain):
    plain(lite, "a")
    meanwhile = []

    def whole(*_):
        meanwhile.append(lite.store.describe()["synchronous"])
        return ()

    with monkeypatch.context() as patched:
        patched.setattr(Folding, "whole", whole)
        lite.rebuild()
    assert meanwhile == ["FULL"]
    writer = lite.store._writer
    assert lite.store.describe()["synchronous"] == "FULL"
    assert "part" not in [name for _, name, _ in writer._connection.execute("PRAGMA database_list")]
    assert writer._connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    assert writer._connection.execute("PRAGMA legacy_alter_table").fetchone() == (0,)


def test_an_interrupt_in_a_rebuild_never_lets_a_later_commit_go_without_the_disk(
    lite, ask, wire, monkeypatch, plain
):
    plain(lite, "a")
    writer = lite.store._writer
    commit, seen = type(writer)._commit, []

    def interrupted(self, connection, *, lasting=True):
        if not lasting and connection.in_transaction and len(seen) == 2:
            seen.append("interrupt")
            raise KeyboardInterrupt
        seen.append((lasting, connection.execute("PRAGMA synchronous").fetchone()[0]))
        commit(self, connection, lasting=lasting)

    monkeypatch.setattr(type(writer), "_commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lite.rebuild()
    ask(lite, "r-1")
    with lite.store.batch():
        ask(lite, "r-2")
    assert "interrupt" in seen
    full = [synchronous for each in seen if each != "interrupt" for lasting, synchronous in [each] if lasting]
    assert full
    assert set(full) == {2}


def test_what_others_have_made_of_a_view_stands_after_a_rebuild(lite, ask, wire, path, plain):
    plain(lite, "a")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("CREATE VIEW report AS SELECT state, count(*) AS number FROM refunds GROUP BY state")
    lite.rebuild()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT sum(number) FROM report").fetchone() == (4,)


def test_a_rebuild_inside_a_batch_knows_what_the_batch_has_done(open_engine, ask, wire, plain):
    engine = open_engine()
    plain(engine, "a")
    with engine.store.batch():
        ask(engine, "r-9", payment="p-9")
        engine.rebuild()
    assert engine.replay().agrees
    assert engine.refund("r-9").state == "created"


def test_a_rebuild_that_is_interrupted_leaves_the_views_and_no_table(
    engine, ask, wire, place, monkeypatch, plain, dump
):
    plain(engine, "a")
    made = dump(engine)
    monkeypatch.setattr(Folding, "whole", lambda *_: iter([1 // 0]))
    with pytest.raises(ZeroDivisionError):
        engine.rebuild()
    assert dump(engine) == made
    assert not [name for name in place.tables() if name.endswith("__new")]
