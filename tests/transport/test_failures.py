"""What can go wrong between two sockets, and what is known then: a row a mishap, the last column what is reported."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from refold.engine.domain.message import HttpRequest
from refold.engine.ports import Answer, NoAnswer
from refold.engine.transport.endpoint import Endpoint
from refold.engine.transport.http import HttpTransport

CANARY = "canary-5f2e"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"

# ---- scripts of servers


def closed_at_once(connection):
    connection.socket.close()


def reset_at_once(connection):
    connection.reset()


def reset_after_the_first_bytes(connection):
    connection.read()
    connection.reset()


def closed_after_the_request(connection):
    connection.read_request()


def reset_after_the_request(connection):
    connection.read_request()
    connection.reset()


def then_closed(raw):
    def script(connection):
        connection.read_request()
        connection.send(raw)

    return script


def then_reset(raw):
    def script(connection):
        connection.read_request()
        connection.send(raw)
        connection.reset()

    return script


def then_silent(raw):
    def script(connection):
        connection.read_request()
        connection.send(raw)
        connection.until_gone()

    return script


def byte_by_byte(raw):
    def script(connection):
        connection.read_request()
        for byte in raw:
            if connection.gone_within(0.2) or not connection.send(bytes([byte])):
                return

    return script


def without_end(first, more):
    def script(connection):
        connection.read_request()
        connection.send(first)
        while connection.send(more):
            pass

    return script


def repeats_the_request(before, after=b""):
    def script(connection):
        connection.read_request()
        connection.send(before + bytes(connection.seen) + after)

    return script


BROKEN = [
    pytest.param(closed_at_once, "http_error", id="closed at once"),
    pytest.param(reset_after_the_first_bytes, "http_error", id="reset after the first bytes"),
    pytest.param(closed_after_the_request, "http_error", id="closed after the request"),
    pytest.param(reset_after_the_request, "http_error", id="reset after the request"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nContent-Le"), "http_error", id="half the headers"),
    pytest.param(then_reset(b"HTTP/1.1 200 OK\r\nContent-Le"), "http_error", id="half the headers, then reset"),
    pytest.param(then_closed(HALF), "http_error", id="half the body"),
    pytest.param(then_reset(HALF), "http_error", id="half the body, then reset"),
    pytest.param(then_closed(HALF[:-1]), "http_error", id="no body where one was declared"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), "http_error", id="half a chunk"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"), "http_error", id="no last chunk"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n"), "http_error", id="a chunk of no size"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n"), "http_error", id="a chunk of too many digits"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), "http_error", id="a transfer coding nobody knows"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), "http_error", id="two lengths"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), "http_error", id="a negative length"),
    pytest.param(then_closed("HTTP/1.1 200 OK\r\nContent-Length: ²\r\n\r\n{}".encode()), "http_error", id="a length that is no digit"),
    pytest.param(then_closed(b"HTTP/1.1 20 OK\r\n\r\n"), "http_error", id="a malformed status line"),
    pytest.param(then_closed(b"HTTP/1.1 999999 OK\r\n\r\n"), "http_error", id="a status of six digits"),
    pytest.param(then_closed(b"{}"), "http_error", id="HTTP 0.9"),
    pytest.param(then_closed(b"\x16\x03\x01\x00\x05hello"), "http_error", id="no HTTP at all"),
    pytest.param(then_closed(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n"), "http_error", id="a malformed header"),
    pytest.param(then_closed(b"HTTP/1.1 100 Continue\r\n\r\n"), "http_error", id="100 and nothing more"),
    pytest.param(then_closed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello"), "http_error", id="a change of protocol nobody asked for"),
    pytest.param(without_end(b"HTTP/1.1 200 OK\r\n", b"X-Bomb: " + b"x" * 1000 + b"\r\n"), "http_error", id="headers without end"),
    pytest.param(without_end(b"HTTP/1.1 200 OK\r\nX-Bomb: ", b"x" * 1000), "http_error", id="a header without end"),
    pytest.param(without_end(b"", b"x" * 1000), "http_error", id="a status line without end"),
    pytest.param(repeats_the_request(b""), "http_error", id="the request itself"),
    pytest.param(repeats_the_request(b"HTTP/1.1 200 OK\r\n: "), "http_error", id="the request as headers"),
    pytest.param(repeats_the_request(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "http_error", id="the request as chunks"),
]  # fmt: skip
SLOW = [
    pytest.param(then_silent(b""), "timeout", id="silent"),
    pytest.param(then_silent(HALF), "timeout", id="half the body, then silent"),
    pytest.param(byte_by_byte(OK), "timeout", id="byte by byte"),
    pytest.param(without_end(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), "timeout", id="102 without end"),
]


def assert_nothing_is_told(came):
    assert CANARY not in came.detail
    assert "60.00" not in came.detail
    assert len(came.detail) <= 300


@pytest.mark.parametrize(("script", "failure"), BROKEN)
def test_once_a_byte_may_have_left_the_outcome_is_unknown(serve, send, script, failure):
    """CASES C2."""
    server = serve(script)
    came = send(f"http://127.0.0.1:{server.port}")
    assert (type(came), came.failure) == (NoAnswer, failure)
    assert len(server.connections) == 1
    assert_nothing_is_told(came)


def test_a_connection_that_is_reset_at_once_is_in_doubt_unless_nothing_was_written(serve, send):
    """Whether the reset comes before the first write is chance; what is reported goes by the write."""
    for _ in range(20):
        server = serve(reset_at_once)
        came = send(f"http://127.0.0.1:{server.port}")
        assert came.failure in {"not_sent", "http_error"}
        assert server.seen == b""


@pytest.mark.parametrize(("script", "failure"), SLOW)
def test_the_time_is_that_of_the_whole_exchange(serve, send, script, failure):
    server = serve(script)
    came = send(f"http://127.0.0.1:{server.port}", timeout_s=1)
    assert came.failure == failure
    assert came.detail.startswith("nothing whole within 1 s")
    assert CANARY.encode() in server.seen
    assert_nothing_is_told(came)


def test_an_answer_after_the_time_is_not_taken(serve, send):
    answered = threading.Event()

    def script(connection):
        connection.read_request()
        connection.until_gone()
        connection.send(OK)
        answered.set()

    assert send(f"http://127.0.0.1:{serve(script).port}", timeout_s=1).failure == "timeout"
    assert answered.wait(20)


def test_a_request_that_is_read_too_slowly_ends_in_time_too(serve, send):
    """It is larger than all buffers on the way, so that it is still being written when the time is over."""
    over = threading.Event()
    server = serve(lambda connection: over.wait(20))
    large = HttpRequest(method="POST", target="/", headers={}, body=b"x" * 30_000_000)
    came = send(f"http://127.0.0.1:{server.port}", large, timeout_s=1)
    over.set()
    assert came.failure == "timeout"


@pytest.mark.parametrize(
    ("script", "far"),
    [
        (then_closed(HALF), "after HTTP 200 and 1 bytes of its body"),
        (then_closed(b"HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nabc"), "after HTTP 502 and 3 bytes of its body"),
        (then_closed(b"HTTP/1.1 502 Bad\r\nContent-Le"), "RemoteProtocolError: Server disconnected without sending a response."),
    ],
)  # fmt: skip
def test_the_words_say_how_far_the_answer_came(serve, send, script, far):
    assert send(f"http://127.0.0.1:{serve(script).port}").detail.endswith(far)


# ---- from everywhere


def test_inside_a_running_event_loop(serve, request_of_a_refund):
    server = serve(OK)
    transport = HttpTransport({"g": Endpoint(base_url=f"http://127.0.0.1:{server.port}")})

    async def inside():
        return transport.send("g", request_of_a_refund, timeout_s=10)

    assert asyncio.run(inside()).status == 200


def test_from_32_threads_at_once(serve, request_of_a_refund):
    """All of them are under way at the same moment: none is answered before the last one is there."""
    everyone = threading.Barrier(32)

    def script(connection):
        connection.read_request()
        everyone.wait(20)
        connection.send(OK)

    server = serve(script)
    transport = HttpTransport({"g": Endpoint(base_url=f"http://127.0.0.1:{server.port}")})
    with ThreadPoolExecutor(32) as pool:
        came = list(pool.map(lambda _: transport.send("g", request_of_a_refund, timeout_s=20), range(32)))
    assert {answer.status for answer in came} == {200}
    assert len(server.connections) == 32


def test_as_32_tasks_at_once(serve, request_of_a_refund):
    everyone = threading.Barrier(32)

    def script(connection):
        connection.read_request()
        everyone.wait(20)
        connection.send(OK)

    transport = HttpTransport({"g": Endpoint(base_url=f"http://127.0.0.1:{serve(script).port}")})

    async def together():
        ways = (transport.asend("g", request_of_a_refund, timeout_s=20) for _ in range(32))
        return await asyncio.gather(*ways)

    assert {type(answer) for answer in asyncio.run(together())} == {Answer}


def test_a_caller_that_gives_up_closes_the_connection(serve, request_of_a_refund):
    there, gone = threading.Event(), threading.Event()

    def script(connection):
        connection.read_request()
        there.set()
        connection.until_gone()
        gone.set()

    transport = HttpTransport({"g": Endpoint(base_url=f"http://127.0.0.1:{serve(script).port}")})

    async def giving_up():
        task = asyncio.create_task(transport.asend("g", request_of_a_refund, timeout_s=20))
        await asyncio.to_thread(there.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks())

    assert asyncio.run(giving_up()) == 1
    assert gone.wait(20)


@pytest.mark.parametrize("script", [then_closed(OK), closed_at_once, then_closed(HALF)])
def test_nothing_is_left_behind(serve, send, script):
    """No socket, no thread and no task: pytest makes the warnings about those errors."""
    server = serve(script)
    before = set(threading.enumerate())
    send(f"http://127.0.0.1:{server.port}")
    left = set(threading.enumerate()) - before - set(server._threads)
    gc.collect()
    assert [thread for thread in left if thread.is_alive() and "asyncio" not in thread.name] == []
