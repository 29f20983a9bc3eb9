import pytest

# Before any test imports the suites that ship with the package: their assertions then show the values.
pytest.register_assert_rewrite("refold.engine.testing")
