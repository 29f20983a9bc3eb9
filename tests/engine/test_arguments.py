"""Whatever a caller passes, the facade answers with an error of its own."""

import inspect
from datetime import UTC, datetime
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refold.adapters import Evonet
from refold.engine import Message, Money, RefundEngine
from refold.engine.errors import InvalidInput, InvalidSetting, RefoldError, StoreClosed

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - that is what is wrong with it
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**63),
    st.floats(),
    st.binary(max_size=20),
    st.text(max_size=20),
    st.just("x" * 100_000),
    st.just(10**5000),
    st.sampled_from(["\ud800", "\x00", "e\u0301", "\u202e", "\u200b", "' OR 1=1 --", "", " ", "r 1"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.just(NAIVE),
    st.just(object()),
    st.just(Money),
    st.just(Exception),
)
IDS = [
    "\x00",
    "\ud800",
    "r\u00e9",
    "re\u0301",
    "\u202er",
    "r\u200b",
    "r 1",
    " r",
    "r\n",
    "",
    "x" * 129,
    "x" * 10**5,
]


def valid(engine):
    """Return each public method with arguments that it accepts."""
    message = Message(body=b"{}", received_at=datetime(2026, 11, 21, tzinfo=UTC))
    money = Money(1, "HKD")
    stopped = Event()
    stopped.set()
    return {
        engine.register_payment: {"gateway": "evonet", "payment_id": "p", "captured": money},
        engine.request: {
            "gateway": "evonet",
            "payment_id": "p",
            "refund_id": "r",
            "amount": money,
            "reason": "",
            "requested_by": None,
        },
        engine.record: {
            "gateway": "evonet",
            "channel": "poll",
            "message": message,
            "refund_id": "r",
            "payment_id": "p",
        },
        engine.receive_webhook: {"gateway": "evonet", "headers": {}, "body": b""},
        engine.ingest: {"lines": [], "on_problem": print, "on_progress": None},
        engine.resolve: {"refund_id": "r", "outcome": "failed", "actor": "bob", "reason": "x"},
        engine.submit: {"refund_id": "r"},
        engine.poll: {"refund_id": "r"},
        engine.work: {"stop": Event(), "once": True, "concurrency": 1, "on_progress": None},
        engine.refund: {"refund_id": "r", "as_of": None},
        engine.history: {"refund_id": "r"},
        engine.find: {
            "state": None,
            "gateway": None,
            "payment_id": None,
            "attention": None,
            "limit": None,
        },
        engine.payment: {"gateway": "evonet", "payment_id": "p"},
        engine.payments: {"over_refunded": False},
        engine.deliver: {
            "name": "ledger",
            "handler": print,
            "stop": stopped,
            "once": True,
            "start": "end",
            "kinds": ["refund.state_changed"],
            "attempts": 1,
            "backoff_s": 0,
            "lease_s": 60,
        },
        engine.redeliver: {
            "name": "ledger",
            "handler": print,
            "stop": stopped,
            "kinds": ["refund.state_changed"],
        },
    }


NO_ARGUMENTS = {"close", "mark_overdue", "needing_attention", "inbox", "rebuild", "replay", "subscriptions"}
ELSEWHERE = {"backup"}
"""It makes a file of any name that can be one; tests/eventstore/test_backup.py tries those that cannot."""


def test_every_public_method_is_among_those_tried(memory_engine):
    tried = {method.__name__: set(arguments) for method, arguments in valid(memory_engine).items()}
    public = {
        name: set(inspect.signature(method).parameters)
        for name, method in inspect.getmembers(memory_engine, inspect.ismethod)
        if not name.startswith("_")
        and name not in {*NO_ARGUMENTS, *ELSEWHERE, "open"}
        # An asynchronous twin does what the other one does.
        and not (name.startswith("a") and hasattr(memory_engine, name[1:]))
    }
    assert tried == public


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_wrong_value_is_an_error_of_ours_and_never_one_of_a_library_underneath(engine, data):
    method, arguments = data.draw(st.sampled_from(sorted(valid(engine).items(), key=lambda m: m[0].__name__)))
    wrong = data.draw(st.lists(st.sampled_from(sorted(arguments)), min_size=1, max_size=2, unique=True))
    junk = {name: data.draw(JUNK) for name in wrong}
    said = ""
    try:
        found = method(**(arguments | junk))
        if method.__name__ in {"find", "payments"}:
            list(found)
    except RefoldError as error:
        said = str(error)
    assert len(said) < 1000


@pytest.mark.parametrize("refund_id", IDS, ids=lambda value: ascii(value[:10]))
def test_an_id_is_printable_ascii_without_blanks_and_is_never_folded(memory_engine, ask, refund_id):
    """CASES C12."""
    for call in (
        lambda: ask(memory_engine, refund_id),
        lambda: ask(memory_engine, payment=refund_id),
        lambda: ask(memory_engine, requested_by=refund_id),
        lambda: memory_engine.refund(refund_id),
        lambda: memory_engine.history(refund_id),
        lambda: memory_engine.find(payment_id=refund_id),
        lambda: memory_engine.resolve(refund_id, "failed", actor="bob", reason="x"),
        lambda: memory_engine.resolve("r-1", "failed", actor=refund_id, reason="x"),
    ):
        with pytest.raises(RefoldError):
            call()
    assert memory_engine.store.head() == 0


def test_ids_that_differ_in_case_are_different_refunds(engine, ask):
    """CASES C12."""
    ask(engine, "r-1")
    ask(engine, "R-1")
    assert [view.refund_id for view in engine.find()] == ["R-1", "r-1"]


def test_a_reason_is_kept_in_one_normal_form_and_cut_nowhere(engine, ask):
    """CASES C12."""
    ask(engine, "r-1", reason="cafe\u0301")
    assert engine.history("r-1")[0].data["reason"] == "caf\u00e9"
    for reason in ("x" * 501, "\ud800", None, 7):
        with pytest.raises(InvalidInput):
            ask(engine, "r-2", reason=reason)
    ask(engine, "r-2", reason="x" * 500)


WRONG_MESSAGES = {
    "body a text": {"body": "text"},
    "body a bytearray": {"body": bytearray(b"x")},
    "time without offset": {"received_at": NAIVE},
    "time a text": {"received_at": "2026-01-01T00:00:00Z"},
    "headers a list": {"headers": [("a", "b")]},
    "headers with a number": {"headers": {"a": 1}},
    "headers None": {"headers": None},
    "status a text": {"http_status": "200"},
    "status out of range": {"http_status": -1},
    "method a number": {"method": 1},
    "target bytes": {"target": b"/"},
}


@pytest.mark.parametrize("wrong", WRONG_MESSAGES.values(), ids=WRONG_MESSAGES.keys())
@pytest.mark.parametrize("channel", ["request", "poll", "webhook"])
def test_a_message_is_made_of_what_it_should_be_made_of(memory_engine, clock, channel, wrong):
    message = Message(**({"body": b"{}", "received_at": clock.now} | wrong))
    with pytest.raises(InvalidInput):
        memory_engine.record("evonet", channel, message, refund_id="r-1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/x",
        "mysql://u:p@h/d",
        "postgresql://u:p@h:x/d",
        "file:x",
        None,
        7,
        b"memory:",
    ],
    ids=repr,
)
def test_a_store_url_that_is_not_understood_is_refused(url):
    with pytest.raises(InvalidSetting) as caught:
        RefundEngine.open(url)
    assert "u:p" not in str(caught.value)


