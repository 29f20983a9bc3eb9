import os

import pytest
import structlog
from postgres_server import PostgresServer
from standing_clock import StandingClock
from waiting import wait_until

# Before any test imports the suites that ship with the package: their assertions then show the values.
pytest.register_assert_rewrite("refold.engine.testing")


def pytest_xdist_auto_num_workers():
    """One more than there are cores: tests that wait for servers and other processes leave room."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    """Count no lines where examples are drawn: it would take most of the time, and other tests run the same lines."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")


def pytest_terminal_summary(terminalreporter):
    """Print what tests have counted (`record_property("told", …)`), so that the log of each run shows it."""
    reports = [each for outcome in ("passed", "failed") for each in terminalreporter.stats.get(outcome, [])]
    lines = [value for each in reports for name, value in each.user_properties if name == "told"]
    if lines:
        terminalreporter.section("counted")
    for line in lines:
        terminalreporter.write_line(line)


@pytest.fixture
def logs():
    """Keep what is logged, off the terminal; `capture_logs` still sees it first."""
    kept = []

    def keep(_logger, method, entry):
        kept.append(entry | {"level": method})
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    yield kept
    structlog.reset_defaults()


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture(scope="session")
def until():
    return wait_until


@pytest.fixture(scope="session")
def postgres_server():
    """Give a PostgreSQL server that no other process of tests uses."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres_server):
    """Give the URL of a new schema."""
    return postgres_server.schema()
