"""What refold.toml and the environment may say, which of them counts, and what is wrong with what they say."""

from datetime import UTC, datetime

import pytest

from refold.engine.configuration import find_file, read_settings, variable_of
from refold.engine.errors import InvalidSetting
from refold.engine.settings import Gateways, Settings

CANARY = "canary-Zx81"


def toml(value):
    """Return a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + "}"
    return repr(value)


def as_file(dotted, value):
    """Return a file that holds one key; a gateway's has an address, too."""
    table, _, key = dotted.rpartition(".")
    address = '\nbase_url = "https://x.example"' if "gateways" in table and key != "base_url" else ""
    return f"[{table}]{address}\n{key} = {toml(value)}\n"


def of(settings, dotted):
    for part in dotted.split("."):
        settings = getattr(settings, part)
    return settings.get_secret_value() if hasattr(settings, "get_secret_value") else settings


RIGHT = {
    "store.url": "sqlite:///x.db",
    "store.durability": "relaxed",
    "store.timeout_s": 2.5,
    "store.sqlite_repaired": True,
    "work.concurrency": 3,
    "webhooks.host": "127.0.0.2",
    "webhooks.port": 0,
    "webhooks.behind_tls_proxy": True,
    "webhooks.body_bytes": 1024,
    "webhooks.body_s": 1.5,
    "webhooks.in_flight": 4,
    "webhooks.threads": 2,
    "webhooks.answer_s": 3.0,
    "webhooks.probe_s": 1.0,
    "gateways.*.base_url": "https://y.example",
    "gateways.*.notify_url": "https://shop.example/hook",
    "gateways.*.proxy": "http://u:p@proxy.example:3128",
    "gateways.*.ca_file": "/etc/ca.pem",
    "gateways.*.connect_timeout_s": 3,
    "gateways.*.post_timeout_s": 60,
    "gateways.*.poll_interval_s": 90,
    "gateways.*.outcome_window_s": 7200,
    "gateways.*.key_retention_s": 3600,
    "gateways.evocloud.keys": [{"id": "a", "secret_env": "A"}],
    "gateways.evocloud.sign_type": "Key-based",
    "gateways.evocloud.accepted_sign_types": ["SHA512"],
    "gateways.evocloud.send_key_id": True,
    "gateways.evocloud.base_path": "/v1",
    "gateways.evocloud.sid": "S024116",
    "gateways.evonet.keys": [{"id": "a", "secret_file": "/run/a"}],
    "gateways.evonet.sign_type": "HMAC-SHA512",
    "gateways.evonet.accepted_sign_types": ["SHA256", "SHA512"],
    "gateways.evonet.send_key_id": True,
    "gateways.evonet.base_path": "",
    "gateways.evonet.query_path": "/q/{merchantTransID}",
    "gateways.easylink.keys": [{"id": "a", "secret": "s"}],
    "gateways.easylink.mch_no": "M1",
    "gateways.easylink.app_id": "A1",
    "gateways.easylink.payment_reference": "mchOrderNo",
    "gateways.bbmsl.merchant_id": "10001",
    "gateways.bbmsl.reference": "orderId",
    "gateways.bbmsl.currency": "USD",
    "gateways.bbmsl.private_key": "pem",
    "gateways.bbmsl.private_key_file": "/run/pem",
    "gateways.bbmsl.private_key_env": "PEM",
}
ANOTHER_WORD = {
    "relaxed": "full",
    "Key-based": "SHA256",
    "HMAC-SHA512": "SHA256",
    "mchOrderNo": "payOrderId",
    "orderId": "merchantReference",
    "": "/v2",
}


