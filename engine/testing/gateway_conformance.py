"""What every gateway's adapter promises, as tests that any adapter can run.

An adapter's own test file is a class that says how to make one and shows it real messages:

    from refold.engine.testing.gateway_conformance import GatewayConformance, Sample

    class TestMyGateway(GatewayConformance):
        def make_gateway(self):
            return MyGateway(key="…")

        def samples(self):
            return [Sample(Channel.WEBHOOK, Message(body=…, received_at=…))]

        def message_with(self, code):
            return Message(body=json.dumps({code.field: code.value}).encode(), received_at=…)

pytest collects the class. The messages of the property tests are made by `hypothesis` (the `test` extra), always the
same ones. For the values in failed assertions, write `pytest.register_assert_rewrite("refold.engine.testing")` into
`conftest.py` before the import.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple
from unittest import SkipTest

from ..domain.evidence import UNVERIFIED, Evidence, RefundOrder, SentRefund, Trust
from ..domain.message import Channel, Message
from ..domain.money import Money
from ..domain.signals import OUTCOME_BITS, Signal, bit
from ..errors import InvalidSignature, UnreadableMessage
from ..ports import AmountForm
from ..ports.gateway import NAME
from .gateway_checks import NOW, Refusal, as_sent, check_message, reader, told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from ..domain.message import HttpRequest
    from ..ports import Code, Gateway

_ORDER: Final = RefundOrder(
    refund_id="r-1", payment_id="p-1", amount=Money(1234, "HKD"), reason="goods returned", requested_at=NOW
)
_EVIDENCE: Final = (Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK)
_UNKNOWN: Final = "No-Such-Code"


class Sample(NamedTuple):
    """A real message, how it travels, and whether it is as the gateway itself says it must be."""

    channel: Channel
    message: Message
    readable: bool = True


class Declaring:
    """What an adapter says about itself and its gateway."""

    def make_gateway(self) -> Gateway:
        """Return a new adapter, set up alike each time."""
        raise NotImplementedError

    def samples(self) -> Sequence[Sample]:
        """Return real messages of the gateway: as documented, of each channel it has."""
        raise NotImplementedError

    def message_with(self, code: Code) -> Message:
        """Return a message in which the gateway says this code, and nothing that would outweigh it."""
        raise NotImplementedError

    def test_the_name_can_be_typed_and_the_code_table_has_rows(self) -> None:
        """It is a word of the command line, in lower case."""
        gateway = self.make_gateway()
        assert NAME.fullmatch(gateway.name)
        assert gateway.codes

    def test_the_capabilities_are_consistent(self) -> None:
        """Times are whole seconds above zero, and no capability denies another."""
        known = self.make_gateway().capabilities
        for seconds in (known.post_timeout_s, known.poll_interval_s, known.outcome_window_s):
            assert type(seconds) is int
            assert seconds > 0
        for limit in (known.refund_window_days, known.key_retention_s):
            assert limit is None or (type(limit) is int and limit > 0)
        assert isinstance(known.amounts, AmountForm)
        assert known.partial or not known.several, "several refunds of a payment are partial ones"
        assert known.refund_reference or not known.several, "several refunds are told apart by our number"
        assert known.absence is None or (known.absence.answers >= 1 and known.absence.apart_s >= 0)
        assert list(known.webhook_retry_s) == sorted(known.webhook_retry_s)
        assert known.acknowledgement is not None or not known.webhook_retry_s

    def test_every_code_stands_once_with_its_source(self) -> None:
        """A row is found by channel, field and value; the source names document and date."""
        rows = self.make_gateway().codes
        assert len({row[:3] for row in rows}) == len(rows)
        for row in rows:
            assert row.channel in _EVIDENCE
            assert row.field.strip() == row.field != ""
            assert row.value
            assert re.search(r"\d{4}-\d{2}-\d{2}", row.source), "the source names the date it was read"
            assert row.signal is None or row.signal in Signal

    def test_a_gateway_without_webhooks_reads_none(self) -> None:
        """Without an acknowledgement there is neither a row nor a reader for webhooks."""
        gateway = self.make_gateway()
        if gateway.capabilities.acknowledgement is not None:
            assert any(row.channel is Channel.WEBHOOK for row in gateway.codes)
            return
        assert not any(row.channel is Channel.WEBHOOK for row in gateway.codes)
        for sample in self.samples():
            found = told(gateway.read_webhook, sample.message)
            assert isinstance(found, Refusal)
            assert found.of(UnreadableMessage)


class Meaning(Declaring):
    """What the codes of its table, and all others, are read as."""

    def test_every_code_is_read_as_its_table_says(self) -> None:
        """The table is what the reader goes by, so no documented code is forgotten."""
        gateway = self.make_gateway()
        for row in gateway.codes:
            if row.signal is not None:
                plain = row._replace(value=row.value.replace("*", "9998"))
                evidence = reader(gateway, row.channel)(self.message_with(plain))
                assert isinstance(evidence, Evidence)
                assert (evidence.signal, evidence.code) == (row.signal, f"{plain.field}={plain.value}"), row

    def test_a_code_that_is_in_no_table_is_never_an_outcome(self) -> None:
        """At most it is refused, uncertain or unrecognised: a person looks."""
        gateway = self.make_gateway()
        for row in gateway.codes:
            if row.signal is not None:
                unknown = self.message_with(row._replace(value=_UNKNOWN))
                evidence = reader(gateway, row.channel)(unknown)
                assert isinstance(evidence, Evidence)
                assert not bit(evidence.signal) & OUTCOME_BITS, row

    def test_real_messages_are_read(self) -> None:
        """What the gateway documents is no error; what it documents wrongly is refused."""
        gateway = self.make_gateway()
        assert {Channel.REQUEST, Channel.API_RESPONSE} <= {sample.channel for sample in self.samples()}
        for sample in self.samples():
            found = told(reader(gateway, sample.channel), sample.message)
            assert isinstance(found, SentRefund | Evidence) is sample.readable, found

    def test_a_page_of_a_proxy_is_uncertain_and_no_answer(self) -> None:
        """It says nothing about the refund, and does not prove that the request arrived."""
        gateway = self.make_gateway()
        page = Message(body=b"<html>Bad Gateway</html>", received_at=NOW, http_status=502)
        for read in (gateway.read_response, gateway.read_poll):
            evidence = read(page)
            assert (evidence.signal, evidence.answered) == (Signal.UNCERTAIN, False)


class Robust(Declaring):
    """Whatever arrives is read as evidence or refused, twice alike, and nothing else escapes.

    Attributes:
        examples: how many messages each property test tries.
    """

    examples: ClassVar[int] = 100

    def test_any_bytes_json_or_form_is_evidence_or_refused(self) -> None:
        """What nobody signed never verifies, either."""
        from .gateway_messages import made_up_bodies  # noqa: PLC0415 - needs hypothesis

        self._try(made_up_bodies, may_verify=False)

    def test_any_damaged_real_message_is_evidence_or_refused(self) -> None:
        """Bits flipped, parts missing, fields of another kind."""
        from .gateway_messages import damaged_bodies  # noqa: PLC0415 - needs hypothesis

        self._try(damaged_bodies, may_verify=True)

    def _try(self, bodies: Callable[..., Any], *, may_verify: bool) -> None:
        from hypothesis import given, settings  # noqa: PLC0415 - the `test` extra

        from .gateway_messages import messages, vocabulary  # noqa: PLC0415 - needs hypothesis

        gateway = self.make_gateway()
        words = vocabulary(gateway, [sample.message for sample in self.samples()])

        @settings(max_examples=self.examples, derandomize=True, database=None, deadline=None)
        @given(messages(bodies(words), words))
        def tried(message: Message) -> None:
            check_message(gateway, message, may_verify=may_verify)

        tried()

    def test_real_messages_under_any_headers_are_evidence_or_refused(self) -> None:
        """Any header, status, method, target and time."""
        from hypothesis import strategies as st  # noqa: PLC0415 - the `test` extra

        self._try(lambda words: st.sampled_from(words.bodies), may_verify=True)

    def test_a_used_adapter_reads_like_a_new_one(self) -> None:
        """Nothing is remembered from one message to the next."""
        used = self.make_gateway()
        for sample in (*self.samples(), *reversed(self.samples())):
            for channel in Channel:
                told(used.verify, channel, sample.message)
            assert told(reader(used, sample.channel), sample.message) == told(
                reader(self.make_gateway(), sample.channel), sample.message
            )


class Secretive(Declaring):
    """What must not be seen."""

    def test_no_secret_is_in_a_repr(self) -> None:
        """An adapter may be logged."""
        gateway = self.make_gateway()
        for secret in gateway.secrets:
            assert secret
            assert secret not in repr(gateway) + str(gateway)

    def test_without_a_key_nothing_is_verified(self) -> None:
        """Nor is anything refused: logs can be read without keys."""
        gateway = self.make_gateway()
        if gateway.secrets:
            raise SkipTest("this adapter has a key")
        for sample in self.samples():
            assert told(gateway.verify, sample.channel, sample.message) == UNVERIFIED


class Building(Declaring):
    """What an adapter with keys builds is signed, reads back, and is the same on every retry."""

    def order(self) -> RefundOrder:
        """Return a refund order this adapter can build."""
        return _ORDER

    def _built(self, gateway: Gateway, order: RefundOrder, at: datetime = NOW) -> HttpRequest:
        if not gateway.secrets:
            raise SkipTest("this adapter has no key, so it builds no requests")
        return gateway.build_refund(order, at=at, nonce=f"n{at:%H%M}")

    def test_a_built_request_reads_back_as_the_order(self) -> None:
        """Payment, refund and amount are what was ordered."""
        gateway, order = self.make_gateway(), self.order()
        sent = gateway.read_request(as_sent(self._built(gateway, order)))
        assert (sent.payment_id, sent.amount) == (order.payment_id, order.amount)
        assert sent.refund_id == (
            order.refund_id if gateway.capabilities.refund_reference else order.payment_id
        )

    def test_a_built_request_verifies_and_a_changed_one_does_not(self) -> None:
        """The signature covers what is sent."""
        gateway = self.make_gateway()
        message = as_sent(self._built(gateway, self.order()))
        assert gateway.verify(Channel.REQUEST, message).trust is Trust.VERIFIED
        changed = replace(message, body=message.body.replace(b"12", b"21"))
        assert changed.body != message.body
        found = told(gateway.verify, Channel.REQUEST, changed)
        assert isinstance(found, Refusal)
        assert found.of(InvalidSignature)

    def test_a_retry_asks_for_the_same_and_every_amount_is_written_exactly(self) -> None:
        """Another time and nonce change no content."""
        gateway = self.make_gateway()
        for minor in (1, 99, 100, 101, 123456789):
            order = replace(self.order(), amount=Money(minor, self.order().amount.currency))
            later = NOW + timedelta(hours=1)
            first, again = (
                gateway.read_request(as_sent(self._built(gateway, order, at))) for at in (NOW, later)
            )
            assert first == again
            assert first.amount == order.amount

    def test_no_request_shows_a_secret_but_where_the_gateway_asks_for_it(self) -> None:
        """Body, target and repr never do; a header may."""
        gateway = self.make_gateway()
        requests = [self._built(gateway, self.order()), gateway.build_query(self.order(), at=NOW, nonce="n1")]
        for request in requests:
            for secret in gateway.secrets:
                assert secret.encode() not in request.body
                assert secret not in request.target
                assert secret not in repr(request)


class GatewayConformance(Meaning, Robust, Secretive, Building):
    """All that `refold.engine.ports.Gateway` promises; override what `Declaring` asks for."""
