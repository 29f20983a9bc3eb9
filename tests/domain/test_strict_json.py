"""Strict JSON: what other readers would take in silence, or each in its own way, is refused (case B18)."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain.strict_json import NotStrictJson, dumps, loads

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=300)


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        pytest.param(b'{"a":NaN}', "NaN is not JSON", id="NaN"),
        pytest.param(b"[Infinity]", "Infinity is not JSON", id="Infinity"),
        pytest.param(b"-Infinity", "-Infinity is not JSON", id="minus Infinity"),
        pytest.param(b"1e999", "a number is out of range", id="1e999"),
        pytest.param(b"-1e309", "a number is out of range", id="-1e309"),
        pytest.param(b"1e-999", "a number is out of range", id="1e-999"),
        pytest.param(b"1e99999999999999999999", "a number is out of range", id="an exponent of 20 digits"),
        pytest.param(b"1" * 309, "a number has too many digits", id="309 digits"),
        pytest.param(b"-" + b"9" * 5000, "a number has too many digits", id="5000 digits"),
        pytest.param(b'{"a":1,"a":2}', "a key stands twice", id="duplicate key"),
        pytest.param(b'{"x":[{"a":1,"a":1}]}', "a key stands twice", id="duplicate key, same value, deeper"),
        pytest.param(b'{"a":1,"\\u0061":2}', "a key stands twice", id="duplicate key, escaped"),
        pytest.param(b"\xef\xbb\xbf{}", "byte order mark", id="BOM"),
        pytest.param('{"a":1}'.encode("utf-16"), "not UTF-8 at byte 0", id="UTF-16 with BOM"),
        pytest.param('{"a":1}'.encode("utf-16-le"), "it holds a NUL", id="UTF-16 without BOM"),
        pytest.param('{"a":"\u00e9"}'.encode("latin-1"), "not UTF-8 at byte 6", id="Latin-1"),
        pytest.param(b'"\xed\xa0\x80"', "not UTF-8 at byte 1", id="surrogate in UTF-8"),
        pytest.param(b'"\xc0\xaf"', "not UTF-8 at byte 1", id="overlong UTF-8"),
        pytest.param(b'"\\ud800"', "a lone surrogate", id="lone surrogate"),
        pytest.param(b'"\\udc00\\ud800"', "a lone surrogate", id="surrogates the wrong way round"),
        pytest.param(b'{"\\ud800":1}', "a lone surrogate", id="lone surrogate in a key"),
        pytest.param(b'[[{"a":["\\ud800"]}]]', "a lone surrogate", id="lone surrogate, deep"),
        pytest.param(b'"a\\u0000b"', "a text holds a NUL", id="NUL escaped"),
        pytest.param(b'{"a\\u0000":1}', "a text holds a NUL", id="NUL escaped in a key"),
        pytest.param(b'"a\x00b"', "it holds a NUL", id="NUL"),
        pytest.param(b'"a\x01b"', "Invalid control character", id="control character"),
        pytest.param(b'{"a":1}x', "Extra data", id="trailing garbage"),
        pytest.param(b'{"a":1}{"a":1}', "Extra data", id="two documents"),
        pytest.param(b'{"a":1,}', "property name", id="trailing comma in an object"),
        pytest.param(b"[1,]", "Expecting value", id="trailing comma in a list"),
        pytest.param(b"{'a':1}", "property name", id="single quotes"),
        pytest.param(b"{a:1}", "property name", id="bare key"),
        pytest.param(b'{"a":1 /* one */}', "delimiter", id="comment"),
        pytest.param(b"01", "Extra data", id="leading zero"),
        pytest.param(b"+1", "Expecting value", id="plus"),
        pytest.param(b"1.", "Extra data", id="point without digits"),
        pytest.param(b".5", "Expecting value", id="point first"),
        pytest.param(b"0x10", "Extra data", id="hexadecimal"),
        pytest.param(b"True", "Expecting value", id="Python's True"),
        pytest.param(b'"\\x41"', "Invalid", id="escape of another language"),
        pytest.param(b"", "Expecting value", id="empty"),
        pytest.param(b"   ", "Expecting value", id="blanks"),
        pytest.param(b'{"a":', "Expecting value", id="cut off"),
        pytest.param(b"[" * 65 + b"]" * 65, "nested too deeply", id="65 lists deep"),
        pytest.param(
            b"[[]," + b"[" * 64 + b"]" * 65, "nested too deeply", id="65 lists deep, beside another"
        ),
        pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, "nested too deeply", id="65 objects deep"),
        pytest.param(b"[" * 10**5 + b"]" * 10**5, "nested too deeply", id="10^5 lists deep"),
        pytest.param(b"[" * 10**5, "nested too deeply", id="10^5 brackets, unclosed"),
    ],
)
def test_what_is_no_strict_json_is_refused_by_its_rule(raw, rule):
    with pytest.raises(NotStrictJson, match=rule):
        loads(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"{}", {}),
        (b' {"a" : [1, true, false, null, "x"]}\n', {"a": [1, True, False, None, "x"]}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        ('"\u9000\u6b3e"'.encode(), "\u9000\u6b3e"),
        (b'"\\u00e9\\n\\/"', "\u00e9\n/"),
        (b"9" * 308, int("9" * 308)),
        (b"[" * 64 + b"]" * 64, None),
        (b"[[]," + b"[" * 63 + b"]" * 64, None),
        (b"[" + b"[]," * 1000 + b"[]]", [[]] * 1001),
        (b"[[1],[[2]]]", [[1], [[2]]]),
        (b'"[[[[[[[[[["', "[" * 10),
    ],
    ids=repr,
)
def test_strict_json_is_read(raw, value):
    found = loads(raw)
    assert value is None or found == value


@pytest.mark.parametrize(
    "text", ["10.0", "0.1", "1.10", "76.19", "1e2", "1E+2", "-0.0", "1e308", "123456789.123456789123456789"]
)
def test_a_number_with_a_point_or_an_exponent_is_a_decimal_and_no_float(text):
    found = loads(text.encode())
    assert type(found) is Decimal
    assert str(found) == str(Decimal(text))


@pytest.mark.parametrize("text", ["0", "-1", "10", str(2**63), str(10**40)])
def test_a_whole_number_is_an_int(text):
    found = loads(text.encode())
    assert type(found) is int
    assert str(found) == text


@PROFILE
@given(
    st.binary() | st.text().map(str.encode) | st.text('[]{}":,0123456789.eE+-truefalsn\\ud8').map(str.encode)
)
def test_any_bytes_are_strict_json_or_refused(raw):
    try:
        value = loads(raw)
    except NotStrictJson:
        return
    assert loads(dumps(value).encode()) == value


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
)


def nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.text('abc\u00e9"', max_size=3), inner, max_size=3)


@settings(PROFILE, max_examples=100)
@given(st.recursive(LEAVES, nested, max_leaves=8))
def test_what_is_written_reads_back_with_every_digit(value):
    written = dumps(value)
    assert loads(written.encode()) == value
    assert json.loads(written, parse_float=Decimal) == value


def test_what_is_written_is_compact_and_keeps_the_digits():
    assert dumps(loads(b'{ "a": [1.10, 1E+2, 10], "\\u00e9": null }')) == '{"a":[1.10,1E+2,10],"\u00e9":null}'


def test_a_refusal_never_quotes_the_document():
    for raw in (b'{"pan":"4111111111111111",}', b"4111111111111111 4111111111111111", b'"4111111111111111'):
        with pytest.raises(NotStrictJson) as caught:
            loads(raw)
        assert "4111" not in str(caught.value)
