"""docs/simulators.md: its examples run, its tables are the code's."""

import re
from pathlib import Path

from refold.adapters.simulators import fault_table, outcome_rows, outcome_table
from refold.adapters.simulators.scripts import OUTCOMES

PAGE = (Path(__file__).parents[2] / "docs" / "simulators.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_example_is_a_test_that_passes():
    names = {}
    for block in BLOCKS:
        exec(compile(block, "simulators.md", "exec"), names)  # noqa: S102 - the page's own code, nothing from outside
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_tables_are_those_of_the_code():
    assert outcome_table() in PAGE, "renew with: print(refold.adapters.simulators.outcome_table())"
    assert fault_table() in PAGE, "renew with: print(refold.adapters.simulators.fault_table())"


def test_every_outcome_has_a_row():
    assert {row[0] for row in outcome_rows()} == {word for known in OUTCOMES.values() for word in known}


def test_every_public_name_is_exported():
    import refold.adapters.simulators as package

    assert sorted(package.__all__, key=str) == sorted(set(package.__all__))
    assert all(hasattr(package, name) for name in package.__all__)
