"""The adapter `bbmsl`: what answers say, by the document's own samples and every documented code."""

import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import strategies as st

from refold.adapters.bbmsl import Bbmsl
from refold.engine.domain.evidence import Evidence, Hold
from refold.engine.domain.message import Channel
from refold.engine.domain.signals import Signal
from refold.engine.errors import UnreadableMessage
from refold.engine.ports import AmountForm, Gateway

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SENT, POST, POLL = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL
READ = {POST: Bbmsl.read_response, POLL: Bbmsl.read_poll}
SUCCESS, PENDING, NOT_FOUND = Signal.SUCCESS, Signal.PENDING, Signal.NOT_FOUND
REJECTED, UNCERTAIN, UNRECOGNISED = Signal.REJECTED, Signal.UNCERTAIN, Signal.UNRECOGNISED


def answer(status="REFUNDED", code="0000", transaction=None, **order):
    body = {
        "responseCode": code,
        "message": "said",
        "order": {"merchantReference": "s22tring", "status": status} | order,
    }
    return body | ({} if transaction is None else {"transaction": transaction})


names = st.sampled_from(["responseCode", "message", "order", "transaction", "request", "signature"])


def test_the_adapter_is_a_gateway_and_needs_no_setting_to_read():
    gateway: Gateway = Bbmsl()
    assert (gateway.name, gateway.secrets) == ("bbmsl", ())


def test_the_capabilities_are_the_documented_ones():
    known = Bbmsl().capabilities
    assert (known.partial, known.several, known.lookup_by_own_reference) == (True, False, True)
    assert (known.refund_window_days, known.key_retention_s, known.absence) == (None, None, None)
    assert (known.amounts, known.acknowledgement, known.webhook_retry_s) == (
        AmountForm.MAJOR_NUMBER,
        None,
        (),
    )


# ---- codes: transcribed from the documents, independently of the adapter's table

STATUSES = [
    # order.status, beside 0000 on the refund, beside 0000 on a query
    ("REFUNDED", SUCCESS, SUCCESS),
    ("PARTIALLY_REFUNDED", SUCCESS, SUCCESS),
    ("PROCESSING", UNCERTAIN, PENDING),
    ("VOIDED", UNCERTAIN, UNCERTAIN),
    ("OPEN", UNCERTAIN, NOT_FOUND),
    ("SUCCESS", UNCERTAIN, NOT_FOUND),
    ("SETTLED", UNCERTAIN, NOT_FOUND),
    ("CLOSED", UNCERTAIN, NOT_FOUND),
    ("FAILURE", UNCERTAIN, NOT_FOUND),
    ("DECLINED", UNCERTAIN, NOT_FOUND),
    ("CANCELLED", UNCERTAIN, NOT_FOUND),
    ("NONE", UNCERTAIN, NOT_FOUND),
]
TRANSACTION_STATUSES = ["SUCCESS", "DECLINED", "VOIDED", "REFUNDED", "SETTLED"]
DOCUMENTED = {
    *((POST, "order.status", status, refund) for status, refund, _ in STATUSES),
    *((POLL, "order.status", status, query) for status, _, query in STATUSES),
    *((channel, "transaction.status", status, None) for channel in READ for status in TRANSACTION_STATUSES),
    *((channel, "responseCode", "0000", None) for channel in READ),
    (POST, "responseCode", "*", REJECTED),
    (POLL, "responseCode", "*", UNCERTAIN),
}


def test_every_documented_code_is_in_the_table_and_nothing_else():
    assert {(code.channel, code.field, code.value, code.signal) for code in Bbmsl().codes} == DOCUMENTED
    assert len(Bbmsl().codes) == len(DOCUMENTED)
    assert all(
        code.source.startswith("BBMSL, ") and "read 2026-11-21" in code.source for code in Bbmsl().codes
    )


@pytest.mark.parametrize(("status", "refund", "query"), STATUSES)
def test_beside_0000_the_order_status_decides_by_channel(message, status, refund, query):
    for channel, signal in ((POST, refund), (POLL, query)):
        evidence = READ[channel](Bbmsl(), message(answer(status)))
        assert (evidence.signal, evidence.code, evidence.hold) == (
            signal,
            f"order.status={status}",
            Hold.NONE,
        )


@pytest.mark.parametrize("transaction", TRANSACTION_STATUSES)
@pytest.mark.parametrize(("channel", "signal"), [(POST, UNCERTAIN), (POLL, NOT_FOUND)])
def test_the_status_of_the_transaction_never_decides(message, channel, signal, transaction):
    body = answer("SETTLED", transaction={"status": transaction})
    assert READ[channel](Bbmsl(), message(body)).signal is signal


