"""The adapter `easylink`: what answers and messages say, by the document's own samples and every documented code."""

from datetime import UTC, datetime

import pytest

from refold.adapters.easylink import Easylink
from refold.engine.domain.evidence import Evidence, Hold
from refold.engine.domain.message import Channel
from refold.engine.domain.signals import Signal
from refold.engine.ports import AmountForm, Gateway

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SENT, POST, POLL, HOOK = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK
READ = {POST: Easylink.read_response, POLL: Easylink.read_poll, HOOK: Easylink.read_webhook}
PENDING, SUCCESS, FAILED, CLOSED = Signal.PENDING, Signal.SUCCESS, Signal.FAILED, Signal.CLOSED
REJECTED, UNCERTAIN, UNRECOGNISED = Signal.REJECTED, Signal.UNCERTAIN, Signal.UNRECOGNISED


def answer(code=0, **data):
    return {"code": code, "msg": "said", "data": data}


@pytest.fixture
def carry(message):
    """Return what a channel says about a refund, the way that channel says it."""
    return lambda channel, **fields: message(fields if channel is HOOK else answer(**fields))


def test_the_adapter_is_a_gateway_and_needs_no_setting_to_read():
    gateway: Gateway = Easylink()
    assert (gateway.name, gateway.secrets) == ("easylink", ())


def test_the_capabilities_are_the_documented_ones():
    known = Easylink().capabilities
    assert (known.partial, known.several, known.lookup_by_own_reference) == (True, True, True)
    assert (known.outcome_window_s, known.refund_window_days, known.key_retention_s, known.absence) == (
        7200,
        None,
        None,
        None,
    )
    assert (known.amounts, known.acknowledgement) == (AmountForm.CENTS, b"success")
    assert known.webhook_retry_s == (0, 30, 60, 90, 120, 150)


# ---- codes: transcribed from the documents, independently of the adapter's table

STATES = [("0", PENDING), ("1", PENDING), ("2", SUCCESS), ("3", FAILED), ("4", CLOSED)]
REFUSALS = [
    (POST, "9999", UNCERTAIN),
    (POST, "10", UNCERTAIN),
    (POST, "12", UNCERTAIN),
    (POST, "11", REJECTED),
    (POST, "5004", REJECTED),
    (POLL, "9999", UNCERTAIN),
    (POLL, "10", UNCERTAIN),
    (POLL, "12", UNCERTAIN),
    (POLL, "11", UNCERTAIN),
    (POLL, "5004", UNCERTAIN),
]
DOCUMENTED = {
    *((channel, "state", state, signal) for channel in READ for state, signal in STATES),
    *((channel, "code", code, signal) for channel, code, signal in REFUSALS),
    (POST, "code", "0", None),
    (POLL, "code", "0", None),
}


def test_every_documented_code_is_in_the_table_and_nothing_else():
    assert {(code.channel, code.field, code.value, code.signal) for code in Easylink().codes} == DOCUMENTED
    assert len(Easylink().codes) == len(DOCUMENTED)
    assert all(
        code.source.startswith("easylink, ") and "read 2026-11-21" in code.source for code in Easylink().codes
    )


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize("written", [int, str])
@pytest.mark.parametrize(("state", "signal"), STATES)
def test_a_documented_state_reads_as_documented(carry, channel, written, state, signal):
    evidence = READ[channel](Easylink(), carry(channel, state=written(state)))
    assert (evidence.signal, evidence.code, evidence.answered) == (signal, f"state={state}", True)


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize(("state", "signal"), STATES)
def test_only_a_closed_refund_stays_reserved_until_reconciled(carry, channel, state, signal):
    hold = Hold.UNTIL_RECONCILED if signal is CLOSED else Hold.NONE
    assert READ[channel](Easylink(), carry(channel, state=state)).hold is hold


@pytest.mark.parametrize("written", [int, str])
@pytest.mark.parametrize(("channel", "code", "signal"), REFUSALS)
def test_a_documented_code_reads_by_its_channel(message, channel, written, code, signal):
    body = {"code": written(code), "msg": "Business failed", "data": None}
    evidence = READ[channel](Easylink(), message(body))
    assert evidence == Evidence(signal=signal, code=f"code={code}", detail="Business failed")


