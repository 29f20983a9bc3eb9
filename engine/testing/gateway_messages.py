"""Messages to try a gateway's adapter with: any bytes, any JSON or form in its own words, and real ones damaged.

Needs `hypothesis`, which is why `gateway_conformance` imports this module only when a test runs.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, urlencode

from hypothesis import strategies as st

from ..domain.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..ports import Gateway

Json: TypeAlias = Any
Path: TypeAlias = tuple[str | int, ...]

_NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
_HEADERS: Final = ("Authorization", "Content-Type", "DateTime", "KeyID", "MsgID", "SignType", "Signature")
_WORDS: Final = (
    "",
    "0",
    "1",
    "10.00",
    "-1",
    "1e5",
    "HKD",
    "JPY",
    "r-1",
    "Success",
    "2026-11-21T12:00:00Z",
    "\u0661",
)
_DEEP: Final = (50, 64, 65, 500, 5000)


class Vocabulary(NamedTuple):
    """What a gateway's messages are made of.

    Attributes:
        names: of fields.
        values: texts and numbers that stand in them.
        paths: to the fields that carry codes.
        headers: their names.
        targets: paths of its API.
        bodies: whole bodies of real messages.
    """

    names: tuple[str, ...]
    values: tuple[str | int, ...]
    paths: tuple[Path, ...]
    headers: tuple[str, ...]
    targets: tuple[str, ...]
    bodies: tuple[bytes, ...]


def vocabulary(gateway: Gateway, samples: Iterable[Message]) -> Vocabulary:
    """Return the words of a gateway, from its table of codes and from real messages."""
    messages = list(samples)
    paths = {tuple(code.field.split(".")) for code in gateway.codes}
    names = {name for path in paths for name in path}
    values: set[str | int] = {*_WORDS, *(code.value for code in gateway.codes)}
    for message in messages:
        for path, value in leaves(parsed(message.body)):
            names |= {name for name in path if isinstance(name, str)}
            values |= {value} if isinstance(value, str | int) else set()
    return Vocabulary(
        tuple(sorted(names)),
        tuple(sorted(values, key=repr)),
        tuple(sorted(paths)),
        tuple(sorted({*_HEADERS, *(name for message in messages for name in message.headers)})),
        tuple(
            sorted(
                {message.target for message in messages if message.target} | {"/", "/payment/p-1/refund?a=b"}
            )
        ),
        tuple(message.body for message in messages),
    )


def parsed(body: bytes) -> Json:
    """Return a body as JSON, else as the fields of a form."""
    try:
        return json.loads(body)
    except ValueError:
        return dict(parse_qsl(body.decode(errors="replace")))


def leaves(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Yield where every text, number, truth value and null stands; a text that is JSON itself is looked into too."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
        return
    yield path, value
    if isinstance(value, str) and value.startswith("{"):
        yield from leaves(parsed(value.encode()), path)


def replaced(value: Json, path: Path, new: Json) -> Json:
    """Return `value` with `new` at `path`, as far as the path leads."""
    if not path:
        return new
    head, *rest = path
    if isinstance(value, dict):
        return {**value, head: replaced(value.get(head), tuple(rest), new)}
    if isinstance(value, list) and isinstance(head, int):
        return [
            replaced(inner, tuple(rest), new) if index == head else inner for index, inner in enumerate(value)
        ]
    return replaced({}, path, new)


# ---- strategies ------------------------------------------------------------------------------------------------


def scalars(words: Vocabulary) -> st.SearchStrategy[Json]:
    """Return a strategy for what may stand in a field: the gateway's own words, and everything else."""
    return st.one_of(
        st.sampled_from(words.values),
        st.none() | st.booleans() | st.floats(),
        st.integers() | st.integers(10**12, 10**20) | st.just(10**400),
        st.text(st.characters(), max_size=20),
        st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,6})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    )


def documents(words: Vocabulary) -> st.SearchStrategy[Json]:
    """Return a strategy for JSON built of the gateway's field names, the codes where they belong."""
    names = st.sampled_from(words.names) | st.text(max_size=5)

    def nested(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
        return st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6)

    values = st.recursive(scalars(words), nested, max_leaves=10)
    texts = values.map(json.dumps)
    fields = st.tuples(
        st.sampled_from(words.paths) | names.map(lambda name: (name,)), scalars(words) | values | texts
    )
    return st.lists(fields, max_size=8).map(_placed) | values


