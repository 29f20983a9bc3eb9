"""TLS is always verified, by the endpoint's own authorities (CASES C17); a proxy sees a tunnel and nothing else."""

import base64
import ssl

import pytest

from refold.engine.errors import InvalidSetting
from refold.engine.transport.endpoint import Endpoint
from refold.engine.transport.http import HttpTransport

CANARY = b"canary-5f2e"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def ca_file(authority):
    return str(authority.file)


@pytest.fixture
def certified(authority, stranger):
    """Return the TLS of a server by what is right or wrong with its certificate."""
    return {
        "right": lambda: authority.server("localhost", "127.0.0.1"),
        "expired": lambda: authority.server("localhost", until=2021),
        "wrong host": lambda: authority.server("gateway.example"),
        "no host": authority.server,
        "self-signed": lambda: authority.server("localhost", self_signed=True),
        "unknown authority": lambda: stranger.server("localhost"),
    }


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_an_authority_of_ones_own_is_trusted_where_it_is_named(serve, send, certified, ca_file, host):
    server = serve(OK, tls=certified["right"]())
    assert send(f"https://{host}:{server.port}", ca_file=ca_file).status == 200


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        ("expired", "certificate has expired"),
        ("wrong host", "Hostname mismatch"),
        ("no host", "Hostname mismatch"),
        ("self-signed", "self-signed certificate"),
        ("unknown authority", "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_is_not_right_ends_it_before_a_byte_leaves(
    serve, send, certified, ca_file, certificate, why
):
    server = serve(OK, tls=certified[certificate]())
    came = send(f"https://localhost:{server.port}", ca_file=ca_file)
    assert (came.failure, why in came.detail, server.seen) == ("not_sent", True, b"")


def test_an_authority_counts_for_its_endpoint_alone(serve, certified, ca_file, request_of_a_refund):
    server = serve(OK, tls=certified["right"]())
    url = f"https://localhost:{server.port}"
    transport = HttpTransport({"a": Endpoint(base_url=url, ca_file=ca_file), "b": Endpoint(base_url=url)})
    assert transport.send("a", request_of_a_refund, timeout_s=10).status == 200
    seen = len(server.seen)
    came = transport.send("b", request_of_a_refund, timeout_s=10)
    assert (came.failure, len(server.seen)) == ("not_sent", seen)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_adds_no_authority(serve, send, certified, ca_file, monkeypatch, name):
    monkeypatch.setenv(name, ca_file)
    server = serve(OK, tls=certified["right"]())
    assert send(f"https://localhost:{server.port}").failure == "not_sent"


def test_a_file_of_authorities_takes_the_place_of_the_public_ones(ca_file):
    transport = HttpTransport({"g": Endpoint(base_url="https://localhost", ca_file=ca_file)})
    assert len(transport._trust["g"].get_ca_certs()) == 1


def test_every_endpoint_verifies_certificate_and_host(ca_file):
    endpoints = {
        "public": Endpoint(base_url="https://localhost"),
        "own": Endpoint(base_url="https://localhost", ca_file=ca_file),
    }
    for context in HttpTransport(endpoints)._trust.values():
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_that_holds_no_authority_is_refused_at_once(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSetting, match="ca_file of g"):
        HttpTransport({"g": Endpoint(base_url="https://localhost", ca_file=str(file))})


def test_a_server_that_speaks_no_tls_sees_nothing_of_the_request(serve, send):
    def script(connection):
        connection.read()
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = serve(script)
    came = send(f"https://localhost:{server.port}")
    assert came.failure == "not_sent"
    assert CANARY not in server.seen
    assert b"/payment" not in server.seen


@pytest.mark.parametrize("closed", ["closed", "reset"])
def test_a_server_that_goes_away_before_its_tls_is_up_sees_nothing(serve, send, closed):
    def script(connection):
        connection.read()
        if closed == "reset":
            connection.reset()

    server = serve(script)
    assert send(f"https://localhost:{server.port}").failure == "not_sent"
    assert CANARY not in server.seen


def test_a_server_whose_tls_never_comes_up_is_not_waited_for(serve, send):
    server = serve(lambda connection: connection.until_gone())
    assert send(f"https://localhost:{server.port}", timeout_s=1).failure == "not_sent"
    assert CANARY not in server.seen


def test_what_breaks_the_tls_after_the_request_leaves_it_in_doubt(serve, send, certified, ca_file):
    def script(connection):
        connection.read_request()
        plain = connection.socket.detach()
        import socket

        with socket.socket(fileno=plain) as raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)

    server = serve(script, tls=certified["right"]())
    came = send(f"https://localhost:{server.port}", ca_file=ca_file)
    assert (came.failure, CANARY in server.seen) == ("http_error", True)


def test_a_server_that_wants_a_certificate_of_ours_says_so_after_the_request(serve, send, certified, ca_file):
    """With TLS 1.3 the client is done before the server has looked: by then the request may have left."""
    tls = certified["right"]()
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(ca_file)
    server = serve(OK, tls=tls)
    came = send(f"https://localhost:{server.port}", ca_file=ca_file)
    assert came.failure == "http_error"


