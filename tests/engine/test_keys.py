"""Keys: what makes a message the same message. Logs hold them, so they never change."""

from datetime import UTC, datetime
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain.evidence import UNVERIFIED, Evidence, Trust, Verification
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.signals import Signal
from refold.engine.service.recording import _digest, _said, message_key

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=300)
POLLED = Message(
    body='{"a":"é"}'.encode(),
    received_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    headers={"MsgID": "m-1", "Date": "dé"},
    http_status=200,
)
SUCCESS = Evidence(
    signal=Signal.SUCCESS,
    code="refund.status=Success",
    refund_id="r-1",
    amount_minor=1234,
    currency="HKD",
    gateway_refund_id="g-1",
)
ODD = Evidence(
    signal=Signal.UNRECOGNISED,
    claims=Signal.SUCCESS,
    code="refund.status=érfolg",
    payment_id="p-1",
    payment_alias="q-1",
    account="shop",
)


def as_the_first_version_did(*parts):
    raws = [part if isinstance(part, bytes) else f"{type(part).__name__} {part}".encode() for part in parts]
    return sha256(b"".join([b"%d:%b" % (len(raw), raw) for raw in raws])).hexdigest()


def test_the_key_of_a_message_is_what_logs_have():
    key = message_key("evonet", Channel.POLL, POLLED, "r-1")
    assert key == "2efd77d2f2d49fda614e9c6c62c7a02fd1039b7ddf02c47ef82b1d8adcf22e25"
    key = message_key("evonet", Channel.POLL, POLLED, None)
    assert key == "733ce70d57fdd05ca359b223a3832bc686019898d9fa280624044c2d9286e2a2"


def test_the_key_of_a_webhook_is_what_logs_have():
    key = _said("evonet", Verification(Trust.VERIFIED, "k"), SUCCESS, None)
    assert key == "321f5ab1ecac211acd1f4c9ffde98d3250361d4a10d204138786e3857a2070b2"
    key = _said("bbmsl", UNVERIFIED, ODD, "r-2")
    assert key == "e68862d3ac3ed48abf2ded12a6fda19d958c70d43a62f4db046d910e20f274f4"


parts = (
    st.none()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.text(alphabet="ab1:")
    | st.integers()
    | st.sampled_from([*Signal, *Trust])
)


@PROFILE
@given(said=st.lists(parts), body=st.none() | st.binary())
def test_every_key_is_made_as_the_first_version_did(said, body):
    whole = [*said] if body is None else [*said, body]
    assert _digest(*said, body=body) == as_the_first_version_did(*whole)
