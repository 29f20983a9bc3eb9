"""Servers on real sockets of this machine, which do what their script says and note every byte they see."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import struct
import threading
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from refold.engine.domain.message import HttpRequest
from refold.engine.transport.endpoint import Endpoint
from refold.engine.transport.http import HttpTransport

CANARY = "canary-5f2e"
"""In every header and body that is a secret: it must be in no failure's words."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
PATIENCE_S = 20
"""After which a server that waits in vain gives up: a test that hangs so long is red anyway."""


class Connection:
    """One client, as the server sees it."""

    def __init__(self, server, raw):
        self.server = server
        self.socket = raw
        self.seen = bytearray()

    def read(self):
        """Return what comes next; nothing where the client is gone."""
        try:
            part = self.socket.recv(65_536)
        except ConnectionError:
            return b""
        self.seen += part
        return part

    def read_request(self):
        """Read one whole request."""
        while b"\r\n\r\n" not in self.seen and self.read():
            pass
        head, _, body = bytes(self.seen).partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length and (part := self.read()):
            body += part

    def send(self, data):
        """Send, unless the client is gone; tell whether it was there."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def gone_within(self, seconds):
        """Tell whether the client goes away in that time."""
        self.socket.settimeout(seconds)
        try:
            return not self.read()
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(PATIENCE_S)

    def until_gone(self):
        while self.read():
            pass

    def reset(self):
        """Close so that the client is told of a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Server:
    """Listens on a free port of this machine; each connection is given to the script."""

    def __init__(self, script, *, tls=None, address="127.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._script, self._tls = script, tls
        self._listener = socket.create_server((address, 0), family=family, backlog=64)
        self.port = self._listener.getsockname()[1]
        self.connections = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def seen(self):
        """Every byte of every client; where it speaks TLS, what was inside."""
        return b"".join(bytes(connection.seen) for connection in self.connections)

    def _accept(self):
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                raw, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(raw,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, raw):
        raw.settimeout(PATIENCE_S)
        with contextlib.ExitStack() as stack:
            stack.callback(raw.close)
            connection = Connection(self, raw)
            self.connections.append(connection)
            if self._tls is not None:
                try:
                    connection.socket = stack.enter_context(self._tls.wrap_socket(raw, server_side=True))
                except OSError:  # the client does not like the certificate
                    return
            with contextlib.suppress(OSError):
                self._script(connection)

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self._listener.close()


def answering(answer):
    """Return a script that reads the request and answers."""

    def script(connection):
        connection.read_request()
        connection.send(answer)

    return script


@pytest.fixture
def serve():
    """Start servers; they are stopped at the end."""
    with contextlib.ExitStack() as stack:

        def started(script, **options):
            server = Server(answering(script) if isinstance(script, bytes) else script, **options)
            stack.callback(server.stop)
            return server

        yield started


@pytest.fixture(scope="session")
def request_of_a_refund():
    return HttpRequest(
        method="POST",
        target="/payment/p-1/refund",
        headers={"Authorization": CANARY, "Content-Type": "application/json"},
        body=f'{{"amount":"60.00","token":"{CANARY}"}}'.encode(),
    )


def sent(transport, request, timeout_s):
    return transport.send("g", request, timeout_s=timeout_s)


def asent(transport, request, timeout_s):
    return asyncio.run(transport.asend("g", request, timeout_s=timeout_s))


def sent_inside_a_loop(transport, request, timeout_s):
    async def inside():
        return transport.send("g", request, timeout_s=timeout_s)

    return asyncio.run(inside())


@pytest.fixture(params=[sent, asent], ids=["send", "asend"])
def send(request, request_of_a_refund):
    """Send a request to a base URL, in both ways; return what came of it."""

    def send_one(base_url, message=request_of_a_refund, *, timeout_s=10, max_answer=1024 * 1024, **endpoint):
        transport = HttpTransport({"g": Endpoint(base_url=base_url, **endpoint)}, max_answer=max_answer)
        return request.param(transport, message, timeout_s)

    return send_one


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder, name):
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(self._subject, self._key, ca=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(self, subject, key, *, ca=False, hosts=(), until=2090, issuer=None, signer=None):
        names = [
            x509.IPAddress(ipaddress.ip_address(h)) if h[0].isdigit() else x509.DNSName(h) for h in hosts
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(until, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer or self._key, hashes.SHA256())

    def server(self, *hosts, until=2090, self_signed=False):
        """Return the TLS of a server that says it is these hosts."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        issuer = {"issuer": subject, "signer": key} if self_signed else {}
        certificate = self._signed(subject, key, hosts=hosts, until=until, **issuer)
        file = self._folder / f"{self._name}-{'-'.join(hosts)}-{until}-{self_signed}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "strangers")


@pytest.fixture
def free_port():
    """Return a port nobody listens on: bound, so that nobody else gets it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
