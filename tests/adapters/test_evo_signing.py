"""How both EVO dialects sign: the published examples, each algorithm, and every way to get it wrong."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from refold.adapters.evo_signing import string_to_sign
from refold.adapters.evonet import Evonet
from refold.adapters.signing import SigningKey
from refold.engine.domain.evidence import Trust
from refold.engine.domain.message import Channel, Message
from refold.engine.errors import InvalidSignature

SEEDS = Path(__file__).parent.parent / "seeds"
RESPONSE = (SEEDS / "evonet_refund_response.json").read_bytes()
VECTOR = json.loads((SEEDS / "evonet_signature.json").read_text(encoding="utf-8"))

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HONG_KONG = timezone(timedelta(hours=8))
SECRET = "64b59e70e15445196b1b5d2935f4e1bc"
KEY = SigningKey("main", SECRET)
STAMP = "2026-11-21T12:00:00+00:00"
POST, POLL, HOOK = Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK


def message(body, **fields):
    return Message(body=body, received_at=fields.pop("received_at", NOW), **fields)


def signed(body, *, secret=SECRET, sign_type="SHA256", method="POST", target="", **fields):
    """Sign as the documents say, with none of the code under test."""
    parts = [method, target, STAMP, secret, "msg-1"]
    text = "\n".join(part for part in parts if part).encode() + (b"\n" + body if body else b"")
    name = sign_type.rpartition("-")[2].lower()
    keyed = sign_type.startswith("HMAC")
    value = (
        hmac.new(secret.encode(), text, name).hexdigest() if keyed else hashlib.new(name, text).hexdigest()
    )
    headers = {"DateTime": STAMP, "MsgID": "msg-1", "SignType": sign_type, "Authorization": value}
    return message(body, headers=headers | fields.pop("headers", {}), **fields)


@pytest.mark.parametrize("row", VECTOR["string_to_sign"], ids=lambda row: row["name"])
def test_the_string_to_sign_is_as_published(row):
    method, target, date_time, key, msg_id, body = row["in"]
    made = string_to_sign(method, target, date_time=date_time, key=key, msg_id=msg_id, body=body.encode())
    assert made == row["want"].encode()


def test_the_published_example_verifies():
    headers = {
        "DateTime": VECTOR["datetime"],
        "MsgID": VECTOR["msgid"],
        "SignType": "SHA256",
        "Authorization": VECTOR["sign"]["SHA256"],
    }
    given = message(VECTOR["body"].encode(), headers=headers, method=VECTOR["method"], target=VECTOR["path"])
    found = Evonet(keys=[SigningKey("published", VECTOR["key"])]).verify(Channel.REQUEST, given)
    assert (found.trust, found.key_id) == (Trust.VERIFIED, "published")


@pytest.mark.parametrize("sign_type", ["SHA256", "SHA512", "HMAC-SHA256", "HMAC-SHA512"])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_every_hash_verifies_in_either_case(sign_type, case):
    given = signed(b"{}", sign_type=sign_type)
    headers = dict(given.headers) | {"Authorization": case(given.headers["Authorization"])}
    found = Evonet(keys=[KEY]).verify(HOOK, message(b"{}", headers=headers))
    assert (found.trust, found.key_id) == (Trust.VERIFIED, "main")


@pytest.mark.parametrize("sign_type", ["SHA256", "SHA512", "HMAC-SHA256", "HMAC-SHA512"])
@pytest.mark.parametrize(
    "spoil",
    [
        {"body": b"{} "},
        {"DateTime": STAMP.replace("12", "13")},
        {"MsgID": "msg-2"},
        {"MsgID": ""},
        {"flip": True},
        {"secret": SECRET[:-1] + "d"},
    ],
    ids=["body", "time", "message id", "no message id", "one bit", "another account's key"],
)
def test_any_change_makes_the_signature_wrong(sign_type, spoil):
    given = signed(b"{}", sign_type=sign_type, secret=spoil.get("secret", SECRET))
    headers = dict(given.headers) | {name: spoil[name] for name in ("DateTime", "MsgID") if name in spoil}
    if "flip" in spoil:
        first = headers["Authorization"][0]
        headers["Authorization"] = f"{int(first, 16) ^ 1:x}" + headers["Authorization"][1:]
    with pytest.raises(InvalidSignature, match="no unexpired key"):
        Evonet(keys=[KEY]).verify(HOOK, message(spoil.get("body", b"{}"), headers=headers))


@pytest.mark.parametrize(
    "authorization",
    ["", " ", "0" * 63, "0" * 65, "0" * 128, "g" * 64, "é" * 64, "0" * 100_000, SECRET, "\ud800" * 64],
)
def test_what_is_no_digest_of_its_length_is_refused(authorization):
    with pytest.raises(InvalidSignature, match="hexadecimal") as caught:
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={"Authorization": authorization}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "sign_type", ["MD5", "SHA1", "none", "sha256", "HMAC-MD5", "Key-based", "SHA256 ", "é"]
)
def test_the_header_selects_among_the_accepted_algorithms_only(sign_type):
    with pytest.raises(InvalidSignature, match="not accepted"):
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={"SignType": sign_type}))


def test_an_algorithm_that_is_not_accepted_here_is_refused():
    with pytest.raises(InvalidSignature, match="not accepted"):
        Evonet(keys=[KEY], accepted_sign_types=["HMAC-SHA256"]).verify(
            HOOK, signed(b"{}", sign_type="SHA256")
        )


def test_the_key_itself_proves_nothing_about_what_comes_in():
    given = message(
        b"{}", headers={"SignType": "Key-based", "Authorization": SECRET}, method="POST", target="/x"
    )
    for channel in (HOOK, POST, POLL):
        with pytest.raises(InvalidSignature, match="not accepted"):
            Evonet(keys=[KEY], sign_type="Key-based").verify(channel, given)


def test_our_own_key_based_request_is_unverified():
    headers = {"SignType": "Key-based", "Authorization": SECRET}
    given = message(b"{}", headers=headers, method="POST", target="/payment/1/refund")
    assert Evonet(keys=[KEY]).verify(Channel.REQUEST, given).trust is Trust.UNVERIFIED


@pytest.mark.parametrize("configured", ["HMAC-SHA512", "SHA256"])
def test_without_the_header_the_configured_algorithm_is_used(configured):
    given = signed(b"{}", sign_type=configured)
    headers = {name: value for name, value in given.headers.items() if name != "SignType"}
    found = Evonet(keys=[KEY], sign_type=configured).verify(HOOK, message(b"{}", headers=headers))
    assert found.trust is Trust.VERIFIED


@pytest.mark.parametrize("name", ["DateTime", "MsgID", "SignType"])
@pytest.mark.parametrize("value", ["a\nb", "\x00", "\udcff", "\u202e"], ids=ascii)
def test_a_header_with_control_characters_is_refused(name, value):
    with pytest.raises(InvalidSignature, match="control characters"):
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={name: value}))


@pytest.mark.parametrize("name", ["DateTime", "MsgID", "SignType"])
def test_a_header_above_four_kibibytes_is_refused(name):
    with pytest.raises(InvalidSignature, match="4096"):
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={name: "x" * 4097}))


def test_headers_outside_ascii_are_compared_not_crashed_on():
    with pytest.raises(InvalidSignature):
        Evonet(keys=[KEY]).verify(HOOK, signed(b"{}", headers={"MsgID": "é漢"}))


def signed_answer(body, signed_for, asked_at=None):
    """Return an answer signed for one target, to a request that went to `asked_at` (the same one by default)."""
    return message(
        body, headers=signed(body, target=signed_for).headers, method="POST", target=asked_at or signed_for
    )


def test_an_answer_is_verified_with_the_requests_method_and_path():
    given = signed_answer(RESPONSE, "/payment/1/refund")
    assert Evonet(keys=[KEY]).verify(POST, given).trust is Trust.VERIFIED


def test_an_answer_to_another_request_does_not_verify():
    with pytest.raises(InvalidSignature):
        Evonet(keys=[KEY]).verify(
            POST, signed_answer(RESPONSE, "/payment/1/refund", asked_at="/payment/2/refund")
        )


def test_the_parameters_of_the_query_are_sorted_before_signing():
    given = signed_answer(b"{}", "/x?a=1&b=2", asked_at="/x?b=2&a=1")
    assert Evonet(keys=[KEY]).verify(POLL, given).trust is Trust.VERIFIED


def test_a_signed_answer_cannot_pass_for_a_webhook_with_its_path_folded_into_a_header():
    given = signed_answer(RESPONSE, "/payment/1/refund")
    folded = dict(given.headers) | {"DateTime": f"/payment/1/refund\n{STAMP}"}
    with pytest.raises(InvalidSignature, match="control characters"):
        Evonet(keys=[KEY]).verify(HOOK, message(RESPONSE, headers=folded))


def test_the_path_a_webhook_came_in_at_is_not_signed():
    given = message(b"{}", headers=signed(b"{}").headers, method="POST", target="/hooks/evonet")
    assert Evonet(keys=[KEY]).verify(HOOK, given).trust is Trust.VERIFIED


@pytest.mark.parametrize("channel", [POST, POLL, Channel.REQUEST])
@pytest.mark.parametrize("known", [{}, {"method": "POST"}, {"target": "/x"}])
def test_what_a_signature_covers_must_be_known(channel, known):
    given = message(b"{}", headers=signed(b"{}").headers, **known)
    assert Evonet(keys=[KEY]).verify(channel, given).trust is Trust.UNVERIFIED


@pytest.mark.parametrize("channel", list(Channel))
def test_without_a_key_or_a_signature_nothing_is_claimed(channel):
    here = {"method": "POST", "target": "/x"}
    assert (
        Evonet().verify(channel, message(b"{}", headers=signed(b"{}").headers, **here)).trust
        is Trust.UNVERIFIED
    )
    assert Evonet(keys=[KEY]).verify(channel, message(b"{}", **here)).trust is Trust.UNVERIFIED


@pytest.mark.parametrize("channel", [Channel.REPORT, Channel.OPERATOR])
def test_channels_without_signatures_are_unverified(channel):
    given = message(b"{}", headers=signed(b"{}").headers, method="POST", target="/x")
    assert Evonet(keys=[KEY]).verify(channel, given).trust is Trust.UNVERIFIED


def test_a_rotated_key_verifies_until_it_expires_and_is_named():
    gateway = Evonet(keys=[SigningKey("new", "another"), SigningKey("old", SECRET, NOW)])
    given = signed(b"{}", received_at=NOW - timedelta(seconds=1))
    assert gateway.verify(HOOK, given).key_id == "old"
    with pytest.raises(InvalidSignature):
        gateway.verify(HOOK, signed(b"{}", received_at=NOW))


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2020-03-04T15:39:40Z08:00", datetime(2020, 3, 4, 15, 39, 40, tzinfo=HONG_KONG)),
        ("2020-03-04T15:39:40+08:00", datetime(2020, 3, 4, 15, 39, 40, tzinfo=HONG_KONG)),
        ("2020-03-04T15:39:40Z", datetime(2020, 3, 4, 15, 39, 40, tzinfo=UTC)),
        ("2020-03-04T15:39:40", None),
        ("2020-03-04T15:39:40+99:00", None),
        ("20200304", None),
        ("1583307580", None),
        ("", None),
        ("\uff12020-03-04T15:39:40Z", None),
        ("é" * 10_000, None),
    ],
)
def test_the_time_of_signing_is_read_with_its_offset_or_not_at_all(stamp, expected):
    assert Evonet().signed_at(message(b"{}", headers={"datetime": stamp})) == expected


def test_a_message_without_the_header_carries_no_time():
    assert Evonet().signed_at(message(b"{}")) is None
