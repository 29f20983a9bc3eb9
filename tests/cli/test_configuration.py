"""The configuration at the command line: which file counts, wrong ones, `refold serve`, and what doctor says of it."""

import json
import os
import traceback
from datetime import UTC, datetime

import pytest

from refold.engine.cli import app, checking
from refold.engine.cli.app import EXIT_CODES, exit_code
from refold.engine.errors import InvalidSetting

SECRET = "canary-Zx81/+="
PASSWORD = "proxy-canary-pass"
READING = [
    ("list",),
    ("show", "r-1"),
    ("history", "r-1"),
    ("attention",),
    ("replay",),
    ("work",),
    ("submit", "r-1"),
]


@pytest.fixture
def toml(tmp_path):
    def written(text, mode=0o600, name="refold.toml"):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    return written


def said(told):
    return " ".join(told.out.split())


# ---- which one counts


def test_the_store_is_the_options_else_the_variables_else_the_files_else_the_default(
    run, toml, easylink, tmp_path
):
    toml('[store]\nurl = "sqlite:///from-file.db"')
    other = toml('[store]\nurl = "sqlite:///from-other.db"', name="other.toml")
    ways = [
        ((), {}, "from-file.db"),
        ((), {"REFOLD_STORE__URL": "sqlite:///from-key.db"}, "from-key.db"),
        ((), {"REFOLD_DB": "from-variable.db", "REFOLD_STORE__URL": "memory:"}, "from-variable.db"),
        (("--db", "from-option.db"), {"REFOLD_DB": "from-variable.db"}, "from-option.db"),
        (("--config", other), {}, "from-other.db"),
        ((), {"REFOLD_CONFIG": other}, "from-other.db"),
        (("--config", other), {"REFOLD_CONFIG": "nowhere.toml"}, "from-other.db"),
    ]
    for options, environ, expected in ways:
        for file in tmp_path.glob("*.db*"):
            file.unlink()
        texts = {name: str(value) for name, value in environ.items()}
        assert run(*options, "ingest", "-", stdin=easylink("r-1"), env=texts).code == 0
        assert run(*options, "list", env=texts).code == 0
        assert [file.name for file in tmp_path.glob("*.db")] == [expected]


def test_without_a_file_the_store_is_refold_db(run, easylink, tmp_path):
    assert run("ingest", "-", stdin=easylink("r-1")).code == 0
    assert [file.name for file in tmp_path.glob("*.db")] == ["refold.db"]


def test_configured_keys_verify_what_is_imported(run, toml, easylink):
    toml(f'[gateways.easylink]\nkeys = [{{ id = "a", secret = "{SECRET}" }}]')
    told = run("--log-level", "debug", "ingest", "-", stdin=easylink(f"r-{SECRET}", 2))
    assert "refund_id=r-****" in told.err
    assert SECRET not in told.out + told.err


def test_a_configured_window_makes_a_refund_overdue(run, toml, easylink):
    run("ingest", "-", stdin=easylink("r-1", 1))
    toml("[gateways.easylink]\noutcome_window_s = 31622400")
    assert "overdue" not in run("attention", "--mark-overdue", env={}).err
    toml("[gateways.easylink]\noutcome_window_s = 1")
    assert "overdue now: r-1" in run("attention", "--mark-overdue").err


# ---- a wrong one


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("[work]\nspeed = 1", 0o600, "error: work.speed: there is no such key; there are concurrency"),
        (f'[work]\nconcurrency = "{SECRET}"', 0o600, "error: work.concurrency: a whole number from 1 to 256"),
        (f"[work]\nconcurrency = {SECRET}", 0o600, "it is no TOML (line 2, column"),
        (
            f'[gateways.evonet]\nkeys = [{{ id = "a", secret = "{SECRET}" }}]',
            0o644,
            "error: gateways.evonet.keys[0].secret: a secret stands in refold.toml",
        ),
    ],
    ids=["key", "kind", "toml", "mode"],
)
def test_a_wrong_configuration_is_one_line_without_the_value(run, toml, store, arguments, text, mode, words):
    toml(text, mode)
    told = run("--db", store, *arguments)
    assert (told.code, told.out, len(told.err.splitlines())) == (2, "", 1)
    assert words in told.err
    assert SECRET not in told.err


def test_a_configuration_that_was_named_must_be_there(run, store):
    told = run("--config", "nowhere.toml", "--db", store, "list")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error: --config: 'nowhere.toml' is no file")


def test_a_wrong_setting_has_the_exit_code_of_wrong_use():
    assert exit_code(InvalidSetting("a.b", "why")) == 2
    assert len(EXIT_CODES) == 6


def test_no_option_holds_a_secret_but_names_of_files():
    assert [
        parameter for parameter in app.registered_callback.callback.__annotations__ if "secret" in parameter
    ] == []


# ---- refold serve


