"""Inside a batch nothing is sent: its end may still undo what says so."""

import threading

import pytest

from refold.engine.errors import InvalidInput


@pytest.mark.parametrize("call", ["submit", "poll", "work"])
def test_a_gateway_is_not_talked_to_inside_a_batch(engine, ask, script, call):
    """Neither about a refund that was asked for before, nor in the batch itself."""
    ask("before")
    ended = threading.Event()
    ended.set()
    calls = {
        "submit": lambda: [engine.submit(name) for name in ("before", "inside")],
        "poll": lambda: [engine.poll(name) for name in ("before", "inside")],
        "work": lambda: engine.work(ended),
    }
    with engine.store.batch():
        ask("inside", payment_id="p-2")
        with pytest.raises(InvalidInput, match="a batch of this thread is open"):
            calls[call]()
    assert script.sent == []


def test_after_its_end_it_is(engine, ask, script):
    with engine.store.batch():
        ask()
    engine.submit("r-1")
    assert len(script.submissions()) == 1