def another(value):
    """Return another right value of the same key."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return ANOTHER_WORD.get(value, f"{value}x")
    return value + 1


LISTS = {"keys", "accepted_sign_types"}
EACH = [
    (name.replace("*", gateway), value)
    for name, value in RIGHT.items()
    for gateway in (Gateways.model_fields if "*" in name else [""])
]


def test_every_key_is_among_those_tried(model_keys):
    assert sorted(RIGHT) == sorted(key.name for key in model_keys)


def test_without_file_and_variables_there_are_the_defaults():
    assert read_settings(None, {}) == Settings()


@pytest.mark.parametrize(("name", "value"), EACH)
def test_a_key_of_the_file_is_taken(read, name, value):
    found = of(read(as_file(name, value)), name)
    if not name.endswith("keys"):
        assert found == (tuple(value) if isinstance(value, list) else value)
    else:
        assert [key.id for key in found] == ["a"]


@pytest.mark.parametrize(("name", "value"), [row for row in EACH if row[0].split(".")[-1] not in LISTS])
def test_a_variable_stands_above_the_file(read, name, value):
    other = another(value)
    environ = {variable_of(tuple(name.split("."))): str(other)}
    text = as_file(name, value)
    assert str(of(read(text, environ), name)).lower() == str(other).lower()
    address = {} if "gateways" not in name else {variable_of((*name.split(".")[:2], "base_url")): "https://z"}
    alone = read("", address | environ)
    assert str(of(alone, name)).lower() == str(other).lower()


def test_a_list_stands_in_a_variable_as_json(read):
    environ = {
        "REFOLD_GATEWAYS__EVONET__KEYS": '[{"id": "b", "secret": "s", "expires_at": "2026-12-31T00:00:00Z"}]',
        "REFOLD_GATEWAYS__EVONET__ACCEPTED_SIGN_TYPES": '["SHA512"]',
    }
    evonet = read(as_file("gateways.evonet.keys", [{"id": "a", "secret_env": "A"}]), environ).gateways.evonet
    assert [(key.id, key.expires_at) for key in evonet.keys] == [("b", datetime(2026, 12, 31, tzinfo=UTC))]
    assert evonet.accepted_sign_types == ("SHA512",)


def test_refold_db_stands_above_the_variable_of_the_key(read):
    environ = {"REFOLD_DB": "a b.db", "REFOLD_STORE__URL": "sqlite:///c.db"}
    assert of(read('[store]\nurl = "sqlite:///d.db"', environ), "store.url") == "sqlite:///a%20b.db"
    del environ["REFOLD_DB"]
    assert of(read('[store]\nurl = "sqlite:///d.db"', environ), "store.url") == "sqlite:///c.db"
    assert of(read('[store]\nurl = "sqlite:///d.db"', {"REFOLD_DB": ""}), "store.url") == "sqlite:///d.db"


# ---- what is wrong

WRONG = [-1, f"\\u0000{CANARY}", [CANARY], {CANARY: CANARY}, datetime(2026, 1, 1, tzinfo=UTC)]


def could_be_a_secret(name, value):
    """Tell whether it is left to the store, the endpoint or the adapter to refuse a text."""
    return isinstance(value, str) and name.rpartition(".")[2] in {"private_key", "proxy", "url"}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, _ in EACH for value in WRONG if not could_be_a_secret(name, value)],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name_and_not_shown(read, name, value):
    with pytest.raises(InvalidSetting) as caught:
        read(as_file(name, value))
    assert str(caught.value).startswith(name)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", [name for name, value in EACH if type(value) is not bool])
def test_true_is_no_number_and_no_text(read, name):
    with pytest.raises(InvalidSetting) as caught:
        read(as_file(name, True))
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize("name", [name for name, value in EACH if type(value) in {int, float, bool}])
def test_a_number_in_quotes_is_no_number_in_the_file(read, name):
    with pytest.raises(InvalidSetting):
        read(as_file(name, "true" if name.endswith(("_id", "_proxy")) else "5"))


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("[stores]\n", "stores", "there are store, work, webhooks, gateways"),
        ('[store]\nuri = "x"', "store.uri", "there are url, durability, timeout_s"),
        ("[gateways.stripe]\n", "gateways.stripe", "there are evocloud, evonet, easylink, bbmsl"),
        ('[gateways.evonet]\nsid = "x"', "gateways.evonet.sid", "no such key"),
        ("[gateways.bbmsl]\nkeys = []", "gateways.bbmsl.keys", "no such key"),
        ('[gateways.evonet]\nkeys = [{id = "a"}]', "gateways.evonet.keys[0]", "exactly one of secret_file"),
        ('[gateways.evonet]\nkeys = [{secret_env = "A"}]', "gateways.evonet.keys[0].id", "needed"),
        (
            '[gateways.evonet]\nkeys = [{id = "a", secret_env = "A", secret_file = "b"}]',
            "gateways.evonet.keys[0]",
            "exactly one of",
        ),
        (
            '[gateways.evonet]\nkeys = [{id = "a", secret_env = "A"}, {id = "a", secret_env = "B"}]',
            "gateways.evonet",
            "one key id stands twice",
        ),
        (
            '[gateways.evonet]\nkeys = [{id = "a", secret_env = "A", expires_at = 2026-12-31}]',
            "gateways.evonet.keys[0].expires_at",
            "with an offset",
        ),
        (
            '[gateways.bbmsl]\nprivate_key_env = "A"\nprivate_key_file = "b"',
            "gateways.bbmsl",
            "only one of private_key_file",
        ),
        ('[gateways.evonet]\nnotify_url = "https://x"', "gateways.evonet", "notify_url without base_url"),
        ('[gateways.evonet]\nbase_url = "https://u:p@x"', "gateways.evonet.base_url", "without user and password"),
        ("[work]\nconcurrency = 257", "work.concurrency", "from 1 to 256"),
        ("[work]\nconcurrency = 0", "work.concurrency", "from 1 to 256"),
        ("[webhooks]\nport = 65536", "webhooks.port", "from 0 to 65535"),
        ("[webhooks]\nbody_s = nan", "webhooks.body_s", "a number from"),
        ("work = 3", "work", "a table is needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_way_out(read, text, name, words):
    with pytest.raises(InvalidSetting) as caught:
        read(text)
    assert caught.value.name == name
    assert words in str(caught.value)


def test_several_mistakes_are_counted(read):
    with pytest.raises(InvalidSetting, match=r"\(and 2 more\)"):
        read("[work]\nconcurrency = 0\nspeed = 1\n[webhooks]\nport = -1")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"REFOLD_WORK__CONCURRENCY": CANARY}, "work.concurrency (REFOLD_WORK__CONCURRENCY): a whole number"),
        (
            {"REFOLD_WORK__CONCURENCY": CANARY},
            "work.concurency (REFOLD_WORK__CONCURENCY): there is no such key",
        ),
        ({"REFOLD_WROK__CONCURRENCY": CANARY}, "wrok: there is no such key"),
        ({"REFOLD_Work__concurrency": CANARY}, "REFOLD_Work__concurrency: the names of variables"),
        ({"REFOLD_WORK": CANARY}, "REFOLD_WORK: it names a table"),
        ({"REFOLD_GATEWAYS__EVONET__KEYS": CANARY}, "keys (REFOLD_GATEWAYS__EVONET__KEYS): a JSON array"),
        ({"REFOLD_GATEWAYS__EVONET__KEYS": f'["{CANARY}"]'}, "keys[0] (REFOLD_GATEWAYS__EVONET__KEYS)"),
        ({"REFOLD_GATEWAYS__EVONET": CANARY, "REFOLD_GATEWAYS__EVONET__KEYS": "[]"}, "given as a value"),
        ({"REFOLD_WEBHOOKS__BEHIND_TLS_PROXY": "yes"}, "true or false is needed"),
        ({"REFOLD_DB": " "}, "REFOLD_DB: it is blank"),
    ],
)
def test_a_wrong_variable_is_named_and_not_shown(environ, words):
    with pytest.raises(InvalidSetting) as caught:
        read_settings(None, environ)
    assert words in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"[store]\nurl = {CANARY}", "no TOML (line 2, column"),
        (f"[store]\n{CANARY} = 1\n{CANARY} = 2", "no TOML"),
        (b"url = \xff\xfe", "no TOML in UTF-8"),
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("#" * (1024 * 1024 + 1), "above 1048576 bytes"),
    ],
    ids=["value", "twice", "bytes", "deep", "long"],
)
def test_a_file_that_is_no_toml_is_refused_and_not_shown(read, content, words):
    with pytest.raises(InvalidSetting) as caught:
        read(content)
    assert words in str(caught.value)
    assert CANARY not in str(caught.value)


# ---- which file


def test_the_file_is_the_given_one_else_that_of_the_variable_else_the_one_of_the_folder(write):
    assert find_file(None, {}) is None
    write("")
    assert find_file(None, {}).name == "refold.toml"
    other, third = write("", name="other.toml"), write("", name="third.toml")
    assert find_file(None, {"REFOLD_CONFIG": ""}).name == "refold.toml"
    assert find_file(None, {"REFOLD_CONFIG": str(other)}) == other
    assert find_file(third, {"REFOLD_CONFIG": str(other)}) == third


@pytest.mark.parametrize(
    ("given", "environ", "name"),
    [
        ("no.toml", {}, "--config"),
        (None, {"REFOLD_CONFIG": "no.toml"}, "REFOLD_CONFIG"),
        (".", {}, "--config"),
    ],
)
def test_a_file_that_was_named_must_be_there(write, given, environ, name):
    write("")
    with pytest.raises(InvalidSetting) as caught:
        find_file(given, environ)
    assert caught.value.name == name


def test_a_file_that_cannot_be_read_is_refused(write, monkeypatch):
    path = write("")

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    with pytest.raises(InvalidSetting, match="it cannot be read: Permission denied"):
        read_settings(path, {})
