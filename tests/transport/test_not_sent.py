"""Which failures mean for certain that nothing was sent, and which only look like it."""

import asyncio
import socket
import threading

import httpx
import pytest

from refold.engine.domain.message import HttpRequest
from refold.engine.errors import InvalidSetting
from refold.engine.ports import NoAnswer
from refold.engine.transport import http
from refold.engine.transport.endpoint import Endpoint
from refold.engine.transport.http import HttpTransport

CANARY = "canary-5f2e"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def closed_after_the_request(connection):
    connection.read_request()


# ---- certainly not sent


def test_a_connection_that_is_refused(send, free_port):
    came = send(f"http://127.0.0.1:{free_port}")
    assert (came.failure, came.detail) == ("not_sent", "ConnectError: All connection attempts failed")


def test_a_name_that_does_not_exist(send, monkeypatch):
    def unknown(host, *rest, **more):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    came = send("https://gateway.invalid")
    assert (came.failure, came.detail[:12]) == ("not_sent", "ConnectError")


@pytest.mark.parametrize(
    "host",
    ["a" * 64 + ".example", "a..b.example", ".example", "gateway.invalid"],
)
def test_a_name_that_cannot_exist(send, host):
    assert send(f"https://{host}").failure == "not_sent"


def test_a_name_that_takes_too_long_is_not_waited_for(monkeypatch, request_of_a_refund):
    """Looking up a name happens in a thread that nothing can end: `send` returns in time all the same."""
    known, over, ended = socket.getaddrinfo, threading.Event(), threading.Event()

    def slow(*where, **more):
        over.wait(20)
        ended.set()
        return known(*where, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    transport = HttpTransport({"g": Endpoint(base_url="https://localhost")})
    came = transport.send("g", request_of_a_refund, timeout_s=1)
    returned_first = not ended.is_set()
    over.set()
    assert (came, returned_first) == (NoAnswer("not_sent", "nothing whole within 1 s"), True)
    assert ended.wait(20)


def test_a_connection_that_does_not_come_up_in_time(send, monkeypatch):
    """The connection's own time is over before that of the exchange."""

    async def never(*where, **more):
        await asyncio.Event().wait()

    monkeypatch.setattr("anyio.connect_tcp", never)
    came = send("https://gateway.example", timeout_s=20, connect_timeout_s=1)
    assert (came.failure, came.detail) == ("not_sent", "ConnectTimeout")


@pytest.mark.parametrize(
    "headers",
    [{"X": "é"}, {"X-é": "a"}],
    ids=["value", "name"],
)
def test_a_request_that_cannot_be_written_as_bytes(serve, send, headers):
    server = serve(OK)
    message = HttpRequest(method="POST", target="/", headers=headers | {"Authorization": CANARY}, body=b"x")
    came = send(f"http://127.0.0.1:{server.port}", message)
    assert (came, server.seen) == (NoAnswer("not_sent", "UnicodeEncodeError"), b"")


@pytest.mark.parametrize(
    ("method", "target", "value"),
    [
        ("POST", "/", f"{CANARY}\r\nX: y"),
        ("POST", "/", f"{CANARY}\0"),
        ("POST", "/ HTTP/1.1\r\nX: y", CANARY),
        ("POST", "/a b", CANARY),
        ("PO ST", "/", CANARY),
    ],
    ids=[
        "header with a line end",
        "header with NUL",
        "target with a line end",
        "target with a space",
        "method",
    ],
)
def test_a_request_that_would_be_another_one_on_the_wire_does_not_leave(serve, send, method, target, value):
    """It is about to leave when it is refused: reported as unknown, which is safe."""
    server = serve(OK)
    message = HttpRequest(method=method, target=target, headers={"Authorization": value}, body=b"x")
    came = send(f"http://127.0.0.1:{server.port}", message)
    assert (came, server.seen) == (NoAnswer("http_error", "LocalProtocolError"), b"")


def test_a_gateway_without_an_address_is_refused(request_of_a_refund):
    with pytest.raises(InvalidSetting, match="endpoint of g"):
        HttpTransport({}).send("g", request_of_a_refund, timeout_s=1)


# ---- the errors that mean "not sent" are raised before anything is written


@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError]
)
def test_such_an_error_raised_late_does_not_mean_not_sent(serve, send, monkeypatch, error):
    """None of the libraries does that today. Were one to, what has begun to leave is in doubt."""

    class Late(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            await super().handle_async_request(request)
            raise error("late")

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", Late)
    monkeypatch.setattr("httpx._client.AsyncHTTPTransport", Late)
    server = serve(OK)
    came = send(f"http://127.0.0.1:{server.port}")
    assert CANARY.encode() in server.seen
    assert came.failure != "not_sent"


def test_nothing_is_tried_twice(serve, send, monkeypatch):
    """A planted fault: with retries, a connection that fails would be tried again."""
    tried = []

    async def refused(*where, **more):
        tried.append(where)
        raise ConnectionRefusedError

    monkeypatch.setattr("anyio.connect_tcp", refused)
    assert send("https://gateway.example").failure == "not_sent"
    assert len(tried) == 1


def test_a_transport_that_notes_nothing_is_seen(serve, send, monkeypatch):
    """A planted fault: the table above compares with what the server saw."""

    class Blind(http._Sent):
        async def trace(self, name, info):
            pass

    monkeypatch.setattr(http, "_Sent", Blind)
    server = serve(closed_after_the_request)
    came = send(f"http://127.0.0.1:{server.port}")
    assert (came.failure, CANARY.encode() in server.seen) == ("not_sent", True)
