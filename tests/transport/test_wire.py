"""What goes over the wire is what the adapter signed, byte for byte; what comes back is kept as it came."""

import gzip
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from refold.engine.domain.message import HttpRequest
from refold.engine.ports import Answer, NoAnswer
from refold.engine.transport.endpoint import Endpoint
from refold.engine.transport.http import HttpTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def answer(body=b"{}", *headers, status="200 OK", length=True):
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


def head_of(server):
    """Return the request line and the headers the server saw, names in lower case."""
    head = server.seen.partition(b"\r\n\r\n")[0].decode("latin-1")
    first, *lines = head.split("\r\n")
    return first, sorted((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines))


# ---- the request


def test_method_target_headers_and_body_are_the_adapters_and_little_else(serve, send, request_of_a_refund):
    server = serve(OK)
    assert send(f"http://127.0.0.1:{server.port}").status == 200
    assert head_of(server) == (
        "POST /payment/p-1/refund HTTP/1.1",
        [
            ("accept", "*/*"),
            ("accept-encoding", "identity"),
            ("authorization", "canary-5f2e"),
            ("connection", "close"),
            ("content-length", str(len(request_of_a_refund.body))),
            ("content-type", "application/json"),
            ("host", f"127.0.0.1:{server.port}"),
            ("user-agent", "refold"),
        ],
    )
    assert server.seen.partition(b"\r\n\r\n")[2] == request_of_a_refund.body


@pytest.mark.parametrize("name", ["User-Agent", "user-agent", "ACCEPT", "accept-encoding"])
def test_a_header_of_the_adapter_takes_the_place_of_the_transports(serve, send, name):
    server = serve(OK)
    send(
        f"http://127.0.0.1:{server.port}",
        HttpRequest(method="GET", target="/", headers={name: "mine"}, body=b""),
    )
    values = [value for header, value in head_of(server)[1] if header == name.lower()]
    assert values == ["mine"]


def test_a_query_has_no_body_and_says_nothing_of_one(serve, send):
    server = serve(OK)
    send(
        f"http://127.0.0.1:{server.port}",
        HttpRequest(method="GET", target="/refund/r-1", headers={}, body=b""),
    )
    first, headers = head_of(server)
    assert first == "GET /refund/r-1 HTTP/1.1"
    assert not {"content-length", "transfer-encoding"} & {name for name, _ in headers}
    assert server.seen.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/", "/a%20b", "/a%2Fb"])
@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/payment/p-1/refund",
        "/payment/p%2F1/refund?a=b%20c+d&e=%7E",
        "/payment/%7e~!$&'()*+,;=:@/refund",
        '/payment/"<>`{}|\\^[]',
        "/a/../b/./c//d",
        '/query?q="<>`{}|\\^[]&a?b=c',
        "//evil.example/x",
        "/a#b",
        "/%zz%",
    ],
)
def test_the_target_is_not_rewritten(serve, send, base, target):
    server = serve(OK)
    send(
        f"http://127.0.0.1:{server.port}{base}",
        HttpRequest(method="GET", target=target, headers={}, body=b""),
    )
    assert head_of(server)[0] == f"GET {base.rstrip('/')}{target} HTTP/1.1"


def test_a_body_of_any_bytes_is_sent_as_it_is(serve, send):
    server, body = serve(OK), bytes(range(256)) * 300
    send(f"http://127.0.0.1:{server.port}", HttpRequest(method="POST", target="/", headers={}, body=body))
    assert server.seen.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_a_redirect_is_an_answer_and_not_followed(serve, send, status):
    """CASES C18."""
    elsewhere = serve(OK)
    server = serve(answer(b"", f"Location: http://127.0.0.1:{elsewhere.port}/", status=status))
    came = send(f"http://127.0.0.1:{server.port}")
    assert (came.status, came.headers["location"][:16]) == (int(status[:3]), "http://127.0.0.1")
    assert (len(server.connections), elsewhere.connections) == (1, [])


def test_a_cookie_is_not_kept_and_a_connection_not_used_again(serve, request_of_a_refund):
    server = serve(answer(b"{}", "Set-Cookie: a=b", "Connection: keep-alive"))
    transport = HttpTransport({"g": Endpoint(base_url=f"http://127.0.0.1:{server.port}")})
    for _ in range(2):
        assert transport.send("g", request_of_a_refund, timeout_s=10).headers["set-cookie"] == "a=b"
    one, other = (bytes(connection.seen) for connection in server.connections)
    assert one == other
    assert b"cookie" not in one.lower()


def test_the_environment_names_no_proxy_no_authorities_and_no_password(
    serve, send, monkeypatch, tmp_path, free_port
):
    proxy = f"http://127.0.0.1:{free_port}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.lower(), proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary")
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(OK)
    message = HttpRequest(method="GET", target="/", headers={}, body=b"")
    assert send(f"http://127.0.0.1:{server.port}", message).status == 200
    assert "authorization" not in dict(head_of(server)[1])


def test_of_several_addresses_of_a_name_one_is_sent_the_request_once(
    serve, send, monkeypatch, request_of_a_refund
):
    """Addresses are tried side by side; what is written is written once."""
    server = serve(OK)
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port))
        for address in ("127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.1")
    ]
    known = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: found if host == "localhost" else known(host, *rest, **more),
    )
    assert send(f"http://localhost:{server.port}").status == 200
    assert server.seen.count(request_of_a_refund.body) == 1


