"""An application that has its own `engine`, `adapters` and `eventstore` can embed refold."""

import subprocess
import sys

APPLICATION = """
import adapters, engine, eventstore
import refold.adapters, refold.engine, refold.eventstore
from refold.engine.errors import RefoldError

assert adapters.OWNER == engine.OWNER == eventstore.OWNER == "application"
assert refold.engine.__name__ == "refold.engine"
assert not hasattr(refold.engine, "OWNER")
print(RefoldError.__module__)
"""


def test_an_application_keeps_its_own_packages_of_the_same_names(tmp_path):
    for name in ("adapters", "engine", "eventstore"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'application'\n")
    (tmp_path / "application.py").write_text(APPLICATION)

    command = [sys.executable, "-W", "error", "application.py"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "refold.engine.errors.base\n", "")
