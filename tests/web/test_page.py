"""docs/receiver.md is true: its code runs, its metrics exist, and only its statuses ever come back, whatever is sent."""

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refold.engine.web import Limits, Metrics, create_app

PAGE = (Path(__file__).parents[2] / "docs" / "receiver.md").read_text()


def rows(heading, width):
    """Return the cells of the first table under a heading."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    table = re.search(r"(^\|.*\n)+", section, re.MULTILINE).group().splitlines()[2:]
    return [tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))[:width] for line in table]


ROUTES = {
    (method, path): set(map(int, statuses.split(", ")))
    for methods, path, statuses in rows("Routes", 3)
    for method in methods.split(", ")
}
PATHS = {path for _, path in ROUTES}


def documented(method, path):
    """Return the statuses that the page allows for a request."""
    matching = [route for route in PATHS if re.fullmatch(re.sub(r"\{.*\}", "[^/]+", route), path, re.DOTALL)]
    if not matching:
        return {404}
    return ROUTES.get((method, matching[0]), {405})


def test_the_page_documents_every_route_of_the_application_and_no_other(app):
    found = {(method, route.path) for route in app.routes for method in route.methods}
    assert found == set(ROUTES)


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, "docs/receiver.md", "exec"), names)  # noqa: S102 - the page's own code
    names["engine"].close()


def test_the_limits_of_the_page_are_the_defaults():
    told = {name: float(value.replace(",", "")) for name, value in rows("Limits", 2)}
    assert told == {name: getattr(Limits(), name) for name in Limits.__dataclass_fields__}


def test_the_metrics_of_the_page_are_those_there_are(app, metrics, wire, call):
    call(app, *wire.webhook())
    metrics.contact("poll", "evonet", "answered")
    shown = re.findall(
        r"^# TYPE (\w+) (?!gauge$)|^# TYPE (\w+) gauge$", metrics.page().decode(), re.MULTILINE
    )
    names = {counter or gauge for counter, gauge in shown}
    assert {name for name, *_ in rows("Metrics", 1)} == {n for n in names if not n.endswith("_created")}


# ---- only documented statuses

TARGETS = [
    path.replace("{gateway}", name) for path in PATHS for name in ("evonet", "easylink", "bbmsl", "x", "é%00")
]
PATH = st.one_of(
    st.sampled_from(TARGETS),
    st.sampled_from(TARGETS).map(lambda path: path + "/"),
    st.text(max_size=20).map("/webhooks/".__add__),
    st.text(max_size=20),
)
METHOD = st.sampled_from(
    ["POST"] * 5 + ["GET", "HEAD", "PUT", "TRACE", "CONNECT", "OPTIONS", "post", "", "\u0130"]
)
NAMES = [b"authorization", b"datetime", b"msgid", b"signtype", b"content-type", b"content-length", b"expect"]
NAMES += [
    b"content-encoding",
    b"transfer-encoding",
    b"host",
    b"Content-Type",
    b"cookie",
    b"x-forwarded-for",
    b"",
]
VALUES = [
    b"",
    b"application/json",
    b"identity",
    b"gzip",
    b"chunked",
    b"5",
    b"SHA256",
    b"HMAC-SHA512",
    b"ab" * 32,
]
VALUES += [
    b"2026-11-21T12:00:00+00:00",
    b"9999-99-99",
    b"m-1",
    b"\xff\x00",
    b"a" * 4097,
    b"9" * 5000,
    b"text/x;;=",
]
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(NAMES) | st.binary(max_size=10), st.sampled_from(VALUES) | st.binary(max_size=30)
    ),
    max_size=8,
)
PARTS = st.lists(st.binary(max_size=50) | st.sampled_from([b"{}", b"[" * 3000, b"x" * 200_000]), max_size=4)
SIGNED = st.booleans()
THEN = st.sampled_from([None, None, None, "disconnect", "silence"])
ANY_REQUEST = st.fixed_dictionaries(
    {"method": METHOD, "path": PATH, "headers": HEADERS, "parts": PARTS, "then": THEN, "signed": SIGNED}
    | {
        "query_string": st.binary(max_size=20),
        "root_path": st.sampled_from(["", "/webhooks", "/", "/x", "é"]),
    }
    | {"http_version": st.sampled_from(["1.0", "1.1", "2", "3"])}
)
WEBHOOK = {"method": "POST", "path": "/webhooks/evonet", "root_path": ""}
REQUEST = st.one_of(ANY_REQUEST, *[ANY_REQUEST.map(lambda drawn: drawn | WEBHOOK)] * 3)


async def sent(exchanging, app, wire, request):
    """Send a drawn request, its body signed where that was drawn too."""
    request = dict(request)
    headers, parts = request.pop("headers"), request.pop("parts")
    if request.pop("signed"):
        signed, body = wire.evo(b"".join(parts))
        headers, parts = [*signed.items(), *headers], [body]
    return await exchanging(app, headers, parts, **request)


@pytest.fixture
def patient(engine):
    """An application that hardly waits: what is silent is soon too slow."""
    return create_app(engine, limits=Limits(body_s=0.03))


FUZZ = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def test_no_request_is_answered_with_a_status_that_is_not_documented(patient, exchanging, wire, logs):
    seen = set()

    @FUZZ
    @given(request=REQUEST)
    def try_one(request):
        answer = asyncio.run(sent(exchanging, patient, wire, request))
        path = request["path"]
        root = request["root_path"]
        if root and path.startswith(root):  # what a mount has taken away
            rest = path[len(root) :]
            path = rest if not rest or rest.startswith("/") else path
        assert answer.status in documented(request["method"], path) - {503}, (request, answer)
        assert (answer.header("x-content-type-options"), answer.header("cache-control")) == (
            "nosniff",
            "no-store",
        )
        seen.add(answer.status)

    try_one()
    assert seen >= {200, 401, 404, 405, 408, 413, 415}  # the requests drawn reach what they should
    assert [entry for entry in logs if entry["event"] in {"request.failed", "webhook.failed"}] == []


def test_no_request_to_a_store_that_fails_is_answered_otherwise(engine, patient, exchanging, wire):
    engine.close()

    @FUZZ
    @given(request=REQUEST)
    def try_one(request):
        answer = asyncio.run(sent(exchanging, patient, wire, request))
        assert answer.status < 500 or (answer.status, answer.header("retry-after")) == (503, "5")

    try_one()


def test_a_status_that_is_not_documented_would_be_noticed(engine, exchanging, monkeypatch, logs):
    """The planted fault: a receiver that raises is answered 503, which a store that works never is."""

    async def broken(*_):
        raise RuntimeError("planted")

    monkeypatch.setattr("refold.engine.web.receiving.Receiver._reply", broken)
    answer = asyncio.run(exchanging(create_app(engine, metrics=Metrics()), [], [b""]))
    assert answer.status == 503
    assert answer.status not in documented("POST", "/webhooks/evonet") - {503}
    assert [entry["event"] for entry in logs][-2:] == ["request.failed", "request.answered"]
    assert "planted" not in repr(logs)


def test_a_scope_that_is_no_request_is_no_error(app):
    async def other():
        closed = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            closed.append(message["type"])

        scope = {"type": "websocket", "path": "/webhooks/evonet", "headers": [], "root_path": ""}
        await app(scope, receive, send)
        return closed

    assert asyncio.run(other()) == ["websocket.close"]


@pytest.mark.parametrize("fault", ["the client is gone", "and the receiver raises too"])
def test_an_answer_that_cannot_be_sent_is_no_exception(app, logs, monkeypatch, fault):
    async def broken(*_):
        raise RuntimeError("secret words")

    if "receiver" in fault:
        monkeypatch.setattr("refold.engine.web.receiving.Receiver._reply", broken)

    async def gone():
        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_):
            raise OSError("secret words")

        scope = {"type": "http", "method": "POST", "path": "/webhooks/evonet", "headers": [], "root_path": ""}
        await app(scope, receive, send)

    asyncio.run(gone())
    assert [entry["event"] for entry in logs if entry["level"] == "error"] == ["request.failed"]
    assert "secret words" not in repr(logs)
