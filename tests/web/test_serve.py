"""`refold serve` as a process, and what it refuses to do."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest
import typer

from refold.engine.cli import app as commands
from refold.engine.cli import serving

COMMAND = [sys.executable, "-m", "refold.engine.cli"]
KEY = "evonet-0123456789abcdef"


@pytest.fixture
def environment():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    return kept | {"REFOLD_EVONET_KEY": KEY, "NO_COLOR": "1"}


@pytest.fixture
def started(tmp_path, environment):
    """Start the command on a free port; return the process, its address and what it said so far."""
    with contextlib.ExitStack() as stack:

        def start(*options):
            process = subprocess.Popen(
                [*COMMAND, "--log-level", "info", "serve", "--port", "0", *options],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            said = [process.stdout.readline() for _ in range(5)]
            return process, re.search(r"http://\S+:\d+", said[0]).group(), "".join(said)

        yield start


def ended(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_it_serves_until_it_is_told_to_stop_and_ends_with_0(started, number):
    process, address, said = started()
    with httpx.Client(base_url=address) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.post("/webhooks/evonet?secret=canary", content=b"{}").status_code == 401
    process.send_signal(number)
    code, out, err = ended(process)
    assert (code, out) == (0, "stopped; what was acknowledged is in the store\n")
    assert "canary" not in said + out + err
    assert "route=/webhooks/{gateway} status=401 gateway=evonet" in err
    assert "uvicorn" not in err.lower()
    assert "Traceback" not in err


def test_it_says_where_it_listens_and_which_gateways_have_keys(started):
    process, address, said = started("--host", "localhost")
    assert address.startswith(("http://127.0.0.1:", "http://[::1]:"))
    lines = said.splitlines()
    assert lines[1:] == [
        "evocloud: every webhook is refused, no key (REFOLD_EVOCLOUD_KEY or REFOLD_EVOCLOUD_KEY_FILE)",
        "evonet: /webhooks/evonet, key ****",
        "bbmsl: documents no webhook",
        "easylink: every webhook is refused, no key (REFOLD_EASYLINK_KEY or REFOLD_EASYLINK_KEY_FILE)",
    ]
    assert KEY not in said
    process.terminate()
    assert ended(process)[0] == 0


def run(tmp_path, environment, *options):
    done = subprocess.run(
        [*COMMAND, "serve", *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_port_that_is_taken_is_wrong_use_with_a_clear_text(tmp_path, environment):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = run(tmp_path, environment, "--port", port)
    assert (code, out) == (2, "")
    assert f"--port: {port} on 127.0.0.1 cannot be listened on: Address already in use" in err
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_opened_ends_with_3(tmp_path, environment):
    (tmp_path / "refunds.db").mkdir()
    code, out, err = run(tmp_path, environment, "--port", "0", "--db", "refunds.db")
    assert (code, out, len(err.splitlines())) == (3, "", 1)


# ---- as a function


def served_with(monkeypatch, *options):
    """Run the command without serving; return its exit code."""
    monkeypatch.setattr("refold.engine.web.server.serve", lambda app, listening, announce: announce())
    with pytest.raises(SystemExit) as ended_with:
        typer.main.get_command(commands).main(["serve", "--port", "0", *options], prog_name="refold")
    return ended_with.value.code or 0


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("REFOLD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - that it is refused is the claim
def test_an_address_others_reach_needs_a_word_about_tls(monkeypatch, capsys, host):
    assert served_with(monkeypatch, "--host", host) == 2
    assert "--behind-tls-proxy" in capsys.readouterr().err
    assert served_with(monkeypatch, "--host", host, "--behind-tls-proxy") == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_an_address_of_this_machine_only_needs_no_word(monkeypatch, host):
    assert served_with(monkeypatch, "--host", host) == 0


@pytest.mark.parametrize(
    "options", [("--host", ""), ("--host", "no such\x00host"), ("--host", "203.0.113.1")]
)
def test_an_address_that_is_none_is_wrong_use(monkeypatch, capsys, options):
    assert served_with(monkeypatch, *options, "--behind-tls-proxy") == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_wrong_use(monkeypatch, port):
    assert served_with(monkeypatch, "--port", port) == 2


def test_a_blank_key_is_wrong_use(monkeypatch, capsys):
    monkeypatch.setenv("REFOLD_EVONET_KEY", " ")
    assert served_with(monkeypatch) == 2
    assert "the key is blank" in capsys.readouterr().err


IMPORTED_WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
try:
    import refold.engine.web
except ModuleNotFoundError as error:
    print(error.name, error)
"""


def imported_without(name):
    command = [sys.executable, "-c", IMPORTED_WITHOUT, name]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("missing", ["starlette", "prometheus_client"])
def test_importing_it_without_the_extra_says_what_to_install(missing):
    text = f"refold.engine.web needs `pip install 'refold[server]'`: {missing} is not installed"
    assert imported_without(missing) == f"{missing} {text}\n"


def test_what_else_cannot_be_imported_is_not_called_a_missing_extra():
    assert imported_without("structlog").startswith("structlog import of structlog halted")


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "prometheus_client"])
def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys, missing):
    for name in [name for name in sys.modules if name.startswith("refold.engine.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("refold.engine.web", raising=False)
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as ended_with:
        typer.main.get_command(commands).main(["serve", "--port", "0"], prog_name="refold")
    assert ended_with.value.code == 2
    assert "pip install 'refold[server]'" in capsys.readouterr().err


def test_other_commands_load_nothing_of_the_extra():
    code = (
        "import sys, refold.engine.cli; print([m for m in sys.modules if 'uvicorn' in m or 'starlette' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_socket_is_closed_where_it_cannot_be_bound():
    with pytest.raises(Exception, match="cannot be listened on"):
        serving._listening("203.0.113.1", 0, behind_tls_proxy=True)
