"""`refold simulate`: what it prints, what it writes, how it ends, and wrong use."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tomllib
import urllib.request

import pytest

from refold.engine.cli import simulating
from refold.engine.composition import SIMULATORS_MISSING, serve_simulators
from refold.engine.errors import InvalidSetting

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(number, tmp_path):
    settings = tmp_path / "refold.toml"
    command = [sys.executable, "-m", "refold.engine.cli", "simulate"]
    command += ["--gateway", "evonet", "--port", "0", "--config-out", str(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        written = tomllib.loads(settings.read_text())["gateways"]["evonet"]
        ledger = next(line.split()[1] for line in said if "ledger" in line)
        with NO_PROXY.open(ledger, timeout=30) as answer:
            assert b'"movements":[]' in answer.read()
        process.send_signal(number)
        rest, err = process.communicate(timeout=60)
    printed = "".join(said) + rest
    assert (process.returncode, err) == (0, "")
    assert written["base_url"] in printed
    assert written["notify_url"] == "http://127.0.0.1:8080/webhooks/evonet"
    assert printed.index(f"{settings} serve") < printed.index(f"{settings} work")
    assert written["keys"][0]["secret"] not in printed
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600


def test_it_prints_urls_outcomes_and_where_the_settings_are(run, monkeypatch):
    from threading import Event

    class Told(Event):
        def wait(self, timeout=None):
            return True

    monkeypatch.setattr(simulating, "Event", Told)
    before = signal.getsignal(signal.SIGTERM)
    told = run(
        "simulate", "--gateway", "evonet", "--gateway", "easylink", "--port", "0", "--all-faults", "10"
    )
    assert (told.code, told.err) == (0, "")
    assert all(word in told.out for word in ("/evonet", "/easylink", "reverses", "--config-out", "****"))
    assert "/bbmsl" not in told.out
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--gateway", "stripe"),
        ("--port", "70000"),
        ("--speed", "0"),
        ("--fault", "nonsense=1"),
        ("--fault", "half_response"),
        ("--fault", "half_response=1001"),
        ("--fault", "half_response=-1"),
        ("--all-faults", "1001"),
        ("--host", "192.0.2.1"),
        ("--host", "::"),
        ("--notify", "http://192.0.2.1/webhooks"),
        ("--notify", "127.0.0.1:8080"),
        ("--notify", "http://127.0.0.1:99999/"),
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_and_says_why(run, arguments):
    told = run("simulate", "--port", "0", *arguments)
    assert (told.code, told.out) == (2, "")
    assert arguments[0] in told.err


def test_a_fault_without_a_chance_says_what_is_missing(run):
    told = run("simulate", "--port", "0", "--fault", "half_response")
    assert "its chance in a thousand is missing" in told.err


@pytest.mark.parametrize("path", ["/nonexistent/x.toml", "."])
def test_settings_that_cannot_be_written_end_with_2(run, path):
    told = run("simulate", "--gateway", "evonet", "--port", "0", "--config-out", path)
    assert (told.code, "error: --config-out: " in told.err) == (2, True)


def test_the_settings_say_where_webhooks_go_and_wait_no_longer_than_a_trial_needs():
    notify = "http://127.0.0.1:8081/webhooks"
    with serve_simulators(notify_url=notify) as served:
        written = tomllib.loads(served.settings)["gateways"]
    told = {name: section.get("notify_url") for name, section in written.items()}
    assert told == {
        "evocloud": f"{notify}/evocloud",
        "evonet": f"{notify}/evonet",
        "easylink": f"{notify}/easylink",
        "bbmsl": None,
    }
    assert {(one["post_timeout_s"], one["poll_interval_s"]) for one in written.values()} == {(2, 2)}


def test_a_port_that_is_taken_ends_with_2(run):
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = run("simulate", "--gateway", "evonet", "--port", other.getsockname()[1])
    assert (told.code, "choose another, or 0 for a free one" in told.err) == (2, True)


@pytest.mark.parametrize("content", [b"[gateways.evonet]\n", b"\xff\x00", b"\n"])
def test_settings_that_somebody_else_wrote_are_left_alone(run, tmp_path, content):
    mine = tmp_path / "refold.toml"
    mine.write_bytes(content)
    told = run("simulate", "--gateway", "evonet", "--port", "0", "--config-out", mine)
    assert (told.code, "name another file" in told.err) == (2, True)
    assert mine.read_bytes() == content


def test_settings_are_written_anew_and_closed_to_others(tmp_path):
    path = tmp_path / "refold.toml"
    simulating.write_settings(path, "a = 1\n" * 100)
    path.chmod(0o644)
    simulating.write_settings(path, "b = 2\n")
    assert tomllib.loads(path.read_text()) == {"b": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_settings_are_not_written_into_something_that_is_no_file():
    with pytest.raises(InvalidSetting, match="no ordinary file"):
        simulating.write_settings(os.devnull, "a = 1\n")


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    import refold.adapters

    monkeypatch.delattr(refold.adapters, "simulators", raising=False)
    monkeypatch.setitem(sys.modules, "refold.adapters.simulators", None)
    with pytest.raises(InvalidSetting, match="pip install") as raised, serve_simulators():
        pass
    assert raised.value.reason == SIMULATORS_MISSING
