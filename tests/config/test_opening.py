"""Settings become adapters, endpoints and engines."""

import inspect
from datetime import UTC, datetime

import pytest

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet
from refold.adapters.signing import signing_key
from refold.engine import open_configured
from refold.engine.composition import configured_endpoints, configured_gateways
from refold.engine.configuration import read_settings
from refold.engine.errors import InvalidSetting
from refold.engine.settings import Gateways, Settings, WebhookSettings
from refold.engine.web import Limits

ADAPTERS = {"evocloud": Evocloud, "evonet": Evonet, "easylink": Easylink, "bbmsl": Bbmsl}
AT = datetime(2026, 6, 1, tzinfo=UTC)


def adapters(settings, environ=None, warn=print):
    return {gateway.name: gateway for gateway in configured_gateways(settings, environ or {}, warn=warn)}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_argument_of_an_adapter_can_be_configured_and_has_its_default(name):
    section = Gateways.model_fields[name].annotation
    arguments = inspect.signature(ADAPTERS[name]).parameters
    others = {"keys", "capabilities", "private_key_pem"}
    assert set(section.ADAPTER) == set(arguments) - others
    for argument in section.ADAPTER:
        assert (section.model_fields[argument].default or "") == (arguments[argument].default or "")


def test_the_limits_of_webhooks_are_those_that_exist_with_their_defaults():
    assert {name: WebhookSettings.model_fields[name].default for name in WebhookSettings.LIMITS} == {
        name: getattr(Limits(), name) for name in Limits.__slots__
    }


def test_without_a_section_a_gateway_has_no_key_and_no_address():
    assert configured_endpoints(Settings()) == {}
    for name, gateway in adapters(Settings()).items():
        assert gateway.secrets == ()
        assert gateway.capabilities == ADAPTERS[name].capabilities


def test_arguments_times_and_the_address_reach_adapter_and_endpoint(read):
    settings = read(
        '[gateways.evocloud]\nbase_url = "https://x.example"\nnotify_url = "https://shop.example/h"\n'
        'proxy = "http://u:p@proxy.example"\nca_file = "ca.pem"\nconnect_timeout_s = 3\nsid = "S1"\n'
        "post_timeout_s = 50\npoll_interval_s = 60\noutcome_window_s = 600\nkey_retention_s = 900\n"
    )
    gateway, endpoint = adapters(settings)["evocloud"], configured_endpoints(settings)["evocloud"]
    assert gateway._sid == "S1"
    found = gateway.capabilities
    times = (found.post_timeout_s, found.poll_interval_s, found.outcome_window_s, found.key_retention_s)
    assert times == (50, 60, 600, 900)
    assert found.absence == Evocloud.capabilities.absence
    assert (endpoint.base_url, endpoint.notify_url) == ("https://x.example", "https://shop.example/h")
    assert endpoint.proxy == "http://u:p@proxy.example"
    assert (endpoint.ca_file, endpoint.connect_timeout_s) == ("ca.pem", 3)


@pytest.mark.parametrize(
    ("gateway", "url", "timeout_s", "accepted"),
    [
        ("evonet", "https://x.example", 44, False),
        ("evonet", "https://x.example", 45, True),
        ("evocloud", "https://x.example", 44, False),
        ("evocloud", "https://x.example", 45, True),
        ("evonet", "http://127.0.0.1:1", 1, True),
        ("evonet", "https://localhost", 1, True),
        ("evonet", "https://127.0.0.1.x.example", 44, False),
        ("evonet", "https://[", 44, False),
        ("easylink", "https://x.example", 5, True),
    ],
)
def test_less_patience_than_documented_is_for_loopback_only(read, gateway, url, timeout_s, accepted):
    settings = read(f'[gateways.{gateway}]\nbase_url = "{url}"\npost_timeout_s = {timeout_s}\n')
    if accepted:
        assert adapters(settings)[gateway].capabilities.post_timeout_s == timeout_s
        return
    with pytest.raises(InvalidSetting) as caught:
        adapters(settings)
    assert caught.value.name == f"gateways.{gateway}.post_timeout_s"
    assert "write 45 or more" in str(caught.value)


def test_less_patience_without_an_address_is_refused_too(read):
    with pytest.raises(InvalidSetting):
        adapters(read("[gateways.evonet]\npost_timeout_s = 10\n"))


ROTATED = """[gateways.evonet]
keys = [
  { id = "gone", secret_env = "A", expires_at = 2026-01-01T00:00:00Z },
  { id = "new", secret_env = "B" },
  { id = "old", secret = "c", expires_at = 2026-12-31T00:00:00Z },
]
"""


