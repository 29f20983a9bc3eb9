"""Every key that can be configured, as the models have them, and files to read."""

import os
from typing import NamedTuple

import pytest
import structlog

from refold.engine.configuration import read_settings, variable_of
from refold.engine.settings import Gateways, GatewaySettings, KeySettings, Settings


class Key(NamedTuple):
    """A key: its dotted name, its variable, its default and what it is for."""

    name: str
    variable: str
    default: object
    means: str


def _key(loc, field):
    return Key(".".join(loc), variable_of(loc), field.default, field.description)


def every_key():
    """Return every key of the models, those of all gateways once, under the gateway `*`."""
    found = [
        _key((section, name), field)
        for section in ("store", "work", "webhooks")
        for name, field in Settings.model_fields[section].annotation.model_fields.items()
    ]
    found += [_key(("gateways", "*", name), field) for name, field in GatewaySettings.model_fields.items()]
    for gateway, section in Gateways.model_fields.items():
        found += [
            _key(("gateways", gateway, name), field)
            for name, field in section.annotation.model_fields.items()
            if name not in GatewaySettings.model_fields
        ]
    return found


@pytest.fixture
def model_keys():
    return every_key()


@pytest.fixture
def keys_of_a_key():
    return [(f"keys[].{name}", field.description) for name, field in KeySettings.model_fields.items()]


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch, tmp_path):
    """No configuration of whoever runs the tests; logging as it was afterwards."""
    for name in [name for name in os.environ if name.startswith("REFOLD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    structlog.reset_defaults()


@pytest.fixture
def write(tmp_path):
    """Write a refold.toml."""

    def written(text, mode=0o600, name="refold.toml"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    return written


@pytest.fixture
def read(write):
    """Read a text as refold.toml, with these variables."""

    def settings(text="", environ=None, mode=0o600):
        return read_settings(write(text, mode), environ or {})

    return settings
