"""The adapter `evocloud`: one endpoint that cancels or refunds, and a field that says which it did."""

from datetime import UTC, datetime

import pytest

from refold.adapters.evocloud import Evocloud
from refold.adapters.signing import SigningKey
from refold.engine.domain.evidence import Hold, RefundOrder, Trust
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.money import Money
from refold.engine.domain.signals import Signal
from refold.engine.errors import InvalidIdentifier, InvalidSetting, UnreadableMessage
from refold.engine.ports import Gateway

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = SigningKey("main", "64b59e70e15445196b1b5d2935f4e1bc")
STORE = {"sid": "S024116", "keys": [KEY]}
ORDER = RefundOrder(refund_id="r+1&x", payment_id="p/1", amount=Money(1000, "USD"), requested_at=NOW)
POST, POLL, HOOK = Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK
READ = {POST: Evocloud.read_response, POLL: Evocloud.read_poll, HOOK: Evocloud.read_webhook}
REJECTED, UNCERTAIN, UNRECOGNISED = Signal.REJECTED, Signal.UNCERTAIN, Signal.UNRECOGNISED


def part(status, own_id="r-1", **more):
    return {
        "merchantTransInfo": {"merchantTransID": own_id},
        "evoTransInfo": {"evoTransID": "evo-1"},
        "status": status,
    } | more


def answer(code="S0000", **objects):
    return {
        "result": {"code": code},
        "payment": {"status": "Refunded", "merchantTransInfo": {"merchantTransID": "p-1"}},
    } | objects


def test_the_adapter_is_a_gateway():
    gateway: Gateway = Evocloud()
    assert (gateway.name, gateway.secrets) == ("evocloud", ())
    known = gateway.capabilities
    assert (known.post_timeout_s, known.poll_interval_s, known.key_retention_s, known.refund_window_days) == (
        45,
        45,
        86_400,
        365,
    )
    assert (known.absence, known.acknowledgement, known.webhook_retry_s) == ((2, 60), b"SUCCESS", ())


# Transcribed from the documents, independently of the adapter's table.
STATUSES = [("Received", Signal.PENDING), ("Success", Signal.SUCCESS), ("Failed", Signal.FAILED)]
RESULTS = [
    (POST, "V0000", REJECTED, Hold.NONE),
    (POST, "C0000", REJECTED, Hold.NONE),
    (POST, "C0004", REJECTED, Hold.NONE),
    (POST, "C0009", UNCERTAIN, Hold.NONE),
    (POST, "B0012", REJECTED, Hold.NONE),
    (POST, "P0001", REJECTED, Hold.UNTIL_QUERY),
    (POST, "I0005", REJECTED, Hold.UNTIL_QUERY),
    (POST, "E0000", UNCERTAIN, Hold.NONE),
    (POLL, "V0000", UNCERTAIN, Hold.NONE),
    (POLL, "C0000", UNCERTAIN, Hold.NONE),
    (POLL, "C0004", Signal.NOT_FOUND, Hold.NONE),
    (POLL, "C0009", UNCERTAIN, Hold.NONE),
    (POLL, "B0012", UNCERTAIN, Hold.NONE),
    (POLL, "P0001", UNCERTAIN, Hold.NONE),
    (POLL, "I0005", UNCERTAIN, Hold.NONE),
    (POLL, "E0000", UNCERTAIN, Hold.NONE),
]


@pytest.mark.parametrize("channel", [POST, POLL, HOOK])
@pytest.mark.parametrize(("choice", "name"), [("Refund", "refund"), ("Cancel", "cancel")])
@pytest.mark.parametrize(("status", "signal"), STATUSES)
def test_every_documented_status_of_both_objects_is_in_the_table_and_read_by_it(
    message, channel, choice, name, status, signal
):
    rows = [code for code in Evocloud().codes if code[:3] == (channel, f"{name}.status", status)]
    assert [row.signal for row in rows] == [signal]
    body = answer(cancelOrRefund=choice, eventCode=choice, **{name: part(status)})
    found = READ[channel](Evocloud(), message(body))
    assert (found.signal, found.code) == (signal, f"{name}.status={status}")
    assert (found.refund_id, found.payment_id, found.gateway_refund_id) == ("r-1", "p-1", "evo-1")


