"""`refold subscriptions`: who follows the log, how far they are, and what they have set aside."""

import pytest

from refold.engine import RefundEngine
from refold.engine.cli import doctor


@pytest.fixture
def followed(run):
    """A store with three refunds; the ledger is told of all of them, the mail only of what is not r-1's."""
    for name in ("r-1", "r-2"):
        asked = run("request", name, "--payment", name, "--amount", "5.00", "--currency", "HKD")
        assert asked.code == 2, "a gateway is needed"
        options = ("--gateway", "evonet", "--currency", "HKD", "--db", "s.db")
        assert run("request", name, "--payment", name, "--amount", "5.00", *options).code == 0

    def fail(effect):
        if effect.refund_id == "r-1":
            raise ValueError("password")

    with RefundEngine.open("sqlite:///s.db") as engine:
        engine.deliver("ledger", print, once=True, start="beginning")
        engine.resolve("r-1", "failed", actor="ann", reason="by telephone")
        engine.deliver("mail", fail, once=True, start="beginning", attempts=1)
    return run


def test_it_tells_how_far_each_one_is(followed):
    told = followed("subscriptions", "--db", "s.db")
    rows = [line.split() for line in told.out.splitlines() if line.startswith(("ledger", "mail"))]
    head = int(rows[1][1])
    assert rows == [["ledger", str(head - 1), "1", "0"], ["mail", str(head), "0", "2"]]
    assert told.out.endswith("2 subscriptions\n")
    assert told.code == 1, "something is set aside"


def test_as_json_it_is_what_the_engine_returns(followed):
    ledger, mail = followed("subscriptions", "--json", "--db", "s.db").json
    assert ledger == {"name": "ledger", "checkpoint": mail["checkpoint"] - 1, "lag": 1, "dead_letters": 0}
    assert (mail["lag"], mail["dead_letters"]) == (0, 2)


def test_by_name_it_lists_what_was_set_aside_and_why(followed):
    told = followed("subscriptions", "mail", "--db", "s.db")
    assert told.code == 1
    assert [word in told.out for word in ("refund-r-1", "ValueError", "waits", "2 events set aside")] == [
        True
    ] * 4
    first, second = followed("subscriptions", "mail", "--json", "--db", "s.db").json
    assert (first["stream"], first["type"], first["version"]) == ("refund-r-1", "refund.requested", 1)
    assert (first["error"], first["attempts"], second["error"], second["attempts"]) == (
        "ValueError",
        1,
        None,
        0,
    )
    assert "password" not in f"{told.out} {first}"


def test_where_nothing_is_set_aside_it_ends_with_0(followed):
    for arguments in (("subscriptions", "ledger"), ("subscriptions", "nobody")):
        told = followed(*arguments, "--db", "s.db")
        assert (told.code, told.out) == (0, "0 events set aside\n")
    assert followed("subscriptions", "--db", "memory:").out == "0 subscriptions\n"


# ---- doctor


def test_doctor_tells_how_far_each_one_is_and_warns_of_what_is_set_aside(followed, monkeypatch):
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version", "3.51.3")
    told = followed("doctor", "--json", "--db", "s.db")
    found = {finding["what"]: finding for finding in told.json["findings"]}
    ledger, mail = found["subscription ledger"], found["subscription mail"]
    head = mail["numbers"]["head"]
    assert (ledger["level"], mail["level"], told.code) == ("ok", "warning", 1)
    assert ledger["says"] == f"checkpoint {head - 1} of {head}, lag 1, set aside 0"
    assert mail["says"].startswith(
        f"checkpoint {head} of {head}, lag 0, set aside 2; `refold subscriptions mail`"
    )
    assert ledger["numbers"] == {"checkpoint": head - 1, "head": head, "lag": 1, "dead_letters": 0}
    assert mail["numbers"] == {"checkpoint": head, "head": head, "lag": 0, "dead_letters": 2}
    assert "numbers" not in found["store"]
    shown = followed("doctor", "--db", "s.db").out
    assert f"subscription ledger: {ledger['says']}" in shown


def test_doctor_has_nothing_against_one_that_is_behind(run, monkeypatch):
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version", "3.51.3")
    options = (
        "--payment",
        "p",
        "--amount",
        "5.00",
        "--gateway",
        "evonet",
        "--currency",
        "HKD",
        "--db",
        "s.db",
    )
    with RefundEngine.open("sqlite:///s.db") as engine:
        engine.deliver("ledger", print, once=True, start="beginning")
    assert run("request", "r-1", *options).code == 0
    told = run("doctor", "--json", "--db", "s.db")
    found = {finding["what"]: finding.get("numbers") for finding in told.json["findings"]}
    assert found["subscription ledger"]["lag"] > 0
    assert (told.code, told.json["ok"]) == (0, True)
