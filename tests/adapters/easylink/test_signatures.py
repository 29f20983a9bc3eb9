"""The adapter `easylink`: notifications, and the MD5 signs of whatever arrives."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from refold.adapters.easylink import Easylink
from refold.adapters.signing import SigningKey
from refold.engine.domain.evidence import UNVERIFIED, Trust
from refold.engine.domain.message import Channel
from refold.engine.errors import InvalidSignature, UnreadableMessage

SEEDS = Path(__file__).parents[2] / "seeds"
PUBLISHED = json.loads((SEEDS / "easylink_signature.json").read_text())
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SENT, POST, POLL, HOOK = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK


# ---- notifications


def test_a_form_encoded_notification_reads_like_the_json_one(seed, message, form):
    fields = json.loads(seed("notification"))
    assert Easylink().read_webhook(form(fields)) == Easylink().read_webhook(message(seed("notification")))


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"state=2&state=3", {}, "not_a_form: a name stands twice"),
        (b"state=2&%zz=1", {}, "not_a_form: a percent sign"),
        (b"state=2&a=%", {}, "not_a_form: a percent sign"),
        (b"state=2&a=%ff", {}, "not_a_form: name=value pairs"),
        (b"state=2&a=\xff", {}, "not_a_form: name=value pairs"),
        (b"state=2&a=%ED%A0%80", {}, "not_a_form: name=value pairs"),
        (b"state=2&a", {}, "not_a_form: name=value pairs"),
        (b"state=2&a=%00", {}, "not_a_form: it holds a NUL"),
        (b"&".join(b"a%d=1" % n for n in range(101)), {}, "not_a_form: name=value pairs"),
        (b"state=2", {"Content-Type": "application/JSON"}, "not_strict_json"),
        (b"", {}, "not_strict_json"),
        (b'{"state": NaN}', {"Content-Type": "application/x-www-form-urlencoded"}, "not_strict_json"),
        (b"[2]", {}, "a JSON object is needed"),
        (b'{"mchRefundNo": "R1"}', {}, "state is missing"),
        (b"mchRefundNo=R1&state=", {}, "state is missing"),
    ],
)
def test_a_notification_that_cannot_be_read_is_refused_with_its_reason(message, body, headers, reason):
    with pytest.raises(UnreadableMessage, match=reason):
        Easylink().read_webhook(message(body, headers=headers))


@pytest.mark.parametrize(
    ("req_time", "at"),
    [
        ("1622016572190", datetime(2021, 5, 26, 8, 9, 32, 190000, tzinfo=UTC)),
        (1622016572190, datetime(2021, 5, 26, 8, 9, 32, 190000, tzinfo=UTC)),
        ("1624007315", datetime(2021, 6, 18, 9, 8, 35, tzinfo=UTC)),
        ("16220165721", None),
        ("-1622016572190", None),
        ("yesterday", None),
        ("", None),
        (True, None),
    ],
)
def test_the_signed_time_is_reqtime_in_milliseconds_or_seconds(message, form, req_time, at):
    assert Easylink().signed_at(message({"reqTime": req_time})) == at
    assert Easylink().signed_at(form({"reqTime": req_time})) == at


@pytest.mark.parametrize("body", [b"{", b"{}", b"a"])
def test_a_body_without_reqtime_has_no_signed_time(message, body):
    assert Easylink().signed_at(message(body)) is None


# ---- signatures


@pytest.mark.parametrize("vector", PUBLISHED["vectors"], ids=lambda vector: vector["name"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_published_signs_verify_in_either_case(message, adapter, vector, case):
    body = vector["params"] | {"sign": case(vector["sign"])}
    assert adapter().verify(SENT, message(body)).key_id == "demo"


@pytest.mark.parametrize(
    ("channel", "name", "verifies"),
    [
        (SENT, "refund_request", False),  # its reason was translated after signing
        (POST, "refund_response", True),
        (SENT, "query_request", True),
        (POLL, "query_response", False),  # edited after signing
    ],
)
def test_the_printed_signs_verify_unless_the_print_was_edited(
    seed, message, adapter, channel, name, verifies
):
    if verifies:
        assert adapter().verify(channel, message(seed(name))).trust is Trust.VERIFIED
    else:
        with pytest.raises(InvalidSignature):
            adapter().verify(channel, message(seed(name)))


def test_a_form_encoded_notification_verifies_over_all_its_fields(seed, form, signed, adapter):
    fields = signed(json.loads(seed("notification")) | {"reqTime": "1623985554999"})
    assert adapter().verify(HOOK, form(fields)).key_id == "demo"
    with pytest.raises(InvalidSignature):
        adapter().verify(HOOK, form(fields | {"refundAmount": 5}))
    with pytest.raises(InvalidSignature):
        adapter().verify(HOOK, form(fields | {"added": "1"}))


def test_code_and_msg_of_an_answer_are_unsigned(seed, message, adapter):
    body = json.loads(seed("refund_response")) | {"code": 9999, "msg": "other"}
    assert adapter().verify(POST, message(body)).trust is Trust.VERIFIED


def test_empty_and_null_fields_are_not_signed(message, signed, adapter):
    fields = signed({"a": "1"}) | {"b": "", "c": None}
    assert adapter().verify(SENT, message(fields)).trust is Trust.VERIFIED


def test_the_strings_are_sorted_without_regard_to_case(message, signed, adapter):
    fields = signed({"b": "1", "A": "2", "C": "3", "a-b": "4"})
    assert adapter().verify(SENT, message(fields)).trust is Trust.VERIFIED


def test_nested_values_are_signed_as_json_text(message, signed, adapter):
    flat = signed({"a": '{"x":[1,"ü"]}', "b": "true", "c": "1.50", "d": "false"})
    body = f'{{"a": {{"x": [1, "ü"]}}, "b": true, "c": 1.50, "d": false, "sign": "{flat["sign"]}"}}'
    assert adapter().verify(SENT, message(body.encode())).trust is Trust.VERIFIED


def test_signtype_never_chooses_the_scheme(message, signed, adapter):
    fields = signed({"state": "2", "signType": "NONE"})
    assert adapter().verify(HOOK, message(fields)).trust is Trust.VERIFIED


@pytest.mark.parametrize("sign", [None, ""])
@pytest.mark.parametrize("channel", [SENT, HOOK, POST, POLL])
def test_without_a_sign_a_message_is_unverified(message, adapter, channel, sign):
    body = {"state": 2, "data": {"state": 2}, "sign": sign}
    assert adapter().verify(channel, message(body)) == UNVERIFIED


@pytest.mark.parametrize("data", [None, {}, "", [1]])
def test_an_answer_without_data_is_unverified(message, adapter, data):
    assert adapter().verify(POST, message({"code": 9999, "data": data, "sign": "0" * 32})) == UNVERIFIED


@pytest.mark.parametrize(
    ("gateway", "channel", "body"),
    [
        (lambda _: Easylink(), HOOK, b'{"state": 2, "sign": "wrong"}'),
        (lambda adapter: adapter(), HOOK, b'{"state": 2, "sign": '),
        (lambda adapter: adapter(), POST, b"<html>"),
        (lambda adapter: adapter(), Channel.REPORT, b'{"state": 2, "sign": "wrong"}'),
    ],
    ids=["no key", "half a body", "a page", "no signed channel"],
)
def test_where_nothing_can_be_checked_a_message_is_unverified(adapter, message, gateway, channel, body):
    assert gateway(adapter).verify(channel, message(body)) == UNVERIFIED


@pytest.mark.parametrize(
    "sign", ["0" * 32, "0" * 31, "0" * 33, "g" * 32, " " + "0" * 32, "٠" * 32, "ß" * 32, 5, [], {}, True]
)
@pytest.mark.parametrize("channel", [SENT, HOOK, POST, POLL])
def test_a_sign_that_is_present_and_wrong_is_refused(message, adapter, channel, sign):
    body = {"state": 2, "data": {"state": 2}, "sign": sign}
    with pytest.raises(InvalidSignature):
        adapter().verify(channel, message(body))


@pytest.mark.parametrize("other", ["another secret", PUBLISHED["key"].upper(), PUBLISHED["key"] + " "])
def test_the_sign_of_another_secret_is_refused(message, signed, adapter, other):
    body = signed({"state": "2"}, SigningKey("other", other))
    with pytest.raises(InvalidSignature):
        adapter().verify(HOOK, message(body))


@pytest.mark.parametrize(
    ("expires_in", "verifies"),
    [(None, True), (timedelta(seconds=1), True), (timedelta(0), False), (timedelta(-1), False)],
)
def test_an_old_key_verifies_until_it_expires(message, signed, adapter, expires_in, verifies):
    old = SigningKey("old", "old secret", None if expires_in is None else NOW + expires_in)
    gateway = adapter(keys=[SigningKey("new", "new secret"), old])
    body = message(signed({"state": "2"}, old))
    if verifies:
        assert gateway.verify(HOOK, body).key_id == "old"
    else:
        with pytest.raises(InvalidSignature):
            gateway.verify(HOOK, body)


def test_an_amount_hidden_inside_its_neighbour_is_refused_although_the_sign_fits(
    message, refund, signed, adapter
):
    whole = signed(refund(state="2"))
    hidden = {name: value for name, value in whole.items() if name != "refundAmount"}
    hidden["payOrderId"] = "P1&refundAmount=4"
    assert signed(hidden) == hidden
    with pytest.raises(InvalidSignature, match="holds another field"):
        adapter().verify(HOOK, message(hidden))
    with pytest.raises(InvalidSignature, match="holds another field"):
        adapter().verify(POST, message({"data": hidden, "sign": hidden["sign"]}))


def test_what_the_merchant_sent_along_may_hold_anything(message, signed, adapter):
    fields = signed({"extParam": "order=5&state=3", "state": "2"})
    assert adapter().verify(HOOK, message(fields)).trust is Trust.VERIFIED


def test_our_own_notify_url_may_hold_parameters(message, signed, adapter):
    fields = signed({"notifyUrl": "https://m.example/n?a=1&state=x"})
    assert adapter().verify(SENT, message(fields)).trust is Trust.VERIFIED
