"""A PostgreSQL server whose disk is full: a real one."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SMALL_SERVER = Path(__file__).with_name("small_server.py")
# Who may mount must be root there, and a server refuses to run as root: so there is a second user inside of the first.
MOUNTED = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = 'mount -t tmpfs -o size=64m none "$0" && exec unshare --map-user=1000 --map-group=1000 "$@"'


@pytest.fixture
def small():
    """Give a folder, and how a program is run for which it is a small file system."""
    folder = tempfile.mkdtemp(prefix="refold-small-")
    mounts = [*MOUNTED, MOUNT, folder]
    try:
        if (
            shutil.which("unshare") is None
            or subprocess.run([*mounts, "true"], stderr=subprocess.DEVNULL, check=False).returncode
        ):
            pytest.skip("this system lets nobody mount a small file system")
        yield lambda *program: subprocess.run(
            [*mounts, sys.executable, *program[:1], folder, *program[1:]],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        Path(folder).rmdir()


@pytest.mark.parametrize(
    ("what", "errors"), [("data", {"StoreFull"}), ("log", {"OutcomeUnknown", "StoreUnavailable"})]
)
def test_a_server_whose_disk_is_full_acknowledges_nothing_that_is_not_stored(small, what, errors):
    done = small(SMALL_SERVER, what)
    assert done.returncode == 0, done.stderr
    full, *rest = done.stdout.splitlines()
    assert full.removeprefix("full: ") in errors
    assert rest == ["what was settled is true, nothing lost", "goes on once there is room"]


@pytest.mark.parametrize("what", ["data", "log"])
def test_a_store_that_acknowledges_what_did_not_fit_is_noticed(small, what):
    """The control."""
    done = small(SMALL_SERVER, what, "swallows")
    assert done.returncode == 1
    assert done.stdout.startswith("full: ")
    assert "in check" in done.stderr
    assert "AssertionError" in done.stderr