def test_serve_listens_and_limits_as_configured(run, toml, monkeypatch):
    import refold.engine.web
    from refold.engine.web import server

    seen = {}
    make = refold.engine.web.create_app

    def create_app(engine, **options):
        seen["limits"] = options["limits"]
        return make(engine, **options)

    monkeypatch.setattr(refold.engine.web, "create_app", create_app)
    monkeypatch.setattr(
        server, "serve", lambda app, listening, announce: seen.update(address=listening.getsockname())
    )
    toml('[webhooks]\nhost = "127.0.0.2"\nport = 0\nbody_bytes = 1000\nthreads = 3')
    assert run("serve").code == 0
    assert (seen["address"][0], seen["limits"].body_bytes, seen["limits"].threads) == ("127.0.0.2", 1000, 3)
    assert run("serve", "--host", "127.0.0.3").code == 0
    assert seen["address"][0] == "127.0.0.3"


@pytest.mark.parametrize(("more", "code"), [("", 2), ("behind_tls_proxy = true", 0)])
def test_an_address_that_others_reach_needs_the_proxy_that_ends_tls(run, toml, monkeypatch, more, code):
    from refold.engine.web import server

    monkeypatch.setattr(server, "serve", lambda *_: None)
    toml(f'[webhooks]\nhost = "0.0.0.0"\nport = 0\n{more}')
    assert run("serve").code == code


# ---- doctor

GOOD = """[gateways.evonet]
base_url = "https://localhost"
notify_url = "https://shop.example/hook/path-is-not-shown"
keys = [{ id = "k-1", secret_env = "EVONET" }]
"""


@pytest.fixture
def checked(run, toml, store, monkeypatch):
    """Return what doctor finds about a configuration, as (what, level): says."""
    monkeypatch.setattr(checking, "system_clock", lambda: datetime(2026, 6, 1, tzinfo=UTC))

    def findings(text, mode=0o600, env=None):
        toml(text, mode)
        told = run("doctor", "--db", store, "--json", env={"EVONET": SECRET} | (env or {}))
        assert SECRET not in told.out + told.err
        found = told.json["findings"]
        bad = [row for row in found if row["level"] != "ok" and row["what"] != "sqlite"]
        assert (told.code != 0) or not bad
        return [(row["what"], row["level"], row["says"]) for row in found]

    return findings


def warnings(found):
    return [(what, says) for what, level, says in found if level == "warning" and what != "sqlite"]


def test_doctor_has_nothing_to_say_against_a_good_configuration(checked):
    found = checked(GOOD + "post_timeout_s = 60\n")
    assert warnings(found) == []
    assert ("configuration", "ok", "refold.toml, mode 0600; 0 REFOLD_… variables") in found
    assert ("key of evonet", "ok", "k-1 ****") in found
    assert ("times of evonet", "ok", "post_timeout_s 60 instead of 45") in found
    assert ("webhooks of evonet", "ok", "sent to https://shop.example") in found
    assert ("endpoint of evonet", "ok", "https://localhost, its name is found; it was not contacted") in found


@pytest.mark.parametrize(
    ("text", "mode", "what", "says"),
    [
        ("[work]\nspeed = 1", 0o600, "configuration", "work.speed: there is no such key"),
        (GOOD, 0o646, "configuration", "everybody can change where money is sent; chmod 600 it"),
        (GOOD.replace("https://localhost", "http://x.example"), 0o600, "configuration", "https:// is needed"),
        (GOOD.replace("localhost", "nowhere.invalid"), 0o600, "endpoint of evonet", "its name is not found"),
        (GOOD + 'proxy = "http://nowhere.invalid"', 0o600, "endpoint of evonet", "the proxy's name is not found"),
        (GOOD + 'ca_file = "nowhere.pem"', 0o600, "endpoint of evonet", "cannot be used: No such file"),
        (GOOD + "post_timeout_s = 5", 0o600, "", ""),
        (GOOD.replace("notify_url", "# "), 0o600, "webhooks of evonet", "notify_url is missing"),
        (GOOD.replace("https://shop", "http://shop"), 0o600, "webhooks of evonet", "no https URL"),
        (GOOD.replace("keys", "# "), 0o600, "key of evonet", "none, so nothing can be signed and sent"),
        (GOOD.replace('"EVONET"', '"NOWHERE"'), 0o600, "key of evonet", "the environment variable it names is not set"),
        (GOOD.replace('" }', '", expires_at = 2026-05-31T00:00:00Z }'), 0o600, "key of evonet", "has expired"),
        (GOOD.replace('" }', '", expires_at = 2026-06-20T00:00:00Z }'), 0o600, "key of evonet", "expires soon"),
        (GOOD.replace('" }', '", expires_at = 2026-08-20T00:00:00Z }'), 0o600, "", ""),
        (
            GOOD.replace("evonet", "evocloud"),
            0o600,
            "endpoint of evocloud",
            "gateways.evocloud.sid is missing, and nothing can be sent without it",
        ),
        ('[gateways.easylink]\nbase_url = "https://localhost"', 0o600, "endpoint of easylink", "app_id is missing"),
        ('[gateways.bbmsl]\nbase_url = "https://localhost"', 0o600, "endpoint of bbmsl", "merchant_id is missing"),
    ],
)  # fmt: skip
def test_doctor_says_what_is_wrong_and_what_to_do(checked, text, mode, what, says):
    found = warnings(checked(text, mode))
    if not what:
        assert found == []
    else:
        assert [row for row in found if row[0] == what and says in row[1]]


