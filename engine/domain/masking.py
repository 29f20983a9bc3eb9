"""Masking of card data and secrets in raw messages, before anything is stored or logged. Never re-serialises."""

from __future__ import annotations

import re
from typing import Final

# ---- card numbers: a brand's first digits, a length, and the Luhn check ----------------------------------------

_BRANDS: Final = (
    (re.compile(rb"4"), frozenset({13, 16, 19})),  # Visa
    (re.compile(rb"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), frozenset({16})),  # Mastercard
    (re.compile(rb"3[47]"), frozenset({15})),  # American Express
    (re.compile(rb"30[0-5]|3095|3[689]"), frozenset(range(14, 20))),  # Diners Club
    (re.compile(rb"6011|64[4-9]|65"), frozenset(range(16, 20))),  # Discover
    (re.compile(rb"352[89]|35[3-8]"), frozenset(range(16, 20))),  # JCB
    (re.compile(rb"62|81"), frozenset(range(16, 20))),  # UnionPay
    (re.compile(rb"50|5[6-9]|6[0-9]"), frozenset(range(13, 20))),  # Maestro
)
_PREFIX: Final = 4
_MOST: Final = 19
_FIRST, _LAST = 6, 4

_BETWEEN: Final = rb"[ +-]|%20|%2[Dd]"
"""What may stand between two digits of one number: a blank or a dash, in a form too."""
_CHAIN: Final = rb"[0-9](?:(?:" + _BETWEEN + rb")?[0-9]){12,}"
_CHAINS: Final = (
    re.compile(rb"(?<![0-9])" + _CHAIN),
    re.compile(rb"(?:(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))" + _CHAIN),
)
"""Digits that may hold a card number. An escaped character may end in a digit that is no part of what follows."""
_SEPARATOR: Final = re.compile(rb"(" + _BETWEEN + rb")")
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
_ZERO: Final = ord("0")

# ---- verification codes: never kept, not even in part ----------------------------------------------------------

_CODE_NAMES: Final = (
    rb"(?:(?:card[ _-]?)?(?:cvv2?|cvc2?|cvn2?|csc|cid)(?:[ _-]?(?:code|value|number))?"
    rb"|(?:card[ _-]?)?(?:security|verification)[ _-]?(?:code|value)"
    rb"|track[ _-]?[123](?:[ _-]?data)?|pin[ _-]?block|ic[ _-]?card[ _-]?data)"
)
_QUOTE: Final = rb'(\\{0,3}")'
_CODE_JSON: Final = re.compile(
    rb"(" + _QUOTE + _CODE_NAMES + rb"\2\s{0,20}:\s{0,20})"
    rb"(?:" + _QUOTE + rb"(?:(?!\3)(?:\\.|[^\\])){0,4000}\3|-?[0-9][0-9.eE+-]{0,40})",
    re.IGNORECASE | re.DOTALL,
)
_CODE_FORM: Final = re.compile(rb"((?:^|[&?;\s])" + _CODE_NAMES + rb"=)([^&;\s]*)", re.IGNORECASE)
_CODE_TEXT: Final = re.compile(
    rb"(\b(?:cvv2?|cvc2?|cvn2?|csc)(?:\s(?:code|value|is))?\s{0,3}[:=#]?\s{0,3})[0-9]{3,4}(?![0-9])",
    re.IGNORECASE,
)
"""Every repetition is bounded: a message of blanks or backslashes must not take minutes."""

# ---- a glance: most texts hold nothing of all this, and looking closely is expensive ---------------------------

_DIGITS_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_RUN: Final = b"0" * 13
_IN_CODE_NAMES: Final = ("cv", "csc", "cid", "security", "verification", "track", "pin", "data")
"""One of these, in lower case, stands in whatever `_CODE_NAMES` finds."""


def may_hold_secrets(raw: bytes) -> bool:
    """Tell whether a closer look is needed: True for all that `mask_cards` changes, and for little else."""
    return _may_hold_codes(raw) or _may_hold_cards(raw)


def _may_hold_codes(raw: bytes) -> bool:
    lowered = raw.lower().decode("latin-1")  # texts are searched twice as fast as bytes
    return any(map(lowered.__contains__, _IN_CODE_NAMES))


def _may_hold_cards(raw: bytes) -> bool:
    # Without what may stand between two digits, a number of 13 digits is a run of 13; what a form writes there is not
    # one character, but it is rare.
    return raw.translate(_DIGITS_AS_ZEROS, b" +-").find(_RUN) >= 0 or raw.find(b"%2") >= 0


def mask_cards(raw: bytes) -> bytes:
    """Return `raw` with card numbers cut to first6/last4 and verification codes blanked; again, it changes nothing.

    A card number is 13 to 19 digits with no digit beside them, at most one blank or dash between two of them, that
    begin like a card of a known brand, have one of its lengths and pass the Luhn check. Beside other digits, a blank
    or dash apart, the first six are blanked too.
    """
    if _may_hold_codes(raw):
        raw = _CODE_JSON.sub(rb"\1\2****\2", raw)
        raw = _CODE_FORM.sub(rb"\1****", raw)
        raw = _CODE_TEXT.sub(rb"\1****", raw)
    if not _may_hold_cards(raw):
        return raw
    masked = b""
    while masked != raw:
        masked = raw
        for chain in _CHAINS:
            raw = chain.sub(_masked_chain, raw)
    return masked


def mask_text(text: str) -> str:
    """Return `text` masked the same way."""
    return mask_cards(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")


def _masked_chain(match: re.Match[bytes]) -> bytes:
    """Mask every card number in a chain of digit groups, whichever groups it begins and ends with."""
    parts = _SEPARATOR.split(match.group())
    groups, between = parts[0::2], [*parts[1::2], b""]
    masked, index = bytearray(), 0
    while index < len(groups):
        digits, last = _card_from(groups, index)
        if digits:
            masked += b"*" * _FIRST if index else digits[:_FIRST]
            masked += b"*" * (len(digits) - _FIRST - _LAST)
            groups[last] = digits[-_LAST:]  # may itself begin the next number
            index = last
        else:
            masked += groups[index] + between[index]
            index += 1
    return bytes(masked)


def _card_from(groups: list[bytes], index: int) -> tuple[bytes, int]:
    """Return the longest card number that begins with that group, and its last group; empty where there is none."""
    found, digits = (b"", index), b""
    lengths = _lengths(b"".join(groups[index : index + _PREFIX]))
    for last in range(index, min(index + _MOST, len(groups)) if lengths else index):
        digits += groups[last]
        if len(digits) > _MOST:
            break
        if len(digits) in lengths and _luhn_sum(digits) % 10 == 0:
            found = digits, last
    return found


def _lengths(digits: bytes) -> frozenset[int]:
    """Return how many digits a card number has that begins like this."""
    return frozenset().union(*(lengths for begins, lengths in _BRANDS if begins.match(digits)))


def _luhn_sum(digits: bytes) -> int:
    return sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED)) - _ZERO * len(digits)


_SHOWN: Final = 60
_LOOKED_AT: Final = 10 * _SHOWN


def shown(value: object) -> str:
    """Return `value` as an error message may show it: escaped, card numbers masked, and cut after 60 characters."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # an int of thousands of digits, lists in lists in lists
        text = f"({type(value).__name__} that cannot be shown)"
    # Masked before it is escaped: behind a quotation mark `cvv=` would not begin a field.
    masked = mask_text(ascii(mask_text(value[:_LOOKED_AT])) if isinstance(value, str) else text[:_LOOKED_AT])
    return masked if len(text) <= _SHOWN else f"{masked[:_SHOWN]}… ({len(text)} characters)"
