"""`refold serve --work`: one process that sends, looks up, receives webhooks and counts all of it."""

import os
import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from refold.adapters.simulators import serve, settings_toml, simulators
from refold.engine import Money, RefundEngine

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time


@pytest.fixture
def running():
    with serve(simulators(["evonet"], clock=lambda: datetime.now(UTC), speed=600)) as there:
        yield there


def start(tmp_path, running, *options):
    config = tmp_path / "refold.toml"
    config.write_text(settings_toml(running))
    config.chmod(0o600)
    return subprocess.Popen(
        [sys.executable, "-m", "refold.engine.cli", "--config", config, "serve", "--port", "0", *options],
        cwd=tmp_path,
        env={**os.environ, "REFOLD_DB": str(tmp_path / "refunds.db"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_one_process_sends_and_counts_what_it_does_and_ends_cleanly(tmp_path, running):
    process = start(tmp_path, running, "--work")
    try:
        url = re.search(r"http://\S+?(?=;)", process.stdout.readline())[0]
        with RefundEngine.open(f"sqlite:///{tmp_path / 'refunds.db'}") as engine:
            for n in range(5):
                engine.request(
                    gateway="evonet",
                    payment_id=f"p-{n}",
                    refund_id=f"r-{n}-succeeds",
                    amount=Money(100, "HKD"),
                )
            give_up = datetime.now(UTC) + timedelta(seconds=60)
            while {str(view.state) for view in engine.find()} != {"success"}:
                assert datetime.now(UTC) < give_up
                threading.Event().wait(0.1)
        page = httpx.get(f"{url}/metrics").text
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert -1 < out.index("stopping: ") < out.index("stopped; ")
    assert 'refold_contacts_total{gateway="evonet",outcome="answered",phase="submit"} 5.0' in page
    assert 'refold_events_total{type="refund.submission_started"} 5.0' in page
    assert "refold_work_waiting 0.0" in page


def test_without_an_address_there_is_nothing_to_work_on(tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "refold.engine.cli", "serve", "--port", "0", "--work"],
        cwd=tmp_path,
        env={**os.environ, "REFOLD_DB": str(tmp_path / "refunds.db")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 2
    assert "base_url" in told.stderr
