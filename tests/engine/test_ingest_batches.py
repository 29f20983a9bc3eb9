"""Importing message logs: batches, failures in the middle, and where lines come from."""

import io

import pytest
from message_lines import ANSWER, REQUEST, line

from refold.engine import IngestReport, State
from refold.engine.errors import InvalidInput, StoreBusy

# ---- batches


def webhooks(count):
    return [
        line(
            ANSWER | {"refund": {"merchantTransInfo": {"merchantTransID": f"r-{n}"}, "status": "Success"}},
            channel="poll",
        )
        for n in range(count)
    ]


def test_the_line_after_a_full_batch_is_imported(engine, ingest):
    progress = []
    lines = webhooks(1001)
    report, _ = ingest(lines, on_progress=progress.append)
    assert report.orphaned == 1001
    assert progress == [sum(map(len, lines[:1000])), len(lines[1000])]


def test_long_lines_make_a_batch_of_fewer(ingest):
    progress = []
    long = [b" " * (4 * 1024 * 1024) + b"\n"] * 6
    ingest(long, on_progress=progress.append)
    assert len(progress) == 2


def test_a_store_that_fails_in_the_middle_keeps_whole_batches_and_importing_again_completes(
    engine, ingest, monkeypatch
):
    monkeypatch.setattr("refold.engine.service.importing._BATCH", 100)
    lines, append, calls = webhooks(150), engine.store.append, []

    def fail_once(*writes, **options):
        calls.append(1)
        if len(calls) == 120:
            raise StoreBusy(5)
        return append(*writes, **options)

    monkeypatch.setattr(engine.store, "append", fail_once)
    with pytest.raises(StoreBusy):
        ingest(lines)
    assert engine.store.head() == 100
    report, problems = ingest(lines)
    assert (report.duplicates, report.orphaned, problems) == (100, 50, [])
    assert len(list(engine.inbox())) == 150


def test_the_hook_hears_of_no_move_of_a_batch_that_was_undone(open_engine, monkeypatch):
    moves = []
    engine = open_engine(on_move=lambda *move: moves.append(move))
    append = engine.store.append

    def fail_at_last(*writes, **options):
        if any(write.stream == "refund-r-2" for write in writes):
            raise StoreBusy(5)
        return append(*writes, **options)

    second = REQUEST | {"merchantTransInfo": {"merchantTransID": "r-2"}}
    lines = [line(), line(ANSWER, channel="poll"), line(second)]
    monkeypatch.setattr(engine.store, "append", fail_at_last)
    with pytest.raises(StoreBusy):
        engine.ingest(lines, on_problem=pytest.fail)
    assert (moves, engine.store.head()) == ([], 0)
    monkeypatch.undo()
    engine.ingest(lines, on_problem=pytest.fail)
    assert moves == [("r-1", State.CREATED, State.SUCCESS)]


def test_an_adapter_that_breaks_costs_its_lines_only(engine, ingest, monkeypatch):
    """CASES C20."""
    monkeypatch.setattr(engine.gateways["evocloud"], "verify", lambda *_: 1 // 0)
    monkeypatch.setattr(engine.gateways["easylink"], "read_request", lambda *_: 1 // 0)
    report, problems = ingest([line(gateway="evocloud"), line(gateway="easylink"), line()])
    assert (report.recorded, report.unusable) == (1, 2)
    assert [reason for _, reason in problems] == [
        "evocloud signature refused: the check raised ZeroDivisionError",
        "easylink message cannot be read: adapter_error ZeroDivisionError",
    ]


# ---- where lines come from


def test_a_binary_file_is_read_line_by_line_and_no_line_fills_the_memory(engine, ingest):
    monster = b"x" * (9 * 1024 * 1024) + b"\n"
    file = io.BytesIO(line() + monster + line(ANSWER, channel="poll"))
    report, problems = ingest(file)
    assert problems == [(2, "it is longer than 4194304 bytes")]
    assert report == IngestReport(lines=3, recorded=2, unusable=1)


def test_a_monster_at_the_end_without_a_newline_is_one_bad_line(ingest):
    report, problems = ingest(io.BytesIO(line() + b"x" * (9 * 1024 * 1024)))
    assert (report.recorded, [number for number, _ in problems]) == (1, [2])


@pytest.mark.parametrize(
    "lines",
    [
        lambda: None,
        lambda: 7,
        lambda: "text",
        lambda: b"bytes",
        lambda: ["text"],
        lambda: [None],
        lambda: io.StringIO("x"),
    ],
    ids=["None", "int", "str", "bytes", "list of str", "list of None", "text file"],
)
def test_anything_that_does_not_yield_lines_of_bytes_is_refused(ingest, lines):
    with pytest.raises(InvalidInput):
        ingest(lines())


@pytest.mark.parametrize("options", [{"on_problem": None}, {"on_problem": print, "on_progress": 7}], ids=repr)
def test_what_is_to_be_called_must_be_callable(engine, options):
    with pytest.raises(InvalidInput, match="callable"):
        engine.ingest([], **options)
