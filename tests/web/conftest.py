"""Applications on engines whose clock stands still, signed webhooks, and two ways to call: ASGI and real sockets."""

import asyncio
import contextlib
import itertools
import json
import socket
import threading
from datetime import timedelta
from typing import NamedTuple

import pytest
from keyed_gateways import SECRETS, easylink_form, evo_signature, keyed_gateways

from refold.engine import Money, RefundEngine
from refold.engine.web import Metrics, create_app
from refold.engine.web.server import PatientProtocol, make_server

WORDS = {
    "evonet": {"pending": "refund_pending", "success": "refunded_full", "failed": "Failed"},
    "evocloud": {"pending": "Received", "success": "Success", "failed": "Failed"},
}
WATCHDOG_S = 60
"""After so long a test that waits for a condition is broken."""


class Wire:
    """Signs webhooks as the gateways do, without the help of the adapters."""

    def __init__(self, clock):
        self.clock = clock

    def webhook(self, gateway="evonet", refund_id="r-1", says="success", *, signed_s=0, secret=None, **more):
        """Return headers and body of a notification signed `signed_s` seconds from now."""
        if gateway == "easylink":
            fields = {"mchRefundNo": refund_id, "payOrderId": "p-1", "refundAmount": 6000, "currency": "HKD"}
            state = {"pending": 1, "success": 2, "failed": 3}[says]
            return self.easylink(fields | {"state": state} | more, signed_s=signed_s, secret=secret)
        return self.evo(
            json.dumps(self.body(gateway, refund_id, says, **more)).encode(),
            gateway=gateway,
            signed_s=signed_s,
            secret=secret,
        )

    def body(
        self, gateway="evonet", refund_id="r-1", says="success", *, amount="60.00", currency="HKD", **more
    ):
        refund = {"merchantTransInfo": {"merchantTransID": refund_id}, "status": WORDS[gateway][says]}
        refund |= {"transAmount": {"currency": currency, "value": amount}, **more}
        body = {"result": {"code": "S0000", "message": "said"}, "eventCode": "Refund", "refund": refund}
        body["payment"] = {"merchantTransInfo": {"merchantTransID": "p-1"}, "status": "Captured"}
        return body | ({"cancelOrRefund": "Refund"} if gateway == "evocloud" else {})

    def evo(self, body, *, gateway="evonet", signed_s=0, secret=None, msg_id="m-1"):
        """Sign any bytes."""
        stamp = (self.clock.now + timedelta(seconds=signed_s)).isoformat()
        secret = SECRETS[gateway] if secret is None else secret
        headers = {
            "content-type": "application/json",
            "datetime": stamp,
            "msgid": msg_id,
            "signtype": "SHA256",
        }
        return headers | {"authorization": evo_signature(body, stamp, secret, msg_id)}, body

    def easylink(self, fields, *, signed_s=0, secret=None):
        at = self.clock.now + timedelta(seconds=signed_s)
        secret = SECRETS["easylink"] if secret is None else secret
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return headers, easylink_form(fields, at, secret)


# ---- calling the application itself


class Answer(NamedTuple):
    status: int
    headers: list
    body: bytes
    taken: int
    """How many parts of the request's body were asked for."""

    @property
    def words(self):
        return json.loads(self.body)["status"]

    def header(self, name):
        return dict(self.headers).get(name.encode(), b"").decode()


