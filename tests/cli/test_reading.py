"""`refold list`, `show` and `history`: the same facts for people and for programs."""

import json

import pytest

from refold.adapters import Evonet
from refold.engine import Money, RefundEngine
from refold.engine.cli import rendering

DISPUTED = [
    "requested",
    "submission started",
    "pending (api_response)",
    "success (webhook)",
    "failed (webhook)",
]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), 14),
        (("--state", "received"), 2),
        (("--gateway", "evonet"), 4),
        (("--payment", "pay_250530"), 2),
        (("--attention", "conflict"), 1),
        (("--limit", "3"), 3),
        (("--state", "success", "--gateway", "evonet", "--limit", "1"), 1),
        (("--payment", "nobody"), 0),
    ],
)
def test_list_filters_alike_for_people_and_programs(run, store, filters, expected):
    listed = run("list", *filters, "--json", "--db", store)
    assert (listed.code, len(listed.json)) == (0, expected)
    told = run("list", *filters, "--db", store)
    assert told.out.splitlines()[-1] == ("1 refund" if expected == 1 else f"{expected} refunds")
    assert all(each["refund_id"] in told.out for each in listed.json)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_gateway_that_nobody_knows_is_an_error_that_names_the_known_ones(run, store, form):
    told = run("list", "--gateway", "evonets", *form, "--db", store)
    assert (told.code, told.out) == (2, "")
    assert "'evonets' is not configured; configured: evocloud, evonet, bbmsl, easylink" in told.err


def test_a_known_gateway_may_have_no_refunds(run):
    assert run("list", "--gateway", "bbmsl", "--json", "--db", "memory:").json == []


def test_refunds_of_a_gateway_that_a_service_added_are_listed(run, tmp_path):
    class Acme(Evonet):
        name = "acme"

    with RefundEngine.open(f"sqlite:///{tmp_path}/s.db", gateways=[Acme()]) as engine:
        engine.request(gateway="acme", payment_id="p", refund_id="r-1", amount=Money(1, "HKD"))
    listed = run("list", "--gateway", "acme", "--json", "--db", f"{tmp_path}/s.db")
    assert [each["refund_id"] for each in listed.json] == ["r-1"]
    none = run("list", "--gateway", "acme", "--state", "failed", "--json", "--db", f"{tmp_path}/s.db")
    assert (none.code, none.json) == (0, [])


def test_show_prints_the_same_object_as_list(run, store):
    for each in run("list", "--json", "--db", store).json:
        assert run("show", each["refund_id"], "--json", "--db", store).json == each


def test_the_object_has_what_is_promised(run, store):
    assert run("show", "cr-1003", "--json", "--db", store).json == {
        "refund_id": "cr-1003",
        "gateway": "evocloud",
        "payment_id": "order-8803",
        "amount": {"minor": 4500, "currency": "USD"},
        "state": "success",
        "attention": ["conflict"],
        "gateway_refund_id": "evo_7100003",
        "events": 5,
        "requested_at": "2025-07-10T03:00:00.000000Z",
        "updated_at": "2025-07-14T01:15:20.000000Z",
    }


def test_show_says_it_in_words(run, store):
    told = run("show", "cr-1003", "--db", store).out
    assert [line.split(maxsplit=1) for line in told.splitlines()][3:6] == [
        ["amount", "45.00 USD"],
        ["state", "success"],
        ["attention", "conflict"],
    ]


@pytest.mark.parametrize(
    ("as_of", "state"),
    [
        ("31", "created"),
        ("32", "received"),
        ("2025-07-10T03:00:41Z", "success"),
        ("2025-07-10T11:00:30+08:00", "received"),
    ],
)
def test_show_goes_back_to_a_position_or_a_moment(run, store, as_of, state):
    assert run("show", "cr-1003", "--as-of", as_of, "--json", "--db", store).json["state"] == state


@pytest.mark.parametrize(
    ("as_of", "code", "words"),
    [
        ("yesterday", 2, "neither a position such as 12 nor a time"),
        ("2025-07-10T03:00:41", 2, "offset"),
        ("-1", 2, "neither a position"),
        ("9" * 5000, 2, "neither a position"),
        ("1", 1, "not in the log"),
        ("2020-01-01T00:00:00Z", 1, "not in the log"),
    ],
)
def test_a_moment_that_cannot_be_answers_why(run, store, as_of, code, words):
    refused = run("show", "cr-1003", f"--as-of={as_of}", "--db", store)
    assert (refused.code, refused.out) == (code, "")
    assert words in refused.err


def test_the_timeline_tells_each_event_and_what_it_changed(run, store):
    told = run("history", "cr-1003", "--db", store).out
    assert [what for what in DISPUTED if what in told] == DISPUTED
    assert "received -> success" in told
    assert "! conflict" in told
    assert "no longer in_doubt" in told
    assert '"Card account closed, funds returned"' in told


def test_the_timeline_for_programs_has_every_event(run, store):
    entries = run("history", "cr-1003", "--json", "--db", store).json
    assert [entry["version"] for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[-1]["attention"] == ["conflict"]


@pytest.mark.parametrize("command", ["show", "history"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_unknown_refund_ends_with_1(run, store, command, options):
    told = run(command, "r-404", *options, "--db", store)
    assert (told.code, told.out) == (1, "")
    assert told.err == "error: refund 'r-404' is not in the log; `refold list` shows those that are\n"


def test_a_long_list_is_several_tables(run, store, monkeypatch):
    monkeypatch.setattr(rendering, "_PAGE", 5)
    told = run("list", "--db", store).out
    assert told.count("refund   ") == 3
    assert told.splitlines()[-1] == "14 refunds"


def test_a_long_list_for_programs_is_one_array_with_a_line_each(run, store):
    first, *items, last = run("list", "--json", "--db", store).out.splitlines()
    assert (first, last, len(items)) == ("[", "]", 14)
    assert json.loads(items[0].rstrip(","))["gateway"] == "easylink"


def test_a_list_of_nothing_is_an_empty_array(run, store):
    assert run("list", "--payment", "nobody", "--json", "--db", store).out == "[]\n"
