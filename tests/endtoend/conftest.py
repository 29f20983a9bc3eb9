"""Simulators, a webhook receiver and workers in processes of their own, on one store, over real sockets."""

import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn

from refold.adapters.simulators import serve, simulators
from refold.engine import RefundEngine
from refold.engine.web import create_app

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture(autouse=True)
def uncounted(monkeypatch):
    """Count no lines in the processes that these tests start: it would take a quarter of their time."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(autouse=True)
def quiet(logs):
    """Log nothing on the terminal."""


def adapters_of(settings):
    """Return the adapters that the worker has, for the receiver."""
    spec = importlib.util.spec_from_file_location("refold_test_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.adapters(settings["credentials"], settings["speed"], settings["capabilities"])


@contextmanager
def receiving(engine):
    """Serve the receiver on a free port of this machine, and give its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(engine), log_config=None, log_level=logging.CRITICAL, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks/"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


class World:
    """Everything that runs, and what the tests ask of it."""

    def __init__(self, tmp_path, engine, running, settings):
        self.engine = engine
        self.running = running
        self.simulators = running.simulators
        self._settings = tmp_path / "settings.json"
        self._settings.write_text(json.dumps(settings))
        self._contacts = {}
        self._started = 0
        self.workers = []

    def start_worker(self):
        """Start a worker in a process of its own, and wait until it works."""
        self._started += 1
        contacts = self._settings.with_name(f"contacts-{self._started}")
        # Measuring makes it much slower, and who is killed leaves no record of what it covered.
        environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
        process = subprocess.Popen(
            [sys.executable, str(WORKER), str(self._settings), str(contacts)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment, "PYTHONWARNINGS": "ignore"},
        )
        assert process.stdout.readline() == "working\n"
        self.workers.append(process)
        self._contacts[process.pid] = contacts
        return process

    def said(self, process):
        """Return what a worker told of each of its contacts."""
        return self._contacts[process.pid].read_text().splitlines()

    def end(self, process, *, how):
        """End a worker by a signal, and wait for it."""
        process.send_signal(how)
        process.wait(60)
        process.stdout.close()
        self.workers.remove(process)
        return process.returncode

    def posts(self):
        return [
            (name, refund_id) for name in self.simulators for refund_id in self.simulators[name].ledger.posts
        ]

    def until(self, holds, seconds, what):
        """Wait until a condition holds; the wait is only how often it is looked at."""
        give_up = datetime.now(UTC) + timedelta(seconds=seconds)
        while not holds():
            assert datetime.now(UTC) < give_up, f"after {seconds} s: {what()}"
            threading.Event().wait(0.2)


@pytest.fixture
def world(tmp_path):
    """Make a world with these simulators and capabilities."""
    made = []

    @contextmanager
    def build(*, speed, capabilities, concurrency=8, **options):
        sims = simulators(clock=lambda: datetime.now(UTC), speed=speed, **options)
        settings = {
            "store": f"sqlite:///{tmp_path / 'refunds.db'}",
            "credentials": {name: dict(sims.credentials[name]) for name in sims},
            "speed": speed,
            "capabilities": capabilities,
            "concurrency": concurrency,
        }
        with (
            serve(sims) as running,
            RefundEngine.open(settings["store"], gateways=adapters_of(settings), timeout_s=30) as engine,
            receiving(engine) as notify,
        ):
            settings |= {"notify": notify, "urls": {name: running.url(name) for name in sims}}
            there = World(tmp_path, engine, running, settings)
            made.append(there)
            yield there

    yield build
    for there in made:
        for process in list(there.workers):
            there.end(process, how=9)
