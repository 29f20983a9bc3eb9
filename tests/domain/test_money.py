"""Money: minor units and ISO 4217, everything else refused with its reason (cases C9, C10, 34)."""

import json
from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iso4217 import Currency

from refold.engine.domain.money import MAX_MINOR, Money, exponent, major_text
from refold.engine.errors import InvalidAmount

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=200)
CURRENCIES = sorted(currency.code for currency in Currency if currency.exponent is not None)

EVERY_FORM = [
    pytest.param(10.0, "not float", id="float 10.0"),
    pytest.param(10.5, "not float", id="float 10.5"),
    pytest.param(float("nan"), "not float", id="nan"),
    pytest.param(True, "not bool", id="true"),
    pytest.param(None, "not NoneType", id="none"),
    pytest.param(Decimal(10), "not Decimal", id="Decimal"),
    pytest.param(b"10", "not bytes", id="bytes"),
    pytest.param([10], "not list", id="list"),
]
TEXTS = [
    pytest.param("", id="empty"),
    pytest.param(" 1", id="blank before"),
    pytest.param("1 ", id="blank after"),
    pytest.param("1\n", id="newline after"),
    pytest.param("+1", id="plus"),
    pytest.param("-1", id="minus"),
    pytest.param("\u22121", id="minus sign"),
    pytest.param("1_000", id="underscore"),
    pytest.param("1,000", id="thousands comma"),
    pytest.param("1e2", id="exponent"),
    pytest.param("0x10", id="hexadecimal"),
    pytest.param("\u0967", id="devanagari one"),
    pytest.param("\uff11\uff10", id="fullwidth ten"),
    pytest.param("\u00b2", id="superscript two"),
    pytest.param("NaN", id="NaN"),
    pytest.param("Infinity", id="Infinity"),
]


@pytest.mark.parametrize(("value", "reason"), EVERY_FORM)
def test_what_is_no_int_is_no_minor_amount(value, reason):
    with pytest.raises(
        InvalidAmount, match=rf"^amount .* refused: an int of minor units is needed, {reason}$"
    ):
        Money(value, "HKD")
    with pytest.raises(InvalidAmount, match=f"an int of minor units is needed, {reason}"):
        Money.from_minor(value, "HKD")


@pytest.mark.parametrize(("value", "reason"), [*EVERY_FORM, pytest.param(10, "not int", id="int")])
def test_what_is_no_text_is_no_major_amount(value, reason):
    with pytest.raises(InvalidAmount, match=f"a decimal text is needed, {reason}"):
        Money.parse(value, "HKD")


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_not_plain_digits_is_refused(text):
    with pytest.raises(InvalidAmount, match="digits with at most one point are needed"):
        Money.parse(text, "HKD")
    with pytest.raises(InvalidAmount, match="ASCII digits are needed"):
        Money.from_minor(text, "HKD")
    with pytest.raises(InvalidAmount, match="an int of minor units is needed, not str"):
        Money(text, "HKD")


@pytest.mark.parametrize("text", ["1.", ".5", "1.2.3", "1.23456", "1234567890123456", "1.0.", "1,5", "."])
def test_a_decimal_text_of_another_shape_is_refused(text):
    with pytest.raises(InvalidAmount, match="digits with at most one point"):
        Money.parse(text, "HKD")


@pytest.mark.parametrize("text", ["10.0", "1.00", "12345678901234567890"])
def test_minor_units_have_no_point_and_at_most_19_digits(text):
    with pytest.raises(InvalidAmount, match="ASCII digits are needed"):
        Money.from_minor(text, "HKD")


@pytest.mark.parametrize(
    ("minor", "reason"),
    [
        (0, "it must be above zero"),
        (-1, "it must be above zero"),
        (-(2**63), "it must be above zero"),
        (2**63, r"it is above 2\^63-1"),
        (10**5000, r"it is above 2\^63-1"),
    ],
    ids=["zero", "minus one", "least int64", "2^63", "5001 digits"],
)
def test_an_amount_outside_one_to_2_63_minus_1_is_refused(minor, reason):
    with pytest.raises(InvalidAmount, match=reason):
        Money(minor, "HKD")


@pytest.mark.parametrize("text", ["0", "0.00", "000", "0.0"])
def test_zero_is_no_amount_however_it_is_written(text):
    with pytest.raises(InvalidAmount, match="it must be above zero"):
        Money.parse(text, "HKD")


def test_the_ends_of_the_range_are_amounts():
    assert Money(1, "HKD").major == "0.01"
    assert Money(MAX_MINOR, "JPY").major == "9223372036854775807"
    assert MAX_MINOR == 9223372036854775807
    assert Money.from_minor("9223372036854775807", "JPY").minor == MAX_MINOR
    with pytest.raises(InvalidAmount, match=r"above 2\^63-1"):
        Money.from_minor("9999999999999999999", "JPY")
    with pytest.raises(InvalidAmount, match=r"above 2\^63-1"):
        Money.parse("999999999999999.9999", "CLF")


ISO_DIGITS = {
    0: ("JPY", "KRW", "UGX", "ISK", "VND", "CLP"),
    2: ("HKD", "USD", "CNY", "HUF", "TWD", "MOP"),
    3: ("KWD", "BHD", "TND", "OMR"),
    4: ("CLF", "UYW"),
}


