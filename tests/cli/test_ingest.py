"""`refold ingest`: what can be used is imported, what cannot is reported, and doing it again changes nothing."""

import json
import sqlite3

import pytest

from refold.adapters.easylink_signing import digest, text_to_sign
from refold.engine.cli import importing
from refold.engine.cli.output import Output


def test_what_cannot_be_used_is_reported_by_number_and_the_rest_is_imported(run, easylink):
    good = easylink("r-1", 2)
    report = run("ingest", "-", stdin="not json\n" + good + "\n" + '{"gateway": "stripe"}\n')
    assert report.code == 1
    assert [line.split(": ")[0] for line in report.err.splitlines()] == ["line 1", "line 5"]
    assert report.out == "4 lines: 2 recorded, 0 known already, 0 orphaned, 0 quarantined, 2 unusable\n"
    assert run("show", "r-1", "--json").json["state"] == "success"


def test_a_log_without_fault_ends_with_0(run, easylink):
    assert run("ingest", "-", stdin=easylink("r-1", 1, 2)) == (
        0,
        "3 lines: 3 recorded, 0 known already, 0 orphaned, 0 quarantined, 0 unusable\n",
        "",
    )


def test_importing_a_file_again_changes_nothing(run, store, log_file):
    before = run("list", "--json", "--db", store).out
    again = run("ingest", log_file, "--db", store, "--json")
    assert again.json == {
        "lines": 41,
        "recorded": 0,
        "duplicates": 40,
        "orphaned": 0,
        "quarantined": 0,
        "unusable": 1,
        "damaged": 0,
    }
    assert run("list", "--json", "--db", store).out == before


def test_json_stays_clean_beside_problems_and_logs(run, log_file):
    report = run("--log-level", "debug", "ingest", log_file, "--json")
    assert report.json["unusable"] == 1
    assert "line 23:" in report.err
    assert "refund.recorded" in report.err


@pytest.mark.parametrize("file", ["missing.jsonl", ".", "nul\0byte"])
def test_a_file_that_cannot_be_read_creates_no_store(run, file, tmp_path):
    refused = run("ingest", file)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: message log ")
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_is_too_long_is_one_problem(run, easylink):
    report = run("ingest", "-", stdin="x" * (9 * 1024 * 1024) + "\n" + easylink("r-1"))
    assert report.code == 1
    assert [line.split(": ")[0] for line in report.err.splitlines()] == ["line 1"]


def signed_webhook(**fields):
    fields["sign"] = digest(text_to_sign(fields), "s3cret-key").hex().upper()
    return {
        "gateway": "easylink",
        "channel": "webhook",
        "received_at": "2026-03-02T12:00:00Z",
        "body": fields,
    }


def test_an_authentic_message_that_is_unusable_is_quarantined_and_ends_with_1(run):
    line = json.dumps(signed_webhook(mchRefundNo="r-1", refundAmount="6000"))
    report = run("ingest", "-", stdin=line, env={"REFOLD_EASYLINK_KEY": "s3cret-key"})
    assert report.code == 1
    assert "0 unusable" in report.out
    assert "line 1: quarantined: state is missing\n" in report.err


def test_a_wrong_signature_is_an_unusable_line(run):
    line = json.dumps(signed_webhook(mchRefundNo="r-1", state="2"))
    report = run("ingest", "-", stdin=line, env={"REFOLD_EASYLINK_KEY": "another"})
    assert (report.code, report.out.endswith("1 unusable\n")) == (1, True)
    assert "signature refused" in report.err


def test_a_right_signature_is_recorded_as_verified(run, easylink):
    key = {"REFOLD_EASYLINK_KEY": "s3cret-key"}
    log = easylink("r-1") + json.dumps(signed_webhook(mchRefundNo="r-1", state="2", refundAmount="6000"))
    assert run("ingest", "-", stdin=log, env=key).code == 0
    last = run("history", "r-1", "--json").json[-1]
    assert (last["data"]["trust"], last["data"]["key_id"]) == ("verified", "REFOLD_EASYLINK_KEY")


@pytest.mark.parametrize(("terminal", "shown"), [({"FORCE_COLOR": "1"}, True), ({}, False)])
def test_a_long_file_shows_how_far_it_is_on_a_terminal_only(run, log_file, monkeypatch, terminal, shown):
    monkeypatch.setattr(importing, "_LONG", 1)
    report = run("ingest", log_file, env=terminal)
    assert ("importing" in report.err) is shown
    assert "importing" not in report.out


def test_the_progress_of_a_file_is_asked_for_on_a_terminal_only(log_file, monkeypatch):
    monkeypatch.setattr(importing, "_LONG", 1)
    with log_file.open("rb") as source, importing._progress(source, Output()) as advance:
        assert advance is None


def test_a_short_file_shows_no_progress(run, log_file):
    assert "importing" not in run("ingest", log_file, env={"FORCE_COLOR": "1"}).err


def test_input_of_unknown_length_shows_no_progress(run, easylink, monkeypatch):
    monkeypatch.setattr(importing, "_LONG", 1)
    assert run("ingest", "-", stdin=easylink("r-1"), env={"FORCE_COLOR": "1"}).err == ""


def test_lines_of_a_refund_whose_log_is_damaged_end_with_5_and_the_others_are_imported(run, easylink, store):
    with sqlite3.connect(store) as connection:
        connection.execute("DROP TRIGGER events_keep_update")
        connection.execute(
            "UPDATE events SET data = data || ' ' WHERE stream = 'refund-cr-1004' AND version = 1"
        )
    connection.close()
    lines = '{"gateway":"evocloud","channel":"poll","received_at":"2026-03-02T13:00:00Z","body":"","refund_id":"cr-1004"}\n'
    told = run("ingest", "-", "--db", store, stdin=lines + easylink("r-1", 1, 2))
    assert told.code == 5
    assert "4 lines: 3 recorded, 0 known already, 0 orphaned, 0 quarantined, 1 unusable" in told.out
    assert "line 1: event" in told.err
