"""The samples of the gateways' own documents, imported end to end."""

import json
from pathlib import Path

import pytest

from refold.adapters import Bbmsl, Easylink, Evonet, SigningKey
from refold.engine import State

TESTS = Path(__file__).parents[1]
VECTORS = json.loads((TESTS / "seeds" / "easylink_signature.json").read_text())
DEMO = SigningKey("demo", VECTORS["key"])
EASYLINK_REFUND = "mho1624007315478"


def sample(name):
    return (TESTS / "seeds" / f"{name}.json").read_text()


def line(gateway, channel, body, **more):
    fields = {"gateway": gateway, "channel": channel, "received_at": "2025-07-21T08:28:08Z", "body": body}
    return json.dumps(fields | more).encode()


@pytest.fixture
def ingest():
    """Import lines into an engine; return the problems."""

    def run(engine, *lines):
        problems = []
        engine.ingest(lines, on_problem=lambda *problem: problems.append(problem))
        return problems

    return run


@pytest.mark.parametrize("form", [json.loads, str], ids=["object", "exact text"])
def test_the_evonet_sample_asks_100_and_is_answered_10_so_it_is_received_with_a_mismatch(
    open_engine, ingest, form
):
    engine = open_engine(gateways=[Evonet()])
    problems = ingest(
        engine,
        line("evonet", "request", form(sample("evonet_refund_request")), payment_id="pay_1"),
        line("evonet", "api_response", form(sample("evonet_refund_response")), http_status=200),
    )
    view = engine.refund("refund_25072")
    assert problems == []
    assert (view.state, view.attention, view.payment_id) == (State.RECEIVED, ("mismatch",), "pay_1")
    assert view.amount.minor == 10000
    assert engine.history("refund_25072")[-1].says == "amount_minor is 1000, asked was 10000"


def test_the_evonet_notification_sample_is_about_no_refund(open_engine, ingest):
    engine = open_engine(gateways=[Evonet()])
    problems = ingest(engine, line("evonet", "webhook", json.loads(sample("evonet_refund_webhook"))))
    assert problems == [(1, "evonet message cannot be read: eventCode 'string' is not about a refund")]


def easylink_request():
    """Return the sample request without the sign that does not fit it any more."""
    document = json.loads(sample("easylink_refund_request"))
    del document["sign"]
    return document


def test_the_easylink_refund_response_is_success_verified_with_the_demo_key(open_engine, ingest):
    engine = open_engine(gateways=[Easylink(keys=[DEMO])])
    response = json.loads(sample("easylink_refund_response"))
    problems = ingest(
        engine,
        line("easylink", "request", easylink_request()),
        line("easylink", "api_response", response, http_status=200),
    )
    assert problems == []
    assert (engine.refund(EASYLINK_REFUND).state, engine.refund(EASYLINK_REFUND).attention) == (
        State.SUCCESS,
        (),
    )
    answered = engine.history(EASYLINK_REFUND)[-1]
    assert (answered.data["trust"], answered.data["key_id"]) == ("verified", "demo")


EDITED = {
    "refund request": ("request", "easylink_refund_request", EASYLINK_REFUND),
    "query response": ("poll", "easylink_query_response", "mho1623985552430"),
}


@pytest.mark.parametrize(("channel", "name", "refund_id"), EDITED.values(), ids=EDITED.keys())
def test_a_sample_that_was_edited_after_signing_is_refused_with_the_key_and_unverified_without(
    open_engine, ingest, wire, channel, name, refund_id
):
    with_key = open_engine(gateways=[Easylink(keys=[DEMO])])
    edited = line("easylink", channel, json.loads(sample(name)))
    assert ingest(with_key, edited) == [(1, "easylink signature refused: no configured key makes this sign")]
    assert with_key.store.head() == 0
    without = open_engine(gateways=[Easylink()])
    assert ingest(without, edited) == []
    if channel == "poll":
        ingest(without, line("easylink", "request", easylink_request() | {"mchRefundNo": refund_id}))
    trusts = [entry.data["trust"] for entry in without.history(refund_id) if "trust" in entry.data]
    assert set(trusts) == {"unverified"}


def test_the_easylink_query_response_is_success(open_engine, ingest):
    engine = open_engine(gateways=[Easylink()])
    request = easylink_request() | {"mchRefundNo": "mho1623985552430"}
    ingest(
        engine,
        line("easylink", "request", request),
        line("easylink", "poll", json.loads(sample("easylink_query_response"))),
    )
    assert engine.refund("mho1623985552430").state is State.SUCCESS
    assert engine.refund("mho1623985552430").gateway_refund_id == "P202106181105527690009"


def test_the_easylink_notification_sample_has_no_sign_and_counts_unverified(open_engine, ingest):
    engine = open_engine(gateways=[Easylink(keys=[DEMO])])
    notification = json.loads(sample("easylink_notification"))
    assert ingest(engine, line("easylink", "webhook", notification)) == []
    assert [row["kind"] for row in engine.inbox()] == ["orphaned"]


def test_the_bbmsl_response_is_a_refund_made(open_engine, ingest):
    engine = open_engine(gateways=[Bbmsl()])
    text = '{"merchantId":"3000001","merchantReference":"s22tring","amount":76.19}'
    problems = ingest(
        engine,
        line("bbmsl", "request", {"request": text, "signature": ""}),
        line("bbmsl", "api_response", json.loads(sample("bbmsl_refund_response")), http_status=200),
    )
    view = engine.refund("s22tring")
    assert problems == []
    assert (view.state, view.attention, view.payment_id) == (State.SUCCESS, (), "s22tring")
    assert view.amount.minor == 7619


def test_the_bbmsl_sample_request_has_a_trailing_comma_and_is_an_unusable_line(open_engine, ingest):
    engine = open_engine(gateways=[Bbmsl()])
    problems = ingest(engine, line("bbmsl", "request", json.loads(sample("bbmsl_refund_request"))))
    assert problems == [
        (1, "bbmsl message cannot be read: not_strict_json: the `request` text has a trailing comma")
    ]


def test_without_its_comma_the_bbmsl_sample_request_still_lacks_an_amount(open_engine, ingest):
    engine = open_engine(gateways=[Bbmsl()])
    text = '{"merchantId":"3000001","merchantReference":"s22tring"}'
    problems = ingest(engine, line("bbmsl", "request", {"request": text, "signature": ""}))
    assert problems == [(1, "bbmsl message cannot be read: amount is missing")]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_published_easylink_signatures_are_checked_as_published(open_engine, ingest, vector):
    engine = open_engine(gateways=[Easylink(keys=[DEMO])])
    fields = vector["params"]
    channel, body = ("request", fields | {"sign": vector["sign"]})
    if vector["name"] == "refund_response_data":
        channel, body = ("api_response", {"code": 0, "data": fields, "sign": vector["sign"]})
    problems = ingest(engine, line("easylink", channel, body))
    assert (problems == []) is vector["valid"]
