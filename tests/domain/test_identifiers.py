"""Identifiers and notes: look-alikes, invisible characters and lengths (case C12)."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain.identifiers import MAX_TEXT, clipped, displayed, identifier, is_identifier, note
from refold.engine.errors import InvalidIdentifier, InvalidText

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=200)
NFC, NFD = "caf\u00e9", "cafe\u0301"

NO_IDENTIFIERS = [
    pytest.param("", id="empty"),
    pytest.param("x" * 129, id="129 characters"),
    pytest.param("x" * 10**5, id="10^5 characters"),
    pytest.param("a b", id="blank"),
    pytest.param(" a", id="blank before"),
    pytest.param("a\n", id="newline after"),
    pytest.param("a\tb", id="tab"),
    pytest.param("a\x00b", id="NUL"),
    pytest.param("a\x7f", id="DEL"),
    pytest.param(NFC, id="NFC"),
    pytest.param(NFD, id="NFD"),
    pytest.param("\u0430nn", id="cyrillic a"),
    pytest.param("\uff11", id="fullwidth digit"),
    pytest.param("a\u202eb", id="right-to-left override"),
    pytest.param("a\u200bb", id="zero width space"),
    pytest.param("a\u00a0b", id="no-break space"),
    pytest.param("\ud800", id="lone surrogate"),
    pytest.param("\U0001f4b0", id="emoji"),
    pytest.param(None, id="none"),
    pytest.param(17, id="int"),
    pytest.param(b"r-1", id="bytes"),
    pytest.param(["r-1"], id="list"),
]


@pytest.mark.parametrize("value", NO_IDENTIFIERS)
def test_what_is_not_1_to_128_printable_ascii_characters_is_no_identifier(value):
    assert not is_identifier(value)
    with pytest.raises(InvalidIdentifier, match=r"^refund_id .* refused: 1 to 128 printable ASCII") as caught:
        identifier("refund_id", value)
    assert caught.value.name == "refund_id"
    assert str(caught.value).isascii() or "\u2026" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "value", ["r", "x" * 128, "!", "~", "R-1", "r-1", "a/b?c=d&e", "';DROP/**/TABLE/**/x;--", "<b>"]
)
def test_an_identifier_is_returned_as_given(value):
    assert identifier("refund_id", value) == value


def test_identifiers_are_told_apart_by_case():
    assert identifier("refund_id", "R-1") != identifier("refund_id", "r-1")


@PROFILE
@given(st.text())
def test_an_identifier_is_exactly_printable_ascii_without_blanks(text):
    printable = 1 <= len(text) <= 128 and all("!" <= character <= "~" for character in text)
    assert is_identifier(text) is printable


# ---- notes


def test_twins_become_one_note():
    assert note("reason", NFD) == note("reason", NFC) == NFC


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "text is needed, got NoneType", id="none"),
        pytest.param(5, "text is needed, got int", id="int"),
        pytest.param(b"x", "text is needed, got bytes", id="bytes"),
        pytest.param("\ud800", "it holds a lone surrogate", id="lone surrogate"),
        pytest.param("x" * 501, "501 characters, at most 500 are kept", id="501 characters"),
        pytest.param("x" * 10**5, "100000 characters, at most 500 are kept", id="10^5 characters"),
    ],
)
def test_a_note_that_cannot_be_kept_is_refused(value, reason):
    with pytest.raises(InvalidText, match=f"^reason refused: {reason}$") as caught:
        note("reason", value)
    assert (caught.value.name, caught.value.reason) == ("reason", reason)


def test_the_length_counts_after_composing():
    assert note("reason", "e\u0301" * MAX_TEXT) == "\u00e9" * MAX_TEXT


@pytest.mark.parametrize("value", ["", " ", "\n", "\u200b", "\u202e\u2066", "\x00"])
def test_a_required_note_says_something(value):
    with pytest.raises(InvalidText, match="it must say something"):
        note("reason", value, required=True)
    assert note("reason", value) == value


# ---- what is shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        pytest.param("plain text, 100%", "plain text, 100%", id="plain"),
        pytest.param(
            "\u9000\u6b3e\u6210\u529f \U0001f4b0",
            "\u9000\u6b3e\u6210\u529f \U0001f4b0",
            id="chinese and emoji",
        ),
        pytest.param("a\x00b\x1b[31mc\nd\te\x7f\x85", "ab[31mcde", id="control characters"),
        pytest.param("a\u202eb\u200bc\u2066d\ufeffe\u00adf", "abcdef", id="format characters"),
        pytest.param("a\u2028b\u2029c", "abc", id="line and paragraph separators"),
        pytest.param("a\ud800b", "ab", id="lone surrogate"),
        pytest.param("<script>", "<script>", id="markup is escaped where it is shown, not here"),
    ],
)
def test_what_cannot_be_seen_is_not_shown(given, shown):
    assert displayed(given) == shown


@PROFILE
@given(st.text(st.characters()))
def test_what_is_shown_can_be_written_anywhere_and_showing_it_again_changes_nothing(text):
    shown = displayed(text)
    shown.encode()
    assert displayed(shown) == shown
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in shown)


@pytest.mark.parametrize(
    ("value", "kept"), [("x" * 501, "x" * 500), (None, ""), (5, ""), ("\x00a\u202e", "a"), ({}, "")]
)
def test_a_gateways_words_are_cut_and_cleaned_and_never_an_error(value, kept):
    assert clipped(value) == kept
