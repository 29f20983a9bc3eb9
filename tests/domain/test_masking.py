"""Card data never gets past masking, in any dress; what is no card number is left as it was."""

import json
import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain import masking
from refold.engine.domain.masking import mask_cards, mask_text

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=150)
SEEDS = sorted((Path(__file__).parent.parent / "seeds").iterdir())

# Published test numbers, and one of each further prefix completed by its check digit.
CARDS = {
    "Visa": "4111111111111111",
    "Visa of 13": "4222222222222",
    "Visa of 19": "4000000000000000006",
    "Mastercard": "5555555555554444",
    "Mastercard, 2-series": "2223003122003222",
    "Mastercard, end of 2-series": "2720992593319364",
    "American Express": "378282246310005",
    "American Express, 34": "340000000000009",
    "Diners Club": "30569309025904",
    "Diners Club, 36": "36227206271667",
    "Diners Club of 16": "3056930009020004",
    "Discover": "6011111111111117",
    "Discover, 65": "6500000000000002",
    "JCB": "3530111333300000",
    "UnionPay": "6200000000000005",
    "UnionPay of 19": "6205500000000000004",
    "UnionPay, 81": "8171999927660000",
    "Maestro": "6759649826438453",
    "Maestro, 50": "5018000000000009",
}


def masked(digits):
    return f"{digits[:6]}{'*' * (len(digits) - 10)}{digits[-4:]}"


def luhn(digits):
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def in_fours(digits, by):
    return by.join(digits[index : index + 4] for index in range(0, len(digits), 4))


DRESSES = {
    "plain": lambda pan: pan,
    "in fours, blanks": lambda pan: in_fours(pan, " "),
    "in fours, dashes": lambda pan: in_fours(pan, "-"),
    "every digit apart": " ".join,
    "JSON text": lambda pan: json.dumps({"cardNumber": pan}),
    "JSON number": lambda pan: f'{{"cardNumber":{pan}}}',
    "JSON in JSON": lambda pan: json.dumps({"request": json.dumps({"pan": pan})}),
    "JSON behind escaped Chinese": lambda pan: json.dumps({"note": f"\u5361\u53f7{pan}"}),
    "form": lambda pan: f"a=1&card={pan}&b=2",
    "form with blanks": lambda pan: "card=" + quote_plus(in_fours(pan, " ")),
    "form with blanks, percent": lambda pan: "card=" + quote(in_fours(pan, " ")),
    "form with dashes, percent": lambda pan: "card=" + in_fours(pan, "%2D"),
    "form with JSON": lambda pan: "request=" + quote(json.dumps({"pan": pan, "a": 1})),
    "behind a percent sign": lambda pan: f"LIKE '%{pan}%'",
    "next to letters": lambda pan: f"PAN{pan}X",
    "in a list": lambda pan: f"[1,{pan},2]",
    "before a verification code": lambda pan: f"{pan} 123",
    "behind a count": lambda pan: f"2 {in_fours(pan, ' ')}",
    "between other numbers": lambda pan: f"20261121 {pan} 1130",
    "twice": lambda pan: f"{pan} {pan}",
    "in stars": lambda pan: f"**{pan}**",
}


@pytest.mark.parametrize("pan", CARDS.values(), ids=CARDS)
def test_a_card_number_is_cut_to_its_first_six_and_last_four(pan):
    assert luhn(pan)
    assert mask_text(f'{{"card":"{pan}"}}') == f'{{"card":"{masked(pan)}"}}'
    assert mask_text(in_fours(pan, " ")) == mask_text(in_fours(pan, "-")) == masked(pan)


LENGTHS = {
    "4": {13, 16, 19},
    "51": {16},
    "55": {16},
    "2221": {16},
    "2720": {16},
    "34": {15},
    "37": {15},
    "300": set(range(14, 20)),
    "36": set(range(14, 20)),
    "6011": set(range(13, 20)),  # Discover from 16 on, Maestro below
    "3528": set(range(16, 20)),
    "3589": set(range(16, 20)),
    "62": set(range(13, 20)),
    "81": set(range(16, 20)),
    "50": set(range(13, 20)),
    "69": set(range(13, 20)),
    "2220": set(),
    "2721": set(),
    "3527": set(),
    "31": set(),
    "1": set(),
    "70": set(),
    "82": set(),
    "9": set(),
}


@pytest.mark.parametrize(("begins", "lengths"), LENGTHS.items(), ids=LENGTHS)
def test_a_card_number_has_a_length_of_its_brand(begins, lengths):
    numbers = {length: with_check_digit(begins, length, "0" * 18) for length in range(12, 21)}
    found = {length for length, digits in numbers.items() if mask_text(digits) != digits}
    assert found == lengths


