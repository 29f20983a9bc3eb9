"""The examples of docs/examples run inside their frameworks, and a signed webhook moves a refund there."""

import asyncio
import contextlib
import importlib.util
import sys
from pathlib import Path

import httpx
import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NAMES = ["fastapi_app", "starlette_app", "django_app", "flask_app"]


class Client:
    """Calls an application of either kind as a service would be called."""

    def __init__(self, app):
        self._app = app

    def __call__(self, method, path, **given):
        if self._app.__class__.__module__.startswith("flask"):
            with httpx.Client(
                transport=httpx.WSGITransport(self._app), base_url="http://your.example"
            ) as client:
                return client.request(method, path, **given)
        return asyncio.run(self._called(method, path, given))

    async def _called(self, method, path, given):
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://your.example") as client:
            return await client.request(method, path, **given)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Import each example once, as Django can be set up once only."""
    with contextlib.ExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        modules = {}

        def load(name, clock):
            if name not in modules:
                folder = tmp_path_factory.mktemp(name)
                patched.setenv("REFUNDS_DB", f"sqlite:///{folder}/refunds.db")
                patched.setenv("EVONET_KEY", "evonet-0123456789abcdef")
                patched.setattr("refold.engine.composition.system_clock", clock)
                spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
                patched.setitem(sys.modules, name, importlib.util.module_from_spec(spec))
                spec.loader.exec_module(sys.modules[name])
                modules[name] = stack.enter_context(sys.modules[name].engine) and sys.modules[name]
            return modules[name]

        yield load


@pytest.fixture(params=NAMES)
def example(request, loaded, clock):
    return loaded(request.param, clock)


def test_every_example_is_run_and_named_on_the_page():
    files = sorted(file.stem for file in EXAMPLES.glob("*.py"))
    assert files == sorted(NAMES)
    page = (EXAMPLES.parent / "receiver.md").read_text()
    assert [name for name in files if f"(examples/{name}.py)" not in page] == []


def test_a_signed_webhook_moves_the_refund(example, wire):
    client = Client(example.app)
    asked = client("POST", "/payments/p-1/refunds/r-1?minor=6000&currency=HKD")
    assert (asked.status_code, asked.json()["state"]) == (200, "created")
    headers, body = wire.webhook()
    for _ in range(2):
        answer = client("POST", "/refunds/webhooks/evonet", headers=headers, content=body)
        assert (answer.status_code, answer.content) == (200, b"SUCCESS")
    assert client("GET", "/state/r-1").json()["state"] == "success"


def test_a_forged_one_is_401_and_an_unknown_gateway_404(example, wire):
    client = Client(example.app)
    headers, body = wire.webhook(secret="wrong", refund_id="r-2")
    answer = client("POST", "/refunds/webhooks/evonet", headers=headers, content=body)
    assert (answer.status_code, answer.json()) == (401, {"status": "unauthentic"})
    assert client("POST", "/refunds/webhooks/paypal").status_code == 404


def test_a_body_above_the_limit_is_413(example):
    client = Client(example.app)
    assert client("POST", "/refunds/webhooks/evonet", content=b"x" * 262_145).status_code == 413


@pytest.mark.parametrize("name", ["fastapi_app", "starlette_app"])
def test_the_lifespan_of_an_example_closes_its_engine(name, loaded, clock, monkeypatch):
    example, closed = loaded(name, clock), []
    monkeypatch.setattr(example.engine, "close", lambda: closed.append(True))

    async def once():
        async with example.lifespan(example.app):
            assert closed == []

    asyncio.run(once())
    assert closed == [True]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "flask_app"])
def test_the_receiver_keeps_its_paths_under_a_mount(name, loaded, clock):
    client = Client(loaded(name, clock).app)
    assert client("GET", "/refunds/healthz").json() == {"status": "alive"}
    assert client("GET", "/refunds/readyz").json() == {"status": "ready"}
    assert "refold_store_up 1.0" in client("GET", "/refunds/metrics").text
