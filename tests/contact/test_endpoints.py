"""What an engine is told about where its gateways are is checked when it is opened."""

import pytest

from refold.engine import Endpoint, RefundEngine
from refold.engine.errors import InvalidSetting


@pytest.mark.parametrize(
    ("endpoints", "said"),
    [
        ({"evonet": "https://api.example"}, "an Endpoint is needed"),
        (
            {"foo": Endpoint(base_url="https://api.example")},
            "there is no such gateway; bbmsl, easylink, evocloud",
        ),
    ],
    ids=["no Endpoint", "no such gateway"],
)
def test_a_wrong_endpoint_is_refused_by_name(endpoints, said):
    with pytest.raises(InvalidSetting, match=said) as caught:
        RefundEngine.open("memory:", endpoints=endpoints)
    assert caught.value.name == f"endpoint of {next(iter(endpoints))}"


def test_an_endpoint_of_a_known_gateway_is_taken():
    with RefundEngine.open(
        "memory:", endpoints={"evonet": Endpoint(base_url="https://api.example")}
    ) as engine:
        assert list(engine.find()) == []
