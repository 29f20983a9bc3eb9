"""`python -m refold.engine.cli` as a process: pipes that close, Ctrl-C, terminals without UTF-8, wrong use."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_pipe_that_closes_ends_the_command_quietly(store, options):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:  # noqa: PTH123 - the name is a descriptor
        done = subprocess.run(
            [sys.executable, "-m", "refold.engine.cli", "list", *options, "--db", str(store)],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
            env=os.environ | {"PYTHONUNBUFFERED": ""},  # what is buffered is what fails once more at the end
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_ends_an_import_without_a_traceback(tmp_path):
    os.mkfifo("messages")
    command = [sys.executable, "-m", "refold.engine.cli", "ingest", "messages"]
    # The second file opens as soon as the command has opened it, too.
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process, Path("messages").open("wb"):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_terminal_without_utf_8_is_no_reason_to_stop(command, easylink):
    plain = {"PYTHONIOENCODING": "ascii"}
    log = easylink("r-1", 2, 3, detail="退款失败").encode()
    assert command("ingest", "-", stdin=log, env=plain).code == 0
    told = command("history", "r-1", env=plain)
    assert (told.code, "\\u9000" in told.out) == (0, True)


def test_an_error_is_one_line_and_no_traceback(command):
    told = command("list")
    assert (told.code, told.out) == (3, "")
    assert told.err.startswith("error: store unavailable")
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("closed", "arguments", "code"),
    [
        (">&-", ("list",), 0),
        (">&-", ("list", "--json"), 0),
        ("2>&-", ("show", "nothing"), 1),
        (">&- 2>&-", ("list", "--nonsense"), 2),
        (">&- 2>&-", ("list", "--db", "nowhere.db"), 3),
    ],
)
def test_closed_streams_change_no_exit_code(store, closed, arguments, code):
    shell = f'exec "$0" -m refold.engine.cli "$@" {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable, "--db", str(store), *arguments],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (code, b"")


def test_a_closed_standard_input_is_said(command):
    shell = 'exec "$0" -m refold.engine.cli ingest - <&-'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == b"error: message log - cannot be read: standard input is closed\n"
