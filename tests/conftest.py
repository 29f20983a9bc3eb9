import pytest

# Before any test imports the suites that ship with the package: their assertions then show the values.
pytest.register_assert_rewrite("refold.engine.testing")


def pytest_terminal_summary(terminalreporter):
    """Print what tests have counted (`record_property("told", …)`), so that the log of each run shows it."""
    reports = [each for outcome in ("passed", "failed") for each in terminalreporter.stats.get(outcome, [])]
    lines = [value for each in reports for name, value in each.user_properties if name == "told"]
    if lines:
        terminalreporter.section("counted")
    for line in lines:
        terminalreporter.write_line(line)
