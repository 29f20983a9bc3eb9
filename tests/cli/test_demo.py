"""The demo keeps its promises over real sockets, tells what it sees, and leaves nothing behind."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from datetime import timedelta

import pytest

from refold.engine import RefundEngine
from refold.engine.cli import demo
from refold.engine.cli.demo_world import WISHES
from refold.engine.ports.simulation import Booked


def refold(folder, *arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "refold.engine.cli", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The demo as a process of its own, and the folder with the store it keeps."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, refold(folder, "demo", "--db", "my refunds.db")


def listed(folder):
    return json.loads(refold(folder, "list", "--json", "--db", "my refunds.db").stdout)


def test_it_succeeds_and_says_nothing_on_standard_error(played):
    _, told = played
    assert (told.returncode, told.stderr) == (0, "")


def test_a_dozen_refunds_went_to_all_four_gateways(played):
    folder, _ = played
    views = listed(folder)
    assert len(views) == len(WISHES) == 12
    assert {view["gateway"] for view in views} == {"evocloud", "evonet", "bbmsl", "easylink"}


def test_every_refund_has_an_outcome_or_a_reason_to_look_at_it(played):
    folder, _ = played
    for view in listed(folder):
        assert view["state"] in {"success", "failed", "closed"} or view["attention"], view


def test_the_books_of_the_gateways_are_compared_and_nothing_was_paid_twice(played):
    _, told = played
    assert "Paid twice: 0." in told.stdout
    assert "Each refund is what its gateway's books say" in told.stdout


def test_it_shows_timelines_attention_and_a_replay_that_agrees(played):
    _, told = played
    for part in (
        "submission started",
        "$ refold attention",
        "Decide with:",
        "The tables agree with the log.",
    ):
        assert part in told.stdout


def test_doubt_arises_and_is_dispelled_on_the_way(played):
    _, told = played
    assert "! in_doubt" in told.stdout
    assert "no longer in_doubt" in told.stdout


def test_it_fits_a_window_without_cutting_an_id(played):
    _, told = played
    assert all(wish.refund_id in told.stdout for wish in WISHES)
    assert "…" not in told.stdout
    wide = [line for line in told.stdout.splitlines() if len(line.rstrip()) > 80]
    assert all(line.startswith(("$ ", "  refold ")) for line in wide)


def test_the_next_commands_name_the_store_that_was_kept_and_work(played):
    folder, told = played
    assert "refold history c-3-reverses --db 'my refunds.db'" in told.stdout
    assert refold(folder, "history", "c-3-reverses", "--db", "my refunds.db").returncode == 0


def test_it_refuses_a_store_that_holds_events(played):
    folder, _ = played
    before = listed(folder)
    again = refold(folder, "demo", "--db", "my refunds.db")
    assert (again.returncode, again.stdout) == (4, "")
    assert "give --db a new file" in again.stderr
    assert listed(folder) == before


@pytest.fixture
def short(monkeypatch):
    """A demo that does not wait for anything."""
    monkeypatch.setattr(demo, "_AT_MOST", timedelta())


def test_it_leaves_nothing_behind(short, run, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run("demo")
    assert list(tmp_path.iterdir()) == []


def test_it_never_touches_the_store_of_the_environment(short, run, tmp_path):
    run("demo", env={"REFOLD_DB": str(tmp_path / "real.db")})
    assert list(tmp_path.iterdir()) == []


def test_the_next_commands_start_with_keeping_the_store(short, run):
    next_steps = run("demo").out.partition("Try next\n")[2]
    assert next_steps.split("\n")[0] == "  refold demo --db demo.db"


def test_a_replay_that_differs_ends_it_with_1(short, run, monkeypatch):
    honest = RefundEngine.replay
    monkeypatch.setattr(demo, "_wrong", lambda *_: [])

    def differing(engine):
        return dataclasses.replace(
            honest(engine), differences=(("refunds", ("r-1",), None, {"state": "failed"}),)
        )

    assert run("demo").code == 0
    monkeypatch.setattr(RefundEngine, "replay", differing)
    assert run("demo").code == 1


class View:
    def __init__(self, state, *attention):
        self.refund_id, self.state, self.attention = "r-1", state, attention


@pytest.mark.parametrize(
    ("view", "booked", "wrong"),
    [
        (View("success"), ("success", 100), False),
        (View("success"), ("failed", 0), True),
        (View("success", "conflict"), ("failed", 0), False),
        (View("success"), ("success", 200), True),
        (View("success", "conflict"), ("success", 200), True),
        (View("failed"), None, False),
        (View("success"), None, True),
        (View("created", "in_doubt"), None, False),
        (View("created"), None, True),
    ],
)
def test_what_is_wrong_is_what_the_books_do_not_say_and_nobody_is_asked_about(view, booked, wrong):
    books = [] if booked is None else [Booked("evonet", "r-1", booked[0], 100, booked[1], 1, True)]
    assert demo._wrong(books, [view]) == (["r-1"] if wrong else [])
