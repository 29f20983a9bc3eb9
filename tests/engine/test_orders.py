"""Any order of the same messages makes the same refund."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refold.engine import Money, State

SAYS = {
    "evonet": ("pending", "success", "failed", "refund_unknown"),
    "evocloud": ("pending", "success", "failed", "Weird"),
    "easylink": ("pending", "success", "closed", 9),
    "bbmsl": ("pending", "success", "not_found", "ODD"),
}
CHANNELS = ("api_response", "poll", "webhook", "poll")


def told(engine, refund_id="r-1"):
    """Return what the order of messages must not change: all but the count of events and the numbers of the log."""
    view = engine.refund(refund_id).to_json()
    return {name: view[name] for name in ("state", "attention", "gateway_refund_id", "payment_id", "amount")}


def messages(wire, gateway):
    """Return a request and one message a channel, each at its own time."""
    found = [("request", wire.request(gateway, "r-1"))]
    channels = [
        channel if gateway != "bbmsl" else channel.replace("webhook", "report") for channel in CHANNELS
    ]
    for at_s, (channel, says) in enumerate(zip(channels, SAYS[gateway], strict=True), start=1):
        if channel == "webhook" and gateway == "easylink":
            found.append((channel, wire.message(wire.answer(gateway, "r-1", says)["data"], at_s=60 * at_s)))
            continue
        body = wire.answer(gateway, "r-1", says, **({"eventCode": "Refund"} if channel == "webhook" else {}))
        found.append((channel, wire.message(body, at_s=60 * at_s)))
    return found


@pytest.mark.parametrize("gateway", SAYS)
def test_every_permutation_of_the_messages_of_one_refund_gives_the_same_view(open_memory, wire, gateway):
    """CASES 13, 14: the request too may come last; what came before it is adopted."""
    refund_id = "p-1" if gateway == "bbmsl" else "r-1"
    views = []
    for order in itertools.permutations(messages(wire, gateway)):
        engine = open_memory()
        for channel, message in order:
            engine.record(gateway, channel, message)
        assert not list(engine.inbox())
        assert engine.replay().agrees
        views.append(told(engine, refund_id))
        engine.close()
    assert all(view == views[0] for view in views)
    assert views[0]["state"] == State.SUCCESS


def test_a_webhook_before_the_answer_makes_the_same_refund_as_after_it(open_memory, wire):
    """CASES 13, B8."""
    answer = wire.says("evonet", "r-1", "pending", at_s=2)
    hook = wire.webhook("evonet", "r-1", "success")
    views = []
    for hook_first in (True, False):
        engine = open_memory()
        engine.record("evonet", "request", wire.request("evonet", "r-1"))
        steps = [
            lambda engine=engine: engine.receive_webhook("evonet", *hook),
            lambda engine=engine: engine.record("evonet", "api_response", answer),
        ]
        for step in steps if hook_first else reversed(steps):
            step()
        views.append(told(engine))
    assert views[0] == views[1]
    assert views[0]["state"] == State.SUCCESS


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_messages_in_any_order_and_number_give_the_same_view(open_memory, wire, data):
    """CASES 14."""
    gateway = data.draw(st.sampled_from(["evonet", "evocloud", "easylink"]))
    said = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["api_response", "poll"]), st.sampled_from(SAYS[gateway]), st.booleans()
            ),
            max_size=6,
        )
    )
    found = [("request", wire.request(gateway, "r-1"))]
    for at_s, (channel, says, other_amount) in enumerate(said, start=1):
        amount = Money(100 if other_amount else 6000, "HKD")
        found.append((channel, wire.says(gateway, "r-1", says, at_s=at_s, amount=amount)))
    shuffled = data.draw(st.permutations(found))
    repeated = [*shuffled, *data.draw(st.lists(st.sampled_from(found), max_size=3))]
    views = []
    for order in (found, repeated):
        engine = open_memory()
        for channel, message in order:
            engine.record(gateway, channel, message)
        views.append(told(engine))
        engine.close()
    assert views[0] == views[1]