@pytest.mark.parametrize("channel", [POST, POLL])
@pytest.mark.parametrize(
    ("body", "signal", "code"),
    [
        ({"msg": "x"}, UNCERTAIN, "code=absent"),
        ({"code": None}, UNCERTAIN, "code=absent"),
        ({"code": ""}, UNCERTAIN, "code=absent"),
        ({"code": 0}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": None}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": "state"}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": {}}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": {"state": None}}, UNCERTAIN, "state=absent"),
        ({"code": 0, "data": {"state": 5}}, UNRECOGNISED, "state=5"),
        ({"code": 0, "data": {"state": "02"}}, UNRECOGNISED, "state=02"),
        ({"code": 0, "data": {"state": -1}}, UNRECOGNISED, "state=-1"),
        ({"code": 0, "data": {"state": 2.0}}, UNRECOGNISED, "state=2.0"),
        ({"code": 0, "data": {"state": True}}, UNRECOGNISED, "state=(bool)"),
        ({"code": 0, "data": {"state": [2]}}, UNRECOGNISED, "state=(list)"),
        ({"code": 1}, UNRECOGNISED, "code=1"),
        ({"code": "00"}, UNRECOGNISED, "code=00"),
        ({"code": False}, UNRECOGNISED, "code=(bool)"),
        ({"code": "SUCCESS"}, UNRECOGNISED, "code=SUCCESS"),
    ],
)
def test_an_answer_outside_the_table_never_moves_the_state(message, channel, body, signal, code):
    evidence = READ[channel](Easylink(), message(body))
    assert (evidence.signal, evidence.code) == (signal, code)


@pytest.mark.parametrize("channel", [POST, POLL])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 301, 302, 408, 429])
def test_a_status_of_proxies_and_limiters_is_uncertain_whatever_the_body(message, channel, status):
    evidence = READ[channel](Easylink(), message(answer(state=2), http_status=status))
    assert evidence == Evidence(signal=UNCERTAIN, code=f"http={status}", answered=False)


@pytest.mark.parametrize("status", [None, 200, 201, 400, 404])
def test_the_body_decides_under_any_other_status(message, status):
    assert Easylink().read_response(message(answer(state=2), http_status=status)).signal is SUCCESS


NOT_JSON = [
    b"",
    b"<html>502 Bad Gateway</html>",
    b'{"code": 0, "data": {"state": 2',
    b'{"code": 0, "code": 11}',
    b'{"code": NaN}',
    b'{"code": 1e999}',
    b'\xef\xbb\xbf{"code": 0}',
    '{"code": 0}'.encode("utf-16"),
    b'{"msg": "\\ud800"}',
    b'{"msg": "\\u0000"}',
]


@pytest.mark.parametrize("channel", [POST, POLL])
@pytest.mark.parametrize("body", NOT_JSON)
def test_an_answer_that_is_no_strict_json_is_uncertain_and_nobody_answered(message, channel, body):
    evidence = READ[channel](Easylink(), message(body))
    assert (evidence.signal, evidence.code, evidence.answered) == (UNCERTAIN, "body=not_strict_json", False)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"2"', b"0"])
def test_an_answer_that_is_no_object_is_uncertain_and_nobody_answered(message, body):
    evidence = Easylink().read_poll(message(body))
    assert (evidence.signal, evidence.code, evidence.answered) == (UNCERTAIN, "body=not_an_object", False)


# ---- what a message says beside its code


def test_the_printed_refund_response_is_read_whole(seed, message):
    assert Easylink().read_response(message(seed("refund_response"))) == Evidence(
        signal=SUCCESS,
        code="state=2",
        refund_id="mho1624007315478",
        gateway_refund_id="R202106181708358940000",
        amount_minor=4,
        detail="SUCCESS",
    )


