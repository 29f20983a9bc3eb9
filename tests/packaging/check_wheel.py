"""Compare a wheel with the checkout it was built from: python check_wheel.py dist/refold-0.1.0-py3-none-any.whl"""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("__init__.py", "py.typed", "adapters", "engine", "eventstore")


def expected(root):
    """Return every tracked file of the library, as the wheel must name it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *SHIPPED], cwd=root, capture_output=True, text=True, check=True
    )
    return {f"refold/{name}" for name in listed.stdout.split("\0") if name}


def differences(names, wanted):
    """Return what is wrong with a wheel's list of names; its metadata is not compared."""
    held = {
        name for name in names if not name.partition("/")[0].endswith(".dist-info") and not name.endswith("/")
    }
    missing = [f"missing: {name}" for name in sorted(wanted - held)]
    unwanted = [f"unwanted: {name}" for name in sorted(held - wanted)]
    licence = [] if any(name.endswith("/LICENSE") for name in names) else ["missing: LICENSE"]
    return missing + unwanted + licence


def main(wheels):
    """Print what is wrong with exactly one wheel; return the exit code."""
    (wheel,) = wheels
    names = zipfile.ZipFile(wheel).namelist()
    wanted = expected(ROOT)
    found = differences(names, wanted)
    print(
        "\n".join(found) or f"package: {wheel} holds all {len(wanted)} files of the library and nothing else"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
