"""The contract finds what it is there for: each of its tests turns red over a store with a fault of that kind."""

from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from refold.engine.errors import RefoldError
from refold.engine.testing.store_contract import EventStoreContract

pytestmark = pytest.mark.no_cover  # the stores are faulty on purpose


def caught_in(file):
    """Return the rows of a file of faulty stores: the tests are no package."""
    spec = spec_from_file_location(f"faulty_stores_{file.stem}", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CAUGHT


CAUGHT = [
    row for file in sorted(Path(__file__).with_name("faulty_stores").glob("*.py")) for row in caught_in(file)
]

RED = (AssertionError, RefoldError, KeyError, RuntimeError, ValueError)
"""What a test fails with over a faulty store; other errors would be mistakes in the planted fault."""


def contract_over(store_class):
    class Planted(EventStoreContract):
        def make_store(self, tmp_path, views):
            on_disk = getattr(store_class, "at", None)
            return store_class() if on_disk is None else on_disk(tmp_path, views)

    return Planted()


def names_of_tests():
    return {name.removeprefix("test_") for name in dir(EventStoreContract) if name.startswith("test_")}


@pytest.mark.parametrize(
    ("store_class", "test"), CAUGHT, ids=[f"{store.__name__}-{test}" for store, test in CAUGHT]
)
def test_the_contract_catches_a_store_that(store_class, test):
    contract = contract_over(store_class)
    contract.setup_method()
    try:
        with pytest.raises(RED):
            getattr(contract, f"test_{test}")()
    finally:
        contract._folder.cleanup()


def test_every_test_of_the_contract_has_a_fault_it_catches():
    assert names_of_tests() == {test for _, test in CAUGHT}


def test_no_two_parts_of_the_contract_use_one_name():
    defined = Counter(
        name
        for part in EventStoreContract.__mro__
        for name in vars(part)
        if not name.startswith("__") and part is not object
    )
    assert [name for name, times in defined.items() if times > 1] == []
