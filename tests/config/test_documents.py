"""docs/configuration.md names every key with its variable, default and meaning; its example can be read."""

import json
import re
from pathlib import Path

import pytest

from refold.engine import open_configured
from refold.engine.composition import KEY_VARIABLES, all_gateways, configured_endpoints, configured_gateways

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
EXAMPLE = re.search(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]


def default(value):
    if value is None:
        return "none"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def documented(page):
    rows = re.findall(r"^\| `([a-z_.*]+)` \| (.*?) \| `(REFOLD_.*?)` \| (.*) \|$", page, re.MULTILINE)
    return [tuple(row) for row in rows]


@pytest.fixture
def expected(model_keys):
    return sorted((key.name, default(key.default), key.variable, key.means) for key in model_keys)


def test_the_page_has_every_key_with_its_default_its_variable_and_its_meaning(expected):
    assert sorted(documented(PAGE)) == expected


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("| `work.concurrency` | `8`", "| `work.concurrency` | `9`"),
        ("REFOLD_STORE__URL` |", "REFOLD_STORE_URL` |"),
        ("| `gateways.evonet.query_path`", "| gateways.evonet.query_path"),
        ("the authorities to trust", "what to trust"),
    ],
)
def test_a_page_that_has_drifted_is_noticed(what, instead, expected):
    assert what in PAGE
    assert sorted(documented(PAGE.replace(what, instead))) != expected


def test_the_page_has_everything_a_key_of_a_gateway_says(keys_of_a_key):
    assert re.findall(r"^\| `(keys\[\]\.[a-z_]+)` \| (.*) \|$", PAGE, re.MULTILINE) == keys_of_a_key


def test_the_page_names_the_variables_of_the_keys():
    assert [variable for variable in KEY_VARIABLES.values() if f"`{variable}`" not in PAGE] == []


def test_the_example_configures_every_gateway(read):
    settings = read(EXAMPLE, mode=0o644)
    assert sorted(configured_endpoints(settings)) == sorted(gateway.name for gateway in all_gateways())
    names = {gateway.name for gateway in configured_gateways(settings, {}, warn=print, with_keys=False)}
    assert names == set(KEY_VARIABLES)
    assert settings.gateways.evonet.post_timeout_s == 60
    assert settings.store.url.get_secret_value() == "sqlite:///refunds.db"


def test_the_python_block_runs(capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(block, "configuration.md", "exec"), {})  # noqa: S102 - the page's own code
    assert capsys.readouterr().out == "sqlite\n"
    assert open_configured.__name__ in block
