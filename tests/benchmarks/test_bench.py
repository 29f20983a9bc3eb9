"""`make bench` runs, and its arithmetic is what docs/benchmarks.md says."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "bench.py"


@pytest.fixture(scope="module")
def measuring():
    spec = importlib.util.spec_from_file_location("measuring", BENCH.parent / "stores" / "measuring.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses looks for the module of a class
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[spec.name]


def test_one_row_runs_prints_and_writes_its_json(tmp_path):
    if importlib.util.find_spec("eventsourcing") is None:
        pytest.skip("the peer is not installed: pip install 'refold[bench]'")
    written = tmp_path / "rows.json"
    command = [sys.executable, BENCH, "--quick", "--only", "single_append_sqlite", "--json", written]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert ran.returncode == 0, ran.stderr
    (row,) = json.loads(written.read_text())
    assert (row["name"], row["unit"]) == ("single_append_sqlite", "appends/s")
    assert min(row["ours"], row["peer"], row["limit"]) > 0
    assert "single_append_sqlite" in ran.stdout
    for contender in ("ours", "peer", "limit"):
        assert f"sqlite {contender}: journal_mode=wal synchronous=FULL" in ran.stdout


def test_a_row_that_there_is_not_is_refused(tmp_path):
    if importlib.util.find_spec("eventsourcing") is None:
        pytest.skip("the peer is not installed: pip install 'refold[bench]'")
    ran = subprocess.run(
        [sys.executable, BENCH, "--only", "nothing"], capture_output=True, text=True, check=False, timeout=120
    )

    assert ran.returncode == 2
    assert "nothing" in ran.stderr


def test_contenders_take_turns_and_the_first_round_does_not_count(measuring):
    turns = []

    def contender(name, rates):
        def take():
            turns.append(name)
            return next(rates)

        return take

    rates = measuring.interleaved(
        replace(measuring.QUICK, rounds=2),
        {
            "ours": contender("ours", iter([9, 1, 2])),
            "peer": None,
            "limit": contender("limit", iter([9, 3, 4])),
        },
    )

    assert turns == ["ours", "limit"] * 3
    assert rates == {"ours": [1, 2], "limit": [3, 4]}


def test_a_row_stops_when_its_time_is_up_and_then_the_first_round_counts(measuring):
    rates = measuring.interleaved(
        replace(measuring.QUICK, rounds=50, budget_s=-1.0), {"ours": iter([1.0, 2.0]).__next__}
    )

    assert rates == {"ours": [1.0]}


def test_a_rate_is_what_was_done_by_the_seconds_it_took(measuring, monkeypatch):
    monkeypatch.setattr(measuring.time, "perf_counter", iter([10.0, 14.0]).__next__)

    assert measuring.counted(lambda: 20)() == 5.0


def test_a_ratio_is_the_median_of_the_ratios_within_each_round(measuring):
    assert measuring.ratio([1, 10, 100], [2, 5, 400]) == 0.5


def test_a_column_that_does_not_apply_is_null(measuring):
    row = measuring.Row(name="row", unit="appends/s", ours=[1.0, 2.0, 6.0], limit=[2.0, 4.0, 8.0])

    assert row.to_json() == {
        "name": "row",
        "unit": "appends/s",
        "ours": 2.0,
        "peer": None,
        "limit": 4.0,
        "vs_peer": None,
        "vs_limit": 0.5,
        "targets": [],
        "notes": [],
    }


@pytest.mark.parametrize(
    ("bounds", "met"),
    [
        ({"at_least": 1.9}, True),
        ({"at_least": 2.0}, True),
        ({"at_least": 2.1}, False),
        ({"at_most": 2.1}, True),
        ({"at_most": 2.0}, True),
        ({"at_most": 1.9}, False),
    ],
    ids=str,
)
def test_a_target_is_met_at_its_bound_and_not_beyond(measuring, bounds, met):
    assert measuring.Target(text="a target", reached=2.0, **bounds).met is met


def test_threads_share_everything_out_and_keep_each_time_but_those_of_the_first_turn(measuring):
    threads, seen = measuring.Threads(3), []
    threads.each(seen.append, range(10))
    threads.each(seen.append, range(10))

    assert sorted(seen) == sorted([*range(10), *range(10)])
    assert len(threads.taken_s) == 10


def test_an_error_in_a_thread_ends_the_measurement(measuring):
    def refuse(thing):
        raise ValueError(thing)

    with pytest.raises(ValueError, match="0"):
        measuring.Threads(2).each(refuse, [0, 0])
