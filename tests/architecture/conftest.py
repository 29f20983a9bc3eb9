"""The library's and the tests' sources, parsed once."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def parsed(*folders: str) -> dict[str, ast.Module]:
    """Return each module under the folders as path (relative, with slashes) and syntax tree."""
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_bytes()) for file in files}


@pytest.fixture(scope="session")
def library() -> dict[str, ast.Module]:
    return parsed("engine", "adapters", "eventstore")


@pytest.fixture(scope="session")
def test_files() -> dict[str, ast.Module]:
    return parsed("tests", "engine/testing")


@pytest.fixture(scope="session")
def sources(library) -> dict[str, str]:
    return {path: (ROOT / path).read_text("utf-8") for path in library}
