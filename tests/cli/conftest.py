"""The command line as a function: arguments in, exit code and both streams out."""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog
import typer

from refold.engine.cli import app


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch, tmp_path):
    """No key, store or window size of whoever runs the tests; logging as it was afterwards."""
    for name in [name for name in os.environ if name.startswith("REFOLD_")]:
        monkeypatch.delenv(name)
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    structlog.reset_defaults()


COMMAND = typer.main.get_command(app)
"""The command, put together once: that takes as long as running most of them."""


def invoked(arguments, stdin=b"", env=None):
    """Run the command in this process, between streams that are no terminals."""
    out, err, given = (io.TextIOWrapper(io.BytesIO(content), "utf-8") for content in (b"", b"", stdin))
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (env or {}).items():
            patched.setenv(name, value)
        for name, stream in (("stdout", out), ("stderr", err), ("stdin", given)):
            patched.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as ended:
            COMMAND.main(list(map(str, arguments)), prog_name="refold")
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Ran(ended.value.code or 0, *texts)


@pytest.fixture
def run():
    def call(*arguments, stdin="", env=None):
        return invoked(arguments, stdin.encode(), env)

    return call


@pytest.fixture
def command():
    """Run the command in a process of its own."""

    def call(*arguments, stdin=b"", env=None, **options):
        done = subprocess.run(
            [sys.executable, "-m", "refold.engine.cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            env=os.environ | (env or {}),
            **options,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


def message_log():
    """Return the lines of the example log that ships with the documents."""
    return (Path(__file__).parents[2] / "docs" / "examples" / "messages.jsonl").read_bytes().splitlines()


@pytest.fixture(scope="session")
def imported_once(tmp_path_factory):
    """The example log in a store, imported by the command itself."""
    folder = tmp_path_factory.mktemp("store")
    log = folder / "messages.jsonl"
    log.write_bytes(b"\n".join(message_log()) + b"\n")
    assert invoked(["ingest", log, "--db", folder / "refunds.db"]).code == 1
    structlog.reset_defaults()
    return folder


@pytest.fixture
def log_file(imported_once) -> Path:
    return imported_once / "messages.jsonl"


@pytest.fixture
def store(imported_once, tmp_path) -> Path:
    """A copy of that store."""
    copy = tmp_path / "refunds.db"
    shutil.copy(imported_once / "refunds.db", copy)
    return copy


@pytest.fixture
def lines():
    """Make a message log out of (channel, body, more fields) for one gateway."""

    def made(gateway, *messages):
        rows = [
            {
                "gateway": gateway,
                "channel": channel,
                "received_at": f"2026-03-02T12:00:{index:02}Z",
                "body": body,
                **more,
            }
            for index, (channel, body, more) in enumerate(messages)
        ]
        return "".join(json.dumps(row) + "\n" for row in rows)

    return made


@pytest.fixture
def easylink(lines):
    """Make a log in which one easylink refund is asked for, and answered with a state."""

    def made(refund_id="r-1", *states, detail="", reason="why", payment="P1", cents=6000):
        request = {
            "payOrderId": payment,
            "mchRefundNo": refund_id,
            "refundAmount": cents,
            "currency": "HKD",
            "refundReason": reason,
            "mchNo": "M1",
        }
        answers = [
            (
                "poll",
                {
                    "code": 0,
                    "data": {
                        "mchRefundNo": refund_id,
                        "payOrderId": payment,
                        "refundOrderId": "R77",
                        "refundAmount": cents,
                        "state": state,
                        "errMsg": detail,
                    },
                },
                {},
            )
            for state in states
        ]
        return lines("easylink", ("request", request, {}), *answers)

    return made


@pytest.fixture
def damage():
    """Change one byte of a refund's last event behind the store's back."""

    def do(store, refund_id):
        with closing(sqlite3.connect(store)) as connection, connection:
            connection.execute("DROP TRIGGER events_keep_update")
            connection.execute(
                "UPDATE events SET data = replace(data, 'refund.status', 'refund.Status') WHERE stream = ?",
                (f"refund-{refund_id}",),
            )

    return do


class LoopbackGateway(ThreadingHTTPServer):
    """A gateway on this machine: notes what it is asked, and answers once it may."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answering)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status = "refunded_full"
        self.asked = []
        self.arrived = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()


class _Answering(BaseHTTPRequestHandler):
    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path))
        self.server.arrived.set()
        self.server.may_answer.wait(60)
        body = json.dumps(
            {"result": {"code": "S0000", "message": ""}, "refund": {"status": self.server.status}}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - the names the server looks for

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def gateway():
    """A loopback gateway that speaks Evonet's dialect."""
    with LoopbackGateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def configured(gateway, tmp_path):
    """A refold.toml in this folder, with Evonet at the loopback gateway; return its path."""

    def written(more="", mode=0o600, key='secret = "evonet-0123456789"'):
        path = tmp_path / "refold.toml"
        path.write_text(
            '[store]\nurl = "sqlite:///mine.db"\n'
            f'[gateways.evonet]\nbase_url = "{gateway.url}"\nkeys = [{{ id = "k-1", {key} }}]\n{more}'
        )
        path.chmod(mode)
        return path

    return written


@pytest.fixture
def asked_for(run):
    """Ask for refunds at Evonet, of a payment each."""

    def ask(*refund_ids):
        for refund_id in refund_ids:
            options = (
                "--gateway",
                "evonet",
                "--payment",
                f"p-{refund_id}",
                "--amount",
                "60",
                "--currency",
                "HKD",
            )
            assert run("request", refund_id, *options).code == 0

    return ask
