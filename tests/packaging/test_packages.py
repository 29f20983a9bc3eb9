"""What the wheel will hold: a forgotten package or file is missing there only, never in a checkout."""

import ast
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
DATA = PROJECT["tool"]["setuptools"]["package-data"]
FOLDERS = ("adapters", "engine", "eventstore")


def shipped_files(root):
    """Return every file under the library's folders that is not a by-product, relative to the root."""
    files = (file for folder in FOLDERS for file in (root / folder).rglob("*") if file.is_file())
    return [file.relative_to(root) for file in files if "__pycache__" not in file.parts]


def folders_of_code(root):
    """Return the dotted name of each folder that holds Python files."""
    return {".".join(["refold", *file.parent.parts]) for file in shipped_files(root) if file.suffix == ".py"}


def folders_without_init(root):
    folders = {file.parent for file in shipped_files(root) if file.suffix == ".py"}
    return sorted(str(folder) for folder in folders if not (root / folder / "__init__.py").is_file())


def unlisted_data(root, data):
    """Return the files that are not Python and that no pattern of their package names."""
    return sorted(
        str(file)
        for file in shipped_files(root)
        if file.suffix != ".py"
        and not any(
            fnmatch(file.name, pattern) for pattern in data.get(".".join(["refold", *file.parent.parts]), [])
        )
    )


@pytest.fixture
def checkout(tmp_path):
    """A library with one nested package and one data file."""
    for file in (
        "engine/__init__.py",
        "engine/deep/__init__.py",
        "engine/deep/code.py",
        "engine/deep/table.sql",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def test_the_package_list_names_every_folder_of_code():
    assert sorted(PACKAGES) == sorted({"refold"} | folders_of_code(ROOT))


def test_a_forgotten_nested_package_is_found(checkout):
    assert folders_of_code(checkout) - {"refold.engine"} == {"refold.engine.deep"}


def test_every_folder_of_code_is_a_package():
    assert folders_without_init(ROOT) == []


def test_a_folder_of_code_that_is_no_package_is_found(checkout):
    (checkout / "engine/deep/__init__.py").unlink()
    assert folders_without_init(checkout) == ["engine/deep"]


def test_every_data_file_is_listed():
    assert unlisted_data(ROOT, DATA) == []


def test_an_unlisted_data_file_is_found(checkout):
    assert unlisted_data(checkout, {"refold.engine.deep": ["*.json"]}) == ["engine/deep/table.sql"]
    assert unlisted_data(checkout, {"refold.engine.deep": ["*.sql"]}) == []


def test_the_root_package_holds_a_docstring_and_nothing_else():
    (statement,) = ast.parse((ROOT / "__init__.py").read_text("utf-8")).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Constant)
    assert isinstance(statement.value.value, str)


def test_the_package_is_marked_as_typed():
    assert (ROOT / "py.typed").read_bytes() == b""
    assert "py.typed" in DATA["refold"]


def requirement_names(requirements):
    return {re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def pinned(constraints):
    lines = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_every_constraint_is_a_name_and_an_exact_version():
    for name, version in pinned((ROOT / "constraints.txt").read_text("utf-8")).items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        assert re.fullmatch(r"[0-9][A-Za-z0-9.+!]*", version)


def test_every_dependency_is_pinned():
    project = PROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = set().union(*map(requirement_names, lists))
    found = requirement_names(pinned((ROOT / "constraints.txt").read_text("utf-8")))
    assert wanted - found == {"refold"}, "renew with: make constraints"
