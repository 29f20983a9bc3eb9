"""The adapter `bbmsl`: RSA signatures, settings that cannot be used, and what else may arrive."""

import base64
import contextlib
import copy
import json
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import json_values

from refold.adapters.bbmsl import Bbmsl
from refold.engine.domain.evidence import UNVERIFIED, Trust
from refold.engine.domain.message import Channel
from refold.engine.errors import InvalidSetting, InvalidSignature, RefoldError

SENT, POST, POLL = Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL


# ---- signatures


def test_the_key_that_verified_is_named_by_its_public_half(key, pem_of, adapter, message, built):
    checked = adapter().verify(SENT, message(built(adapter()).body))
    assert checked.key_id.startswith("rsa-")
    assert (
        checked.key_id
        == Bbmsl(private_key_pem=pem_of(key).encode()).verify(SENT, message(built(adapter()).body)).key_id
    )


@pytest.fixture(scope="module")
def signature_of(key):
    def signed(text, scheme=None, digest=None, private=None):
        raw = (private or key).sign(text.encode(), scheme or padding.PKCS1v15(), digest or SHA256())
        return base64.b64encode(raw).decode()

    return signed


TEXT = '{"merchantId":"3000001","merchantReference":"s22tring","amount":10.50}'


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("10.50", "10.5"),
        lambda text: text.replace(",", ", "),
        lambda text: text + " ",
    ],
)
def test_the_signature_covers_the_exact_text(signature_of, adapter, envelope, change):
    assert adapter().verify(SENT, envelope(TEXT, signature_of(TEXT))).trust is Trust.VERIFIED
    with pytest.raises(InvalidSignature):
        adapter().verify(SENT, envelope(change(TEXT), signature_of(TEXT)))


@pytest.mark.parametrize(
    "signature",
    [
        lambda good: base64.b64encode(good.encode()).decode(),
        lambda good: good[:-4],
        lambda good: good + "\n",
        lambda good: good.rstrip("="),
        lambda good: good[:-3] + chr(ord(good[-3]) + 1) + "==",
        lambda good: base64.urlsafe_b64encode(b"\xff" * 256).decode(),
        lambda good: "A" * len(good),
        lambda good: "ü",
        lambda good: 5,
        lambda good: [good],
    ],
    ids=[
        "base64 twice",
        "cut",
        "newline",
        "no padding",
        "unused bits",
        "url alphabet",
        "zeros",
        "not ASCII",
        "number",
        "list",
    ],
)
def test_a_signature_that_is_present_and_wrong_is_refused(signature_of, adapter, envelope, signature):
    with pytest.raises(InvalidSignature):
        adapter().verify(SENT, envelope(TEXT, signature(signature_of(TEXT))))


def test_the_printed_signature_is_base64_twice_and_refused(adapter, seed, message):
    with pytest.raises(InvalidSignature, match="one base64 of 256 bytes"):
        adapter().verify(SENT, message(seed("refund_request")))


