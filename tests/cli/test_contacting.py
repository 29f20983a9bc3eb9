"""`refold register`, `request`, `submit`, `poll`: asking for refunds and talking to gateways, from the shell."""

import pytest

from refold.engine import RefundEngine
from refold.engine.errors import ResendRefused, StoreBusy

ASK = ("--gateway", "evonet", "--payment", "p-1", "--currency", "HKD")


def test_a_payment_is_registered_and_guards_its_refunds(run):
    told = run("register", "p-1", "--gateway", "evonet", "--captured", "100.00", "--currency", "HKD")
    assert (told.code, told.out) == (0, "p-1  evonet  100.00 HKD captured\n")
    assert run("request", "r-1", *ASK, "--amount", "60").code == 0
    told = run("request", "r-2", *ASK, "--amount", "60")
    assert (told.code, told.out) == (4, "")
    assert "4000 left" in told.err


def test_a_payment_registered_otherwise_is_a_conflict(run):
    options = ("--gateway", "evonet", "--currency", "HKD", "--captured")
    first = run("register", "p-1", *options, "100", "--json")
    assert (first.json["payment_id"], first.json["captured_minor"]) == ("p-1", 10000)
    assert run("register", "p-1", *options, "100.00").code == 0
    assert run("register", "p-1", *options, "101").code == 4


def test_a_refund_is_asked_for_once_however_often_that_is_said(run):
    asking = ("request", "r-1", *ASK, "--amount", "60.00", "--reason", "broken", "--by", "kim")
    first, again = run(*asking, "--json"), run(*asking)
    assert first.json["state"] == "created"
    assert first.json["amount"] == {"minor": 6000, "currency": "HKD"}
    assert (again.code, again.out) == (0, "r-1  evonet  60.00 HKD  created\n")
    assert run("request", "r-1", *ASK, "--amount", "61").code == 4
    assert "kim" in run("history", "r-1").out
    assert run("resolve", "r-1", "failed", "--actor", "kim", "--reason", "x").code == 4


@pytest.mark.parametrize(
    "changed",
    [
        ("--amount", "60.001"),
        ("--amount", "-1"),
        ("--amount", "x"),
        ("--currency", "hkd"),
        ("--gateway", "stripe"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_for_is_wrong_use_and_nothing_is_kept(run, changed):
    told = run("request", "r-1", *ASK, "--amount", "1", *changed)
    assert (told.code, told.out) == (2, "")
    assert "Traceback" not in told.err


def test_a_refund_is_sent_and_its_outcome_printed(run, configured, asked_for, gateway):
    configured()
    asked_for("r-1")
    told = run("submit", "r-1")
    assert (told.code, told.out, told.err) == (0, "r-1  evonet  60.00 HKD  success\n", "")
    assert gateway.asked == [("POST", "/payment/p-r-1/refund")]


def test_a_refund_is_looked_up_and_its_outcome_printed(run, configured, asked_for, gateway):
    configured('query_path = "/q/{merchantTransID}"\n')
    asked_for("r-1")
    told = run("poll", "r-1", "--json")
    assert told.code == 0
    assert [view["state"] for view in told.json] == ["success"]
    assert gateway.asked == [("GET", "/q/r-1")]


def test_one_refund_that_is_not_there_does_not_keep_the_others_from_being_sent(
    run, configured, asked_for, gateway
):
    configured()
    asked_for("r-1", "r-2")
    told = run("submit", "r-1", "nowhere", "r-2", "--json")
    assert told.code == 1
    assert [view["refund_id"] for view in told.json] == ["r-1", "r-2"]
    assert "refund 'nowhere' is not in the log" in told.err
    assert len(gateway.asked) == 2


def test_asking_again_too_soon_is_a_conflict_that_says_how_long_to_wait(run, configured, asked_for, gateway):
    gateway.status = "refund_pending"
    configured()
    asked_for("r-1")
    assert run("submit", "r-1").out == "r-1  evonet  60.00 HKD  received\n"
    told = run("poll", "r-1")
    assert (told.code, told.out) == (4, "")
    assert "try again in" in told.err
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(("error", "code"), [(ResendRefused("r-1", "why"), 4), (StoreBusy(5), 3)])
def test_a_refusal_and_a_store_that_fails_have_their_exit_codes(
    run, configured, asked_for, monkeypatch, error, code
):
    def refused(*_):
        raise error

    configured()
    asked_for("r-1")
    monkeypatch.setattr(RefundEngine, "submit", refused)
    told = run("submit", "r-1")
    assert (told.code, told.out) == (code, "")
    assert str(error) in told.err


def test_a_gateway_that_is_not_there_is_something_to_look_at(run, configured, asked_for, gateway):
    configured(f'proxy = "http://127.0.0.1:{unused_port()}"\n')
    asked_for("r-1")
    told = run("submit", "r-1")
    assert (told.code, told.out) == (1, "r-1  evonet  60.00 HKD  created\n")
    assert "r-1: submit at evonet not_sent" in told.err
    assert gateway.asked == []


def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("name", ["submit", "poll"])
def test_without_an_address_the_error_names_what_is_missing(run, asked_for, name):
    asked_for("r-1")
    told = run(name, "r-1", "--db", "refold.db")
    assert (told.code, told.out) == (2, "")
    assert "evonet" in told.err


@pytest.mark.parametrize("name", ["submit", "poll", "work"])
def test_a_store_that_is_missing_is_not_made(run, configured, tmp_path, name):
    configured()
    assert run(name, *(() if name == "work" else ("r-1",))).code == 3
    assert not (tmp_path / "mine.db").exists()
