"""Masking of card data and secrets in raw messages, before anything is stored or logged. Never re-serialises."""

from __future__ import annotations

import re
from typing import Final

# 13 to 19 digits, at most one blank or dash between two of them, and no further digit on either side. Those that
# begin like a card (Visa, Mastercard, Amex, Diners, Discover, JCB, UnionPay, Maestro) and pass the Luhn check are one.
_CANDIDATE: Final = re.compile(rb"(?<![0-9])[2-6](?:[ -]?[0-9]){12,18}(?![0-9])")
_BRANDS: Final = re.compile(
    rb"4|5[0-9]|2(?:2[2-9]|[3-6][0-9]|7[01]|720)|3(?:0[0-5]|[4-9])|6(?:011|4[4-9]|5|2|0|3|7|8|9)"
)
_CODE_NAMES: Final = (
    rb"(?:cvv2?|cvc2?|cvn|csc|cid|cardSecurityCode|securityCode|cardVerificationValue"
    rb"|track[ _-]?[12](?:Data)?|pinBlock|icCardData)"
)
_CODE_JSON: Final = re.compile(
    rb'((\\?")' + _CODE_NAMES + rb'\2\s*:\s*)(?:(\\?")(?:(?!\3).)*\3|[0-9]+)', re.IGNORECASE | re.DOTALL
)
_CODE_FORM: Final = re.compile(rb"((?:^|[&?;\s])" + _CODE_NAMES + rb"=)([^&;\s]*)", re.IGNORECASE)


def mask_cards(raw: bytes) -> bytes:
    """Return `raw` with card numbers cut to first6/last4 and verification codes blanked."""
    raw = _CODE_JSON.sub(rb"\1\2****\2", raw)
    raw = _CODE_FORM.sub(rb"\1****", raw)
    return _CANDIDATE.sub(_masked_number, raw)


def mask_text(text: str) -> str:
    """Return `text` masked the same way."""
    if not any(character.isdigit() for character in text):
        return text
    return mask_cards(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")


def _masked_number(match: re.Match[bytes]) -> bytes:
    found = match.group()
    digits = bytes(byte for byte in found if byte not in b" -")
    if not (_BRANDS.match(digits) and _luhn(digits)):
        return found
    return digits[:6] + b"*" * (len(digits) - 10) + digits[-4:]


def _luhn(digits: bytes) -> bool:
    total = 0
    for index, byte in enumerate(reversed(digits)):
        value = byte - 48
        if index % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0
