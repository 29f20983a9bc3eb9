"""`refold backup`: what it says, and how it ends."""

import sqlite3

import pytest

from refold.engine import RefundEngine
from refold.engine.cli.backing import _progress
from refold.engine.cli.output import Output
from refold.engine.errors import InvalidInput


def test_a_backup_is_a_store_with_the_same_refunds(run, store, tmp_path):
    told = run("backup", tmp_path / "copy.db", "--db", store)
    assert (told.code, told.err) == (0, "")
    events = len(run("list", "--json", "--db", store).json)
    assert events > 5
    assert told.out.startswith(f"{tmp_path / 'copy.db'}: ")
    assert "all read back" in told.out
    assert run("list", "--json", "--db", tmp_path / "copy.db").out == run("list", "--json", "--db", store).out
    assert run("replay", "--db", tmp_path / "copy.db").code == 0


def test_the_report_for_programs_has_every_number(run, store, tmp_path):
    told = run("--db", store, "backup", tmp_path / "copy.db", "--json")
    with RefundEngine.open(f"sqlite:///{store}", read_only=True) as engine:
        head = engine.store.head()
    assert told.code == 0
    assert told.json.pop("seconds") >= 0
    assert {name: told.json[name] for name in ("path", "events", "head", "bytes")} == {
        "path": str(tmp_path / "copy.db"),
        "events": head,
        "head": head,
        "bytes": (tmp_path / "copy.db").stat().st_size,
    }
    assert told.json["bodies"] > 0


def test_a_file_that_exists_is_wrong_use_and_stays_as_it_is(run, store, tmp_path):
    (tmp_path / "copy.db").write_text("mine")
    told = run("backup", tmp_path / "copy.db", "--db", store)
    assert (told.code, told.out) == (2, "")
    assert "a backup writes over nothing; name a new file" in told.err
    assert (tmp_path / "copy.db").read_text() == "mine"


def test_a_missing_folder_is_wrong_use(run, store, tmp_path):
    told = run("backup", tmp_path / "none" / "copy.db", "--db", store)
    assert (told.code, told.out) == (2, "")
    assert f"there is no folder {tmp_path / 'none'}" in told.err


def test_a_missing_store_ends_with_3(run, tmp_path):
    assert run("backup", tmp_path / "copy.db").code == 3
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_event_ends_with_5_and_leaves_no_file(run, store, damage, tmp_path):
    damage(store, "cr-1003")
    told = run("backup", tmp_path / "copy.db", "--db", store)
    assert (told.code, told.out) == (5, "")
    assert "refund-cr-1003" in told.err
    assert list(tmp_path.glob("copy*")) == []


def test_a_store_that_does_not_copy_itself_names_what_to_use_instead(tmp_path):
    with (
        RefundEngine.open("memory:") as engine,
        pytest.raises(InvalidInput, match="pg_dump, or pg_basebackup"),
    ):
        engine.backup(tmp_path / "copy.db")


def test_an_observed_store_copies_itself_where_the_other_can(tmp_path):
    told = []
    with RefundEngine.open(f"sqlite:///{tmp_path / 'a.db'}", on_append=told.append) as engine:
        assert engine.backup(tmp_path / "copy.db").events == 0
    with RefundEngine.open("memory:", on_append=told.append) as engine, pytest.raises(InvalidInput):
        engine.backup(tmp_path / "other.db")


def test_a_terminal_sees_how_far_it_is(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with _progress(Output()) as advance:
        advance("copying", 1, 2)
        advance("checking", 2, 2)
    monkeypatch.delenv("FORCE_COLOR")
    with _progress(Output()) as advance:
        assert advance is None


def test_a_backup_is_readable_by_its_owner_alone_and_whole(run, store, tmp_path):
    assert run("backup", tmp_path / "copy.db", "--db", store).code == 0
    assert (tmp_path / "copy.db").stat().st_mode & 0o077 == 0
    with sqlite3.connect(tmp_path / "copy.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
