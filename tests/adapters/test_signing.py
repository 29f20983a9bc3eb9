"""Signing keys hide their secret, expire and rotate; digests are compared as bytes of equal length."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from refold.adapters import signing
from refold.adapters.signing import (
    SigningKey,
    digest_bytes,
    keyring,
    same_digest,
    signing_key,
    verifying_key,
)
from refold.engine.errors import InvalidSetting

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CANARY = "canary-2f9d"


@pytest.mark.parametrize(
    "shown", [repr, str, "{}".format, lambda key: repr([key])], ids=["repr", "str", "format", "in a list"]
)
def test_no_text_of_a_key_holds_its_secret(shown):
    assert CANARY not in shown(SigningKey("main", CANARY))


@pytest.mark.parametrize(
    "spread", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps], ids=["pickle", "copy", "deepcopy", "json"]
)
def test_a_key_is_never_pickled_copied_or_written_as_json(spread):
    with pytest.raises(TypeError) as caught:
        spread(SigningKey("main", CANARY))
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("key_id", "secret", "expires_at"),
    [
        ("main", "", None),
        ("main", " \t\n", None),
        ("main", None, None),
        ("main", b"bytes", None),
        ("main", "\ud800", None),
        ("", "secret", None),
        ("two words", "secret", None),
        ("main", "secret", NOW.replace(tzinfo=None)),
    ],
    ids=["empty", "blank", "none", "bytes", "surrogate", "no id", "id with a blank", "naive time"],
)
def test_what_is_no_key_is_refused_at_construction(key_id, secret, expires_at):
    with pytest.raises(InvalidSetting):
        SigningKey(key_id, secret, expires_at)


def test_a_key_is_usable_until_it_expires():
    key = SigningKey("old", "secret", NOW)
    assert key.usable(NOW - timedelta(microseconds=1))
    assert not key.usable(NOW)
    assert SigningKey("main", "secret").usable(NOW)


def test_a_keyring_refuses_one_id_twice():
    with pytest.raises(InvalidSetting, match="twice"):
        keyring([SigningKey("main", "a"), SigningKey("main", "b")])


def test_a_keyring_refuses_what_is_no_key():
    with pytest.raises(InvalidSetting, match="SigningKey") as caught:
        keyring([CANARY])
    assert CANARY not in str(caught.value)


def test_the_first_unexpired_key_signs():
    expired, current, next_one = SigningKey("a", "1", NOW), SigningKey("b", "2"), SigningKey("c", "3")
    assert signing_key((expired, current, next_one), NOW) is current


def test_no_unexpired_key_signs_nothing():
    with pytest.raises(InvalidSetting, match="not expired"):
        signing_key((SigningKey("a", "1", NOW),), NOW)


def test_every_unexpired_key_is_tried_even_after_one_verified():
    keys = (SigningKey("a", "1"), SigningKey("b", "2"), SigningKey("c", "3", NOW))
    tried = []

    def verifies(key):
        tried.append(key.key_id)
        return True

    assert verifying_key(keys, NOW, verifies) is keys[0]
    assert tried == ["a", "b"]


def test_no_key_that_verifies_is_none():
    assert verifying_key((SigningKey("a", "1"),), NOW, lambda key: False) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00ff", b"\x00\xff"),
        ("00FF", b"\x00\xff"),
        ("00f", None),
        ("00ff00", None),
        ("", None),
        ("0 ff", None),
        ("00f\n", None),
        ("0x0f", None),
        ("\u0660\u0660ff", None),
    ],
    ids=[
        "lower case",
        "upper case",
        "short",
        "long",
        "empty",
        "blank inside",
        "newline",
        "prefix",
        "arabic digits",
    ],
)
def test_a_digest_is_hexadecimal_of_exactly_its_length(text, expected):
    assert digest_bytes(text, 2) == expected


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [(b"ab", b"ab", True), (b"ab", b"ac", False), (b"a", b"ab", False), (b"", b"ab", False)],
)
def test_digests_are_the_same_only_byte_for_byte(given, expected, same):
    assert same_digest(given, expected) is same


def test_digests_of_equal_length_are_compared_in_constant_time_and_others_not_at_all(monkeypatch):
    compared = []
    monkeypatch.setattr(signing.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or True)
    assert same_digest(b"ab", b"ab")
    assert not same_digest(b"a", b"ab")
    assert compared == [(b"ab", b"ab")]
