"""The demo keeps its promises, leaves nothing behind, and prints the same every time."""

import dataclasses
import tempfile

import pytest

from refold.engine import RefundEngine
from refold.engine.cli.demo import message_log

PROMISED = {
    "mho1623985552430": ("easylink", "success", []),
    "mho1624007315478": ("easylink", "success", []),
    "mho1624009000001": ("easylink", "closed", ["overdue"]),
    "mho1624009200002": ("easylink", "failed", []),
    "cr-1001": ("evocloud", "success", []),
    "cr-1002": ("evocloud", "success", []),
    "cr-1003": ("evocloud", "failed", []),
    "cr-1004": ("evocloud", "created", ["in_doubt"]),
    "s22tring": ("bbmsl", "success", []),
    "s23tring": ("bbmsl", "success", ["contradicted"]),
    "refund_25072": ("evonet", "received", ["mismatch"]),
    "refund_25073": ("evonet", "success", []),
    "refund_25074": ("evonet", "success", []),
    "refund_25075": ("evonet", "received", ["unrecognised"]),
}


@pytest.fixture
def told(run):
    """What the demo says, and the store it keeps."""
    return run("demo", "--db", "kept.db")


def test_the_refunds_end_as_the_story_promises(told, run):
    listed = run("list", "--json", "--db", "kept.db").json
    found = {each["refund_id"]: (each["gateway"], each["state"], each["attention"]) for each in listed}
    assert (told.code, found) == (0, PROMISED)


def test_before_the_person_decides_the_dispute_is_a_conflict(told, run):
    before = run("show", "cr-1003", "--as-of", "2025-07-14T02:00:00Z", "--json", "--db", "kept.db").json
    assert (before["state"], before["attention"]) == ("success", ["conflict"])
    last = run("history", "cr-1003", "--json", "--db", "kept.db").json[-1]
    assert (last["type"], last["data"]["actor"]) == ("refund.resolved", "kim")


def test_the_import_is_reported_with_the_line_that_cannot_be_used(told):
    assert "line 23: bbmsl message cannot be read" in told.out
    assert "41 lines: 37 recorded, 1 known already, 2 orphaned, 0 quarantined, 1 unusable" in told.out
    assert told.err == ""


def test_the_replay_agrees(told):
    assert "71 events folded again: 14 refunds, 12 payments. The tables agree with the log." in told.out


def test_a_demo_whose_replay_differs_ends_with_1(run, monkeypatch):
    honest = RefundEngine.replay

    def differing(engine):
        return dataclasses.replace(
            honest(engine), differences=(("refunds", ("r-1",), None, {"state": "failed"}),)
        )

    monkeypatch.setattr(RefundEngine, "replay", differing)
    assert run("demo").code == 1


def test_the_same_demo_on_the_same_store_changes_nothing(told, run):
    before = run("list", "--json", "--db", "kept.db").out
    again = run("demo", "--db", "kept.db")
    assert again.code == 0
    assert "41 lines: 0 recorded, 40 known already" in again.out
    assert "71 events folded again" in again.out
    assert "It is decided already." in again.out
    assert run("list", "--json", "--db", "kept.db").out == before


def test_the_demo_prints_the_same_every_time(run):
    assert run("demo") == run("demo")


def test_the_demo_leaves_nothing_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run("demo").code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_demo_never_touches_the_store_of_the_environment(run, tmp_path):
    assert run("demo", env={"REFOLD_DB": str(tmp_path / "real.db")}).code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_demo_refuses_a_store_with_other_refunds(run, easylink):
    run("ingest", "-", "--db", "real.db", stdin=easylink("r-1"))
    before = run("list", "--json", "--db", "real.db").out
    refused = run("demo", "--db", "real.db")
    assert (refused.code, refused.out) == (4, "")
    assert "holds other refunds" in refused.err
    assert run("list", "--json", "--db", "real.db").out == before


@pytest.mark.parametrize("width", [80, 100])
def test_the_demo_fits_a_window_without_cutting_an_id(run, width):
    told = run("demo", env={"COLUMNS": str(width)})
    assert all(refund_id in told.out for refund_id in PROMISED)
    assert "…" not in told.out
    wide = [line for line in told.out.splitlines() if len(line.rstrip()) > width]
    assert all(line.startswith(("$ ", "line 23: ")) for line in wide)


def test_the_next_commands_name_the_store_that_was_kept(run):
    told = run("demo", "--db", "my refunds.db")
    assert "refold history refund_25074 --db 'my refunds.db'" in told.out
    assert run("history", "refund_25074", "--db", "my refunds.db").code == 0


def test_the_next_commands_start_with_keeping_the_store(run):
    next_steps = run("demo").out.partition("Try next\n")[2]
    assert next_steps.split("\n")[0] == "  refold demo --db demo.db"


@pytest.mark.parametrize("gateway", [b'"evocloud"', b'"evonet"', b'"bbmsl"', b'"easylink"'])
def test_every_gateway_has_a_part(gateway):
    assert sum(gateway in line for line in message_log()) > 3