def test_the_first_key_that_has_not_expired_signs(read):
    gateway = adapters(read(ROTATED), {"A": "a", "B": "b"})["evonet"]
    keys = gateway._signature.keys
    assert gateway.secrets == ("a", "b", "c")
    assert signing_key(keys, AT).key_id == "new"
    assert [key.key_id for key in keys if key.usable(AT)] == ["new", "old"]


def test_a_variable_with_the_one_key_stands_above_all_keys_of_the_file(read):
    environ = {"A": "a", "B": "b", "REFOLD_EVONET_KEY": "from-outside"}
    assert adapters(read(ROTATED), environ)["evonet"].secrets == ("from-outside",)


def test_two_variables_that_each_hold_the_keys_are_refused(read):
    environ = {"REFOLD_EVONET_KEY": "k", "REFOLD_GATEWAYS__EVONET__KEYS": '[{"id": "a", "secret": "s"}]'}
    settings = read_settings(None, environ)
    with pytest.raises(InvalidSetting, match="set one of the two"):
        adapters(settings, environ)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o644, 1)])
def test_a_key_file_is_read_and_one_that_everybody_can_read_is_a_warning(read, write, mode, warned):
    path, warnings = write("k-1\n", mode=mode, name="key"), []
    settings = read(f'[gateways.easylink]\nkeys = [{{ id = "a", secret_file = "{path}" }}]')
    assert adapters(settings, warn=warnings.append)["easylink"].secrets == ("k-1",)
    assert len(warnings) == warned


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[gateways.evonet]\nbase_url = "http://x.example"', "gateways.evonet.base_url"),
        ('[gateways.evonet]\nbase_url = "ftp://x.example"', "gateways.evonet.base_url"),
        ('[gateways.evonet]\nbase_url = "https://x"\nnotify_url = "x"', "gateways.evonet.notify_url"),
        ('[gateways.evonet]\nbase_url = "https://x"\nproxy = "socks:x"', "gateways.evonet.proxy"),
        ('[gateways.evonet]\nbase_path = "x"', "gateways.evonet.base_path"),
        ('[gateways.evonet]\nquery_path = "x"', "gateways.evonet.query_path"),
        ("[gateways.evonet]\naccepted_sign_types = []", "gateways.evonet.accepted_sign_types"),
        ('[gateways.bbmsl]\ncurrency = "HKDX"', "gateways.bbmsl.currency"),
    ],
)
def test_what_an_adapter_or_an_endpoint_refuses_is_named_by_its_key(read, text, name):
    settings = read(text)
    with pytest.raises(InvalidSetting) as caught:
        (configured_endpoints(settings), adapters(settings))
    assert caught.value.name == name


# ---- engines


def test_an_engine_opens_as_the_file_of_the_folder_says(write, tmp_path):
    write('[store]\nurl = "sqlite:///mine.db"\ndurability = "relaxed"\n')
    with open_configured() as engine:
        assert engine.store.describe()["durability"] == "relaxed"
    assert (tmp_path / "mine.db").exists()


def test_an_engine_opens_from_a_path_from_settings_and_at_another_store(write, tmp_path):
    path = write('[store]\nurl = "sqlite:///one.db"', name="other.toml")
    open_configured(path, environ={}).close()
    open_configured(read_settings(path, {}), environ={}, url="sqlite:///two.db").close()
    assert {file.name for file in tmp_path.glob("*.db")} == {"one.db", "two.db"}


def test_the_environment_of_the_process_counts_where_none_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv("REFOLD_DB", "from-outside.db")
    open_configured().close()
    assert (tmp_path / "from-outside.db").exists()


def test_a_configured_address_is_a_way_to_the_gateway(write):
    config = write('[store]\nurl = "memory:"\n[gateways.evonet]\nbase_url = "http://127.0.0.1:1"\n')
    with open_configured(config, environ={}) as engine:
        assert engine._transport.reaches("evonet")
        assert not engine._transport.reaches("easylink")
    with open_configured(config, environ={}, sends=False) as engine:
        assert not engine._transport.reaches("evonet")


def test_options_reach_the_engine(write):
    moments = []

    def clock():
        moments.append(AT)
        return AT

    from refold.engine import Money

    with open_configured(write('[store]\nurl = "memory:"'), environ={}, clock=clock) as engine:
        engine.request(gateway="evonet", payment_id="p", refund_id="r", amount=Money(1, "HKD"))
        assert engine.refund("r").requested_at == AT
    assert moments


def test_a_file_that_is_missing_is_no_matter_of_an_option():
    with pytest.raises(InvalidSetting) as caught:
        open_configured("nope.toml", environ={})
    assert caught.value.name == "settings"
