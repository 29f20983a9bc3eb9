"""Any sequence of operations leaves two stores with the same log and views, and replay agrees."""

import itertools
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet
from refold.engine import Message, Money, RefundEngine
from refold.engine.errors import RefoldError
from refold.engine.service.views import VIEWS

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
REFUNDS = st.sampled_from(["r-1", "r-2", "r-3"])
PAYMENTS = st.sampled_from(["p-1", "p-2"])
GATEWAYS = st.sampled_from(["evonet", "easylink", "bbmsl"])
AMOUNTS = st.sampled_from([Money(4000, "HKD"), Money(6000, "HKD"), Money(6000, "USD")])
SAID = st.sampled_from(["pending", "success", "failed", "closed", "odd", "html", "not_found"])
WORDS = {
    "evonet": {"pending": "refund_pending", "success": "refunded_full", "failed": "Failed"},
    "easylink": {"pending": 1, "success": 2, "failed": 3, "closed": 4},
    "bbmsl": {"pending": "PROCESSING", "success": "REFUNDED", "not_found": "OPEN"},
}


def answer(gateway, refund_id, payment_id, said, amount):
    word = WORDS[gateway].get(said, "ODD")
    money = amount and {"currency": amount.currency, "value": amount.major}
    if said == "html":
        return b"<html>"
    if gateway == "evonet":
        refund = {"merchantTransInfo": {"merchantTransID": refund_id}, "status": word}
        refund |= {"transAmount": money} if money else {}
        body = {"result": {"code": "C0004" if said == "not_found" else "S0000"}, "refund": refund}
        body["payment"] = {"merchantTransInfo": {"merchantTransID": payment_id}}
    elif gateway == "easylink":
        data = {"mchRefundNo": refund_id, "payOrderId": payment_id, "state": word}
        data |= {"refundAmount": amount.minor, "currency": amount.currency} if amount else {}
        body = {"code": 0, "data": data}
    else:
        body = {"responseCode": "0000", "order": {"merchantReference": payment_id, "status": word}}
        if money:
            body["transaction"] = {"type": "REFUND", "amount": money["value"], "currency": money["currency"]}
    return json.dumps(body).encode()


class TwoStores(RuleBasedStateMachine):
    """Does the same to an engine in memory and to one on a file."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.now, self.path = START, Path(self.folder.name) / "refunds.db"
        self.numbers = {url: itertools.count() for url in ("memory:", f"sqlite:///{self.path}")}
        self.engines = [self._open(url) for url in self.numbers]

    def _open(self, url):
        return RefundEngine.open(
            url,
            gateways=[Evonet(), Easylink(), Bbmsl(), Evocloud()],
            clock=lambda: self.now,
            entropy=lambda size: next(self.numbers[url]).to_bytes(size, "big"),
        )

    def both(self, name, *arguments, **named):
        """Call a method of both engines; they must answer or refuse alike."""
        results = []
        for engine in self.engines:
            try:
                results.append(getattr(engine, name)(*arguments, **named))
            except RefoldError as error:
                results.append((type(error), str(error)))
        assert results[0] == results[1]

    @rule(seconds=st.sampled_from([1, 60, 86400, 20 * 86400]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(gateway=GATEWAYS, payment=PAYMENTS, captured=AMOUNTS)
    def register(self, gateway, payment, captured):
        self.both("register_payment", gateway=gateway, payment_id=payment, captured=captured)

    @rule(
        gateway=GATEWAYS, payment=PAYMENTS, refund=REFUNDS, amount=AMOUNTS, by=st.sampled_from([None, "ann"])
    )
    def request(self, gateway, payment, refund, amount, by):
        named = {"gateway": gateway, "payment_id": payment, "refund_id": refund, "amount": amount}
        self.both("request", **named, requested_by=by)

    @rule(payment=st.none() | PAYMENTS, refund=REFUNDS, amount=AMOUNTS, earlier=st.sampled_from([0, 90]))
    def record_request(self, payment, refund, amount, earlier):
        body = {"merchantTransInfo": {"merchantTransID": refund}}
        body["transAmount"] = {"currency": amount.currency, "value": amount.major}
        at = self.now - timedelta(seconds=earlier)
        message = Message(body=json.dumps(body).encode(), received_at=at)
        self.both("record", "evonet", "request", message, payment_id=payment)

    @rule(
        gateway=GATEWAYS,
        channel=st.sampled_from(["api_response", "poll", "report"]),
        refund=REFUNDS,
        payment=PAYMENTS,
        said=SAID,
        amount=st.none() | AMOUNTS,
        named=st.booleans(),
        earlier=st.sampled_from([0, 90]),
    )
    def record(self, gateway, channel, refund, payment, said, amount, named, earlier):
        body = answer(gateway, refund, payment, said, amount)
        message = Message(body=body, received_at=self.now - timedelta(seconds=earlier))
        self.both("record", gateway, channel, message, refund_id=refund if named else None)

    @rule(
        refund=REFUNDS,
        outcome=st.sampled_from(["success", "failed", "closed"]),
        actor=st.sampled_from(["ann", "bob"]),
    )
    def resolve(self, refund, outcome, actor):
        self.both("resolve", refund, outcome, actor=actor, reason="decided")

    @rule()
    def mark_overdue(self):
        self.both("mark_overdue")

    @rule()
    def reopen(self):
        self.engines[1].close()
        self.engines[1] = self._open(f"sqlite:///{self.path}")

    @invariant()
    def both_hold_the_same(self):
        if not hasattr(self, "engines"):
            return
        memory, sqlite = self.engines
        assert self._views(memory) == self._views(sqlite)
        for view in memory.find():
            assert view == memory.refund(view.refund_id)

    def _views(self, engine):
        return [[dict(row) for row in engine.store.rows(view)] for view in VIEWS]

    def teardown(self):
        if not hasattr(self, "engines"):
            return
        memory, sqlite = self.engines
        assert list(memory.store.read_all()) == list(sqlite.store.read_all())
        for engine in self.engines:
            before = self._views(engine)
            assert engine.replay().agrees
            assert self._views(engine) == before
            engine.close()
        self.folder.cleanup()


TwoStores.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
test_two_stores_agree_after_any_operations_and_replay_agrees_with_both = TwoStores.TestCase