@pytest.mark.parametrize(("channel", "result", "signal", "hold"), RESULTS)
def test_every_result_outside_s_is_in_the_table_and_read_by_it(message, channel, result, signal, hold):
    rows = {code.value: code.signal for code in Evocloud().codes if code[:2] == (channel, "result.code")}
    assert rows.get(result, rows[f"{result[0]}*"]) == signal
    found = READ[channel](Evocloud(), message(answer(result)))
    assert (found.signal, found.code, found.hold) == (signal, f"result.code={result}", hold)


@pytest.mark.parametrize("channel", [POST, POLL, HOOK])
@pytest.mark.parametrize(
    "row",
    [("result.code", f"{letter}*") for letter in "SVCBPIE"]
    + [("cancelOrRefund", "Refund"), ("cancelOrRefund", "Cancel")],
)
def test_every_family_and_choice_is_in_the_table_of_every_channel(channel, row):
    assert [code for code in Evocloud().codes if code[:3] == (channel, *row)]


@pytest.mark.parametrize(
    "status",
    [
        "Verifying",
        "Verified",
        "Pending",
        "Authorised",
        "Cancelling",
        "Cancelled",
        "Capturing",
        "Captured",
        "Refunding",
        "Refunded",
        "Partial Refunded",
        "Failed",
    ],
)
def test_the_payments_status_is_in_the_table_and_never_read_as_the_refunds(message, status):
    assert {code.signal for code in Evocloud().codes if code[1:3] == ("payment.status", status)} == {None}
    assert Evocloud().read_poll(message(answer(payment={"status": status}))).signal is UNCERTAIN


def test_no_word_stands_twice_in_the_table():
    rows = [code[:3] for code in Evocloud().codes]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(
    ("objects", "signal", "code"),
    [
        (
            {"cancelOrRefund": "Cancel", "cancel": part("Success"), "refund": part("Failed")},
            Signal.SUCCESS,
            "cancel.status=Success",
        ),
        (
            {"cancelOrRefund": "Refund", "cancel": part("Success"), "refund": part("Failed")},
            Signal.FAILED,
            "refund.status=Failed",
        ),
        ({"refund": part("Received")}, Signal.PENDING, "refund.status=Received"),
        ({"cancel": part("Received"), "cancelOrRefund": None}, Signal.PENDING, "cancel.status=Received"),
        ({"cancel": part("Success"), "refund": part("Success")}, UNCERTAIN, "cancelOrRefund=absent"),
        ({}, UNCERTAIN, "cancelOrRefund=absent"),
        ({"cancelOrRefund": "Refund"}, UNCERTAIN, "refund.status=absent"),
        ({"cancelOrRefund": "Refund", "cancel": part("Success")}, UNCERTAIN, "refund.status=absent"),
        ({"cancelOrRefund": "refund", "refund": part("Success")}, UNRECOGNISED, "cancelOrRefund=refund"),
        ({"cancelOrRefund": "Reversal", "refund": part("Success")}, UNRECOGNISED, "cancelOrRefund=Reversal"),
        ({"cancelOrRefund": ["Refund"], "refund": part("Success")}, UNRECOGNISED, "cancelOrRefund=(list)"),
        (
            {"cancelOrRefund": "Refund", "refund": part("refunded_full")},
            UNRECOGNISED,
            "refund.status=refunded_full",
        ),
    ],
)
def test_the_field_says_which_object_tells(message, objects, signal, code):
    for read in (Evocloud.read_response, Evocloud.read_poll):
        found = read(Evocloud(), message(answer(**objects)))
        assert (found.signal, found.code) == (signal, code)


def test_a_rejection_that_shows_a_cancel_under_way_keeps_the_amount_until_a_query(message):
    found = Evocloud().read_response(
        message(answer("B0012", cancelOrRefund="Cancel", cancel=part("Received")))
    )
    assert (found.signal, found.hold, found.refund_id) == (REJECTED, Hold.UNTIL_QUERY, "r-1")


def test_an_uncertain_answer_holds_nothing_by_itself(message):
    found = Evocloud().read_response(
        message(answer("E0000", cancelOrRefund="Refund", refund=part("Received")))
    )
    assert (found.signal, found.hold) == (UNCERTAIN, Hold.NONE)


