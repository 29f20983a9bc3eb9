"""The documents say what the code says."""

from pathlib import Path

from refold.engine.cli.gateway_tables import markdown
from refold.engine.composition import all_gateways

ROOT = Path(__file__).parents[2]


def test_the_gateway_tables_are_those_the_adapters_read_by():
    assert (ROOT / "docs" / "gateways.md").read_text() == markdown(all_gateways()), (
        "renew with: refold gateways --format markdown > docs/gateways.md"
    )
