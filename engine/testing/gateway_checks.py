"""What must hold of whatever an adapter makes of one message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from ..domain.events import Recorded, RefundRequested
from ..domain.evidence import UNVERIFIED, Evidence, Hold, SentRefund, Trust, Verification
from ..domain.identifiers import MAX_TEXT, displayed, is_identifier
from ..domain.message import Channel, HttpRequest, Message
from ..domain.money import MAX_MINOR, Money, exponent
from ..domain.proof import Arrival, decide_evidence
from ..domain.refund import evolve
from ..domain.signals import Signal
from ..domain.wire import from_wire, to_wire
from ..errors import InvalidInput, InvalidSignature, RefoldError, UnreadableMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..ports import Gateway

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
_MAX_CODE: Final = 200
_ASKED: Final = RefundRequested(
    gateway="any", refund_id="r-1", payment_id="p-1", amount_minor=1234, currency="HKD"
)
_REFUND: Final = evolve(None, Recorded(1, 1, NOW, _ASKED))


class Refusal(NamedTuple):
    """An error of refold's own, as a value that can be compared."""

    kind: type[RefoldError]
    text: str

    def of(self, kind: type[RefoldError]) -> bool:
        """Tell whether it is an error of that kind."""
        return issubclass(self.kind, kind)


def told(call: Callable[..., object], *arguments: object) -> object:
    """Return what a call returns, or the refusal it raises; any other error is the adapter's and passes."""
    try:
        return call(*arguments)
    except RefoldError as error:
        return Refusal(type(error), str(error))


def reader(gateway: Gateway, channel: Channel) -> Callable[[Message], Evidence | SentRefund]:
    """Return what reads messages of that channel."""
    readers: dict[Channel, Callable[[Message], Evidence | SentRefund]] = {
        Channel.REQUEST: gateway.read_request,
        Channel.API_RESPONSE: gateway.read_response,
        Channel.POLL: gateway.read_poll,
        Channel.WEBHOOK: gateway.read_webhook,
    }
    return readers[channel]


def as_sent(request: HttpRequest) -> Message:
    """Return a request of ours as the message that left."""
    return Message(
        body=request.body,
        received_at=NOW,
        headers=request.headers,
        method=request.method,
        target=request.target,
    )


def check_message(gateway: Gateway, message: Message, *, may_verify: bool) -> None:
    """Let the adapter do with a message all it can, twice.

    Args:
        gateway: the adapter.
        message: whatever arrived.
        may_verify: the message derives from one that may be signed; all others must not verify.

    Raises:
        AssertionError: what it returns is not what the port promises, differs the second time, or shows a secret.
    """
    for channel in Channel:
        found = told(gateway.verify, channel, message)
        assert found == told(gateway.verify, channel, message)
        _check_verification(gateway, found, may_verify=may_verify)
        _check_secrets(gateway, found)
    signed_at = gateway.signed_at(message)
    assert signed_at is None or (isinstance(signed_at, datetime) and signed_at.utcoffset() is not None)
    assert signed_at == gateway.signed_at(message)
    for channel in (Channel.REQUEST, Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK):
        read = told(reader(gateway, channel), message)
        assert read == told(reader(gateway, channel), message)
        _check_secrets(gateway, read)
        if channel is Channel.REQUEST:
            _check_request(read)
        else:
            _check_evidence(read, message, channel)


def _check_verification(gateway: Gateway, found: object, *, may_verify: bool) -> None:
    if isinstance(found, Refusal):
        assert found.of(InvalidSignature), found
        return
    assert isinstance(found, Verification)
    if not gateway.secrets or not may_verify:
        assert found == UNVERIFIED
    assert found.key_id is None if found.trust is Trust.UNVERIFIED else is_identifier(found.key_id)


def _check_request(read: object) -> None:
    if isinstance(read, Refusal):
        assert read.of(InvalidInput), read
        return
    assert isinstance(read, SentRefund)
    assert is_identifier(read.refund_id)
    for reference in (read.payment_id, read.account):
        assert reference is None or is_identifier(reference)
    assert read.amount is None or isinstance(read.amount, Money)
    _check_text(read.reason, MAX_TEXT)


def _check_evidence(read: object, message: Message, channel: Channel) -> None:
    if isinstance(read, Refusal):
        assert read.of(UnreadableMessage), read
        return
    assert isinstance(read, Evidence)
    assert read.signal in Signal
    assert read.claims is None or (read.claims in Signal and read.signal is Signal.UNRECOGNISED)
    assert read.code
    _check_text(read.code, _MAX_CODE)
    _check_text(read.detail, MAX_TEXT)
    names = (read.refund_id, *read.payment_names, read.gateway_refund_id, read.account)
    for reference in names:
        assert reference is None or is_identifier(reference)
    if read.amount_minor is not None:
        assert type(read.amount_minor) is int
        assert 0 <= read.amount_minor <= MAX_MINOR
    if read.currency is not None:
        exponent(read.currency)
    assert read.gateway_time is None or read.gateway_time.utcoffset() is not None
    assert read.hold in Hold
    _check_recordable(read, message, channel)


def _check_text(text: str, most: int) -> None:
    assert isinstance(text, str)
    assert len(text) <= most
    assert displayed(text) == text


def _check_recordable(evidence: Evidence, message: Message, channel: Channel) -> None:
    """Append the evidence to a refund and read it back, as the engine would."""
    arrival = Arrival(channel=channel, time=message.received_at, verification=UNVERIFIED, message=None)
    for event in decide_evidence(_REFUND, evidence, arrival):
        assert from_wire(event.wire, to_wire(event)) == event
        evolve(_REFUND, Recorded(2, 2, message.received_at, event))


def _check_secrets(gateway: Gateway, found: object) -> None:
    for secret in gateway.secrets:
        assert secret not in repr(found)
