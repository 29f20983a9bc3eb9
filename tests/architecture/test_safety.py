"""Mistakes that cost money, which a reader of the source can rule out for good."""

import ast
import re

import pytest

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

SQL_CALLS = frozenset({"execute", "executemany", "executescript", "query"})
SECRET_WORDS = frozenset({"digest", "hexdigest", "hmac", "mac", "sig", "sign", "signature"})
NOT_SECRET_ITSELF = frozenset({"algorithm", "id", "kind", "length", "method", "name", "size", "type"})
CODE_RUNNERS = frozenset(
    {"marshal", "pickle", "shelve", "dill", "eval", "exec", "yaml.load", "yaml.unsafe_load"}
)
CLOCKS = frozenset(
    {"datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow", "datetime.date.today"}
    | {"time.time", "time.time_ns", "time.clock_gettime", "time.ctime", "time.gmtime", "time.localtime"}
)
STOPWATCHES = frozenset({"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"})
ENTROPIES = frozenset({"os.getrandom", "os.urandom", "random", "secrets", "uuid"})
SQL_CLOCKS = re.compile(
    r"current_(date|time)|clock_timestamp|'now'|\b(now|random|gen_random_uuid)\(\)|randomblob\(",
    re.IGNORECASE,
)
SEAMS = "engine/composition.py"


def findings(check, modules):
    return [f"{path}:{line}" for path, tree in modules.items() for line in check(path, tree)]


def assembled(node):
    """Tell whether an expression puts a text together instead of being one."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in {"format", "join", "replace"}
    return isinstance(node, ast.JoinedStr)


def assembled_sql(_path, tree):
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in SQL_CALLS
        ):
            statement = (
                node.args[0] if node.args else next((k.value for k in node.keywords if k.arg == "sql"), None)
            )
            if statement is not None and assembled(statement):
                yield node.lineno


def secret(node):
    """Tell whether an expression's last name has a word for something an attacker may guess byte by byte."""
    if isinstance(node, ast.Call | ast.Subscript | ast.Await):
        return secret(getattr(node, "func", None) or node.value)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    words = name.lower().split("_")
    return words[-1] not in NOT_SECRET_ITSELF and not SECRET_WORDS.isdisjoint(words)


def leaky_comparison(path, tree):
    if not (path.startswith("adapters/") or "webhook" in path):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            exact = any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
            if (
                exact
                and any(map(secret, sides))
                and not any(isinstance(side, ast.Constant) for side in sides)
            ):
                yield node.lineno


def origins(tree):
    """Return what each imported local name stands for, dotted."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                names[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def dotted(node, names=None):
    """Return an expression's full dotted name, starting at one of `names` where given; else empty."""
    if isinstance(node, ast.Name):
        return node.id if names is None else names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        start = dotted(node.value, names)
        return start and f"{start}.{node.attr}"
    return ""


def uses(tree, forbidden):
    """Return the lines that import or name anything forbidden, or anything inside it."""

    def hit(name):
        return any(name == entry or name.startswith(entry + ".") for entry in forbidden)

    names = {"eval": "eval", "exec": "exec"} | origins(tree)
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            mentioned = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            mentioned = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            mentioned = [dotted(node, names)]
        if any(map(hit, mentioned)):
            lines.add(node.lineno)
    return sorted(lines)


def code_from_data(_path, tree):
    return uses(tree, CODE_RUNNERS)


def floats(path, tree):
    if path.startswith(("adapters/", "engine/domain/")):
        for node in ast.walk(tree):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            if literal or (isinstance(node, ast.Call) and dotted(node.func) == "float"):
                yield node.lineno


def time_or_chance(path, tree):
    if path == SEAMS:
        return []
    return uses(
        tree, CLOCKS | ENTROPIES if path.startswith("eventstore/") else CLOCKS | ENTROPIES | STOPWATCHES
    )


def clock_in_sql(path, tree):
    if path.startswith("eventstore/"):
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and SQL_CLOCKS.search(node.value)
            ):
                yield node.lineno


