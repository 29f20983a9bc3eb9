"""A message: its bytes as they came, its headers whatever their case, and a repr that shows neither."""

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from refold.engine.domain.message import HttpRequest, Message

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MESSAGE = Message(
    body=b'{"cvv":"123"}', received_at=NOW, headers={"Authorization": "the key", "MsgID": "m-1"}
)
REQUEST = HttpRequest(
    method="POST", target="/refund", headers={"Authorization": "the key"}, body=b'{"cvv":"123"}'
)


@pytest.mark.parametrize("name", ["MsgID", "msgid", "MSGID"])
def test_a_header_is_found_whatever_the_case_of_its_name(name):
    assert MESSAGE.header(name) == "m-1"


def test_a_header_that_is_not_there_is_none():
    assert MESSAGE.header("DateTime") is None
    assert Message(body=b"", received_at=NOW).header("MsgID") is None


@pytest.mark.parametrize("message", [MESSAGE, REQUEST])
def test_a_repr_shows_neither_body_nor_headers(message):
    assert "123" not in repr(message)
    assert "the key" not in repr(message)


@pytest.mark.parametrize("message", [MESSAGE, REQUEST])
def test_a_message_is_frozen(message):
    with pytest.raises(FrozenInstanceError):
        message.body = b""


def test_bytes_are_exact_unless_said_otherwise():
    assert MESSAGE.exact
    assert not Message(body=b"{}", received_at=NOW, exact=False).exact