@pytest.mark.parametrize("dress", DRESSES.values(), ids=DRESSES)
@pytest.mark.parametrize("pan", CARDS.values(), ids=CARDS)
def test_a_card_number_is_masked_in_any_dress(pan, dress):
    found = mask_text(dress(pan))
    assert pan not in re.sub(r"%2[0D]|[ +-]", "", found)
    assert "*" * (len(pan) - 10) in found
    assert survivors(found) == []
    assert mask_text(found) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2 4111 1111 1111 1111", "2 ************1111"),
        ("4111111111111111 123", "411111******1111 123"),
        ("4111111111111111,4111111111111111", "411111******1111,411111******1111"),
        ("4111111111111111 4111111111111111", "411111******1111 ************1111"),
        ('{"a":"4111111111111111\\n"}', '{"a":"411111******1111\\n"}'),
    ],
)
def test_beside_other_digits_less_is_kept(text, found):
    assert mask_text(text) == found


NO_CARDS = {
    "order number": "2021061822001423031419593035",
    "milliseconds": "1623985552769",
    "date and time": "20261121120000",
    "twelve digits": "411111111117",
    "twenty digits": "41111111111111111111",
    "wrong check digit": "4111111111111112",
    "right check digit, no brand": "1234567812345670",
    "right check digit, wrong length for its brand": "41111111111116",
    "longer number that holds a card's": "94111111111111111",
    "two blanks between": "41111111  11111111",
    "other separators": "4111/1111/1111/1111",
    "decimals": "4111111.11111111",
    "gateway reference": "pay_2507211626460001000061984707",
    "telephone": "+852 2345 6789",
    "amounts": "10.00 20.00 30.00 40.00",
    "masked already": "411111******1111",
}


@pytest.mark.parametrize("text", NO_CARDS.values(), ids=NO_CARDS)
def test_what_is_no_card_number_is_left_as_it_is(text):
    assert mask_text(text) == text
    assert mask_text(f'{{"id":"{text}"}}') == f'{{"id":"{text}"}}'


@pytest.mark.parametrize("file", SEEDS, ids=lambda file: file.name)
def test_the_gateways_own_documents_pass_unchanged_but_for_card_data(file):
    raw = file.read_bytes()
    expected = re.sub(rb'("icCardData": )"string"', rb'\1"****"', raw)
    assert mask_cards(raw) == expected
    assert (expected == raw) is (file.name != "evonet_refund_webhook.json")


# ---- verification codes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"cvv":"123"}', '{"cvv":"****"}'),
        ('{"cvv":123,"a":1}', '{"cvv":"****","a":1}'),
        ('{"CVV2" : "1234"}', '{"CVV2" : "****"}'),
        ('{"cvc":"123"}', '{"cvc":"****"}'),
        ('{"cardCvc":"123"}', '{"cardCvc":"****"}'),
        ('{"cvvCode":"123"}', '{"cvvCode":"****"}'),
        ('{"csc":"123"}', '{"csc":"****"}'),
        ('{"securityCode":"123"}', '{"securityCode":"****"}'),
        ('{"card_security_code":"123"}', '{"card_security_code":"****"}'),
        ('{"cardVerificationValue":"123"}', '{"cardVerificationValue":"****"}'),
        ('{"cvv":"1\\"2\\\\3","a":"b"}', '{"cvv":"****","a":"b"}'),
        ('{"cvv":""}', '{"cvv":"****"}'),
        ('{"track2Data":";4111111111111111=2612101?"}', '{"track2Data":"****"}'),
        ('{"track 1":"B4111111111111111^A/B^2612"}', '{"track 1":"****"}'),
        ('{"pinBlock":"0412AC89ABCDEF67"}', '{"pinBlock":"****"}'),
        ('{"icCardData":"5F2A020344"}', '{"icCardData":"****"}'),
        ('{"request":"{\\"cvv\\":\\"123\\",\\"a\\":1}"}', '{"request":"{\\"cvv\\":\\"****\\",\\"a\\":1}"}'),
        ('{\\\\\\"cvv\\\\\\":\\\\\\"123\\\\\\"}', '{\\\\\\"cvv\\\\\\":\\\\\\"****\\\\\\"}'),
        ("a=1&cvv=123&b=2", "a=1&cvv=****&b=2"),
        ("cvv2=1234", "cvv2=****"),
        ("securityCode=123;a=1", "securityCode=****;a=1"),
        ("wrong cvv 123", "wrong cvv ****"),
        ("CVV: 1234.", "CVV: ****."),
        ("cvc code=123", "cvc code=****"),
    ],
)
def test_a_verification_code_is_not_kept_even_in_part(text, found):
    assert mask_text(text) == found
    assert mask_text(found) == found


@pytest.mark.parametrize(
    "text",
    [
        '{"cvvResult":"M"}',
        '{"code":"123"}',
        '{"csc":null}',
        "cvv 12345",
        "code=123&a=1",
        '{"discvv":"123"}',
        "cvv",
        "",
    ],
)
def test_what_is_no_verification_code_is_left_as_it_is(text):
    assert mask_text(text) == text


def test_bytes_that_are_no_text_pass():
    assert mask_cards(b"\xff\x00 4111111111111111 \xfe") == b"\xff\x00 411111******1111 \xfe"
    assert mask_text("\ud800 4111111111111111") == "\ud800 411111******1111"


