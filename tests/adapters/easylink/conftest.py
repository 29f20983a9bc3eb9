"""What the tests of `easylink` build: adapters with the published key, orders, fields and their signs."""

import hashlib
import json
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlencode

import pytest

from refold.adapters.easylink import Easylink
from refold.adapters.signing import SigningKey
from refold.engine.domain.evidence import RefundOrder
from refold.engine.domain.money import Money

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def seed(sample):
    return partial(sample, "easylink")


@pytest.fixture(scope="session")
def demo(seed):
    """Return the key with which the document signs."""
    return SigningKey("demo", json.loads(seed("signature"))["key"])


@pytest.fixture(scope="session")
def adapter(demo):
    """Return an adapter that can send, but for the settings named."""
    return lambda **settings: Easylink(**({"mch_no": "M1", "app_id": "A1", "keys": [demo]} | settings))


@pytest.fixture(scope="session")
def form(message):
    """Return fields as a form that arrives."""
    return lambda fields, **more: message(urlencode(fields).encode(), **more)


@pytest.fixture(scope="session")
def refund():
    """Return what is said about a refund, as a query or a notification says it."""
    said = {"mchRefundNo": "R1", "refundOrderId": "G1", "payOrderId": "P1", "mchNo": "M1"}
    return lambda **changes: said | {"refundAmount": 4, "state": 2} | changes


@pytest.fixture(scope="session")
def signed(demo):
    """Sign as the document tells it, written independently of the adapter."""

    def with_sign(fields, key=demo):
        kept = [
            f"{name}={value}&" for name, value in fields.items() if value not in ("", None) and name != "sign"
        ]
        text = "".join(sorted(kept, key=lambda part: part.lower())) + f"key={key.secret}"
        return fields | {"sign": hashlib.md5(text.encode()).hexdigest().upper()}  # noqa: S324 - the gateway's scheme

    return with_sign


@pytest.fixture(scope="session")
def order():
    return partial(RefundOrder, refund_id="R1", payment_id="P1", amount=Money(1234, "HKD"), requested_at=NOW)


@pytest.fixture(scope="session")
def built(order):
    """Return what an adapter sends for an order, by default as a refund."""

    def request(gateway, ordered=None, build=Easylink.build_refund):
        return build(gateway, ordered or order(), at=NOW, nonce="n")

    return request
