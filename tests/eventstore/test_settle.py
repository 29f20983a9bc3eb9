"""Settling on SQLite: what was told to be absent never comes back, and where that cannot be made sure it is not told."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from refold.engine.errors import StoreBusy
from refold.engine.ports import Appended


@pytest.fixture
def restarted(path, open_store, tmp_path):
    """Open the store as it would be found if all processes ended now: SQLite then reads the write-ahead log anew."""

    def copied():
        folder = tmp_path / f"restarted-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name in (path.name, path.name + "-wal"):
            shutil.copy(path.with_name(name), folder)
        return open_store(folder / path.name)

    return copied


@pytest.fixture
def killed_in_commit(path):
    """Let another process commit key "k", and be killed before it tells anybody."""

    def run():
        script = Path(__file__).with_name("killed_in_commit.py")
        ended = subprocess.run([sys.executable, script, path], check=False, capture_output=True)
        assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, b"")

    return run


def test_a_key_that_a_killed_process_left_behind_does_not_come_back_once_it_is_settled(
    open_store, append, killed_in_commit, restarted
):
    store = open_store()
    append(store, key="first")
    killed_in_commit()
    assert restarted().settle("k") == Appended(1, 1)  # so much was written of it
    assert store.settle("k") is None
    afterwards = restarted()
    assert afterwards.settle("first") == Appended(1, 1)
    assert afterwards.settle("k") is None


def test_a_key_is_not_told_to_be_absent_while_another_process_may_be_committing_it(open_store, append, raw):
    store = open_store(timeout_s=0.05)
    append(store, key="first")
    with raw() as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO keys SELECT 'k', digest, first, last FROM keys")
        with pytest.raises(StoreBusy):
            store.settle("k")
        assert store.settle("first") == Appended(1, 1)  # what is there needs no lock
        connection.execute("COMMIT")
    assert store.settle("k") == Appended(1, 1)


def test_inside_a_batch_and_in_a_read_only_store_absent_says_no_more_than_not_yet(open_store, append, raw):
    store, reader = open_store(), open_store(read_only=True)
    with store.batch():
        append(store, key="k")
        assert store.settle("k") == Appended(1, 1)
        assert store.settle("other") is None
        assert reader.settle("k") is None
    assert reader.settle("k") == Appended(1, 1)


def test_settling_what_is_there_writes_nothing(open_store, append):
    store = open_store()
    append(store, key="k")
    before = store._writer.commits.count
    assert store.settle("k") == Appended(1, 1)
    assert store._writer.commits.count == before
    assert store.settle("other") is None
    assert store._writer.commits.count == before + 1
