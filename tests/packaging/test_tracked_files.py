"""Nothing committed depends on where it was written or downloaded."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ("pypi" + ".org", "files." + "pythonhosted.org", "npmjs" + ".org", "npmjs" + ".com")
TIED = re.compile("|".join([*map(re.escape, HOSTS), r"(?<![\w.])/(work|root)/"]))


def tied_lines(text):
    """Return the numbers of the lines that name a package index or one machine's folders."""
    return [number for number, line in enumerate(text.splitlines(), 1) if TIED.search(line)]


@pytest.fixture(scope="module")
def tracked():
    try:
        answer = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: there is no list of committed files")
    return [ROOT / name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_nothing_committed_names_a_package_index_or_a_folder_of_one_machine(tracked):
    found = {str(file): tied_lines(file.read_text("utf-8", errors="replace")) for file in tracked}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("line", "tied"),
    [
        ("--index-url https://" + HOSTS[0] + "/simple", True),
        ("resolved https://registry." + HOSTS[2] + "/left-pad", True),
        ("cd /" + "work/main", True),
        ("open('/" + "root/refunds.db')", True),
        ("see docs/work/plan.md", False),
        ("GET /api/refunds HTTP/1.1", False),
    ],
)
def test_a_line_tied_to_one_place_is_found(line, tied):
    assert bool(tied_lines(line)) is tied
