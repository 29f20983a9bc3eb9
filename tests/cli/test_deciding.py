"""`refold attention` and `refold resolve`: why a person should look, and what the person decided."""

import shutil

import pytest

from refold.engine import Money, RefundEngine
from refold.engine.cli.words import ATTENTION, INBOX, STATE_STYLE
from refold.engine.domain.attention import Attention
from refold.engine.domain.signals import State

RAISED = {"conflict", "in_doubt", "overdue", "mismatch", "unrecognised", "contradicted"}


def test_every_reason_is_explained_with_what_to_do():
    assert set(ATTENTION) == set(Attention)
    assert all(explanation.means and explanation.do for explanation in ATTENTION.values())
    assert set(STATE_STYLE) == set(State)
    assert set(INBOX) == {"orphaned", "quarantined"}


def test_each_case_says_what_it_means_what_raised_it_and_what_to_do(run, store):
    told = run("attention", "--db", store)
    assert told.code == 0
    for reason in RAISED:
        explanation = ATTENTION[Attention(reason)]
        words = " ".join(told.out.split())
        assert f"{reason}: {explanation.means}" in words
        assert f"> {explanation.do}" in words
    assert "2025-07-14 01:15:20 webhook: refund.status=Failed, 45.00 USD" in told.out
    assert "amount_minor is 1000, asked was 10000" in told.out
    assert "inbox: orphaned  evonet refund_99999 pay_250599" in told.out


def test_the_cases_for_programs(run, store):
    found = run("attention", "--json", "--db", store).json
    assert {reason for each in found["refunds"] for reason in each["attention"]} == RAISED
    assert found["payments"] == []
    assert [(row["kind"], row["refund_id"]) for row in found["inbox"]] == [("orphaned", "refund_99999")]


def test_nothing_that_needs_a_person_is_said(run, easylink):
    run("ingest", "-", stdin=easylink("r-1", 2))
    assert run("attention") == (0, "Nothing needs a person.\n", "")
    assert run("attention", "--json").json == {"refunds": [], "payments": [], "inbox": []}


@pytest.fixture
def over_refunded(run, easylink, tmp_path):
    with RefundEngine.open("sqlite:///refold.db") as engine:
        engine.register_payment(gateway="easylink", payment_id="P1", captured=Money(10000, "HKD"))
    run("ingest", "-", stdin=easylink("r-1", 2) + easylink("r-2", 2))


def test_a_payment_given_back_twice_is_shown(run, over_refunded):
    told = " ".join(run("attention").out.split())
    assert "payment P1 easylink over_refunded" in told
    assert "Captured 100.00, refunds 120.00 HKD, 2 of them." in told
    (payment,) = run("attention", "--json").json["payments"]
    assert (payment["payment_id"], payment["attention"]) == ("P1", ["over_refunded"])


def test_refunds_without_an_outcome_become_overdue_only_when_asked(run, easylink):
    run("ingest", "-", stdin=easylink("r-1", 1))
    assert run("attention").out == "Nothing needs a person.\n"
    marked = run("attention", "--mark-overdue", "--json")
    assert marked.err == "overdue now: r-1\n"
    assert [each["attention"] for each in marked.json["refunds"]] == [["overdue"]]


def test_a_decision_is_recorded_with_actor_and_reason(run, store):
    decided = run("resolve", "cr-1003", "failed", "--actor", "kim", "--reason", "bank says so", "--db", store)
    assert decided == (0, "cr-1003  evocloud  45.00 USD  failed\n", "")
    last = run("history", "cr-1003", "--json", "--db", store).json[-1]
    assert last["says"] == "kim decided failed: bank says so"


def test_a_decision_for_programs_is_the_refund(run, store):
    arguments = ("--actor", "kim", "--reason", "bank says so", "--json", "--db", store)
    decided = run("resolve", "cr-1003", "closed", *arguments).json
    assert decided == run("show", "cr-1003", "--json", "--db", store).json
    assert (decided["state"], decided["attention"]) == ("closed", [])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("cr-1003", "maybe", "--actor", "kim", "--reason", "x"), 2, "use success, failed or closed"),
        (("cr-1003", "received", "--actor", "kim", "--reason", "x"), 2, "use success, failed or closed"),
        (("cr-1003", "failed", "--actor", "kim", "--reason", "  "), 2, "reason"),
        (("cr-1003", "failed", "--actor", "k m", "--reason", "x"), 2, "actor"),
        (("cr-1003", "failed", "--actor", "kim"), 2, "--reason"),
        (("cr-1003", "failed", "--reason", "x"), 2, "--actor"),
        (("r-404", "failed", "--actor", "kim", "--reason", "x"), 1, "not in the log"),
    ],
)
def test_a_decision_that_cannot_stand_changes_nothing(run, store, arguments, code, words):
    before = run("list", "--json", "--db", store).out
    refused = run("resolve", *arguments, "--db", store)
    assert (refused.code, refused.out) == (code, "")
    assert words in refused.err
    assert run("list", "--json", "--db", store).out == before


def test_who_asked_for_a_refund_may_not_decide_it(run):
    with RefundEngine.open("sqlite:///refold.db") as engine:
        engine.request(
            gateway="easylink", payment_id="P1", refund_id="r-1", amount=Money(1, "HKD"), requested_by="alice"
        )
    refused = run("resolve", "r-1", "failed", "--actor", "alice", "--reason", "x")
    assert refused.code == 4
    assert "another person must" in refused.err


def test_a_damaged_log_hides_no_other_case(run, store, tmp_path, damage):
    damage(store, "cr-1003")
    told = run("attention", "--db", store)
    assert told.code == 5
    assert "cr-1003  evocloud" in told.out
    assert "refund_25072  evonet" in told.out
    assert told.err.startswith("error: event ")


def test_a_copy_of_a_store_is_a_store(run, store, tmp_path):
    shutil.copy(store, tmp_path / "copy.db")
    assert run("list", "--json", "--db", "copy.db").out == run("list", "--json", "--db", store).out