@pytest.mark.parametrize("url", ["https://localhost", "http://x.example"])
def test_doctor_does_not_call_one_endpoint_good_and_bad(checked, url):
    text = f'[gateways.easylink]\nbase_url = "{url}"'
    assert {level for what, level, _ in checked(text) if what == "endpoint of easylink"} == {"warning"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[gateways.evonet]\nkeys = ["a"]',
            'keys[0]: a table is needed, such as { id = "2026", secret_file =',
        ),
        ("[store]\nurl = 5", "store.url: a URL is needed, such as sqlite:///refunds.db"),
    ],
)
def test_what_is_needed_is_shown_by_an_example_of_it(run, toml, text, says):
    toml(text)
    told = run("list")
    assert (told.code, says in told.err) == (2, True)


def test_doctor_counts_on_another_key_that_lasts(checked):
    keys = 'keys = [{ id = "old", secret_env = "EVONET", expires_at = 2026-01-01T00:00:00Z },'
    keys += ' { id = "new", secret_env = "OTHER" }]'
    found = checked(GOOD.replace('keys = [{ id = "k-1", secret_env = "EVONET" }]', keys), env={"OTHER": "o"})
    assert warnings(found) == []
    assert ("key of evonet", "ok", "old **** (expired 2026-01-01 00:00:00 UTC, remove it), new ****") in found


def test_doctor_contacts_no_gateway(run, configured, gateway, store):
    configured('notify_url = "https://shop.example"\n')
    run("doctor", "--db", store)
    assert gateway.asked == []


def test_doctor_goes_on_with_the_store_where_the_configuration_cannot_be_read(run, toml, store):
    toml("x = ")
    told = run("doctor", env={"REFOLD_DB": str(store)})
    assert "checked as if there were none" in said(told)
    assert "every refund's row is what its log says" in said(told)


# ---- canaries


def test_configured_secrets_come_out_nowhere(run, toml, easylink, gateway, tmp_path):
    toml(
        f'[store]\nurl = "sqlite:///mine.db"\n[gateways.evonet]\nbase_url = "{gateway.url}"\n'
        f'proxy = "http://u:{PASSWORD}@127.0.0.1:1"\nkeys = [{{ id = "a", secret = "{SECRET}" }}]\n'
        f'[gateways.easylink]\nkeys = [{{ id = "a", secret = "{SECRET}" }}]\n'
    )
    words = f"key {SECRET}"
    ask = ("--gateway", "evonet", "--payment", "p-1", "--amount", "1", "--currency", "HKD", "--reason", words)
    printed = [
        run("--log-level", "debug", *arguments, stdin=easylink("r-9", 2, detail=words, reason=words))
        for arguments in [
            ("ingest", "-"),
            ("request", "r-1", *ask),
            ("request", "r-1", *ask, "--json"),
            ("submit", "r-1", SECRET),
            ("poll", "r-1", "--json"),
            ("work", "--once"),
            ("work", "--once", "--json"),
            ("history", "r-1", "--json"),
            ("history", "r-9"),
            ("show", "r-9", "--json"),
            ("list", "--json"),
            ("doctor",),
            ("doctor", "--json"),
            ("list", "--db", f"postgresql://u:{PASSWORD}@h/db"),
        ]
    ]
    everything = "".join(each.out + each.err for each in printed)
    assert "****" in everything
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("mine.db*"))
    for secret in (SECRET, PASSWORD):
        assert secret not in everything
        assert secret.encode() not in kept


def test_a_traceback_of_a_configured_command_shows_no_values(command, toml, tmp_path):
    toml(f'[gateways.evonet]\nbase_url = "https://x"\nkeys = [{{ id = "a", secret = "{SECRET}" }}]\n')
    (tmp_path / "sitecustomize.py").write_text(
        "import refold.engine.opening as module\n"
        "def failing(settings, *_, **__):\n"
        "    held = settings.gateways.evonet.keys[0].secret.get_secret_value()\n"
        "    raise RuntimeError(f'a bug with {settings}')\n"
        "module.configured_gateways = failing\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    told = command(
        "request",
        "r-1",
        "--gateway",
        "evonet",
        "--payment",
        "p",
        "--amount",
        "1",
        "--currency",
        "HKD",
        env={"PYTHONPATH": path},
    )
    assert told.code == 1
    assert "RuntimeError: a bug" in told.err
    assert SECRET not in told.out + told.err


def test_json_and_tracebacks_of_settings_hold_no_secret(toml):
    from refold.engine.configuration import read_settings

    settings = read_settings(toml(f'[gateways.bbmsl]\nprivate_key = "{SECRET}"'), {})
    with pytest.raises(TypeError) as caught:
        json.dumps(settings.gateways.bbmsl.private_key)
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + settings.model_dump_json()
