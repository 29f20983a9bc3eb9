"""The commands there are, wrong use, and what is interrupted."""

import pytest

from refold.engine import RefundEngine
from refold.engine.audit import diagram
from refold.engine.cli import app
from refold.engine.cli import main as run_main
from refold.engine.cli.gateway_tables import markdown
from refold.engine.composition import all_gateways
from refold.engine.domain.lifecycle import MOVES
from refold.engine.domain.signals import State

COMMANDS = [
    "demo",
    "register",
    "request",
    "submit",
    "poll",
    "work",
    "ingest",
    "list",
    "payments",
    "show",
    "history",
    "attention",
    "resolve",
    "serve",
]
COMMANDS += ["replay", "backup", "subscriptions", "diagram", "gateways", "simulate", "doctor"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("list", "--nonsense"),
        ("list", "--state", "refunded"),
        ("list", "--attention", "boredom"),
        ("list", "--limit", "0"),
        ("list", "--limit", "many"),
        ("show",),
        ("show", "a b"),
        ("ingest",),
        ("diagram", "--format", "png"),
        ("gateways", "stripe"),
        ("--log-level", "loud", "list"),
        ("list", "--db", " "),
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2(run, store, arguments):
    told = run("--db", store, *arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err


def test_help_names_every_command_and_the_exit_codes(run):
    told = run("--help")
    assert told.code == 0
    assert [name for name in COMMANDS if name not in told.out] == []
    assert "Exit codes: 0 ok" in " ".join(told.out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run, name):
    told = run(name, "-h")
    assert (told.code, "Usage: refold" in told.out or name in told.out) == (0, True)


def test_the_help_lists_exactly_these_commands():
    assert [command.name for command in app.registered_commands] == COMMANDS


def test_an_interrupted_command_says_what_that_means(run, store, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(RefundEngine, "find", interrupted)
    told = run("list", "--db", store)
    assert (told.code, told.out) == (130, "")
    assert "repeating the command is safe" in told.err


def test_a_pipe_that_closes_while_a_table_is_written_ends_with_141(run, store, monkeypatch):
    from refold.engine.cli.output import Output

    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr(Output, "show", closed)
    assert run("list", "--db", store)[:2] == (141, "")


def test_main_is_the_same_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["refold", "--version"])
    with pytest.raises(SystemExit) as ended:
        run_main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("refold ")


# ---- what refold knows


def leads(drawn):
    """Return (source, target, trigger without its condition) of each move a text diagram shows."""
    found, source = set(), None
    for line in drawn.splitlines():
        if line.startswith("  -> "):
            target, triggers = line.removeprefix("  -> ").split(maxsplit=1)
            found |= {(source, target, trigger.split(" (")[0]) for trigger in triggers.split(", ")}
        elif line:
            source = line.split()[0]
    return found


def arrows(drawn):
    """Return the same of a Mermaid diagram."""
    found = set()
    for line in drawn.splitlines():
        move, _, triggers = line.strip().partition(": ")
        if triggers:
            source, _, target = move.partition(" --> ")
            found |= {(source, target, trigger.split(" (")[0]) for trigger in triggers.split(", ")}
    return found


EVERY_MOVE = {(str(move.source), str(move.target), str(move.trigger)) for move in MOVES}


def test_the_diagrams_show_every_move_and_no_other(run):
    assert leads(run("diagram").out) == EVERY_MOVE
    assert arrows(run("diagram", "--format", "mermaid").out) == EVERY_MOVE


def test_the_diagrams_show_where_a_refund_starts_and_may_rest():
    drawn = diagram.mermaid()
    assert drawn.startswith("stateDiagram-v2\n    [*] --> created\n")
    assert [state for state in State if f"    {state} --> [*]" in drawn] == ["success", "failed", "closed"]


def test_the_diagrams_show_the_conditions():
    conditions = {move.only.replace("_", " ") for move in MOVES if move.only}
    assert conditions
    assert all(f"({condition})" in diagram.mermaid() for condition in conditions)
    assert all(f"({condition})" in diagram.text() for condition in conditions)


def test_the_gateways_page_is_printed_byte_for_byte(run):
    assert run("gateways", "--format", "markdown").out == markdown(all_gateways())


def test_a_gateway_for_people_and_for_programs(run):
    told = run("gateways", "easylink")
    assert "overdue without an outcome after" in told.out
    assert "evonet" not in told.out
    (known,) = run("gateways", "easylink", "--json").json
    assert known["gateway"] == "easylink"


@pytest.mark.parametrize("command", [(), ("work",), ("register",)])
def test_the_help_shows_flags_as_flags(run, command):
    told = run(*command, "--help")
    assert told.code == 0
    assert "bool" not in told.out
