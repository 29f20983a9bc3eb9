"""On a machine that cannot run refold, `make` says what to do."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLD = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.9.2" && exit 0
exit 1
"""
WITHOUT_VENV = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.11.2" && exit 0
case "$2" in *ensurepip*) exit 1;; esac
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("python", "advice"),
    [
        (OLD, "error: Python 3.9.2 is too old; name a Python 3.11 or newer: make PYTHON=python3.11"),
        (WITHOUT_VENV, "cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"),
        (None, "not found; name a Python 3.11 or newer: make PYTHON=python3.11"),
    ],
    ids=["too old", "without venv", "missing"],
)
def test_make_says_what_is_missing(tmp_path, python, advice):
    fake = tmp_path / "python"
    if python:
        fake.write_text(python)
        fake.chmod(0o755)

    command = ["make", "demo", f"PYTHON={fake}", f"VENV={tmp_path}/venv"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert answer.returncode == 2
    assert advice in answer.stderr
    assert not (tmp_path / "venv").exists()
