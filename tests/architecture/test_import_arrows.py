"""Who may import whom: domain <- adapters and event stores <- service <- entry points, joined in one place."""

import ast
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

DOMAIN_PACKAGES = frozenset({"iso4217", "pydantic", "transitions"})
IMPURE = frozenset(
    {"asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets"}
    | {"select", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile"}
    | {"time", "urllib", "uuid"}
)
NETWORK = frozenset(
    {"aiohttp", "ftplib", "http.client", "httpcore", "httpx", "requests", "smtplib", "socket"}
    | {"socketserver", "ssl", "telnetlib", "urllib.request", "urllib3", "websockets", "xmlrpc"}
)
COMPOSITION_ROOT = "engine/composition.py"


def module_name(path):
    parts = path.removesuffix(".py").split("/")
    return ".".join(["refold", *parts]).removesuffix(".__init__")


def type_checking_nodes(tree):
    """Return the ids of all nodes in the bodies of `if TYPE_CHECKING:`."""
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]
    return {id(inner) for block in blocks for statement in block.body for inner in ast.walk(statement)}


def imports(path, tree, *, for_types=True):
    """Return (line, absolute dotted name) of each thing a module imports, wherever in the module it stands."""
    skipped = set() if for_types else type_checking_nodes(tree)
    package = module_name(path).split(".")
    if not path.endswith("__init__.py"):
        package.pop()
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{start}.{alias.name}") for alias in node.names]
    return found


def within(name, *packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def allowed(path, name):
    """Tell whether a module of the library may import the dotted name."""
    if path.startswith("engine/domain/"):
        if within(name, "refold"):
            return within(name, "refold.engine.domain", "refold.engine.errors")
        top = name.partition(".")[0]
        return top in DOMAIN_PACKAGES or (top in sys.stdlib_module_names and top not in IMPURE)
    if path.startswith("engine/"):
        return path == COMPOSITION_ROOT or not within(name, "refold.adapters", "refold.eventstore")
    own = "refold." + path.partition("/")[0]
    vocabulary = ("refold.engine.domain", "refold.engine.errors", "refold.engine.ports")
    return not within(name, "refold") or within(name, own, *vocabulary)


def wrong_arrows(modules):
    return [
        f"{path}:{line} imports {name}"
        for path, tree in modules.items()
        for line, name in imports(path, tree)
        if not allowed(path, name)
    ]


def graph(modules):
    """Return which module imports which at run time, lazily or not; the packages above a module do not count."""
    known = {module_name(path): path for path in modules}
    arrows = {}
    for path, tree in modules.items():
        targets = set()
        for _, name in imports(path, tree, for_types=False):
            candidates = (name, name.rpartition(".")[0])
            targets |= {
                known[candidate]
                for candidate in candidates[: 1 if name in known else 2]
                if candidate in known
            }
        arrows[path] = targets - {path}
    return arrows


def circles(arrows):
    """Return each import circle once, as the list of its modules."""
    found, done = [], set()

    def visit(node, trail):
        if node in trail:
            found.append(trail[trail.index(node) :])
        elif node not in done:
            for target in sorted(arrows[node]):
                visit(target, [*trail, node])
            done.add(node)

    for node in sorted(arrows):
        visit(node, [])
    return found


def reachable(arrows, starts):
    """Return every module that the starting modules import, directly or not."""
    seen, pending = set(), list(starts)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += arrows[node]
    return seen


def network_imports(modules, paths):
    return [
        f"{path}:{line} imports {name}"
        for path in sorted(paths)
        for line, name in imports(path, modules[path])
        if within(name, *NETWORK)
    ]


def offline(path):
    """Tell whether a module must not know the network; simulators are servers."""
    if path.startswith("adapters/simulators/"):
        return False
    return path.startswith(("adapters/", "engine/audit/", "engine/domain/", "engine/service/"))


def unqualified_imports(modules):
    """Return the tests' imports that are relative, or that name the library's folders without `refold`."""
    relative = [
        f"{path}:{node.lineno} is relative"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    bare = [
        f"{path}:{line} imports {name}"
        for path, tree in modules.items()
        for line, name in imports(path, tree)
        if within(name, "adapters", "engine", "eventstore")
    ]
    return relative + bare


def test_every_import_follows_the_arrows(library):
    assert wrong_arrows(library) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/service/facade.py", "from ...adapters import evonet"),
        ("engine/service/facade.py", "from refold.eventstore import memory"),
        ("engine/service/facade.py", "def late():\n    import refold.adapters.evonet"),
        ("engine/cli/__init__.py", "if TYPE_CHECKING:\n    from ...adapters import evonet"),
        ("engine/__init__.py", "from .. import eventstore"),
        ("engine/domain/events.py", "from ..ports import Gateway"),
        ("engine/domain/events.py", "from ..service import facade"),
        ("engine/domain/events.py", "import structlog"),
        ("engine/domain/events.py", "import logging"),
        ("engine/domain/events.py", "from time import monotonic"),
        ("adapters/evonet.py", "from ..engine import RefundEngine"),
        ("adapters/evonet.py", "from ..engine.service.facade import RefundEngine"),
        ("adapters/evonet.py", "from ..eventstore import codec"),
        ("eventstore/memory.py", "from ..adapters import signing"),
        ("eventstore/memory.py", "import refold.engine.audit"),
    ],
)
def test_an_import_against_the_arrows_is_found(path, source):
    assert len(wrong_arrows({path: ast.parse(source)})) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/composition.py", "from ..adapters import evonet\nfrom ..eventstore import memory"),
        ("engine/service/facade.py", "from ..domain import money\nimport structlog"),
        (
            "engine/domain/events.py",
            "from ..errors import CorruptLog\nfrom .money import Money\nimport pydantic, json",
        ),
        ("adapters/evonet.py", "from ..engine.errors import InvalidInput\nfrom .signing import sign"),
        (
            "eventstore/sqlite/store.py",
            "from ...engine.ports import EventStore\nfrom ..codec import encode\nimport sqlite3",
        ),
    ],
)
def test_an_import_along_the_arrows_is_accepted(path, source):
    assert wrong_arrows({path: ast.parse(source)}) == []