@pytest.mark.parametrize(
    ("code", "digits"), [(code, digits) for digits, codes in ISO_DIGITS.items() for code in codes]
)
def test_the_exponent_is_iso_4217s(code, digits):
    assert exponent(code) == digits


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("XAU", "no minor unit"),
        ("XXX", "no minor unit"),
        ("XTS", "no minor unit"),
        ("hkd", "not an ISO 4217 code in capitals"),
        ("Hkd", "not an ISO 4217 code in capitals"),
        ("HKD ", "not an ISO 4217 code in capitals"),
        ("", "not an ISO 4217 code in capitals"),
        ("ZZZ", "not an ISO 4217 code in capitals"),
        ("RMB", "not an ISO 4217 code in capitals"),
        ("\uff28\uff2b\uff24", "not an ISO 4217 code in capitals"),
        ("344", "not an ISO 4217 code in capitals"),
        (344, "not an ISO 4217 code in capitals"),
        (None, "not an ISO 4217 code in capitals"),
        (["HKD"], "not an ISO 4217 code in capitals"),
        (b"HKD", "not an ISO 4217 code in capitals"),
    ],
    ids=repr,
)
def test_what_is_no_currency_with_minor_units_is_refused(code, reason):
    for make in (exponent, lambda code: Money(1, code), lambda code: Money.parse("1", code)):
        with pytest.raises(InvalidAmount, match=reason):
            make(code)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("10.5", "HKD", 1050),
        ("10.50", "HKD", 1050),
        ("10", "HKD", 1000),
        ("010.00", "HKD", 1000),
        ("76.19", "HKD", 7619),
        ("1.1", "HKD", 110),  # 1.1 * 100 is 110.00000000000001 in binary
        ("100", "JPY", 100),
        ("1.234", "KWD", 1234),
        ("1.2", "KWD", 1200),
        ("1.2345", "CLF", 12345),
        ("999999999999999", "JPY", 999999999999999),
    ],
)
def test_major_units_are_read_exactly(text, currency, minor):
    assert Money.parse(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency"),
    [("1.0", "JPY"), ("1.234", "HKD"), ("1.000", "HKD"), ("1.2345", "KWD"), ("100.00", "KRW")],
)
def test_more_digits_than_the_currency_has_are_refused_and_never_rounded(text, currency):
    with pytest.raises(
        InvalidAmount, match=f"{currency} has {exponent(currency)} decimal digits; refold never rounds"
    ):
        Money.parse(text, currency)


@pytest.mark.parametrize("currency", CURRENCIES)
def test_what_is_written_in_major_units_reads_back(currency):
    digits = exponent(currency)
    largest = min(10 ** (15 + digits) - 1, MAX_MINOR)
    for minor in (1, 9, 10, 99, 100, 101, 999, 1000, 12345, 10**15 - 1, largest):
        money = Money(minor, currency)
        assert Money.parse(money.major, currency) == money
        assert len(money.major.partition(".")[2]) == digits


@PROFILE
@given(st.integers(1, 10**15 - 1), st.sampled_from(CURRENCIES))
def test_every_amount_survives_both_forms(minor, currency):
    money = Money(minor, currency)
    assert Money.parse(money.major, currency) == Money.from_minor(str(minor), currency) == money


@PROFILE
@given(st.text() | st.text("0123456789.+-eE _,"), st.sampled_from(CURRENCIES))
def test_a_text_is_an_amount_or_refused_and_an_amount_is_what_decimal_says(text, currency):
    try:
        money = Money.parse(text, currency)
    except InvalidAmount:
        return
    assert Decimal(text).scaleb(exponent(currency)) == money.minor


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "HKD", "0.00"),
        (-5, "HKD", "-0.05"),
        (-1234, "KWD", "-1.234"),
        (-7, "JPY", "-7"),
        (5, "CLF", "0.0005"),
    ],
)
def test_sums_below_one_are_written_in_major_units_too(minor, currency, text):
    assert major_text(minor, currency) == text


def test_money_is_frozen():
    money = Money(1, "HKD")
    with pytest.raises(FrozenInstanceError):
        money.minor = 2
    with pytest.raises((AttributeError, TypeError)):
        money.note = "x"


def test_money_is_equal_by_value_and_hashes_alike():
    assert Money(100, "HKD") == Money(100, "HKD")
    assert len({Money(100, "HKD"), Money(100, "HKD"), Money(100, "JPY"), Money(101, "HKD")}) == 3
    assert Money(100, "HKD") != 100


def test_money_has_no_order_as_currencies_have_none():
    with pytest.raises(TypeError, match="not supported"):
        _ = Money(1, "HKD") < Money(2, "HKD")
    with pytest.raises(TypeError, match="not supported"):
        sorted([Money(2, "HKD"), Money(1, "HKD")])


def test_money_does_not_add_up_by_accident():
    with pytest.raises(TypeError):
        _ = Money(1, "HKD") + Money(1, "HKD")
    with pytest.raises(TypeError):
        json.dumps(Money(1, "HKD"))


def test_money_reads_as_people_write_it():
    assert str(Money(10000, "HKD")) == "100.00 HKD"
    assert str(Money(10000, "JPY")) == "10000 JPY"
