"""`refold replay` and `refold doctor`: differences and damage are found, named, and end with their exit codes."""

import sqlite3
from contextlib import closing

import pytest

from refold.engine.audit.replay import ReplayReport
from refold.engine.cli import doctor
from refold.engine.cli.auditing import replay_lines
from refold.engine.errors import StoreReadOnly
from refold.engine.service.facade import RefundEngine


def change(store, sql, *arguments):
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(sql, arguments)


@pytest.fixture
def good_sqlite(monkeypatch):
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version", "3.51.3")


# ---- replay


def test_a_replay_that_agrees_ends_with_0(run, store):
    told = run("replay", "--db", store)
    assert (told.code, told.err) == (0, "")
    assert told.out == "70 events folded again: 14 refunds, 12 payments. The tables agree with the log.\n"
    assert run("replay", "--json", "--db", store).json == {
        "agrees": True,
        "events": 70,
        "refunds": 14,
        "payments": 12,
        "differences": [],
        "set_aside": [],
    }


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "UPDATE refunds SET state = 'failed' WHERE refund_id = 'cr-1001'",
            "refunds cr-1001: state was failed, is success",
        ),
        ("DELETE FROM refunds WHERE refund_id = 'cr-1001'", "refunds cr-1001: was missing"),
        (
            "UPDATE attention SET refund_id = 'r-404' WHERE kind = 'conflict'",
            "attention conflict r-404: should not be there",
        ),
    ],
)
def test_a_row_that_is_not_what_the_log_says_is_named_and_repaired(run, store, sql, words):
    change(store, sql)
    told = run("replay", "--db", store)
    assert told.code == 1
    assert f"differed and is repaired: {words}" in told.out
    assert run("replay", "--db", store).code == 0


def test_a_difference_for_programs_ends_with_1(run, store):
    change(store, "UPDATE refunds SET state = 'failed' WHERE refund_id = 'cr-1001'")
    told = run("replay", "--json", "--db", store)
    assert (told.code, told.json["agrees"]) == (1, False)
    assert told.json["differences"][0]["key"] == ["cr-1001"]


def test_a_damaged_stream_is_set_aside_and_ends_with_5(run, store, damage):
    damage(store, "cr-1003")
    told = run("replay", "--db", store)
    assert told.code == 5
    assert "set aside: refund-cr-1003: EventCorrupt" in told.out


def test_many_differences_are_counted():
    differences = tuple(("refunds", (f"r-{number}",), None, {}) for number in range(25))
    report = ReplayReport(events=25, refunds=25, payments=0, differences=differences, set_aside=())
    assert list(replay_lines(report))[-1] == "and 5 more; --json lists all"


# ---- doctor


def findings(told):
    return {finding["what"]: (finding["level"], finding["says"]) for finding in told.json["findings"]}


def test_a_sound_store_ends_with_0(run, store, good_sqlite):
    told = run("doctor", "--json", "--db", store)
    found = findings(told)
    assert (told.code, told.json["ok"], told.err) == (0, True, "")
    assert {level for level, _ in found.values()} == {"ok"}
    assert "durability full, journal_mode wal, synchronous FULL" in found["store"][1]
    assert found["tables"] == ("ok", "every refund's row is what its log says")


def test_the_findings_are_readable(run, store, good_sqlite):
    told = run("doctor", "--db", store, env={"COLUMNS": "60"})
    assert told.code == 0
    assert "ok           tables: every refund's row is what its log says" in told.out
    assert max(map(len, told.out.splitlines())) <= 60 + len(str(store))


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("3.6.23", 0),
        ("3.7.0", 1),
        ("3.40.1", 1),
        ("3.44.5", 1),
        ("3.44.6", 0),
        ("3.45.0", 1),
        ("3.50.6", 1),
        ("3.50.7", 0),
        ("3.51.0", 1),
        ("3.51.2", 1),
        ("3.51.3", 0),
        ("3.52", 0),
        ("4.0.0", 0),
    ],
)
def test_an_sqlite_with_the_wal_reset_bug_is_a_warning(run, store, monkeypatch, version, code):
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version", version)
    told = run("doctor", "--json", "--db", store)
    assert told.code == code
    assert findings(told)["sqlite"][1].startswith(version)


def test_who_knows_that_the_repair_is_in_it_can_say_so(run, store, monkeypatch):
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version", "3.40.1")
    warned = run("doctor", "--json", "--db", store)
    assert "refold's own processes are safe" in findings(warned)["sqlite"][1]
    assert "set store.sqlite_repaired = true" in findings(warned)["sqlite"][1]
    told = run("doctor", "--json", "--db", store, env={"REFOLD_STORE__SQLITE_REPAIRED": "true"})
    assert told.code == 0
    assert findings(told)["sqlite"] == (
        "ok",
        "3.40.1, whose builder has repaired the WAL-reset bug, as store.sqlite_repaired says",
    )


def test_of_an_sqlite_that_the_store_does_not_use_nobody_is_warned(run, postgres_url, monkeypatch):
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version", "3.40.1")
    money = ("--payment", "p-1", "--amount", "1", "--currency", "HKD", "--gateway", "evonet")
    assert run("request", "r-1", *money, "--db", postgres_url).code == 0
    told = run("doctor", "--json", "--db", postgres_url)
    assert told.code == 0
    assert findings(told)["sqlite"] == ("ok", "3.40.1, not used by this store")


def test_a_missing_store_ends_with_3_and_is_not_made(run, good_sqlite, tmp_path):
    told = run("doctor")
    assert told.code == 3
    assert "unavailable  store: there is no store" in told.out
    assert "python: " in told.out
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_event_ends_with_5_and_names_the_stream(run, store, damage, good_sqlite):
    damage(store, "cr-1003")
    told = run("doctor", "--db", store)
    assert told.code == 5
    assert "corrupt      log: refund-cr-1003: event " in told.out
    assert "1 refunds cannot be read" in told.out


def test_a_file_that_is_no_store_ends_with_5(run, tmp_path, good_sqlite):
    (tmp_path / "refold.db").write_text("this is no database, whatever its name says" * 100)
    assert run("doctor").code == 5


def test_rows_that_differ_are_counted_and_not_repaired(run, store, good_sqlite):
    change(store, "UPDATE refunds SET state = 'failed' WHERE refund_id = 'cr-1001'")
    change(store, "DELETE FROM refunds WHERE refund_id = 'cr-1002'")
    for _ in range(2):
        told = run("doctor", "--json", "--db", store)
        assert told.code == 1
        assert findings(told)["tables"][1] == "2 refunds differ from the log; `refold replay` repairs them"


def test_a_store_that_can_only_be_read_is_still_looked_at(run, store, good_sqlite, monkeypatch):
    honest = RefundEngine.open.__func__

    def on_a_read_only_disk(cls, url, *, read_only=False, **options):
        if not read_only:
            raise StoreReadOnly(url)
        return honest(cls, url, read_only=True, **options)

    monkeypatch.setattr(RefundEngine, "open", classmethod(on_a_read_only_disk))
    told = run("doctor", "--db", store)
    assert told.code == 1
    assert "its durability cannot be read back" in told.out
    assert "every refund's row is what its log says" in told.out


def test_a_wrong_url_is_wrong_use_and_its_password_is_not_shown(run, good_sqlite):
    told = run("doctor", "--db", "mysql://u:hunter2@h/db")
    assert (told.code, "hunter2" in told.out + told.err) == (2, False)
