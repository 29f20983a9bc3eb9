"""A file fits in a reader's head, a function on a screen."""

import ast

MAX_FILE = 400
MAX_FUNCTION = 60


def too_long_files(sources):
    lengths = {path: len(text.splitlines()) for path, text in sources.items()}
    return [f"{path}: {length} lines" for path, length in lengths.items() if length > MAX_FILE]


def too_long_functions(sources):
    return [
        f"{path}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path, text in sources.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION
    ]


def test_no_file_is_longer_than_400_lines(sources):
    assert too_long_files(sources) == []


def test_no_function_is_longer_than_60_lines(sources):
    assert too_long_functions(sources) == []


def test_a_file_of_401_lines_is_found():
    assert too_long_files({"short.py": "x = 1\n" * 400, "long.py": "x = 1\n" * 401}) == ["long.py: 401 lines"]


def test_a_function_of_61_lines_is_found():
    short = "def short():\n" + "    x = 1\n" * 59
    long = "async def long():\n" + "    x = 1\n" * 60
    assert too_long_functions({"a.py": short, "b.py": long}) == ["b.py:1 long: 61 lines"]
