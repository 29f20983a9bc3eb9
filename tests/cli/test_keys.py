"""Keys come from the environment or from files, never from arguments, and are never shown."""

import base64
import json
import os
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from refold.engine.cli import app
from refold.engine.composition import KEY_VARIABLES, gateways_from_environment
from refold.engine.errors import InvalidSetting

KEY = "whsec_canary7K+/="
PAN = "4111111111111111"
CVV = "cvv-canary-913"
PASSWORD = "dsn-canary-pass"


@pytest.fixture(scope="module")
def pem():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def key_file(tmp_path):
    def made(content=KEY, mode=0o600):
        path = tmp_path / "key"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return str(path)

    return made


def secrets_of(environ, warnings=None):
    warn = (warnings if warnings is not None else []).append
    return {gateway.name: list(gateway.secrets) for gateway in gateways_from_environment(environ, warn=warn)}


NONE = {"evocloud": [], "evonet": [], "bbmsl": [], "easylink": []}


@pytest.mark.parametrize("gateway", ["evocloud", "evonet", "easylink"])
def test_a_key_is_read_from_its_variable_or_from_the_file_it_names(gateway, key_file):
    variable, expected = KEY_VARIABLES[gateway], NONE | {gateway: [KEY]}
    assert secrets_of({variable: KEY}) == expected
    assert secrets_of({f"{variable}_FILE": key_file(KEY + "\n")}) == expected


def test_the_private_key_of_bbmsl_is_read_likewise(pem, key_file):
    assert secrets_of({"REFOLD_BBMSL_PRIVATE_KEY": pem})["bbmsl"] == [pem]
    assert secrets_of({"REFOLD_BBMSL_PRIVATE_KEY_FILE": key_file(pem)})["bbmsl"] == [pem.rstrip("\n")]


def test_without_variables_there_are_all_gateways_without_keys():
    assert secrets_of({}) == NONE


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"REFOLD_EVONET_KEY": " "}, "REFOLD_EVONET_KEY: the key is blank"),
        ({"REFOLD_EVONET_KEY": ""}, "REFOLD_EVONET_KEY: the key is blank"),
        ({"REFOLD_EVONET_KEY": KEY, "REFOLD_EVONET_KEY_FILE": "x"}, "set one of the two"),
        ({"REFOLD_EVONET_KEY_FILE": KEY}, "REFOLD_EVONET_KEY_FILE: the file it names cannot be read"),
        ({"REFOLD_EVONET_KEY_FILE": "."}, "cannot be read: Is a directory"),
        ({"REFOLD_BBMSL_PRIVATE_KEY": KEY}, "no unencrypted PEM"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_and_not_shown(environ, words):
    with pytest.raises(InvalidSetting) as caught:
        secrets_of(environ)
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [("\n", "blank"), (b"\xff\xfe", "no UTF-8 text"), ("k" * 70_000, "above 65536 bytes")],
    ids=["blank", "bytes", "long"],
)
def test_a_key_file_that_holds_no_key_is_refused(key_file, content, words):
    with pytest.raises(InvalidSetting, match=words):
        secrets_of({"REFOLD_EVONET_KEY_FILE": key_file(content)})


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_key_file_that_everybody_can_read_is_a_warning(run, key_file, easylink, mode, warned):
    told = run("ingest", "-", stdin=easylink("r-1"), env={"REFOLD_EASYLINK_KEY_FILE": key_file(mode=mode)})
    assert told.code == 0
    assert told.err.count("warning: everybody on this machine can read the file") == warned


def test_a_blank_key_stops_the_import_before_a_store_is_made(run, easylink, tmp_path):
    told = run("ingest", "-", stdin=easylink("r-1"), env={"REFOLD_EVONET_KEY": " "})
    assert told.code == 2
    assert told.err.startswith("error: REFOLD_EVONET_KEY: the key is blank")
    assert list(tmp_path.iterdir()) == []


def test_commands_that_only_read_need_no_key(run, store):
    assert run("list", "--db", store, env={"REFOLD_EVONET_KEY": " "}).code == 0


@pytest.mark.parametrize("option", ["--key", "--easylink-key", "--secret", "--password", "--token"])
def test_there_is_no_option_for_a_secret(run, option):
    told = run("ingest", "-", f"{option}={KEY}", stdin="")
    assert (told.code, KEY in told.out + told.err) == (2, False)