# ---- no card number survives in any text

BRANDS = {
    r"4": {13, 16, 19},
    r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720": {16},
    r"3[47]": {15},
    r"30[0-5]|3[689]|3095": set(range(14, 20)),
    r"6011|64[4-9]|65|62|81|35[3-8]|352[89]": set(range(16, 20)),
    r"50|5[6-9]|6": set(range(13, 20)),
}


def survivors(text):
    """Return every card number that begins and ends where digits do, found by trying all there are."""
    found = []
    for chain in re.finditer(r"[0-9](?:[ -]?[0-9])*", text):
        ends = [match.span() for match in re.finditer(r"[0-9]+", chain[0])]
        for index, (start, _) in enumerate(ends):
            for _, end in ends[index:]:
                digits = re.sub(r"[ -]", "", chain[0][start:end])
                known = any(re.match(begins, digits) and len(digits) in BRANDS[begins] for begins in BRANDS)
                if known and luhn(digits):
                    found.append(digits)
    return found


def with_check_digit(prefix, length, filler):
    digits = (prefix + filler)[: length - 1]
    return next(digits + last for last in "0123456789" if luhn(digits + last))


PANS = st.sampled_from(
    [
        ("4", 16),
        ("4", 13),
        ("55", 16),
        ("2221", 16),
        ("37", 15),
        ("36", 14),
        ("6011", 16),
        ("62", 19),
        ("81", 16),
    ]
).flatmap(
    lambda brand: st.text("0123456789", min_size=18, max_size=18).map(
        lambda filler: with_check_digit(*brand, filler)
    )
)
GAPS = st.sampled_from(["", " ", "-", "  ", ",", "\n", '"', "*", "%20", "\\u5361", "x"])
PARTS = (
    PANS | PANS.map(lambda pan: in_fours(pan, " ")) | st.text("0123456789", max_size=6) | st.text(max_size=4)
)


@PROFILE
@given(st.lists(st.tuples(PARTS, GAPS), max_size=8))
def test_no_card_number_survives_in_any_text_and_masking_again_changes_nothing(parts):
    found = mask_text("".join(part + gap for part, gap in parts))
    assert survivors(found) == []
    assert mask_text(found) == found


@PROFILE
@given(st.text(" -0123456789", max_size=60))
def test_no_card_number_survives_among_digits(text):
    found = mask_text(text)
    assert survivors(found) == []
    assert mask_text(found) == found


@PROFILE
@given(PANS, st.text("abc{}:,\"' ", max_size=5), st.text("abc{}:,\"' ", max_size=5))
def test_every_card_number_is_found_whatever_stands_beside_it(pan, before, after):
    assert survivors(pan)
    assert masked(pan) in mask_text(f"{before}{pan}{after}")


def test_a_surviving_number_would_be_seen():
    assert survivors("x 4111 1111-1111 1111 y") == ["4111111111111111"]
    assert survivors("20261121 4111111111111111") == ["4111111111111111"]
    assert survivors("94111111111111111") == []


@pytest.mark.parametrize(
    "unit", ["4 ", "4", "4111111111111111 ", "%22", '"cvv":"', "\\", "cvv ", '"cvv":\\"', " cvv="]
)
def test_the_largest_body_there_is_can_be_masked(unit):
    """A pattern that is quadratic in the text takes minutes and runs into the suite's limit for one test."""
    assert mask_cards((unit * 256_000)[:256_000].encode())


def test_all_cards_of_the_table_differ():
    assert all(one != other for one, other in pairwise(sorted(CARDS.values())))


# ---- the glance that spares most texts a closer look


@PROFILE
@given(st.from_regex(re.compile(masking._CODE_NAMES, re.IGNORECASE), fullmatch=True), st.binary(max_size=20))
def test_a_glance_overlooks_no_name_of_a_code(name, around):
    assert masking._may_hold_codes(around + name + around)


@PROFILE
@given(st.from_regex(re.compile(masking._CHAIN)), st.binary(max_size=20))
def test_a_glance_overlooks_no_chain_of_digits(chain, around):
    assert masking._may_hold_cards(around + chain + around)


@PROFILE
@given(st.text(alphabet="0123456789 +-%2dDcvCVpin=:", max_size=60).map(str.encode))
def test_what_a_glance_lets_pass_a_closer_look_would_not_change(raw):
    patterns = (masking._CODE_JSON, masking._CODE_FORM, masking._CODE_TEXT, *masking._CHAINS)
    assert masking.may_hold_secrets(raw) or not any(pattern.search(raw) for pattern in patterns)


def test_a_text_without_either_is_not_looked_at_closely(monkeypatch):
    for name in ("_CODE_JSON", "_CODE_FORM", "_CODE_TEXT", "_CHAINS"):
        monkeypatch.setattr(masking, name, None)
    raw = (
        b'{"status":"success","amount":"12.34","at":"2026-01-02T03:04:05.123+00:00","id":"0190b3c4d5e6f708"}'
    )
    assert mask_cards(raw) == raw