@pytest.mark.parametrize(
    ("channel", "code", "status", "signal", "decided_by", "hold"),
    [
        (POST, "0051", "SUCCESS", REJECTED, "responseCode=0051", Hold.UNTIL_QUERY),
        (POST, "0051", None, REJECTED, "responseCode=0051", Hold.UNTIL_QUERY),
        (POST, "0051", "VOIDED", REJECTED, "responseCode=0051", Hold.UNTIL_QUERY),
        (POST, "*", "OPEN", REJECTED, "responseCode=*", Hold.UNTIL_QUERY),
        (POST, "0051", "REFUNDED", SUCCESS, "order.status=REFUNDED", Hold.NONE),
        (POST, "0051", "PARTIALLY_REFUNDED", SUCCESS, "order.status=PARTIALLY_REFUNDED", Hold.NONE),
        (POLL, "0051", "SUCCESS", UNCERTAIN, "responseCode=0051", Hold.NONE),
        (POLL, "0051", "REFUNDED", UNCERTAIN, "responseCode=0051", Hold.NONE),
        (POST, "0000", None, UNCERTAIN, "order.status=absent", Hold.NONE),
        (POLL, "0000", "", UNCERTAIN, "order.status=absent", Hold.NONE),
        (POST, "0000", "refunded", UNRECOGNISED, "order.status=refunded", Hold.NONE),
        (POLL, "0000", "CHARGED_BACK", UNRECOGNISED, "order.status=CHARGED_BACK", Hold.NONE),
        (POLL, "0000", 3, UNRECOGNISED, "order.status=3", Hold.NONE),
        (POST, None, "REFUNDED", UNCERTAIN, "responseCode=absent", Hold.NONE),
        (POST, "", "SETTLED", UNCERTAIN, "responseCode=absent", Hold.NONE),
        (POST, 0, "SETTLED", UNRECOGNISED, "responseCode=0", Hold.NONE),
        (POST, 51, "SETTLED", UNRECOGNISED, "responseCode=51", Hold.NONE),
        (POST, ["0000"], "REFUNDED", UNRECOGNISED, "responseCode=(list)", Hold.NONE),
    ],
)
def test_response_code_and_order_status_decide_together(
    message, channel, code, status, signal, decided_by, hold
):
    evidence = READ[channel](Bbmsl(), message(answer(status, code)))
    assert (evidence.signal, evidence.code, evidence.hold) == (signal, decided_by, hold)


@pytest.mark.parametrize("order", [None, "REFUNDED", [], 5])
@pytest.mark.parametrize("channel", READ)
def test_0000_without_an_order_is_uncertain(message, channel, order):
    evidence = READ[channel](Bbmsl(), message({"responseCode": "0000", "order": order}))
    assert (evidence.signal, evidence.code, evidence.answered) == (UNCERTAIN, "order.status=absent", True)


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize("status", [500, 502, 503, 504, 301, 302, 408, 429])
def test_a_status_of_proxies_and_limiters_is_uncertain_whatever_the_body(message, channel, status):
    evidence = READ[channel](Bbmsl(), message(answer(), http_status=status))
    assert evidence == Evidence(signal=UNCERTAIN, code=f"http={status}", answered=False)


@pytest.mark.parametrize("channel", READ)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body=not_strict_json"),
        (b"<html>502</html>", "body=not_strict_json"),
        (b'{"responseCode": "0000", "order": {"sta', "body=not_strict_json"),
        (b'{"responseCode": "0000", "responseCode": "1"}', "body=not_strict_json"),
        (b'{"order": {"amount": NaN}}', "body=not_strict_json"),
        (b"[]", "body=not_an_object"),
    ],
)
def test_an_answer_that_cannot_be_read_is_uncertain_and_nobody_answered(message, channel, body, code):
    evidence = READ[channel](Bbmsl(), message(body))
    assert (evidence.signal, evidence.code, evidence.answered) == (UNCERTAIN, code, False)


# ---- what an answer says beside its code


def test_the_printed_response_is_read_whole_and_the_order_total_is_not_the_refund(seed, message):
    assert Bbmsl().read_response(message(seed("refund_response"))) == Evidence(
        signal=SUCCESS,
        code="order.status=REFUNDED",
        refund_id="s22tring",
        payment_id="s22tring",
        payment_alias="1076",
        amount_minor=None,
        currency="HKD",
        detail="SUCCESS",
    )


