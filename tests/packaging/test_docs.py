"""The documents say what the code says: their Python blocks run, their generated parts are up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from refold.engine.audit.diagram import mermaid
from refold.engine.cli.gateway_tables import markdown
from refold.engine.composition import all_gateways

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def test_the_gateway_tables_are_those_the_adapters_read_by():
    assert (ROOT / "docs" / "gateways.md").read_text() == markdown(all_gateways()), (
        "renew with: refold gateways --format markdown > docs/gateways.md"
    )


@pytest.mark.parametrize(
    "page",
    [README, *(ROOT / "docs" / f"{name}.md" for name in ("tutorial", "subscriptions", "operating"))],
    ids=lambda page: page.name,
)
def test_every_python_block_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(page)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)  # noqa: S102 - the page's own code, nothing from outside


def test_a_wrong_block_would_be_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n```python\nassert False\n```\n")
    with pytest.raises(AssertionError):
        exec(python_blocks(page)[0], {})  # noqa: S102 - a planted fault


def test_the_readme_embeds_in_ten_lines():
    block = python_blocks(README)[0]
    assert len([line for line in block.splitlines() if line.strip()]) <= 10


def test_the_diagram_in_the_readme_is_generated_from_the_machine():
    assert mermaid().strip() in README.read_text()


def test_the_code_in_the_readme_prints_what_it_says_and_no_log_lines(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", python_blocks(README)[0]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    state, payment = ran.stdout.splitlines()
    assert state == "success"
    assert "'reserved_minor': 6000" in payment
    assert ran.stderr == ""
