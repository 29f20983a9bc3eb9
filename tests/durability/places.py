"""Where the stores of these tests are kept: what outlives a client that is killed, and can be killed as well."""

import os
import signal
import time
from pathlib import Path

import processes


class Sqlite:
    """A file."""

    name, has_server = "SQLite", False

    def __init__(self, path):
        """Name the file; nothing is made."""
        self.url = f"sqlite:///{path}"

    def forget_clients(self):
        """Do nothing: what a killed process had begun has ended with it."""


class Postgres:
    """A new schema on a server of the tests' own."""

    name, has_server = "PostgreSQL", True

    def __init__(self, server):
        """Make the schema."""
        self._server, self.url = server, server.schema()

    def crash(self):
        """Kill every process of the server at one moment, and start it again on the same data."""
        main = self._server.process
        main.send_signal(signal.SIGSTOP)  # so that it starts no more of them
        others = Path(f"/proc/{main.pid}/task/{main.pid}/children").read_text().split()
        for pid in map(int, others):
            os.kill(pid, signal.SIGKILL)
        self._server.stop(signal.SIGKILL)
        _until(lambda: all(map(_has_ended, others)))
        self._server.start()

    def quit(self):
        """Let the server end at once, without writing anything more, and start it again on the same data."""
        self._server.stop(signal.SIGQUIT)
        self._server.start()

    def cut(self):
        """End the connections of all clients."""
        self._server.ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE " + _CLIENTS)

    def forget_clients(self):
        """Wait until the server has ended what killed processes had begun: it may still store that."""
        _until(lambda: self._server.ask("SELECT count(*) FROM pg_stat_activity WHERE " + _CLIENTS) == (0,))


_CLIENTS = "backend_type = 'client backend' AND pid <> pg_backend_pid()"


def _has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return True


def _until(holds):
    give_up = time.monotonic() + processes.LONGEST_WAIT_S
    while not holds():
        assert time.monotonic() < give_up, "what was waited for did not come"
        time.sleep(0.01)
