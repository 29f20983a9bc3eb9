"""`refold payments`: what was captured, what is reserved and refunded, and what is left."""

import pytest


@pytest.fixture
def asked(run):
    money = ("--currency", "HKD", "--gateway", "evonet", "--db", "p.db")
    assert run("register", "p-1", "--captured", "100.00", *money).code == 0
    assert run("request", "r-1", "--payment", "p-1", "--amount", "60.00", *money).code == 0
    assert run("request", "r-2", "--payment", "p-2", "--amount", "5.00", *money).code == 0
    return run


def test_it_tells_what_is_left_of_each_payment(asked):
    told = asked("payments", "--db", "p.db")
    rows = [line.split() for line in told.out.splitlines() if line.startswith("p-")]
    assert rows[0] == ["p-1", "evonet", "100.00", "HKD", "60.00", "HKD", "0.00", "HKD", "40.00", "HKD", "1"]
    assert rows[1][:4] == ["p-2", "evonet", "-", "5.00"], "it was never registered"
    assert told.out.endswith("2 payments\n")


def test_beside_a_refund_in_another_currency_it_says_nothing_is_known_to_be_left(asked):
    money = ("--payment", "p-3", "--gateway", "evonet", "--db", "p.db")
    assert asked("request", "r-3", "--amount", "5.00", "--currency", "USD", *money).code == 0
    assert asked("register", "p-3", "--captured", "100.00", "--currency", "HKD", *money[2:]).code == 0
    told = asked("payments", "--payment", "p-3", "--db", "p.db")
    rows = [line.split() for line in told.out.splitlines() if line.startswith("p-")]
    assert [row[-2:] for row in rows] == [["-", "0"], ["-", "1"]]
    told = asked("attention", "--db", "p.db")
    assert "Captured 100.00, refunds 0.00 HKD, 0 of them, and others in another currency." in " ".join(
        told.out.split()
    )
    assert asked("request", "r-4", "--amount", "1.00", "--currency", "HKD", *money).code == 4


def test_as_json_it_is_what_the_engine_returns(asked):
    (payment,) = asked("payments", "--payment", "p-1", "--json", "--db", "p.db").json
    assert (payment["captured_minor"], payment["reserved_minor"], payment["attention"]) == (10_000, 6000, [])


@pytest.mark.parametrize("options", [("--over-refunded",), ("--payment", "p-9")])
def test_where_none_matches_there_is_none(asked, options):
    assert asked("payments", *options, "--db", "p.db").out == "0 payments\n"
