"""SQLite's locks end when this process closes the file anywhere: what then is acknowledged would be found by nobody."""

import subprocess
import sys

import pytest

from refold.engine.ports import Appended, NewEvent, Write
from refold.eventstore import SqliteStore

ANOTHER_PROCESS = """
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM events").fetchone()[0])
connection.close()
"""


def append(store, stream):
    return store.append(Write(stream, 0, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")]))


def opened_and_closed_elsewhere(path):
    """Count the events in another program; the last one to close a file deletes its write-ahead log."""
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, path],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.parametrize("options", [{}, {"read_only": True}], ids=["writer", "reader"])
def test_a_second_handle_in_this_process_gives_up_no_lock_of_the_first(tmp_path, options):
    path = tmp_path / "log.db"
    store = SqliteStore(path)
    assert append(store, "refund-a") == Appended(1, 1)
    second = SqliteStore(path, **options)
    assert opened_and_closed_elsewhere(path) == 1
    assert append(store, "refund-b") == Appended(2, 2)
    assert opened_and_closed_elsewhere(path) == 2
    assert second.head() == 2
    second.close()
    store.close()
