"""What the tests of all adapters do: read the documents' samples, wrap what arrives, and try every way to read it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from refold.engine.domain.message import Channel, Message

SEEDS = Path(__file__).parents[1] / "seeds"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def sample():
    """Return a sample as a document prints it."""
    return lambda gateway, name: (SEEDS / f"{gateway}_{name}.json").read_bytes()


@pytest.fixture(scope="session")
def message():
    """Return bytes, or what is written as JSON, as they arrive at noon."""

    def arrived(body, **fields):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Message(body=raw, **{"received_at": NOW} | fields)

    return arrived


@pytest.fixture(scope="session")
def everything_read():
    """Return all that an adapter can be asked about a message, to be called one by one."""

    def readings(gateway, arrived):
        for read in (
            gateway.read_request,
            gateway.read_response,
            gateway.read_poll,
            gateway.read_webhook,
            gateway.signed_at,
        ):
            yield lambda read=read: read(arrived)
        for channel in Channel:
            yield lambda channel=channel: gateway.verify(channel, arrived)

    return readings
