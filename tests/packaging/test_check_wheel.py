"""The check of a built wheel sees what is missing and what should not be there."""

import importlib.util
from pathlib import Path

import pytest

WANTED = {"refold/__init__.py", "refold/py.typed", "refold/engine/__init__.py"}
METADATA = {"refold-0.1.0.dist-info/METADATA", "refold-0.1.0.dist-info/licenses/LICENSE"}


@pytest.fixture(scope="module")
def check_wheel():
    spec = importlib.util.spec_from_file_location("check_wheel", Path(__file__).with_name("check_wheel.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (WANTED | METADATA, []),
        ((WANTED | METADATA) - {"refold/py.typed"}, ["missing: refold/py.typed"]),
        (WANTED | METADATA | {"refold/tests/test_x.py"}, ["unwanted: refold/tests/test_x.py"]),
        (WANTED | METADATA | {"engine/__init__.py"}, ["unwanted: engine/__init__.py"]),
        (WANTED, ["missing: LICENSE"]),
    ],
)
def test_a_wheel_holds_the_library_and_nothing_else(check_wheel, names, found):
    assert check_wheel.differences(names, WANTED) == found