@pytest.mark.parametrize(
    "signature",
    [
        lambda sign: sign(TEXT, digest=SHA1()),  # noqa: S303 - what must not pass
        lambda sign: sign(TEXT, scheme=padding.PSS(padding.MGF1(SHA256()), 32)),
        lambda sign: sign(TEXT, private=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    ],
    ids=["SHA-1", "PSS", "another key"],
)
def test_no_other_scheme_or_key_passes(signature_of, adapter, envelope, signature):
    with pytest.raises(InvalidSignature, match="another"):
        adapter().verify(SENT, envelope(TEXT, signature(signature_of)))


@pytest.mark.parametrize(
    ("settings", "channel", "body"),
    [
        ({"private_key_pem": None}, SENT, {"request": TEXT, "signature": "wrong"}),
        ({}, SENT, {"request": TEXT, "signature": ""}),
        ({}, SENT, {"request": TEXT}),
        ({}, SENT, {"signature": "wrong"}),
        ({}, SENT, b"{"),
        ({}, POST, {"request": TEXT, "signature": "wrong"}),
        ({}, POLL, {"request": TEXT, "signature": "wrong"}),
        ({}, Channel.WEBHOOK, {"request": TEXT, "signature": "wrong"}),
    ],
)
def test_where_nothing_can_be_checked_a_message_is_unverified(adapter, message, settings, channel, body):
    assert adapter(**settings).verify(channel, message(body)) == UNVERIFIED


# ---- settings and abuse


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"merchant_id": "3 0"}, "merchant_id"),
        ({"reference": "mchOrderNo"}, "reference"),
        ({"currency": "hkd"}, "currency"),
        ({"currency": "XAU"}, "currency"),
        ({"private_key_pem": ""}, "blank"),
        ({"private_key_pem": b" \n"}, "blank"),
        ({"private_key_pem": b"\xff"}, "PEM"),
        ({"private_key_pem": "\ud800"}, "PEM"),
        ({"private_key_pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, "PEM"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, name):
    with pytest.raises(InvalidSetting, match=name):
        Bbmsl(**settings)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (lambda pem_of, key: pem_of(key, BestAvailableEncryption(b"password")), "no unencrypted PEM"),
        (lambda pem_of, _: pem_of(ec.generate_private_key(ec.SECP256R1())), "RSA key of at least 2048 bits"),
        (
            lambda pem_of, _: pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - what must not pass
            "RSA key of at least 2048 bits",
        ),
    ],
    ids=["encrypted", "elliptic", "1024 bits"],
)
def test_a_key_that_cannot_sign_is_refused_without_showing_it(pem_of, key, pem, reason):
    written = pem(pem_of, key)
    with pytest.raises(InvalidSetting, match=reason) as refused:
        Bbmsl(private_key_pem=written)
    assert written.splitlines()[1] not in str(refused.value)


def test_a_missing_library_is_named_with_the_command_that_installs_it():
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from refold.adapters.bbmsl import Bbmsl\n"
        "Bbmsl()\n"
        "try: Bbmsl(private_key_pem='x')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "InvalidSetting private_key_pem: RSA needs `pip install 'refold[bbmsl]'`"


def test_reading_logs_needs_no_rsa_library():
    code = "import sys; import refold.adapters.bbmsl as b; b.Bbmsl(); sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_repr_shows_no_secret(key, pem_of, adapter):
    shown = repr(adapter())
    assert shown.startswith("Bbmsl(merchant_id='3000001', key=MerchantKey('rsa-")
    assert not any(line in shown for line in pem_of(key).splitlines())


def test_the_secret_is_listed_for_blanking(key, pem_of, adapter):
    assert adapter().secrets == (pem_of(key),)


def test_the_key_is_never_copied(adapter):
    with pytest.raises(TypeError, match="holds a secret"):
        copy.deepcopy(adapter())


inner_names = st.sampled_from(
    ["status", "merchantReference", "id", "currency", "amount", "type", "merchantId", "updateTime"]
)
names = st.sampled_from(["responseCode", "message", "order", "transaction", "request", "signature"])
values = json_values | st.just("0000") | st.dictionaries(inner_names, json_values, max_size=6)
requests = st.dictionaries(inner_names, json_values, max_size=6).map(json.dumps) | st.text(max_size=20)
objects = st.dictionaries(names, values, max_size=6) | st.fixed_dictionaries(
    {"request": requests, "signature": st.text(max_size=9)}
)
bodies = st.binary(max_size=60) | objects.map(lambda found: json.dumps(found).encode())


@settings(max_examples=150, deadline=None)
@given(bodies, st.none() | st.integers(-1, 700))
def test_whatever_arrives_only_evidence_or_a_refold_error_comes_out(
    everything_read, adapter, message, body, status
):
    for attempt in everything_read(adapter(), message(body, http_status=status)):
        with contextlib.suppress(RefoldError):
            attempt()