OPTIONS = {
    "timeout a text": {"timeout_s": "5"},
    "timeout below zero": {"timeout_s": -1},
    "timeout without end": {"timeout_s": float("inf")},
    "timeout no number": {"timeout_s": float("nan")},
    "a durability nobody knows": {"durability": "some"},
    "something else than adapters": {"gateways": [object()]},
    "one adapter": {"gateways": Evonet()},
    "two adapters of one name": {"gateways": [Evonet(), Evonet()]},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_an_option_that_cannot_be_used_is_refused_and_leaves_nothing_open(tmp_path, options):
    with pytest.raises(InvalidSetting):
        RefundEngine.open(f"sqlite:///{tmp_path / 'x.db'}", **options)


def test_a_store_that_is_not_there_and_shall_not_be_made_is_an_error_of_ours(tmp_path):
    with pytest.raises(RefoldError, match="there is no store"):
        RefundEngine.open(f"sqlite:///{tmp_path / 'none.db'}", create=False)


def test_without_gateways_all_four_are_there_without_keys(wire):
    with RefundEngine.open("memory:") as engine:
        assert sorted(engine.gateways) == ["bbmsl", "easylink", "evocloud", "evonet"]
        engine.record("evonet", "request", wire.request("evonet", "r-1"))
        assert engine.refund("r-1").events == 2
        assert engine.mark_overdue() in ([], ["r-1"])


def test_a_closed_engine_says_so(engine, ask, wire):
    ask(engine)
    engine.close()
    for call in (
        lambda: engine.refund("r-1"),
        lambda: list(engine.find()),
        lambda: ask(engine),
        engine.replay,
        lambda: engine.record("evonet", "poll", wire.says("evonet", "r-1", "success")),
    ):
        with pytest.raises(StoreClosed):
            call()
    engine.close()


@pytest.mark.parametrize("name", ["evo-net", "Evonet", "1evonet", "", "evo net", "\u00e9vonet"])
def test_an_adapter_whose_name_would_not_end_at_a_hyphen_is_refused(name):
    """`payment-a-b-c` would be payment `b-c` of gateway `a`, and payment `c` of gateway `a-b`."""

    class Named(Evonet):
        pass

    Named.name = name
    with pytest.raises(InvalidSetting, match="an adapter is called"):
        RefundEngine.open("memory:", gateways=[Named()])
