"""Each guard of the receiver, taken away: the same request then gets another answer, so the tests of it can fail.

Beside these, the duplicates of headers and the limits of the body are taken away in test_cases_*.py, the limit on
webhooks under way in test_store_and_load.py, and the last resort against exceptions is planted in test_page.py.
"""

import asyncio
import contextlib

import pytest

from refold.engine.service.webhooks import refusal
from refold.engine.web import Limits, create_app

LONG_HEADER = b"POST /webhooks/evonet HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: %b\r\n\r\n" % (
    b"a" * 65536
)
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def test_without_the_check_of_the_form_another_type_is_taken(app, wire, call, monkeypatch):
    headers, body = wire.webhook()
    wrong = headers | {"content-type": "application/xml"}
    assert call(app, wrong, body).status == 415
    monkeypatch.setattr("refold.engine.web.receiving._check_form", lambda headers: None)
    assert call(app, wrong, body).status == 200


def test_without_the_check_of_the_length_a_shortened_body_is_looked_at(app, call, monkeypatch):
    assert call(app, {"content-length": "6"}, b"12345").status == 400
    monkeypatch.setattr("refold.engine.web.receiving._declared", lambda *_: None)
    assert call(app, {"content-length": "6"}, b"12345").status == 401


def test_without_the_time_limit_a_silent_sender_is_waited_for(engine, exchanging):
    async def asked(body_s):
        app = create_app(engine, limits=Limits(body_s=body_s))
        task = asyncio.create_task(exchanging(app, {}, [b"x"], then="silence"))
        done, _ = await asyncio.wait([task], timeout=0.2)
        if not done:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return bool(done)

    assert (asyncio.run(asked(0.001)), asyncio.run(asked(3600))) == (True, False)


def test_without_the_router_s_setting_the_host_would_be_repeated(app, call):
    request = {"path": "/webhooks/evonet/", "headers": {"host": "evil.example"}}
    assert call(app, **request).status == 404
    app.router.redirect_slashes = True
    assert "evil.example" in call(app, **request).header("location")


def test_without_the_guard_nothing_is_said_about_sniffing(app, call, monkeypatch):
    assert call(app).header("x-content-type-options") == "nosniff"
    monkeypatch.setattr("refold.engine.web.guarding._ALWAYS", ())
    assert call(app).header("x-content-type-options") == ""


def test_without_the_guard_an_exception_reaches_the_server(engine, call, monkeypatch):
    class Nothing:
        def __init__(self, app, **_):
            self._app = app

        async def __call__(self, *given):
            await self._app(*given)

    async def broken(*_):
        raise RuntimeError("planted")

    monkeypatch.setattr("refold.engine.web.receiving.Receiver._reply", broken)
    assert call(create_app(engine)).status == 503
    monkeypatch.setattr("refold.engine.web.app.Guard", Nothing)
    with pytest.raises(RuntimeError, match="planted"):
        call(create_app(engine))


def test_a_refusal_that_says_why_would_be_noticed(app, wire, call, monkeypatch):
    headers, body = wire.webhook()
    forged = [{}, headers | {"authorization": "ab" * 32}, [*headers.items(), ("msgid", "m-2")]]
    assert len({call(app, given, body)[2] for given in forged}) == 1
    monkeypatch.setattr(
        "refold.engine.web.receiving.refusal", lambda status, _: refusal(status, "header twice")
    )
    assert len({call(app, given, body)[2] for given in forged}) == 2


def test_a_gateway_named_by_a_stranger_would_be_noticed_as_a_label(app, call, metrics, monkeypatch):
    call(app, path="/webhooks/canary")
    assert b"canary" not in metrics.page()
    monkeypatch.setattr(metrics, "_gateway", lambda name: name)
    call(app, path="/webhooks/canary")
    assert b"canary" in metrics.page()


# ---- the server's own


def test_without_the_limit_a_header_of_64_kib_is_read(served, app):
    assert b" 400 " in served(app).send(LONG_HEADER)
    assert b" 401 " in served(app, options={"h11_max_incomplete_event_size": 1 << 20}).send(LONG_HEADER)


def test_without_the_small_parts_a_header_that_comes_at_once_passes_the_limit(app):
    """h11 alone does not refuse it, which is why the protocol feeds it slowly."""
    import h11

    whole = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
    whole.receive_data(LONG_HEADER)
    assert isinstance(whole.next_event(), h11.Request)


def test_with_room_for_a_second_connection_it_is_answered(served, app):
    server = served(app, connections_most=2)
    with server.connect() as first:
        first.sendall(HEALTH.replace(b"connection: close\r\n", b""))
        assert first.recv(65536)
        assert b" 200 " in server.send(HEALTH)
