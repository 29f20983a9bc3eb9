"""An adapter may raise anything: the outcome is unknown then, and no other gateway notices."""

import pytest
from structlog.testing import capture_logs

from refold.adapters import Easylink, Evonet, SigningKey
from refold.engine import State
from refold.engine.errors import InvalidSignature, UnreadableMessage


def broken(method, error):
    """Return an adapter one method of which raises."""

    def raise_it(*_):
        raise error

    adapter = Evonet(keys=[SigningKey("net-1", "evonet-0123456789abcdef")])
    setattr(adapter, method, raise_it)
    return adapter


ERRORS = [
    KeyError("x"),
    ValueError("x"),
    RecursionError(),
    MemoryError(),
    TypeError(),
    AssertionError(),
    ZeroDivisionError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("channel", "method"), [("api_response", "read_response"), ("poll", "read_poll")])
def test_an_adapter_that_raises_leaves_the_outcome_unknown_and_its_class_in_the_log(
    open_memory, wire, channel, method, error
):
    """CASES C20."""
    engine = open_memory(gateways=[broken(method, error), Easylink()])
    engine.record("evonet", "request", wire.request("evonet", "r-1"))
    with capture_logs() as logs:
        receipt = engine.record("evonet", channel, wire.says("evonet", "r-1", "success"), refund_id="r-1")
    assert receipt.attention == ("in_doubt",)
    assert engine.history("r-1")[-1].data["code"] == f"adapter_error={type(error).__name__}"
    assert logs[0]["event"] == "adapter.error"
    assert (logs[0]["error"], logs[0]["gateway"]) == (type(error).__name__, "evonet")
    engine.record("easylink", "request", wire.request("easylink", "r-2"))
    assert engine.record("easylink", "poll", wire.says("easylink", "r-2", "success")).state is State.SUCCESS


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_adapter_that_raises_on_a_request_or_a_signature_refuses_that_message_only(
    open_memory, wire, error
):
    """CASES C20."""
    unreadable = open_memory(gateways=[broken("read_request", error)])
    with pytest.raises(UnreadableMessage, match=f"adapter_error {type(error).__name__}"):
        unreadable.record("evonet", "request", wire.request("evonet", "r-1"))
    unchecked = open_memory(gateways=[broken("verify", error)])
    with pytest.raises(InvalidSignature, match=f"raised {type(error).__name__}"):
        unchecked.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
