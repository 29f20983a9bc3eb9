"""A file system that is full, and one that is read-only: real ones."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SMALL_DISK = Path(__file__).with_name("small_disk.py")
SMALL_BACKUP = Path(__file__).with_name("small_backup.py")
SMALL_MIGRATION = Path(__file__).with_name("small_migration.py")
APART = ["unshare", "--map-root-user", "--mount"]


@pytest.fixture
def apart(tmp_path):
    """Run a program where it may mount file systems that nobody else sees."""
    mounts = [*APART, "mount", "-t", "tmpfs", "none", tmp_path]
    if (
        shutil.which("unshare") is None
        or subprocess.run(mounts, stderr=subprocess.DEVNULL, check=False).returncode
    ):
        pytest.skip("this system lets nobody mount a small file system")
    return lambda program, folder=tmp_path: subprocess.run(
        [*APART, sys.executable, program, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_full_disk_stores_nothing_and_loses_nothing_and_a_read_only_one_is_read(apart):
    done = apart(SMALL_DISK)
    said = [line for line in done.stdout.splitlines() if "store.degraded" not in line]
    assert said[1:] == ["goes on once there is room", "read-only", "read"], done.stdout
    assert int(said[0].removeprefix("full after ")) > 5
    assert "store.degraded" in done.stdout  # folding the write-ahead log found no room either
    assert done.returncode == 0


def test_a_backup_that_finds_no_room_leaves_nothing_and_the_store_goes_on(apart, tmp_path):
    tmp_path.joinpath("small").mkdir()
    done = apart(SMALL_BACKUP, tmp_path / "small")
    assert done.stdout.splitlines() == ["no room", "[]", "2 2"], done.stdout
    assert done.returncode == 0


def test_a_migration_that_finds_no_room_leaves_the_older_file_and_is_made_once_there_is(apart):
    done = apart(SMALL_MIGRATION)
    assert done.stdout.splitlines() == ["no room", "no room", "migrated once there is room"], done.stdout
    assert done.returncode == 0
