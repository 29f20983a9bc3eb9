"""A body that was logged as an object has lost its exact bytes: a signature over bytes cannot be checked then."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet, SigningKey
from refold.engine.domain.evidence import UNVERIFIED, RefundOrder, Trust
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.money import Money
from refold.engine.errors import InvalidSignature

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEYS = [SigningKey("main", "a secret of 2026")]
ORDER = RefundOrder(refund_id="r-1", payment_id="p-1", amount=Money(1234, "HKD"), requested_at=NOW)
OVER_BYTES = {"evonet": Evonet(keys=KEYS), "evocloud": Evocloud(sid="S1", keys=KEYS)}


@pytest.fixture(scope="module")
def over_fields():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "easylink": Easylink(mch_no="M1", app_id="A1", keys=KEYS),
        "bbmsl": Bbmsl(merchant_id="M1", private_key_pem=pem),
    }


def logged(gateway):
    """Return a refund request as it left, and as a log gives it back that kept an object."""
    request = gateway.build_refund(ORDER, at=NOW, nonce="n-1")
    sent = Message(
        body=request.body,
        received_at=NOW,
        headers=request.headers,
        method=request.method,
        target=request.target,
    )
    return sent, replace(sent, body=json.dumps(json.loads(sent.body), indent=1).encode(), exact=False)


@pytest.mark.parametrize("gateway", OVER_BYTES.values(), ids=OVER_BYTES)
def test_a_signature_over_bytes_is_not_checked_where_they_are_unknown(gateway):
    sent, kept = logged(gateway)
    assert gateway.verify(Channel.REQUEST, sent).trust is Trust.VERIFIED
    assert gateway.verify(Channel.REQUEST, kept) == UNVERIFIED
    assert gateway.verify(Channel.REQUEST, replace(sent, exact=False)) == UNVERIFIED
    with pytest.raises(InvalidSignature):
        gateway.verify(Channel.REQUEST, replace(kept, exact=True))


@pytest.mark.parametrize("gateway", OVER_BYTES.values(), ids=OVER_BYTES)
@pytest.mark.parametrize("channel", Channel)
def test_a_wrong_signature_over_unknown_bytes_is_not_refused_on_any_channel(gateway, channel):
    _, kept = logged(gateway)
    assert gateway.verify(channel, replace(kept, headers={"Authorization": "00" * 32})) == UNVERIFIED


@pytest.mark.parametrize("name", ["easylink", "bbmsl"])
def test_a_signature_over_fields_or_an_inner_text_is_checked_all_the_same(over_fields, name):
    gateway = over_fields[name]
    _, kept = logged(gateway)
    assert gateway.verify(Channel.REQUEST, kept).trust is Trust.VERIFIED
    changed = replace(kept, body=kept.body.replace(b"r-1", b"r-2").replace(b"p-1", b"p-2"))
    with pytest.raises(InvalidSignature):
        gateway.verify(Channel.REQUEST, changed)
