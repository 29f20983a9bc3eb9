"""What the tests of `bbmsl` build: its key, adapters that have it, orders, and requests in their envelope."""

import json
from datetime import UTC, datetime
from functools import cache, partial

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from refold.adapters.bbmsl import Bbmsl
from refold.engine.domain.evidence import RefundOrder
from refold.engine.domain.money import Money

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def seed(sample):
    return partial(sample, "bbmsl")


@pytest.fixture(scope="session")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def pem_of():
    def written(private, encryption=None):
        return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()

    return written


@pytest.fixture(scope="session")
def adapter(key, pem_of):
    """Return an adapter that can send, but for the settings named."""
    return cache(
        lambda **settings: Bbmsl(**({"merchant_id": "3000001", "private_key_pem": pem_of(key)} | settings))
    )


@pytest.fixture(scope="session")
def envelope(message):
    """Return a request as it is sent: its text, and the signature beside it."""

    def sent(request, signature=""):
        text = request if isinstance(request, str) else json.dumps(request)
        return message({"request": text, "signature": signature})

    return sent


@pytest.fixture(scope="session")
def order():
    return partial(
        RefundOrder, refund_id="R1", payment_id="s22tring", amount=Money(1050, "HKD"), requested_at=NOW
    )


@pytest.fixture(scope="session")
def built(order):
    """Return what an adapter sends for an order, by default as a refund."""

    def request(gateway, ordered=None, build=Bbmsl.build_refund):
        return build(gateway, ordered or order(), at=NOW, nonce="n")

    return request