@pytest.mark.parametrize(
    ("order", "transaction", "field", "value"),
    [
        ({"merchantReference": "", "id": 1076}, None, "refund_id", "1076"),
        ({"merchantReference": None, "id": "1076"}, None, "payment_id", None),
        ({"merchantReference": None, "id": "1076"}, None, "payment_alias", "1076"),
        ({"id": 1076}, None, "refund_id", "s22tring"),
        ({"id": 1076}, None, "payment_id", "s22tring"),
        ({"id": 1076}, None, "payment_alias", "1076"),
        ({"id": "10 76"}, None, "payment_alias", None),
        ({"id": "10 76"}, None, "signal", SUCCESS),
        ({}, None, "payment_alias", None),
        ({"currency": "HKD"}, {"amount": 76.19}, "amount_minor", 7619),
        ({"currency": "HKD"}, {"amount": 10}, "amount_minor", 1000),
        ({"currency": "HKD"}, {"amount": "10.5"}, "amount_minor", 1050),
        ({"currency": "HKD"}, {"amount": 10.0, "currency": "JPY"}, "amount_minor", None),
        ({"currency": "HKD"}, {"amount": 10, "currency": "jpy"}, "amount_minor", 10),
        ({"currency": "HKD"}, {"amount": 10, "currency": "jpy"}, "currency", "JPY"),
        ({}, {"amount": 10.5}, "amount_minor", 1050),
        ({}, {"amount": 10.5}, "currency", None),
        ({"currency": "HKD"}, {"amount": 76.19, "type": "REFUND"}, "amount_minor", 7619),
        ({"currency": "HKD"}, {"amount": 76.19, "type": "SALE"}, "amount_minor", None),
        ({"currency": "HKD"}, {"amount": -1, "type": "SALE"}, "signal", SUCCESS),
        ({"currency": "HKD"}, {"merchantId": 3000001}, "account", "3000001"),
        ({"updateTime": "2026-11-21T20:00:00+08:00"}, None, "gateway_time", NOW),
        ({"updateTime": "2026-11-21 20:00:00"}, None, "gateway_time", None),
    ],
)
@pytest.mark.parametrize("channel", READ)
def test_each_field_lands_in_its_place(message, channel, order, transaction, field, value):
    evidence = READ[channel](Bbmsl(), message(answer(transaction=transaction, **order)))
    assert getattr(evidence, field) == value


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ({"id": 1076}, ("1076", "1076", "s22tring")),
        ({}, ("s22tring", None, "s22tring")),
        ({"id": "1076", "merchantReference": None}, ("1076", "1076", None)),
    ],
)
def test_for_merchants_who_name_orders_by_number_the_reference_is_the_other_name(message, order, names):
    evidence = Bbmsl(reference="orderId").read_poll(message(answer(**order)))
    assert (evidence.refund_id, evidence.payment_id, evidence.payment_alias) == names


@pytest.mark.parametrize(
    ("order", "transaction", "code"),
    [
        ({"merchantReference": "s 22"}, None, "order.merchantReference=s 22"),
        ({"merchantReference": {}}, None, "order.merchantReference=(dict)"),
        ({"merchantReference": None, "id": "10 76"}, None, "order.id=10 76"),
        ({"currency": "XXQ"}, None, "order.currency=XXQ"),
        ({"currency": 344}, None, "order.currency=344"),
        ({"currency": "HKD"}, {"amount": 76.195}, "transaction.amount=76.195"),
        ({"currency": "HKD"}, {"amount": 0}, "transaction.amount=0"),
        ({"currency": "HKD"}, {"amount": -1.5}, "transaction.amount=-1.5"),
        ({"currency": "HKD"}, {"amount": True}, "transaction.amount=(bool)"),
        ({"currency": "HKD"}, {"amount": "1e3"}, "transaction.amount=1e3"),
        ({"currency": "HKD"}, {"amount": "a\x1b"}, "transaction.amount=a"),
        ({"currency": "HKD"}, {"merchantId": "3 "}, "transaction.merchantId=3 "),
    ],
)
@pytest.mark.parametrize("response_code", ["0000", "0051"])
def test_a_field_that_cannot_be_what_it_says_makes_a_person_look(
    message, order, transaction, code, response_code
):
    evidence = Bbmsl().read_response(message(answer(code=response_code, transaction=transaction, **order)))
    assert (evidence.signal, evidence.code, evidence.hold) == (UNRECOGNISED, code, Hold.NONE)
    assert evidence.claims is SUCCESS


@pytest.mark.parametrize(
    ("written", "minor"), [("1E2", 10000), ("1.05e1", 1050), ("0.10", 10), ("100.00", 10000)]
)
def test_numbers_are_read_by_their_digits_never_as_floats(message, written, minor):
    body = f'{{"responseCode":"0000","order":{{"status":"REFUNDED","currency":"HKD"}},"transaction":{{"amount":{written}}}}}'
    assert Bbmsl().read_response(message(body.encode())).amount_minor == minor


@pytest.mark.parametrize("written", ["0e-9999999", "0.0E9999999", "1e99", "9007199254740993.001"])
def test_a_number_with_an_absurd_exponent_is_refused_without_being_written_out(message, written):
    body = f'{{"responseCode":"0000","order":{{"status":"REFUNDED"}},"transaction":{{"amount":{written}}}}}'
    tracemalloc.start()
    try:
        evidence = Bbmsl().read_response(message(body.encode()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert evidence.signal is UNRECOGNISED
    assert peak < 1_000_000


def test_no_refund_webhook_is_documented(message):
    with pytest.raises(UnreadableMessage, match="no refund webhook is documented"):
        Bbmsl().read_webhook(message(answer()))
    assert Bbmsl().signed_at(message(answer())) is None
