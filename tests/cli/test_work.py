"""`refold work`: what it does, what it shows, and how it stops."""

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest


def test_what_waits_is_sent_and_counted(run, configured, asked_for, gateway):
    configured()
    asked_for("r-1", "r-2")
    told = run("work", "--once")
    lines = told.out.splitlines()
    assert (told.code, told.err) == (0, "")
    assert lines[0] == "working for evonet; Ctrl-C or SIGTERM stops"
    assert lines[-1] == "done: 2 contacts, 0 under way, 0 waiting"
    assert ["evonet", "submit", "answered", "2"] in [line.split() for line in lines]
    assert {refund["state"] for refund in run("list", "--json").json} == {"success"}
    assert sorted(gateway.asked) == [("POST", "/payment/p-r-1/refund"), ("POST", "/payment/p-r-2/refund")]


def test_a_line_is_printed_for_each_change_only(run, configured, asked_for):
    configured()
    asked_for("r-1")
    lines = run("work", "--once").out.splitlines()
    shown = [line for line in lines if line.endswith("waiting")]
    assert shown[0].startswith("0 contacts, 1 under way")
    assert shown[-2].startswith("1 contact, 0 under way")
    assert all(line != after for line, after in pairwise(shown))


def test_the_report_as_json_is_all_that_standard_output_has(run, configured, asked_for):
    configured()
    asked_for("r-1")
    told = run("work", "--once", "--json")
    assert told.code == 0
    contacts = [{"gateway": "evonet", "phase": "submit", "outcome": "answered", "count": 1}]
    assert told.json == {
        "contacts": contacts,
        "under_way": 0,
        "waiting": 0,
        "rechecks": 1,
        "late_s": 0,
        "resting": {},
    }


def test_a_terminal_shows_the_counts_in_place_and_is_left_as_it_was(run, configured, asked_for):
    configured()
    asked_for("r-1")
    told = run("work", "--once", env={"FORCE_COLOR": "1"})
    assert told.code == 0
    assert told.out.count("\x1b[?25l") == told.out.count("\x1b[?25h") == 1  # the cursor
    assert told.out.splitlines()[-1] == "done: 1 contact, 0 under way, 0 waiting"


@pytest.mark.parametrize("terminal", [{}, {"FORCE_COLOR": "1"}], ids=["file", "terminal"])
def test_a_contact_that_fails_is_told_with_its_reason(run, configured, asked_for, gateway, terminal):
    configured()
    asked_for("r-1")
    gateway.status = "refunded_full"
    gateway.shutdown()
    gateway.socket.close()
    told = run("work", "--once", env=terminal)
    assert told.code == 0
    assert "r-1: submit at evonet not_sent: ConnectError" in told.out + told.err


@pytest.mark.parametrize(("given", "expected"), [((), 3), (("--concurrency", "5"), 5)])
def test_concurrency_is_the_commands_own_or_the_configured_one(
    run, configured, asked_for, monkeypatch, given, expected
):
    from refold.engine import RefundEngine, WorkReport

    seen = []

    def work(engine, stop, *, once, concurrency, on_progress):
        seen.append(concurrency)
        return WorkReport()

    configured("[work]\nconcurrency = 3\n")
    asked_for("r-1")
    monkeypatch.setattr(RefundEngine, "work", work)
    assert run("work", "--once", *given).code == 0
    assert seen == [expected]


def test_without_any_address_there_is_nothing_to_work_on(run, asked_for):
    asked_for("r-1")
    told = run("work")
    assert (told.code, told.out) == (2, "")
    assert "none has a base_url" in told.err
    assert "REFOLD_GATEWAYS__EVONET__BASE_URL" in told.err


# ---- how it stops


def is_pending(process, number):
    """Tell whether the kernel still holds a signal that the process has not taken."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    masks = [line.split()[1] for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to see signals in")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_lets_what_is_under_way_finish_and_begins_nothing_else(
    run, configured, asked_for, gateway, number
):
    configured()
    asked_for("r-1", "r-2")
    gateway.may_answer.clear()
    command = [sys.executable, "-m", "refold.engine.cli", "work", "--concurrency", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        try:
            assert gateway.arrived.wait(60)
            process.send_signal(number)
            while process.poll() is None and is_pending(process, number):
                pass
            assert process.poll() is None
            said = []
            while not said or not said[-1].startswith(b"stopping"):
                said.append(process.stdout.readline())
                assert said[-1], b"".join(said)
            gateway.may_answer.set()
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, b"")
    assert said[-1] == b"stopping: 1 contact under way, the longest takes up to 45 s\n"
    assert out.decode().splitlines()[-1].startswith("stopped after 1 contact, 0 under way")
    assert sorted(refund["state"] for refund in run("list", "--json").json) == ["created", "success"]
    assert len(gateway.asked) == 1


def test_after_the_work_signals_do_what_they_did_before(run, configured, asked_for):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    configured()
    asked_for("r-1")
    run("work", "--once")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
