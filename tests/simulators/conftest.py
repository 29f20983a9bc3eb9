"""A shop that talks to the simulators over real sockets, on clocks that move by hand."""

import queue
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

import httpx
import pytest

from refold.adapters.simulators import serve, simulators
from refold.engine.domain.evidence import Evidence, RefundOrder, Verification
from refold.engine.domain.message import Channel, Message
from refold.engine.domain.money import Money

TLS = ssl.create_default_context()
"""Made once, because that takes longer than a request."""
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PATIENCE_S = 30
"""How long a test waits for what will come, before it fails."""


class HandClock:
    """Stands still until it is moved; with `tick`, it also moves each time somebody looks."""

    def __init__(self, tick_s=0):
        self.at = NOON
        self.tick = timedelta(seconds=tick_s)

    def __call__(self):
        self.at += self.tick
        return self.at

    def advance(self, seconds):
        self.at += timedelta(seconds=seconds)


class Heard(NamedTuple):
    """An answer, as our adapter reads it."""

    evidence: Evidence
    verification: Verification
    response: httpx.Response

    @property
    def signal(self):
        return str(self.evidence.signal)


class Shop:
    """A merchant: asks for refunds and looks them up, with our adapters."""

    def __init__(self, sims, running, clock):
        self.sims = sims
        self.running = running
        self.clock = clock
        self.gateways = {gateway.name: gateway for gateway in sims.gateways}

    def order(self, name, refund_id, minor=5000, *, payment="P1", notify=None):
        payment = refund_id if name == "bbmsl" else payment
        return RefundOrder(
            refund_id=refund_id,
            payment_id=payment,
            amount=Money(minor, "HKD"),
            requested_at=NOON,
            notify_url=notify,
        )

    def send(self, name, request, *, timeout_s=PATIENCE_S, **changes):
        parts = {"headers": dict(request.headers), "content": request.body, **changes}
        url = self.running.url(name) + request.target
        # A client for each request: no connection is kept, and a door that closes is noticed.
        with httpx.Client(timeout=timeout_s, trust_env=False, verify=TLS) as client:
            return client.request(request.method, url, **parts)

    def refund(self, name, refund_id, minor=5000, *, timeout_s=PATIENCE_S, **order):
        gateway = self.gateways[name]
        request = gateway.build_refund(
            self.order(name, refund_id, minor, **order), at=self.clock(), nonce="n1"
        )
        return self._heard(name, Channel.API_RESPONSE, request, timeout_s)

    def poll(self, name, refund_id, *, timeout_s=PATIENCE_S):
        gateway = self.gateways[name]
        request = gateway.build_query(self.order(name, refund_id), at=self.clock(), nonce="n2")
        return self._heard(name, Channel.POLL, request, timeout_s)

    def _heard(self, name, channel, request, timeout_s):
        response = self.send(name, request, timeout_s=timeout_s)
        message = Message(
            body=response.content,
            received_at=self.clock(),
            headers=response.headers,
            http_status=response.status_code,
            method=request.method,
            target=request.target,
        )
        gateway = self.gateways[name]
        read = gateway.read_response if channel is Channel.API_RESPONSE else gateway.read_poll
        return Heard(read(message), gateway.verify(channel, message), response)

    def ledger(self, name):
        return self.sims[name].ledger


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def opened(clock):
    """Open a shop; everything but the clock is as the caller says."""

    @contextmanager
    def opening(*names, clock=clock, **settings):
        sims = simulators(names or ("evonet",), clock=clock, **{"seed": "tests", "speed": 1, **settings})
        with serve(sims) as running:
            yield Shop(sims, running, clock)

    return opening


@pytest.fixture
def shop(opened, request):
    """A shop with the gateway that the test names, else with all four."""
    params = getattr(request.node, "callspec", None)
    name = params.params.get("name") if params else None
    with opened(*([name] if name else ["evocloud", "evonet", "bbmsl", "easylink"])) as made:
        yield made


class Receiver:
    """Receives webhooks and answers what it is told to; `received` blocks until one comes."""

    def __init__(self, answers):
        self.answers = list(answers)
        self._queue = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                status, text = answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.end_headers()
                self.wfile.write(text)
                receiver._queue.put((self.path, dict(self.headers), body))

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def received(self):
        """Return path, headers and body of the next webhook."""
        return self._queue.get(timeout=PATIENCE_S)

    def message(self, clock):
        _, headers, body = self.received()
        return Message(body=body, received_at=clock(), headers=headers)

    @property
    def nothing_more(self):
        return self._queue.empty()


@pytest.fixture
def receiver():
    """Make a receiver that gives these answers one after the other, the last one for ever."""
    made = []

    def make(*answers):
        one = Receiver(answers)
        thread = Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made.append((one, thread))
        return one

    yield make
    for one, thread in made:
        one.server.shutdown()
        thread.join()
        one.server.server_close()


@pytest.fixture
def ticking():
    """Make a clock that moves by a minute whenever somebody looks: every delay passes by itself."""
    return HandClock(tick_s=60)
