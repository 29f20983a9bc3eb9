"""Which store a command works on, and every exit code that a store can cause."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from waiting import DEADLINE_S

from refold.engine import RefundEngine
from refold.engine.cli.app import EXIT_CODES, exit_code
from refold.engine.cli.session import session, store_url
from refold.engine.errors import (
    CorruptLog,
    InvalidInput,
    InvalidSetting,
    NotFound,
    RefoldError,
    Refused,
    StoreError,
    Unauthentic,
)

READING = [
    ("list",),
    ("list", "--json"),
    ("show", "r-1"),
    ("history", "r-1"),
    ("attention",),
    ("attention", "--mark-overdue"),
    ("resolve", "r-1", "failed", "--actor", "kim", "--reason", "x"),
    ("replay",),
]


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_missing_store_ends_with_3_says_what_to_do_and_is_not_made(run, tmp_path, arguments):
    told = run(*arguments)
    assert (told.code, told.out) == (3, "")
    assert told.err == (
        f"error: store unavailable: there is no store at {tmp_path / 'refold.db'};"
        " `refold request`, `refold register` or `refold ingest` makes one\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("refunds.db", "sqlite:///refunds.db"),
        ("/var/lib/refunds.db", "sqlite:////var/lib/refunds.db"),
        ("my refunds?#%.db", "sqlite:///my%20refunds%3F%23%25.db"),
        ("sqlite:///refunds.db", "sqlite:///refunds.db"),
        ("memory:", "memory:"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("./a:b", "sqlite:///./a%3Ab"),
    ],
)
def test_a_store_is_named_by_path_or_url(text, url):
    assert store_url(text) == url


def test_a_blank_store_is_refused():
    with pytest.raises(InvalidSetting, match="it is blank"):
        store_url(" ")


@pytest.mark.parametrize(
    ("before", "after", "env", "made"),
    [
        ((), (), {}, "refold.db"),
        ((), (), {"REFOLD_DB": "env.db"}, "env.db"),
        (("--db", "before.db"), (), {"REFOLD_DB": "env.db"}, "before.db"),
        (("--db", "before.db"), ("--db", "after.db"), {"REFOLD_DB": "env.db"}, "after.db"),
        ((), ("--db", "sqlite:///a b.db"), {}, "a b.db"),
        ((), ("--db", "what?.db"), {}, "what?.db"),
    ],
)
def test_the_nearest_name_of_a_store_counts(run, easylink, tmp_path, before, after, env, made):
    assert run(*before, "ingest", "-", *after, stdin=easylink("r-1"), env=env).code == 0
    assert [path.name for path in tmp_path.glob("*.db")] == [made]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://refunds.db",
        "sqlite:///refunds.db?mode=ro",
        "sqlite:///refunds.db#ro",
        "mysql://u:hunter2@h/db",
        "nothing:at-all",
    ],
)
def test_a_url_that_is_not_understood_is_wrong_use(run, url):
    told = run("list", "--db", url)
    assert (told.code, told.out, "hunter2" in told.err) == (2, "", False)
    assert "use memory:, sqlite:///PATH or postgresql://" in told.err


def test_a_damaged_store_ends_with_5(run, store, damage):
    damage(store, "cr-1003")
    told = run("show", "cr-1003", "--db", store)
    assert (told.code, told.out, len(told.err.splitlines())) == (5, "", 1)


def test_a_file_of_something_else_is_not_touched(run, tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = (tmp_path / "other.db").read_bytes()
    assert run("ingest", "-", "--db", "other.db", stdin="").code == 3
    assert (tmp_path / "other.db").read_bytes() == before


def test_tables_of_another_refold_are_left_to_it_by_who_only_reads(run, store):
    """Until somebody says so: its service may be running."""
    expected = run("list", "--json", "--db", store).out
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE views SET definition = 'older'")
    for command in ("list", "attention", "payments"):
        refused = run(command, "--db", store)
        assert refused.code == 3
        assert "is lost, or of another version" in refused.err
        assert "`refold replay`" in refused.err
    refund_id = json.loads(expected)[0]["refund_id"]
    for command in (("show", refund_id), ("history", refund_id), ("backup", f"{store}.copy")):
        assert run(*command, "--db", store).code == 0
    assert "of another version" in run("doctor", "--db", store).out
    with closing(sqlite3.connect(store)) as connection:
        assert set(connection.execute("SELECT definition FROM views")) == {("older",)}
    assert run("replay", "--db", store).code == 0
    assert run("list", "--json", "--db", store).out == expected


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (NotFound, 1),
        (Unauthentic, 1),
        (InvalidInput, 2),
        (StoreError, 3),
        (Refused, 4),
        (CorruptLog, 5),
        (RefoldError, 1),
    ],
)
def test_every_kind_of_error_has_its_exit_code(kind, code):
    assert exit_code(kind("x")) == code


def test_no_kind_of_error_was_forgotten():
    assert {kind for kind, _ in EXIT_CODES} == set(RefoldError.__subclasses__())


def test_an_unexpected_error_of_the_operating_system_is_one_line(run, store, monkeypatch):
    def failing(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RefundEngine, "find", failing)
    assert run("list", "--db", store) == (1, "", "error: No space left on device\n")
    monkeypatch.setattr(RefundEngine, "find", lambda *_, **__: open("gone.txt"))  # noqa: PTH123, SIM115
    assert run("list", "--db", store) == (1, "", "error: No such file or directory: gone.txt\n")


def test_an_error_before_there_is_a_session_has_one(monkeypatch):
    class Context:
        obj = None

        def find_root(self):
            return self

    assert session(Context()).db is None


REGISTER = ("register", "p-1", "--gateway", "evonet", "--captured", "10", "--currency", "HKD")


def test_a_folder_that_is_missing_is_said(run, tmp_path):
    told = run(*REGISTER, "--db", tmp_path / "nowhere" / "x.db")
    assert (told.code, told.out) == (3, "")
    assert f"there is no folder {tmp_path / 'nowhere'}" in told.err
    assert "read-only" not in told.err


def test_a_server_that_is_down_is_said_once(run, tmp_path):
    """The driver's pool tells of every try, to whoever has given it no other place than the terminal."""
    command = [
        sys.executable,
        "-m",
        "refold.engine.cli",
        "list",
        "--db",
        f"postgresql://me@/x?host={tmp_path}",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert (told.returncode, told.stdout) == (3, "")
    (line,) = told.stderr.splitlines()
    assert line.startswith("error: store unavailable: ")


@pytest.mark.parametrize(
    "arguments",
    [REGISTER, ("ingest", os.devnull), ("submit", "r-1"), ("replay",), ("work", "--once")],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("way", ["--db", "REFOLD_DB"])
def test_a_store_in_memory_is_refused_by_what_writes_and_ends(run, configured, arguments, way):
    configured()
    told = run(*arguments, "--db", "memory:") if way == "--db" else run(*arguments, env={way: "memory:"})
    assert (told.code, told.out) == (2, "")
    assert "memory: keeps nothing after the command; name a file" in told.err


@pytest.mark.parametrize(
    "arguments", [("--db", "", "list"), ("list", "--db", ""), ("--db", "x", "list", "--db", " ")]
)
def test_a_blank_option_is_refused(run, arguments):
    told = run(*arguments)
    assert (told.code, told.out) == (2, "")
    assert "it is blank" in told.err