def test_no_command_takes_a_secret():
    named = {
        name
        for command in app.registered_commands
        for name in command.callback.__annotations__
        if command.callback is not None
    }
    assert not {
        name for name in named if any(word in name for word in ("key", "secret", "password", "token"))
    }


def test_doctor_names_keys_and_shows_none(run, store, key_file):
    env = {"REFOLD_EASYLINK_KEY": KEY, "REFOLD_EVONET_KEY_FILE": key_file("another-" + KEY, 0o644)}
    told = run("doctor", "--db", store, env=env)
    assert "key of easylink: ****" in told.out
    assert "key of evonet: ****" in told.out
    assert "key of evocloud: none" in told.out
    assert "warning      keys: everybody on this machine can read" in told.out
    assert KEY not in told.out + told.err


def test_doctor_names_a_blank_key_and_goes_on(run, store):
    told = run("doctor", "--db", store, env={"REFOLD_EASYLINK_KEY": ""})
    assert "REFOLD_EASYLINK_KEY: the key is blank" in " ".join(told.out.split())
    assert "every refund's row" in told.out


def test_a_refund_number_that_holds_the_key_is_blanked_in_the_log(run, easylink):
    env = {"REFOLD_EASYLINK_KEY": KEY}
    told = run("--log-level", "debug", "ingest", "-", stdin=easylink(f"r-{KEY}", 2), env=env)
    assert "refund_id=r-****" in told.err
    assert KEY not in told.err


# ---- canaries


def forms(secret):
    raw = secret.encode()
    return {secret, base64.b64encode(raw).decode(), raw.hex(), quote(secret, safe="")}


def test_canaries_come_out_nowhere(run, easylink, tmp_path):
    words = f"key {KEY} card {PAN} cvv={CVV}"
    log = easylink("r-1", 2, 3, detail=words, reason=words)
    broken = [
        {"gateway": KEY, "channel": "poll", "received_at": "2026-03-02T12:00:00Z", "body": {}},
        {"gateway": "easylink", "channel": f"x{KEY}", "received_at": PAN, "body": {}},
        {"gateway": "easylink", "channel": "poll", "received_at": KEY, "body": words},
        {
            "gateway": "easylink",
            "channel": "webhook",
            "received_at": "2026-03-02T12:00:00Z",
            "body": {"cvv": CVV, "sign": KEY},
        },
        {
            "gateway": "easylink",
            "channel": "request",
            "received_at": "2026-03-02T12:00:00Z",
            "body": {"mchRefundNo": PAN, "refundAmount": KEY},
        },
    ]
    log += "".join(json.dumps(row) + "\n" for row in broken)
    env = {"REFOLD_EASYLINK_KEY": KEY, "FORCE_COLOR": "1"}
    dsn = f"postgresql://u:{PASSWORD}@h/db?password={PASSWORD}"
    printed = [
        run("--log-level", "debug", *arguments, stdin=log, env=env)
        for arguments in [
            ("ingest", "-"),
            ("ingest", "-", "--json"),
            ("list", "--json"),
            ("show", "r-1"),
            ("show", PAN),
            ("history", "r-1"),
            ("history", "r-1", "--json"),
            ("attention",),
            ("attention", "--json"),
            ("resolve", "r-1", "failed", "--actor", "kim", "--reason", f"card {PAN} cvv={CVV}"),
            ("history", "r-1"),
            ("replay", "--json"),
            ("doctor",),
            ("doctor", "--json"),
            ("list", "--db", dsn),
            ("ingest", "-", "--db", f"mysql:{PASSWORD}"),
            ("demo", "--db", dsn),
        ]
    ]
    assert printed[0].err.count("line ") >= 5
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    everything = "".join(each.out + each.err for each in printed)
    for secret in (KEY, PAN, CVV, PASSWORD):
        for form in forms(secret):
            assert form not in everything
            assert form.encode() not in kept


def test_a_traceback_shows_no_values(command, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import refold.engine.cli.importing as module\n"
        "def failing(report):\n"
        f"    local = {KEY!r} * 1\n"
        "    raise RuntimeError('a bug')\n"
        "module.summary = failing\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    told = command("ingest", "-", env={"PYTHONPATH": path, "REFOLD_EVONET_KEY": KEY})
    assert told.code == 1
    assert "RuntimeError: a bug" in told.err
    assert KEY not in told.out + told.err.replace(f"{KEY!r} * 1", "")