# ---- the answer


@pytest.mark.parametrize("status", [200, 204, 400, 401, 404, 409, 429, 500, 502, 503, 599])
def test_every_status_is_an_answer(serve, send, status):
    server = serve(answer(b"", status=f"{status} x"))
    assert send(f"http://127.0.0.1:{server.port}") == Answer(status, {"content-length": "0"}, b"")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_is_not_decoded(serve, send, coding):
    body = gzip.compress(b'{"a":1}')
    server = serve(answer(body, f"Content-Encoding: {coding}"))
    came = send(f"http://127.0.0.1:{server.port}")
    assert (came.body, came.headers["content-encoding"]) == (body, coding)


def test_headers_have_small_names_and_what_comes_twice_is_joined(serve, send):
    server = serve(answer(b"{}", "X-One: a", "x-one: b", "X-ONE: a", "Retry-After: 30"))
    assert send(f"http://127.0.0.1:{server.port}").headers == {
        "content-length": "2",
        "x-one": "a, b, a",
        "retry-after": "30",
    }


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\xff\r\n1\r\n}\r\n0\r\n\r\n", b"{\xff}", id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\n{\r\n0\r\nX: y\r\n\r\n", b"{", id="chunked, with a trailer"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n{\x00}", b"{\x00}", id="until the connection is closed"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}", b"{}", id="longer than declared"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}", id="after 100"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 3 + OK, b"{}", id="after 103 three times"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", b"{}", id="no reason"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", b"{}", id="bare line ends"),
    ],
)  # fmt: skip
def test_the_body_is_what_the_protocol_says_it_is(serve, send, raw, body):
    server = serve(raw)
    came = send(f"http://127.0.0.1:{server.port}")
    assert (came.status, came.body) == (200, body)


def test_the_answer_counts_that_came_before_the_request_was_read(serve, send):
    def script(connection):
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.until_gone()

    assert send(f"http://127.0.0.1:{serve(script).port}").status == 413


# ---- caps

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "taken"),
    [
        pytest.param(answer(b"x" * 100), True, id="declared, exactly"),
        pytest.param(answer(b"x" * 101), False, id="declared, one more"),
        pytest.param(answer(b"x" * 101, length=False), False, id="undeclared, one more"),
        pytest.param(answer(b"x" * 100, length=False), True, id="undeclared, exactly"),
        pytest.param(CHUNKED + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n", True, id="chunked, exactly"),
        pytest.param(CHUNKED + b"32\r\n" + b"x" * 50 + b"\r\n33\r\n" + b"x" * 51 + b"\r\n0\r\n\r\n", False, id="chunked, one more"),
        pytest.param(CHUNKED + b"fffffffffffffff\r\n" + b"x" * 200, False, id="a huge chunk"),
        pytest.param(answer(b"x", "Content-Length: 99999999999999999999", length=False), False, id="declared, huge"),
    ],
)  # fmt: skip
def test_an_answer_is_taken_up_to_its_cap(serve, send, raw, taken):
    came = send(f"http://127.0.0.1:{serve(raw).port}", max_answer=100)
    assert isinstance(came, Answer) == taken
    if not taken:
        assert (came.failure, "100" in came.detail) == ("http_error", True)


def test_an_answer_that_is_declared_too_large_is_refused_before_its_body_comes(serve, send):
    def script(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")
        connection.until_gone()

    came = send(f"http://127.0.0.1:{serve(script).port}", max_answer=100)
    assert came == NoAnswer(
        "http_error",
        "Broken: the answer has 101 bytes, 100 are taken, after HTTP 200 and 0 bytes of its body",
    )


def test_an_answer_without_end_is_refused_at_its_cap(serve, send):
    def script(connection):
        connection.read_request()
        connection.send(CHUNKED)
        while connection.send(b"400\r\n" + b"x" * 1024 + b"\r\n"):
            pass

    assert send(f"http://127.0.0.1:{serve(script).port}", max_answer=10_000).failure == "http_error"


# ---- another process


def test_a_fresh_process_sends_and_leaves_nothing_behind(serve):
    server = serve(OK)
    program = f"""
        import threading
        from refold.engine.domain.message import HttpRequest
        from refold.engine.transport.endpoint import Endpoint
        from refold.engine.transport.http import HttpTransport
        transport = HttpTransport({{"g": Endpoint(base_url="http://127.0.0.1:{server.port}")}})
        request = HttpRequest(method="POST", target="/", headers={{}}, body=b"x")
        assert transport.send("g", request, timeout_s=10).status == 200
        print(threading.active_count())
    """
    where = Path(__file__).resolve().parents[2]
    import refold

    folder = Path(refold.__file__).parent.parent
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    run = subprocess.run(
        command,
        cwd=where,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr, run.returncode) == ("1\n", "", 0)


def test_httpx_decides_nothing_else(serve, send, monkeypatch):
    """A planted fault: were the environment asked, its proxy would be seen."""
    built = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **options: built(**options | {"trust_env": True}))
    proxy, server = serve(answer(status="418 proxy")), serve(OK)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert send(f"http://127.0.0.1:{server.port}").status == 418
