"""A secret comes from a file, a variable, or a configuration that its owner alone can read, and goes nowhere."""

import copy
import json
import logging
import pickle
import traceback

import pytest

from refold.engine import open_configured
from refold.engine.composition import configured_endpoints, configured_gateways
from refold.engine.configuration import read_settings
from refold.engine.errors import InvalidSetting

CANARY = "canary-Zx81/+="
PASSWORD = "dsn-canary-pass"
KEY = f'[gateways.evonet]\nkeys = [{{ id = "a", secret = "{CANARY}" }}]\n'
PEM = f'[gateways.bbmsl]\nprivate_key = """{CANARY}"""\n'
PROXY = f'[gateways.evonet]\nbase_url = "https://x.example"\nproxy = "http://u:{PASSWORD}@proxy.example"\n'
STORE = f'[store]\nurl = "postgresql://u:{PASSWORD}@h/db"\n'


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (KEY, "gateways.evonet.keys[0].secret"),
        (PEM, "gateways.bbmsl.private_key"),
        (PROXY, "gateways.evonet.proxy"),
        (STORE, "store.url"),
        (f'[gateways.nowhere]\nsecret = "{CANARY}"', "gateways.nowhere.secret"),
    ],
    ids=["key", "pem", "proxy", "store", "unknown"],
)
def test_a_secret_in_a_file_that_others_can_read_is_refused_with_the_way_out(read, text, name, mode):
    with pytest.raises(InvalidSetting) as caught:
        read(text, mode=mode)
    assert caught.value.name == name
    assert f"mode {mode:04o}" in str(caught.value)
    assert "chmod 600" in str(caught.value)
    assert not {CANARY, PASSWORD} & set(str(caught.value).split())


@pytest.mark.parametrize("mode", [0o600, 0o400])
@pytest.mark.parametrize("text", [KEY, PEM, PROXY, STORE])
def test_a_secret_in_a_file_of_its_owner_alone_is_taken(read, text, mode):
    assert read(text, mode=mode)


def test_a_file_without_secrets_may_be_read_by_everybody(read):
    text = '[gateways.evonet]\nbase_url = "https://x.example"\nproxy = "http://proxy.example"\n'
    assert read(text, mode=0o644).gateways.evonet.base_url == "https://x.example"


def test_settings_show_no_secret_in_any_form(read):
    settings = read(KEY + PEM + STORE + PROXY.partition("\n")[2].join(["\n[gateways.easylink]\n", ""]))
    section = settings.gateways.evonet
    shown = [repr(settings), str(settings), f"{settings}", repr(section.keys[0]), str(section.keys[0].secret)]
    shown += [settings.model_dump_json(), repr(settings.model_dump()), repr(vars(section))]
    assert "****" in shown[0]
    assert [text for text in shown if CANARY in text or PASSWORD in text] == []
    assert section.keys[0].secret.get_secret_value() == CANARY


def test_a_secret_is_neither_pickled_nor_copied_nor_json(read):
    secret = read(KEY).gateways.evonet.keys[0].secret
    for spread in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            spread(secret)


def test_the_place_of_a_secret_is_not_shown_for_it_may_be_the_secret(read):
    settings = read(f'[gateways.evonet]\nkeys = [{{ id = "a", secret_file = "{CANARY}" }}]')
    assert CANARY not in repr(settings)


@pytest.mark.parametrize(
    ("text", "environ", "name"),
    [
        (
            '[gateways.evonet]\nkeys = [{ id = "a", secret_file = "canary-Zx81/+=" }]',
            {},
            "keys[0].secret_file",
        ),
        ('[gateways.evonet]\nkeys = [{ id = "a", secret_env = "canary-Zx81/+=" }]', {}, "keys[0].secret_env"),
        ('[gateways.evonet]\nkeys = [{ id = "a", secret_env = "A" }]', {"A": " "}, "keys[0].secret_env"),
        ('[gateways.bbmsl]\nprivate_key_env = "canary-Zx81/+="', {}, "gateways.bbmsl.private_key_env"),
        (PEM, {}, "gateways.bbmsl.private_key"),
        ("", {"REFOLD_BBMSL_PRIVATE_KEY": CANARY}, "gateways.bbmsl.private_key"),
    ],
)
def test_a_key_that_cannot_be_had_is_named_and_not_shown(read, text, environ, name):
    with pytest.raises(InvalidSetting) as caught:
        configured_gateways(read(text), environ, warn=print)
    assert caught.value.name.endswith(name)
    told = "".join(traceback.format_exception(caught.value)).replace('"canary', "")
    assert CANARY not in told


def every_wrong_place(model_keys):
    for key in model_keys:
        table, _, name = key.name.replace("*", "evonet").rpartition(".")
        for value in (
            f'"{CANARY}"',
            f'["{CANARY}"]',
            f'{{ "{CANARY}" = "{CANARY}" }}',
            f'[{{ id = "{CANARY}\\n" }}]',
        ):
            yield f"[{table}]\n{name} = {value}\n"
            yield f'[{table}]\n"{CANARY}" = {value}\n'


def test_a_secret_in_a_wrong_place_comes_out_of_no_error(read, model_keys):
    tried = 0
    for text in every_wrong_place(model_keys):
        try:
            settings = read(text)
            configured_endpoints(settings)
            configured_gateways(settings, {}, warn=print)
        except InvalidSetting as error:
            tried += 1
            chain = [error, error.__cause__, error.__context__]
            told = "".join(traceback.format_exception(error)) + "".join(map(repr, chain))
            assert CANARY not in told
    assert tried > 200


def test_nothing_that_held_a_value_hangs_on_to_an_error(read):
    with pytest.raises(InvalidSetting) as caught:
        read(f'[work]\nconcurrency = "{CANARY}"')
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_what_is_logged_about_a_key_file_does_not_show_it(write, tmp_path, caplog, capsys):
    key = write(CANARY, mode=0o644, name="key")
    config = write(
        f'[store]\nurl = "memory:"\n[gateways.evonet]\nkeys = [{{ id = "a", secret_file = "{key}" }}]'
    )
    with caplog.at_level(logging.DEBUG, "refold"), open_configured(config, environ={}) as engine:
        assert engine.gateways["evonet"].secrets == (CANARY,)
        told = repr(engine.gateways["evonet"]) + repr(engine.gateways)
    logged = caplog.text + "".join(capsys.readouterr())
    assert "chmod 600" in logged
    assert CANARY not in logged + told


def test_a_configured_secret_is_blanked_in_what_is_stored(write):
    from refold.engine import Money

    config = write('[store]\nurl = "memory:"\n' + KEY)
    with open_configured(config, environ={}) as engine:
        engine.request(
            gateway="evonet", payment_id="p", refund_id="r", amount=Money(1, "HKD"), reason=f"key {CANARY}"
        )
        (entry,) = engine.history("r")
    assert CANARY not in json.dumps(entry.to_json())
    assert "****" in json.dumps(entry.to_json())


def test_reading_leaves_the_environment_alone_that_is_not_given(monkeypatch):
    monkeypatch.setenv("REFOLD_WORK__CONCURRENCY", "3")
    monkeypatch.setenv("STORE", CANARY)
    assert read_settings(None, {}).work.concurrency == 8