def _placed(fields: list[tuple[Path, Json]]) -> Json:
    document: Json = {}
    for path, value in fields:
        document = replaced(document, path, value)
    return document


def _written(document: Json, *, ascii_only: bool) -> bytes:
    return json.dumps(document, ensure_ascii=ascii_only).encode(errors="surrogatepass")


def _form(document: Json) -> bytes:
    fields = document if isinstance(document, dict) else {"": document}
    return urlencode({name: str(value) for name, value in fields.items()}, errors="surrogatepass").encode()


def _deep(name: str, depth: int, closed: bool) -> bytes:  # noqa: FBT001 - drawn by hypothesis
    return b"{%s:%s1%s}" % (json.dumps(name).encode(), b"[" * depth, b"]" * depth * closed)


def made_up_bodies(words: Vocabulary) -> st.SearchStrategy[bytes]:
    """Return a strategy for bodies that no gateway sent."""
    return st.one_of(
        st.binary(max_size=200),
        st.text(max_size=50).map(lambda text: text.encode()),
        st.builds(_written, documents(words), ascii_only=st.booleans()),
        documents(words).map(_form),
        st.builds(_deep, st.sampled_from(words.names), st.sampled_from(_DEEP), st.booleans()),
    )


def damaged_bodies(words: Vocabulary) -> st.SearchStrategy[bytes]:
    """Return a strategy for real bodies with bits flipped, parts cut out or put in, and fields of another kind."""
    new = documents(words)
    return st.one_of([_bytes_changed(body) | _fields_changed(body, new) for body in words.bodies])


def _bytes_changed(body: bytes) -> st.SearchStrategy[bytes]:
    def flipped(where: int, bit: int) -> bytes:
        return body[:where] + bytes([body[where] ^ (1 << bit)]) + body[where + 1 :]

    def spliced(start: int, length: int, new: bytes) -> bytes:
        return body[:start] + new + body[start + length :]

    where = st.integers(0, len(body) - 1)
    return st.builds(flipped, where, st.integers(0, 7)) | st.builds(
        spliced, where, st.integers(0, len(body)), st.binary(max_size=8)
    )


def _fields_changed(body: bytes, new: st.SearchStrategy[Json]) -> st.SearchStrategy[bytes]:
    document = parsed(body)
    where = [path for path, _ in leaves(document)] or [()]
    parents = [path[:length] for path in where for length in range(len(path))]
    changes = st.lists(st.tuples(st.sampled_from(where + parents), new), min_size=1, max_size=3)

    def changed(fields: list[tuple[Path, Json]]) -> Json:
        other = document
        for path, value in fields:
            other = replaced(other, path, value)
        return other

    written = changes.map(changed)
    if body.startswith(b"{"):
        return st.builds(_written, written, ascii_only=st.booleans())
    return written.map(_form)


def messages(bodies: st.SearchStrategy[bytes], words: Vocabulary) -> st.SearchStrategy[Message]:
    """Return a strategy for messages: those bodies, any headers, any status, any target, any time."""
    cases = [case(name) for name in words.headers for case in (str, str.lower, str.upper)]
    names = st.sampled_from(cases) | st.text(max_size=10)
    contents = st.sampled_from(
        [*map(str, words.values), "a" * 64, "A" * 32, "application/json", "SHA256"]
    ) | st.text(max_size=30)
    return st.builds(
        Message,
        body=bodies,
        received_at=st.timedeltas(timedelta(days=-700_000), timedelta(days=2_900_000)).map(
            lambda apart: _NOW + apart
        )
        | st.timedeltas(timedelta(days=-400), timedelta(days=400)).map(lambda apart: _NOW + apart),
        headers=st.dictionaries(names, contents, max_size=6),
        http_status=st.none()
        | st.sampled_from([200, 201, 204, 302, 400, 404, 408, 429, 500, 503])
        | st.integers(),
        method=st.none() | st.sampled_from(["GET", "POST"]) | st.text(max_size=5),
        target=st.none() | st.sampled_from(words.targets) | st.text(max_size=40),
        exact=st.booleans(),
    )
