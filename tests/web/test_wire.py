"""The receiver behind a real server, over sockets of the loopback interface: what a stranger can do to it."""

import contextlib
import gzip
import select
import threading

import pytest

from refold.engine import State
from refold.engine.web import Limits, create_app
from refold.engine.web.server import make_server

CHUNKED = b"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
HEAD = b"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"


def status(answer):
    return int(answer.split(b" ", 2)[1])


def until_answered(connection, part):
    """Send the same part again and again until the server answers or leaves; return how often."""
    sent = 0
    while not select.select([connection], [], [], 0.001)[0]:
        try:
            connection.sendall(part)
        except ConnectionError:
            break
        sent += 1
    return sent


def rest(connection):
    read = b""
    with contextlib.suppress(ConnectionError):  # it is reset where bytes of ours are unread
        while part := connection.recv(65536):
            read += part
    return read


@pytest.fixture
def server(app, served):
    return served(app)


def test_b1_a_signed_webhook_over_a_socket_moves_the_refund(server, engine, wire):
    answer = server.post(*wire.webhook())
    assert (status(answer), answer.endswith(b"\r\n\r\nSUCCESS")) == (200, True)
    assert engine.refund("r-1").state is State.SUCCESS


def test_b2_a_hundred_at_once_are_one_event_and_a_hundred_200(
    served, open_engine, ask, wire, metrics, sample, tmp_path
):
    engine = open_engine(f"sqlite:///{tmp_path}/refunds.db")
    ask(engine)
    head, server = engine.store.head(), served(create_app(engine, metrics=metrics))
    hook, answers, barrier = wire.webhook(), [], threading.Barrier(100)

    def post():
        barrier.wait()
        answers.append(status(server.post(*hook)))

    threads = [threading.Thread(target=post) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 100
    assert engine.store.head() == head + 1
    assert sample("refold_webhooks_total", gateway="evonet", result="accepted") == 1
    assert sample("refold_webhooks_total", gateway="evonet", result="duplicate") == 99


def test_b9_every_refusal_is_the_same_bytes_on_the_wire(server, wire):
    headers, body = wire.webhook()
    forged = [
        server.post({}, b""),
        server.post(headers | {"authorization": "ab" * 32}, body),
        server.post(headers | {"Authorization ".strip(): "ab" * 32}, body),
        server.post(headers | {"AUTHORIZATION": headers["authorization"]}, body),
        server.post(*wire.webhook(signed_s=-301)),
        server.post(*wire.webhook(secret="wrong")),
        server.post(headers | {"cookie": "é" * 100}, body + b" "),
    ]
    assert [status(answer) for answer in forged] == [401] * len(forged)
    assert len(set(forged)) == 1


def test_b15_a_body_in_chunks_without_end_is_413_and_the_connection_ends(server):
    with server.connect() as connection:
        connection.sendall(CHUNKED)
        part = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        sent = until_answered(connection, part)
        assert sent >= 64  # the limit was reached
        answer = rest(connection)
    assert status(answer) == 413


def test_b15_a_declared_length_above_the_limit_is_413_while_nothing_was_sent(server):
    answer = server.send(HEAD % (256 * 1024 + 1))
    assert (status(answer), b"connection: close" in answer) == (413, True)


def test_b15_one_byte_at_a_time_is_408_when_the_time_is_over(served, engine):
    server = served(create_app(engine, limits=Limits(body_s=0.2)))
    with server.connect() as connection:
        connection.sendall(HEAD % 200_000)
        until_answered(connection, b"x")
        answer = rest(connection)
    assert (status(answer), b"too_slow" in answer) == (408, True)


def test_b15_a_length_above_what_is_sent_waits_no_longer_than_the_time(served, engine):
    server = served(create_app(engine, limits=Limits(body_s=0.05)))
    assert status(server.send(HEAD % 10, b"12345")) == 408


def test_b15_a_sender_that_leaves_in_the_middle_stores_nothing(server, engine, wire, call, app):
    headers, body = wire.webhook()
    head = engine.store.head()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with server.connect() as connection:
        connection.sendall(
            f"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode()
        )
        connection.sendall(body[:-1])
    assert status(server.post({}, b"")) == 401  # the server goes on
    assert engine.store.head() == head


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\ncookie: " + b"a" * 65536 + b"\r\n\r\n",
        b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        b"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\nauth orization: x\r\n\r\n",
        b"POST /webhooks/evonet HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\r\n\r\n\x00\r\n\r\n",
    ],
    ids=[
        "header of 64 KiB",
        "path of 64 KiB",
        "two lengths",
        "length below 0",
        "blank",
        "no host",
        "TLS",
        "NUL",
    ],
)
def test_b15_what_is_no_http_or_too_long_is_400_and_the_connection_ends(server, request_bytes):
    answer = server.send(request_bytes)
    assert status(answer) == 400
    assert b"x-content-type-options: nosniff" in answer


def test_b15_bytes_that_are_no_latin_in_a_header_are_no_error(server, wire):
    headers, body = wire.webhook()
    assert status(server.post(headers | {"x-note": "\u9000\u6b3e"}, body)) == 200


def test_b15_headers_that_do_not_end_are_cut_off(served, app):
    server = served(app, header_s=0.05)
    for sent in (b"", b"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\nx-a: "):
        assert server.send(sent) == b""


def test_b15_headers_that_do_not_end_are_cut_off_on_a_connection_used_before(served, app):
    server = served(app, header_s=0.05)
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nx: ")
        assert rest(connection) == b""


def test_b15_more_connections_than_the_limit_are_closed_unanswered(served, app):
    server = served(app, connections_most=1)
    with server.connect() as first:
        first.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert status(first.recv(65536)) == 200
        assert server.send(b"") == b""


def test_b16_a_compressed_body_is_415_over_a_socket(server, wire):
    headers, body = wire.webhook()
    assert status(server.post(headers | {"content-encoding": "gzip"}, gzip.compress(body))) == 415


def test_b22_a_store_that_fails_is_503_over_a_socket(server, engine, wire):
    engine.close()
    answer = server.post(*wire.webhook())
    assert (status(answer), b"retry-after: 5" in answer) == (503, True)


def test_b23_neither_server_nor_date_is_told_and_no_host_is_repeated(server):
    for path in ("/webhooks/evonet", "/webhooks/evonet/", "/nowhere"):
        answer = server.post({"host": "evil.example"}, b"", path=path).lower()
        assert [
            word for word in (b"server:", b"date:", b"uvicorn", b"evil", b"location:") if word in answer
        ] == []


def test_b23_headers_of_proxies_are_not_believed(app):
    config = make_server(app).config
    assert (config.proxy_headers, config.forwarded_allow_ips) == (False, "")


def test_a_request_under_way_is_finished_when_the_server_is_told_to_stop(app, engine, wire):
    import socket

    listening = socket.create_server(("127.0.0.1", 0))
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    address = listening.getsockname()
    thread.start()
    taken, go_on = threading.Event(), threading.Event()
    receive = engine.receive_webhook

    def waiting(*hook):
        taken.set()
        go_on.wait(60)
        return receive(*hook)

    engine.receive_webhook = waiting
    headers, body = wire.webhook()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(address, timeout=60) as connection:
        head = f"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
        connection.sendall(head.encode() + body)
        assert taken.wait(60)
        server.should_exit = True
        go_on.set()
        assert status(rest(connection)) == 200
    thread.join(60)
    assert not thread.is_alive()
    assert engine.refund("r-1").state is State.SUCCESS