@pytest.mark.parametrize(
    "body",
    [
        {"eventCode": "Cancel", "refund": part("Success")},
        {"eventCode": "Refund", "cancel": part("Success")},
        {"eventCode": "CancelOrRefund", "refund": part("Success")},
        {"eventCode": "Payment", "payment": part("Refunded")},
        {"refund": part("Success")},
        {"eventCode": "Cancel", "cancel": {"status": None}},
    ],
)
def test_a_webhook_about_something_else_is_unreadable(message, body):
    with pytest.raises(UnreadableMessage):
        Evocloud().read_webhook(message(body))


def test_a_cancelled_payment_that_was_refused_contradicts_itself(message):
    body = answer("P0001", eventCode="Cancel", cancel=part("Success"))
    assert Evocloud().read_webhook(message(body)).signal is UNRECOGNISED


def test_requests_name_the_store_the_payment_and_the_refund_as_documented():
    gateway = Evocloud(**STORE, base_path="/eu")
    built = gateway.build_refund(ORDER, at=NOW, nonce="n")
    assert (built.method, built.target) == (
        "POST",
        "/eu/g2/v1/payment/mer/S024116/cancelOrRefund?merchantTransID=p%2F1",
    )
    query = gateway.build_query(ORDER, at=NOW, nonce="n")
    assert (query.method, query.target, query.body) == (
        "GET",
        "/eu/g2/v1/payment/mer/S024116/cancelOrRefund?merchantTransID=r%2B1%26x",
        b"",
    )
    assert "Idempotency-Key" not in query.headers


@pytest.mark.parametrize("build", ["build_refund", "build_query"])
def test_what_is_built_verifies_as_what_was_sent(build):
    built = getattr(Evocloud(**STORE, sign_type="HMAC-SHA512"), build)(ORDER, at=NOW, nonce="n")
    sent = Message(
        body=built.body, received_at=NOW, headers=built.headers, method=built.method, target=built.target
    )
    assert Evocloud(**STORE).verify(Channel.REQUEST, sent).trust is Trust.VERIFIED


def test_what_is_built_reads_back_as_what_was_ordered():
    built = Evocloud(**STORE).build_refund(ORDER, at=NOW, nonce="n")
    sent = Evocloud().read_request(Message(body=built.body, received_at=NOW, target=built.target))
    assert (sent.refund_id, sent.payment_id, sent.amount, sent.account) == (
        "r+1&x",
        "p/1",
        Money(1000, "USD"),
        "S024116",
    )


def test_a_request_may_leave_the_amount_out(message):
    sent = Evocloud().read_request(message({"merchantTransInfo": {"merchantTransID": "r-1"}}))
    assert (sent.refund_id, sent.amount, sent.payment_id, sent.account) == ("r-1", None, None, None)


@pytest.mark.parametrize(
    ("target", "payment_id", "account"),
    [
        ("/g2/v1/payment/mer/S1/cancelOrRefund?x=1&merchantTransID=p-1", "p-1", "S1"),
        ("/g2/v1/payment/mer/S1/cancelOrRefund", None, "S1"),
        ("/g2/v1/payment/mer/S1/cancelOrRefund?merchantTransID", None, "S1"),
        ("/g2/v1/payment/mer/S1/cancelOrRefund?merchantTransID=a&merchantTransID=b", None, "S1"),
        ("/g2/v1/payment/mer/%20/cancelOrRefund?merchantTransID=%FF", None, None),
        ("//[/mer", None, None),
        ("", None, None),
    ],
)
def test_the_target_of_a_request_names_store_and_payment(message, target, payment_id, account):
    sent = Evocloud().read_request(message({"merchantTransInfo": {"merchantTransID": "r-1"}}, target=target))
    assert (sent.payment_id, sent.account) == (payment_id, account)


def test_nothing_is_built_without_a_store():
    with pytest.raises(InvalidSetting, match="sid"):
        Evocloud(keys=[KEY]).build_query(ORDER, at=NOW, nonce="n")


@pytest.mark.parametrize("sid", ["", "S 1", 24116])
def test_a_store_number_that_is_none_is_refused(sid):
    with pytest.raises(InvalidSetting, match="sid"):
        Evocloud(sid=sid)


def test_a_store_number_that_clients_resolve_as_a_path_is_refused():
    with pytest.raises(InvalidIdentifier):
        Evocloud(sid="..", keys=[KEY]).build_query(ORDER, at=NOW, nonce="n")