def test_no_modules_import_each_other_in_a_circle(library):
    assert circles(graph(library)) == []


def test_a_circle_is_found_even_where_an_import_is_lazy():
    modules = {
        "engine/a.py": ast.parse("from .b import thing"),
        "engine/b.py": ast.parse("from . import c"),
        "engine/c.py": ast.parse("def late():\n    from refold.engine.a import thing"),
    }
    assert circles(graph(modules)) == [["engine/a.py", "engine/b.py", "engine/c.py"]]


def test_an_import_for_the_type_checker_closes_no_circle():
    modules = {
        "engine/a.py": ast.parse("from .b import thing"),
        "engine/b.py": ast.parse("if TYPE_CHECKING:\n    from .a import thing"),
    }
    assert circles(graph(modules)) == []


def test_nothing_that_reads_messages_or_decides_can_reach_the_network(library):
    assert network_imports(library, filter(offline, library)) == []


def test_replay_cannot_reach_a_gateway_even_through_other_modules(library):
    audit = [path for path in library if path.startswith("engine/audit/")]
    assert network_imports(library, reachable(graph(library), audit)) == []


@pytest.mark.parametrize(
    "source", ["import httpx", "from urllib.request import urlopen", "from urllib import request"]
)
def test_an_import_of_the_network_is_found_through_other_modules(source):
    modules = {
        "engine/audit/replay.py": ast.parse("from ..transport import send"),
        "engine/transport.py": ast.parse(source),
    }
    assert network_imports(modules, filter(offline, modules)) == []
    assert len(network_imports(modules, reachable(graph(modules), ["engine/audit/replay.py"]))) == 1


def test_every_test_imports_the_library_as_its_users_do(test_files):
    assert (
        unqualified_imports({path: tree for path, tree in test_files.items() if path.startswith("tests/")})
        == []
    )


@pytest.mark.parametrize(
    "source", ["from .helpers import x", "import engine.errors", "from adapters import evonet"]
)
def test_a_test_that_imports_otherwise_is_found(source):
    assert len(unqualified_imports({"tests/test_x.py": ast.parse(source)})) == 1


# Whoever imports a module has imported the packages around it before. So each package is imported once, and every
# module in it by a child that has these packages and nothing else.
IMPORT_EACH_FIRST = """
import importlib, os, sys

def inside(package):
    start = package + "." if package else ""
    return sorted({start + name[len(start):].partition(".")[0] for name in sys.argv[1:] if name.startswith(start)})

def visit(package):
    for name in inside(package):
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            if status:
                print(f"{name}: its process ended with {status}")
            continue
        try:
            importlib.import_module(name)
            visit(name)
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}")
        sys.stdout.flush()
        os._exit(0)

visit("")
"""


def import_each_first(names, **options):
    command = [sys.executable, "-c", IMPORT_EACH_FIRST, *names]
    # Lines are not counted there: it would take most of the time.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=True, env=environment, **options
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_every_module_can_be_the_first_one_imported(library):
    names = [module_name(path) for path in library if not path.endswith("__main__.py")]
    assert import_each_first(names) == []


def test_a_module_that_needs_another_one_imported_first_is_found(tmp_path):
    (tmp_path / "first.py").write_text("import second\nvalue = 1\n")
    (tmp_path / "second.py").write_text("from first import value\n")
    assert len(import_each_first(["first"], cwd=tmp_path)) == 1


def test_a_module_that_ends_the_process_is_found(tmp_path):
    (tmp_path / "first.py").write_text("import os\nos.abort()\n")
    (found,) = import_each_first(["first"], cwd=tmp_path)
    assert found.startswith("first: its process ended with ")


def test_such_a_module_in_a_package_is_found_whatever_was_imported_before_it(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "first.py").write_text("from . import second\nvalue = 1\n")
    (tmp_path / "package" / "second.py").write_text("from .first import value\n")
    names = ["package", "package.first", "package.second"]
    assert [each.partition(":")[0] for each in import_each_first(names, cwd=tmp_path)] == ["package.first"]
