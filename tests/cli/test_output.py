"""What came in messages is printed as text: no colours of its own, no markup, no cut ids; JSON is JSON and nothing else."""

import pytest

from refold.engine.cli.output import Output
from refold.engine.cli.tables import Column, cell, table

ESCAPES = "\x1b[31mred\x1b[0m\x1b]0;title\x07\u202e\u200bturned\r\nSTATE success"
MARKUP = "[bold]r-1[/bold][link=https://x.example]:smile:"
READING = [
    ("list",),
    ("show", MARKUP),
    ("history", MARKUP),
    ("attention",),
    ("resolve", MARKUP, "failed", "--actor", "[red]kim[/red]", "--reason", f"[blink]{ESCAPES}"),
    ("replay",),
    ("doctor",),
]


@pytest.fixture
def hostile(run, easylink):
    """A refund whose id is markup and whose words are terminal commands, in conflict."""
    return run(
        "ingest", "-", stdin=easylink(MARKUP, 2, 3, 9, detail=ESCAPES, reason=ESCAPES, payment="[i]P1")
    )


@pytest.mark.parametrize("way", ["say", "prose", "note", "warn", "error"])
def test_no_way_to_print_a_line_lets_values_through(capsys, way):
    getattr(Output(), way)(f"{MARKUP} {ESCAPES}")
    printed = "".join(capsys.readouterr())
    assert f"{MARKUP} [31mred[0m]0;titleturnedSTATE success\n" in printed


@pytest.mark.parametrize("way", ["note", "warn", "error"])
def test_standard_error_shows_no_key_and_no_card_number(capsys, way):
    output = Output()
    output.secrets = ["s3cret"]
    getattr(output, way)("key s3cret, card 4111 1111 1111 1111")
    assert "key ****, card 411111******1111\n" in capsys.readouterr().err


def test_cells_hold_no_control_characters():
    assert cell(ESCAPES).text == "[31mred[0m]0;titleturnedSTATE success"


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}], ids=["file", "terminal"])
def test_values_cannot_speak_to_the_terminal(run, hostile, arguments, env):
    told = run(*arguments, env=env)
    shown = (told.out + told.err).replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "")
    for bad in ("\x1b", "\x07", "\r", "\u202e", "\u200b", "\nSTATE"):
        assert bad not in shown


@pytest.mark.parametrize("arguments", READING[:5], ids=lambda arguments: arguments[0])
def test_markup_in_values_is_printed_as_it_stands(run, hostile, arguments):
    assert MARKUP in run(*arguments).out


def test_the_words_of_a_decision_are_shown_without_their_markup_working(run, hostile):
    run(*READING[4])
    told = " ".join(run("history", MARKUP).out.split())
    assert "[red]kim[/red] decided failed: [blink]" in told


def test_a_problem_is_one_line_whatever_the_message_says(run):
    told = run("ingest", "-", stdin='{"gateway": "\\u001b[31m\\nx", "channel": "poll", "received_at": 5}\n')
    assert told.code == 1
    assert len(told.err.splitlines()) == 1
    assert "\x1b" not in told.err


@pytest.mark.parametrize(
    "arguments", [*READING[:4], ("replay",), ("doctor",), ("gateways",)], ids=lambda each: each[0]
)
def test_json_is_alone_on_standard_output(run, hostile, arguments):
    told = run("--log-level", "debug", *arguments, "--json", env={"FORCE_COLOR": "1"})
    assert told.json is not None
    assert told.out.isascii()
    assert "\x1b" not in told.out


def test_json_keeps_values_exactly(run, hostile):
    (refund,) = run("list", "--json").json
    assert (refund["refund_id"], refund["payment_id"]) == (MARKUP, "[i]P1")


def test_colours_are_for_terminals_without_no_color(run, store):
    assert "\x1b[32m" in run("list", "--db", store, env={"FORCE_COLOR": "1"}).out
    assert "\x1b" not in run("list", "--db", store).out
    assert "\x1b[3" not in run("list", "--db", store, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).out


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 99, 100, 200, None])
def test_no_window_cuts_or_wraps_a_refund_number(run, store, width):
    told = run("list", "--db", store, env={} if width is None else {"COLUMNS": str(width)})
    for each in run("list", "--json", "--db", store).json:
        assert each["refund_id"] in told.out
    assert "…" not in told.out


def test_an_id_of_128_characters_is_whole_in_a_file(run, easylink):
    longest = "r" * 128
    run("ingest", "-", stdin=easylink(longest, payment="p" * 128))
    row = next(line for line in run("list").out.splitlines() if line.startswith("rrr"))
    assert row.split()[:3] == [longest, "easylink", "p" * 128]


@pytest.mark.parametrize(
    ("width", "heads"),
    [(28, ["refund", "payment", "state"]), (27, ["refund", "state"]), (16, ["refund", "state"])],
)
def test_columns_leave_a_narrow_window_in_their_order(run, width, heads):
    from rich.console import Console

    columns = (Column("refund"), Column("payment", leaves=1), Column("state", wraps=True))
    made = table(columns, [[cell("r-12345"), cell("pay-123456"), cell("a success")]], width)
    console = Console(width=width, record=True, file=None, color_system=None)
    with console.capture() as captured:
        console.print(made)
    assert captured.get().splitlines()[0].split() == heads


def test_a_window_narrower_than_any_table_gets_a_block_a_row(run, store):
    told = run("list", "--limit", "2", "--db", store, env={"COLUMNS": "20"}).out
    assert told.split("\n\n")[0].splitlines()[2] == "payment    P202106181104177050002"


def test_the_log_of_the_library_goes_to_standard_error(run, easylink):
    told = run("--log-level", "info", "ingest", "-", stdin=easylink("r-1", 2))
    assert "info: refund.recorded" in told.err
    assert "refund_id=r-1" in told.err
    assert "refund.recorded" not in told.out
    assert run("ingest", "-", stdin=easylink("r-2", 2)).err == ""