def test_an_answer_cut_off_without_a_word_is_not_whole(serve, send, certified, ca_file):
    """An attacker can cut a connection; an answer that ends with it is one that declared no length."""

    def script(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}")
        connection.socket.close()

    server = serve(script, tls=certified["right"]())
    assert send(f"https://localhost:{server.port}", ca_file=ca_file).failure == "http_error"


# ---- proxies


def relaying(to, answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
    """Return a proxy that opens a tunnel to a server."""
    import socket
    import threading

    def copy(source, target):
        try:
            while part := source.recv(65_536):
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def script(connection):
        connection.read_request()
        connection.send(answer)
        with socket.create_connection(("127.0.0.1", to.port)) as onward:
            back = threading.Thread(target=copy, args=(onward, connection.socket))
            back.start()
            copy(connection.socket, onward)
            back.join(20)

    return script


def test_a_proxy_is_asked_for_a_tunnel_to_the_gateways_host_and_sees_nothing_more(
    serve, send, certified, ca_file
):
    server = serve(OK, tls=certified["right"]())
    proxy = serve(relaying(server))
    came = send(
        f"https://localhost:{server.port}/v1", ca_file=ca_file, proxy=f"http://127.0.0.1:{proxy.port}"
    )
    assert came.status == 200
    lines = proxy.seen.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert lines[0] == f"CONNECT localhost:{server.port} HTTP/1.1"
    assert sorted(line.partition(":")[0].lower() for line in lines[1:]) == ["accept", "host"]
    assert server.seen.startswith(b"POST /v1/payment/p-1/refund HTTP/1.1\r\n")


def test_the_password_of_a_proxy_goes_to_the_proxy_and_not_to_the_gateway(serve, send, certified, ca_file):
    server = serve(OK, tls=certified["right"]())
    proxy = serve(relaying(server))
    send(f"https://localhost:{server.port}", ca_file=ca_file, proxy=f"http://me:pass@127.0.0.1:{proxy.port}")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:pass") in proxy.seen
    assert b"proxy" not in server.seen.lower()


def answers(raw):
    def script(connection):
        connection.read_request()
        connection.send(raw)

    return script


@pytest.mark.parametrize(
    ("script", "timeout_s", "detail"),
    [
        pytest.param(answers(b"HTTP/1.1 403 Forbidden canary\r\n\r\n"), 10, "ProxyError: 403", id="refuses"),
        pytest.param(answers(b"HTTP/1.1 407 Who are you\r\n\r\n"), 10, "ProxyError: 407", id="wants a password"),
        pytest.param(answers(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nnope"), 10, "ProxyError: 502", id="does not reach the gateway"),
        pytest.param(answers(b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n"), 10, "ProxyError: 302", id="redirects"),
        pytest.param(answers(b""), 10, "RemoteProtocolError", id="closes"),
        pytest.param(answers(b"canary\r\n\r\n"), 10, "RemoteProtocolError: illegal status line", id="speaks no HTTP"),
        pytest.param(lambda connection: connection.reset(), 10, "", id="resets"),
        pytest.param(lambda connection: connection.until_gone(), 1, "nothing whole within 1 s", id="is silent"),
        pytest.param(answers(b"HTTP/1.1 200 OK\r\n\r\nno TLS at all"), 10, "ConnectError", id="leads to no TLS"),
    ],
)  # fmt: skip
def test_a_tunnel_that_does_not_come_up_is_not_sent(serve, send, script, timeout_s, detail):
    """The proxy sees that somebody wants to reach the gateway, and no byte of the request."""
    proxy = serve(script)
    came = send(
        "https://gateway.example", timeout_s=timeout_s, proxy=f"http://me:canary@127.0.0.1:{proxy.port}"
    )
    assert came.failure == "not_sent"
    assert came.detail.startswith(detail)
    assert "canary" not in came.detail
    assert CANARY not in proxy.seen
    assert b"/payment" not in proxy.seen


def test_a_proxy_that_is_not_there(send, free_port):
    came = send("https://gateway.example", proxy=f"http://me:canary@127.0.0.1:{free_port}")
    assert (came.failure, "canary" in came.detail) == ("not_sent", False)


def test_the_gateways_certificate_counts_inside_the_tunnel_too(serve, send, certified, ca_file):
    server = serve(OK, tls=certified["unknown authority"]())
    proxy = serve(relaying(server))
    came = send(f"https://localhost:{server.port}", ca_file=ca_file, proxy=f"http://127.0.0.1:{proxy.port}")
    assert (came.failure, server.seen) == ("not_sent", b"")


def test_a_gateway_that_is_silent_behind_a_proxy_leaves_it_in_doubt(serve, send, certified, ca_file):
    def silent(connection):
        connection.read_request()
        connection.until_gone()

    server = serve(silent, tls=certified["right"]())
    proxy = serve(relaying(server))
    came = send(
        f"https://localhost:{server.port}",
        ca_file=ca_file,
        proxy=f"http://127.0.0.1:{proxy.port}",
        timeout_s=1,
    )
    assert (came.failure, CANARY in server.seen) == ("timeout", True)