@pytest.mark.parametrize(("channel", "name"), [(POLL, "query_response"), (HOOK, "notification")])
def test_the_printed_query_response_and_notification_are_read_whole(seed, message, channel, name):
    assert READ[channel](Easylink(), message(seed(name))) == Evidence(
        signal=SUCCESS,
        code="state=2",
        refund_id="mho1623985552430",
        payment_id="P202106181104177050002",
        gateway_refund_id="P202106181105527690009",
        amount_minor=4,
        currency="HKD",
        account="M1623984572",
        gateway_time=datetime(2021, 6, 18, 3, 5, 54, tzinfo=UTC),
        detail="SUCCESS" if channel is POLL else "",
    )


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"refundAmount": 10.0}, "refundAmount=10.0"),
        ({"refundAmount": "10.00"}, "refundAmount=10.00"),
        ({"refundAmount": 0}, "refundAmount=0"),
        ({"refundAmount": -4}, "refundAmount=-4"),
        ({"refundAmount": True}, "refundAmount=(bool)"),
        ({"refundAmount": "4 "}, "refundAmount=4 "),
        ({"refundAmount": 2**63}, f"refundAmount={2**63}"),
        ({"currency": "JPY"}, "currency=JPY"),
        ({"currency": "KWD"}, "currency=KWD"),
        ({"currency": "RMB"}, "currency=RMB"),
        ({"currency": 344}, "currency=344"),
        ({"mchRefundNo": "R 1"}, "mchRefundNo=R 1"),
        ({"mchRefundNo": ["R1"]}, "mchRefundNo=(list)"),
        ({"mchRefundNo": True}, "mchRefundNo=(bool)"),
        ({"refundOrderId": "x" * 129}, "refundOrderId=" + "x" * 106),
        ({"payOrderId": "P\u202e1"}, "payOrderId=P1"),
        ({"mchNo": {"a": 1}}, "mchNo=(dict)"),
    ],
)
def test_a_field_that_cannot_be_what_it_says_makes_a_person_look(carry, refund, channel, changes, code):
    evidence = READ[channel](Easylink(), carry(channel, **refund(**changes)))
    assert (evidence.signal, evidence.code, evidence.hold) == (UNRECOGNISED, code, Hold.NONE)
    assert evidence.claims is READ[channel](Easylink(), carry(channel, **refund())).signal


@pytest.mark.parametrize(
    ("written", "currency"), [("JPY", "JPY"), ("kwd", "KWD"), ("RMB", None), (344, None)]
)
@pytest.mark.parametrize("channel", READ)
def test_a_currency_it_cannot_count_in_is_still_named(carry, refund, channel, written, currency):
    evidence = READ[channel](Easylink(), carry(channel, **refund(currency=written)))
    assert evidence.currency == currency
    assert evidence.amount_minor == (None if currency else 4)


def test_of_several_such_fields_the_first_is_named(message, refund):
    body = message(answer(**refund(mchRefundNo="R 1", refundAmount=0, currency="JPY")))
    assert Easylink().read_poll(body).code == "mchRefundNo=R 1"


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({}, "amount_minor", 4),
        ({"refundAmount": "400"}, "amount_minor", 400),
        ({"refundAmount": None}, "amount_minor", None),
        ({"currency": "cny"}, "currency", "CNY"),
        ({"currency": ""}, "currency", None),
        ({"mchRefundNo": 17}, "refund_id", "17"),
        ({"payOrderId": "", "mchOrderNo": "O1"}, "payment_id", "O1"),
        ({"payOrderId": "P1", "mchOrderNo": "O1"}, "payment_id", "P1"),
        (
            {"successTime": "1623985554000", "createdAt": 1},
            "gateway_time",
            datetime(2021, 6, 18, 3, 5, 54, tzinfo=UTC),
        ),
        (
            {"successTime": "soon", "createdAt": 1623985552},
            "gateway_time",
            datetime(2021, 6, 18, 3, 5, 52, tzinfo=UTC),
        ),
        ({"successTime": 1623985554.0}, "gateway_time", None),
        ({"errMsg": "no funds"}, "detail", "no funds"),
        ({"errCode": "1002", "errMsg": "no funds"}, "detail", "1002 no funds"),
        ({"errCode": "1002"}, "detail", "1002 said"),
        ({"errMsg": "a\x1b[31m\u202eb"}, "detail", "a[31mb"),
        ({"errMsg": "x" * 600}, "detail", "x" * 500),
    ],
)
def test_each_field_lands_in_its_place(message, refund, changes, field, value):
    evidence = Easylink().read_poll(message(answer(**refund(**changes))))
    assert (evidence.signal, getattr(evidence, field)) == (SUCCESS, value)


def test_merchants_who_name_payments_by_their_own_order_number_are_not_shown_the_other(message, refund):
    gateway = Easylink(payment_reference="mchOrderNo")
    assert gateway.read_poll(message(answer(**refund()))).payment_id is None
    assert gateway.read_poll(message(answer(**refund(mchOrderNo="O1")))).payment_id == "O1"