def raw(headers):
    """Return headers as ASGI has them; a list passes as it is."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [
        (
            name if isinstance(name, bytes) else name.encode(),
            text if isinstance(text, bytes) else text.encode(),
        )
        for name, text in pairs
    ]


async def exchange(app, headers, parts, *, method="POST", path="/webhooks/evonet", then=None, **scope):
    """Send one request; `parts` are those of its body, and `then` what comes instead of its end."""
    sent, taken, coming = [], 0, iter(parts)
    following = next(coming, b"")

    async def receive():
        nonlocal taken, following
        taken += 1
        if following is None:
            if then == "silence":
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}
        part, following = following, next(coming, None)
        more = following is not None or then is not None
        return {"type": "http.request", "body": part, "more_body": more}

    async def send(message):
        sent.append(message)

    whole = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
    }
    whole |= {
        "raw_path": path.encode(errors="replace"),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
    }
    whole |= {"headers": raw(headers), "client": ("203.0.113.9", 5), "server": ("127.0.0.1", 80)}
    await app(whole | scope, receive, send)
    assert next(message["type"] for message in sent) == "http.response.start"
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], sent[0]["headers"], body, taken)


@pytest.fixture
def call():
    """Call an application once, in an event loop of its own."""

    def one(app, headers=(), body=b"", *, parts=None, **more):
        return asyncio.run(exchange(app, headers, [body] if parts is None else parts, **more))

    return one


@pytest.fixture
def exchanging():
    """Return the coroutine function behind `call`, for several requests in one event loop."""
    return exchange


# ---- calling it over sockets


class Served(NamedTuple):
    address: tuple

    def connect(self):
        return contextlib.closing(socket.create_connection(self.address, timeout=WATCHDOG_S))

    def send(self, *parts):
        """Send bytes and return the whole answer; the connection is closed by the server."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # it is closed where too much was sent
                for part in parts:
                    connection.sendall(part)
            return read_all(connection)

    def post(self, headers, body, path="/webhooks/evonet"):
        given = {"host": "x", "connection": "close", "content-length": str(len(body))} | headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return self.send(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)


def read_all(connection):
    """Return what comes until the server closes; a reset after it is the same."""
    read = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            read += part
    return read


@pytest.fixture
def served():
    """Serve applications on free ports of the loopback interface; started and stopped by conditions."""
    with contextlib.ExitStack() as stack:

        def start(app, *, options=None, **limits):
            protocol = type("Protocol", (PatientProtocol,), limits)
            listening = socket.create_server(("127.0.0.1", 0), backlog=256)
            server = make_server(app, http=protocol, **(options or {}))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})

            def stop():
                server.should_exit = True
                thread.join(WATCHDOG_S)
                assert not thread.is_alive()

            address = listening.getsockname()
            thread.start()
            stack.callback(stop)
            return Served(address)

        yield start


# ---- engines and applications


@pytest.fixture(autouse=True)
def quiet(logs):
    """Log nothing on the terminal."""


@pytest.fixture
def wire(clock):
    return Wire(clock)


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def open_engine(clock, metrics):
    """Open engines with keys; they are closed at the end."""
    with contextlib.ExitStack() as stack:

        def opened(url="memory:", **changes):
            numbers = itertools.count(1)
            options = {"gateways": keyed_gateways(), "clock": clock, "on_append": metrics.appended}
            options |= {"entropy": lambda size: next(numbers).to_bytes(size, "big")}
            return stack.enter_context(RefundEngine.open(url, **(options | changes)))

        yield opened


@pytest.fixture
def ask():
    """Ask for a refund of 60.00 HKD of payment p-1."""

    def asked(engine, refund_id="r-1", gateway="evonet"):
        engine.request(gateway=gateway, payment_id="p-1", refund_id=refund_id, amount=Money(6000, "HKD"))

    return asked


@pytest.fixture
def engine(open_engine, ask):
    """An engine in which r-1 was asked for at evonet."""
    engine = open_engine()
    ask(engine)
    return engine


@pytest.fixture
def app(engine, metrics):
    return create_app(engine, metrics=metrics)


@pytest.fixture
def sample(metrics):
    """Return a metric's value now; None where there is no such series."""

    def value(name, **labels):
        return metrics.registry.get_sample_value(name, labels)

    return value


@pytest.fixture
def refused(app, call):
    """What every refusal for want of authenticity looks like."""
    answer = call(app)
    assert (answer.status, answer.body) == (401, b'{"status": "unauthentic"}')
    return answer[:3]


@pytest.fixture
def no_network(monkeypatch):
    """Fail whoever opens a connection or a file's address."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda *_: pytest.fail("it connected"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it looked a name up"))