def unexplained_skips(_path, tree):
    explained = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            reasons = [k.value for k in node.keywords if k.arg == "reason"]
            if name in {"pytest.skip", "pytest.xfail", "pytest.importorskip"}:
                reasons += node.args[name == "pytest.importorskip" :]
            if any(not (isinstance(reason, ast.Constant) and not reason.value) for reason in reasons):
                explained.add(id(node.func))
    marks = {f"pytest.mark.{mark}" for mark in ("skip", "skipif", "xfail")} | {"pytest.skip", "pytest.xfail"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and dotted(node) in marks and id(node) not in explained:
            yield node.lineno


@pytest.mark.parametrize(
    "check", [assembled_sql, leaky_comparison, code_from_data, floats, time_or_chance, clock_in_sql]
)
def test_the_library_has_no(check, library):
    assert findings(check, library) == []


def test_every_skipped_or_failing_test_says_why(test_files):
    assert findings(unexplained_skips, test_files) == []


ADAPTER = "adapters/evonet.py"
STORE = "eventstore/sqlite/store.py"
FACADE = "engine/service/facade.py"
WEBHOOK = "engine/web/webhooks.py"


@pytest.mark.parametrize(
    ("check", "path", "source"),
    [
        (assembled_sql, STORE, "db.execute(f'SELECT {name}')"),
        (assembled_sql, STORE, "db.execute('SELECT ' + name)"),
        (assembled_sql, STORE, "db.executemany('SELECT %s' % name, rows)"),
        (assembled_sql, STORE, "self.db.executescript('SELECT {}'.format(name))"),
        (assembled_sql, STORE, "db.execute(' '.join(parts))"),
        (assembled_sql, STORE, "db.query(sql=f'SELECT {name}')"),
        (leaky_comparison, ADAPTER, "if signature == expected: pass"),
        (leaky_comparison, ADAPTER, "return_ = given != self.expected_sign"),
        (leaky_comparison, ADAPTER, "ok = hmac.new(key, body).hexdigest() == given"),
        (leaky_comparison, ADAPTER, "ok = headers[sign_name] == sign(body)"),
        (leaky_comparison, WEBHOOK, "ok = mac == given"),
        (code_from_data, STORE, "import pickle"),
        (code_from_data, STORE, "from marshal import loads"),
        (code_from_data, STORE, "value = eval(text)"),
        (code_from_data, STORE, "run = exec"),
        (code_from_data, STORE, "import yaml as y\nvalue = y.load(text)"),
        (floats, ADAPTER, "amount = float(text)"),
        (floats, ADAPTER, "amount = cents / 100.0"),
        (floats, "engine/domain/money.py", "RATE = 1e-2"),
        (time_or_chance, FACADE, "from datetime import datetime\nat = datetime.now(UTC)"),
        (time_or_chance, FACADE, "import datetime as dt\nat = dt.datetime.utcnow()"),
        (time_or_chance, FACADE, "import time\nread = time.time"),
        (time_or_chance, FACADE, "import time\nread = time.monotonic"),
        (time_or_chance, STORE, "from time import time_ns"),
        (time_or_chance, STORE, "import os\nsalt = os.urandom(16)"),
        (time_or_chance, ADAPTER, "from uuid import uuid4"),
        (time_or_chance, ADAPTER, "import random"),
        (time_or_chance, ADAPTER, "import secrets"),
        (clock_in_sql, STORE, "db.execute('INSERT INTO e VALUES (CURRENT_TIMESTAMP)')"),
        (clock_in_sql, STORE, "DEFAULT = \"datetime('now')\""),
        (clock_in_sql, STORE, "SQL = 'SELECT randomblob(16)'"),
        (clock_in_sql, "eventstore/postgres.py", "SQL = 'SELECT now()'"),
        (unexplained_skips, "tests/x.py", "@pytest.mark.skip\ndef test_x(): pass"),
        (unexplained_skips, "tests/x.py", "@pytest.mark.skipif(sys.platform == 'win32')\ndef test_x(): pass"),
        (unexplained_skips, "tests/x.py", "@pytest.mark.xfail(reason='')\ndef test_x(): pass"),
        (unexplained_skips, "tests/x.py", "row = pytest.param(1, marks=pytest.mark.xfail)"),
        (unexplained_skips, "tests/x.py", "pytest.skip()"),
    ],
)
def test_a_planted_mistake_is_found(check, path, source):
    assert len(findings(check, {path: ast.parse(source)})) == 1


@pytest.mark.parametrize(
    ("check", "path", "source"),
    [
        (assembled_sql, STORE, "db.execute('SELECT ?', (name,))\ndb.execute(APPEND)"),
        (leaky_comparison, ADAPTER, "ok = hmac.compare_digest(signature, expected)"),
        (leaky_comparison, ADAPTER, "ok = signature == '' or signal == other or signed_at != then"),
        (leaky_comparison, ADAPTER, "ok = self.sign_type == KEY_BASED or len(digest) != digest_size"),
        (leaky_comparison, STORE, "ok = digest == stored"),
        (code_from_data, STORE, "import json\nvalue = json.loads(text); evaluate(text)"),
        (floats, ADAPTER, "ok = isinstance(value, float)"),
        (floats, FACADE, "delay_s = 0.5"),
        (time_or_chance, SEAMS, "import os, datetime\nat = datetime.datetime.now(); os.urandom(1)"),
        (time_or_chance, FACADE, "def blank(secrets, random, time): return secrets or time.time"),
        (time_or_chance, STORE, "import time\nuntil = time.monotonic() + 5"),
        (
            time_or_chance,
            FACADE,
            "from datetime import datetime\nat = datetime.fromisoformat(text); clock.now(); time",
        ),
        (clock_in_sql, STORE, "SQL = 'SELECT known, nowhere FROM events'"),
        (
            unexplained_skips,
            "tests/x.py",
            "@pytest.mark.skip(reason='no fork here')\ndef test_x(): pytest.skip('late')",
        ),
    ],
)
def test_what_is_right_is_not_taken_for_a_mistake(check, path, source):
    assert findings(check, {path: ast.parse(source)}) == []
