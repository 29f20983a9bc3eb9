"""Serving, the ledger over HTTP, and the settings that point refold at it."""

import json
import logging
import socket
import threading
import tomllib

import httpx
import pytest

from refold.adapters.simulators import Faults, serve, settings_toml, simulators
from refold.engine.domain.money import Money
from refold.engine.errors import InvalidSetting, RefoldError


def got(url, **posted):
    with httpx.Client(trust_env=False, timeout=30) as client:
        answer = client.post(url, **posted) if posted else client.get(url)
    return answer.status_code, answer.json()


def test_a_port_that_is_taken_is_named_with_the_way_out(clock):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(
                InvalidSetting, match=f"127.0.0.1:{port} cannot be used .* choose another"
            ) as raised,
            serve(simulators(["evonet"], clock=clock), port=port),
        ):
            pass
    assert isinstance(raised.value, RefoldError)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("no such host", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_is_not_ours_is_refused(clock, host, port):
    with (
        pytest.raises(InvalidSetting, match="cannot be used"),
        serve(simulators(["evonet"], clock=clock), host, port),
    ):
        pass


def test_two_servers_never_share_a_port(clock):
    one, other = (simulators(["evonet"], clock=clock) for _ in range(2))
    with serve(one) as first, pytest.raises(InvalidSetting), serve(other, port=first.port):
        pass


def test_a_port_is_free_again_when_the_block_ends(clock):
    sims = simulators(["evonet"], clock=clock)
    with serve(sims) as first:
        pass
    with serve(sims, port=first.port) as again:
        assert again.url("evonet") == f"http://127.0.0.1:{first.port}/evonet"


def test_nothing_is_left_when_the_block_ends(clock):
    threads, levels = set(threading.enumerate()), logging.getLogger("uvicorn.error").level
    with serve(simulators(["evonet"], clock=clock)):
        assert threading.enumerate() != list(threads)
    assert set(threading.enumerate()) == threads
    assert logging.getLogger("uvicorn.error").level == levels


def test_an_error_in_the_block_stops_the_server_and_is_raised(clock):
    with pytest.raises(ZeroDivisionError), serve(simulators(["evonet"], clock=clock)):
        raise ZeroDivisionError


def test_ipv6_is_written_in_brackets(clock):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with serve(simulators(["evonet"], clock=clock), host="::1") as running:
        assert running.url("evonet") == f"http://[::1]:{running.port}/evonet"


def test_a_gateway_that_is_not_simulated_has_no_url(clock):
    with (
        serve(simulators(["evonet"], clock=clock)) as running,
        pytest.raises(InvalidSetting, match="evonet are"),
    ):
        running.url("bbmsl")


def test_the_ledger_over_http_is_the_ledger(shop, clock):
    shop.refund("evonet", "r-1")
    shop.poll("evonet", "r-1")
    clock.advance(40)
    status, told = got(f"{shop.running.origin}/_simulator/evonet/ledger")
    assert status == 200
    assert told == {"gateway": "evonet", **json.loads(json.dumps(shop.ledger("evonet").as_json()))}
    assert told["refunds"]["r-1"]["state"] == "success"
    assert told["movements"] == [
        {"payment_id": "P1", "refund_id": "r-1", "amount_minor": 5000, "currency": "HKD", "kind": "refunded"}
    ]
    assert (told["posts"], told["queries"]) == (["r-1"], {"r-1": 1})


def test_a_payment_can_be_captured_over_http(shop):
    document = {"payment_id": "P7", "captured_minor": 4999, "currency": "HKD"}
    assert got(f"{shop.running.origin}/_simulator/evonet/payments", json=document)[0] == 201
    assert shop.ledger("evonet").captured("P7") == Money(4999, "HKD")
    assert shop.refund("evonet", "r-1", 5000, payment="P7").signal == "rejected"


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("evonet/payments", {"payment_id": "P7", "captured_minor": 49.5, "currency": "HKD"}, 400),
        ("evonet/payments", {"payment_id": "P 7", "captured_minor": 49, "currency": "HKD"}, 400),
        ("evonet/payments", {"payment_id": "P7", "captured_minor": 49}, 400),
        ("evonet/payments", [1], 400),
        ("stripe/payments", {}, 404),
        ("stripe/ledger", None, 404),
    ],
)
def test_what_cannot_be_used_is_answered_with_the_reason(shop, path, document, status):
    posted = {} if document is None else {"json": document}
    found, told = got(f"{shop.running.origin}/_simulator/{path}", **posted)
    assert (found, bool(told["error"])) == (status, True)


def test_the_settings_name_urls_accounts_and_keys(shop):
    settings = tomllib.loads(settings_toml(shop.running))["gateways"]
    given = shop.sims.credentials
    assert {name: one["base_url"] for name, one in settings.items()} == {
        name: shop.running.url(name) for name in shop.sims
    }
    for name in ("evocloud", "evonet", "easylink"):
        assert settings[name]["keys"] == [{"id": "simulated", "secret": given[name]["secret"]}]
    assert settings["evocloud"]["sid"] == given["evocloud"]["sid"]
    assert settings["easylink"]["mch_no"] == given["easylink"]["mch_no"]
    assert settings["easylink"]["app_id"] == given["easylink"]["app_id"]
    assert settings["bbmsl"]["merchant_id"] == given["bbmsl"]["merchant_id"]
    assert settings["bbmsl"]["private_key"] == given["bbmsl"]["private_key"]


def test_the_seed_makes_the_keys(clock):
    def secrets(seed):
        made = simulators(["evocloud", "evonet", "easylink"], clock=clock, seed=seed)
        return [gateway.secrets for gateway in made.gateways]

    assert secrets("a") == secrets("a")
    assert not set(secrets("a")) & set(secrets("b"))


def test_no_repr_shows_a_secret(shop):
    shown = repr([shop.sims, *(shop.sims[name] for name in shop.sims), shop.running, Faults.none()])
    assert not [secret for gateway in shop.sims.gateways for secret in gateway.secrets if secret in shown]


def test_the_application_answers_without_any_server(clock):
    """The app is plain ASGI; only faults of the connection need a port."""
    import asyncio

    sims = simulators(["evonet"], clock=clock)

    async def asked():
        transport = httpx.ASGITransport(app=sims["evonet"].app)
        async with httpx.AsyncClient(transport=transport, base_url="http://simulated") as client:
            return await client.get("/refund/r-1")

    assert asyncio.run(asked()).json()["result"]["code"] == "V0001"


def test_speed_divides_every_delay(opened, clock):
    with opened(speed=60) as shop:
        shop.refund("evonet", "r-1")
        clock.advance(1)
        assert shop.poll("evonet", "r-1").signal == "success"


def test_a_simulator_speaks_http_alone(clock):
    import asyncio

    sims = simulators(["evonet"], clock=clock)
    with pytest.raises(RuntimeError, match="speaks HTTP, not websocket"):
        asyncio.run(sims["evonet"].app({"type": "websocket"}, None, None))


def test_a_server_that_cannot_start_says_why(clock, monkeypatch):
    from refold.adapters.simulators import serving

    def broken(_self):
        raise OSError("no listener today")

    monkeypatch.setattr(serving._Door, "listener", broken)
    with pytest.raises(InvalidSetting, match="no listener today"), serve(simulators(["evonet"], clock=clock)):
        pass


def test_simulators_are_a_collection_of_their_names(shop):
    assert (list(shop.sims), len(shop.sims)) == (["evocloud", "evonet", "bbmsl", "easylink"], 4)
