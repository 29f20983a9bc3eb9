"""The adapter `easylink`: settings that cannot be used, and what else may arrive."""

import contextlib
import json
import subprocess
import sys
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import json_values

from refold.adapters.easylink import Easylink
from refold.adapters.signing import SigningKey
from refold.engine.errors import InvalidSetting, InvalidSignature, RefoldError

KEY = SigningKey("k", "a secret")


@pytest.mark.parametrize(
    "settings",
    [
        {"mch_no": "M 1"},
        {"app_id": "\n"},
        {"payment_reference": "orderId"},
        {"keys": ["secret"]},
        {"keys": [KEY, KEY]},
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings):
    with pytest.raises(InvalidSetting):
        Easylink(**settings)


@pytest.mark.parametrize("secret", ["", " ", "\n"])
def test_a_blank_secret_is_refused(secret):
    with pytest.raises(InvalidSetting):
        Easylink(keys=[SigningKey("k", secret)])


def test_repr_shows_no_secret(adapter, demo):
    assert demo.secret not in repr(adapter())
    assert "demo" in repr(adapter())


def test_the_secrets_are_listed_for_blanking(adapter, demo):
    assert adapter().secrets == (demo.secret,)


names = st.sampled_from(
    [
        "code",
        "data",
        "msg",
        "sign",
        "state",
        "mchRefundNo",
        "payOrderId",
        "refundAmount",
        "currency",
        "successTime",
        "errMsg",
        "reqTime",
    ]
)
objects = st.dictionaries(names, json_values | st.dictionaries(names, json_values, max_size=6), max_size=8)
bodies = (
    st.binary(max_size=60)
    | objects.map(lambda found: json.dumps(found).encode())
    | objects.map(lambda found: urlencode(found).encode())
)


@settings(max_examples=150, deadline=None)
@given(bodies, st.sampled_from([{}, {"content-type": "application/json"}]), st.none() | st.integers(-1, 700))
def test_whatever_arrives_only_evidence_or_a_refold_error_comes_out(
    message, adapter, everything_read, body, headers, status
):
    arrived = message(body, headers=headers, http_status=status)
    for attempt in everything_read(adapter(), arrived):
        with contextlib.suppress(RefoldError):
            attempt()


def test_nesting_beyond_every_limit_is_refused_not_crashed(message, adapter, everything_read):
    deep = b'{"a": ' * 900 + b"1" + b"}" * 900
    for attempt in everything_read(
        adapter(), message(deep[:-1] + b', "sign": "00000000000000000000000000000000"}')
    ):
        with contextlib.suppress(RefoldError):
            attempt()


def test_a_value_nested_as_deep_as_the_parser_allows_is_refused():
    from refold.adapters.easylink_signing import _rendered

    nested = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidSignature, match="nested too deeply"):
        _rendered(nested)
    while nested:  # undone by hand: dropping it at once could exhaust the stack
        nested = nested[0]


def test_reading_logs_needs_no_rsa_library():
    code = "import sys; import refold.adapters.easylink; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
