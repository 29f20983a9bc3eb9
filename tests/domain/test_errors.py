"""The errors: the tree as drawn, complete, and messages that show what was wrong and nothing that must not be seen."""

import inspect
import re

import pytest

from refold.engine import errors
from refold.engine.domain.masking import shown
from refold.engine.errors import RefoldError, UnreadableMessage


def ours(error):
    return error.__module__.startswith(f"{errors.__name__}.")


CLASSES = {
    name: found
    for name, found in vars(errors).items()
    if inspect.isclass(found) and issubclass(found, BaseException) and ours(found)
}
PAN = "4111111111111111"


def drawn(drawing):
    """Return (name, parent's name) of every class in a drawing, from how far each line is indented."""
    above, pairs = [], []
    for line in drawing.splitlines():
        found = re.match(r"((?:\u2502   |    )*(?:[\u251c\u2514]\u2500\u2500 )?)([A-Z][A-Za-z]+)\b", line)
        if found and (found[1] or found[2] == "RefoldError"):
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            pairs.append((found[2], above[depth - 1] if depth else None))
    return pairs


def in_code(root):
    """Return the same pairs, walked from a class."""
    pairs = [(root.__name__, None if root is RefoldError else root.__base__.__name__)]
    for below in root.__subclasses__():
        if ours(below):
            pairs += in_code(below)
    return pairs


def test_the_drawing_is_the_tree():
    assert sorted(drawn(errors.__doc__), key=str) == sorted(in_code(RefoldError), key=str)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\u2502   \u251c\u2500\u2500 StoreFull\n", ""),
        ("StoreFull", "StoreFulll"),
        ("\u251c\u2500\u2500 Refused ", "\u2502   \u251c\u2500\u2500 Refused "),
    ],
    ids=["a line is missing", "a name is wrong", "a branch is elsewhere"],
)
def test_a_drawing_that_differs_is_found(old, new):
    assert old in errors.__doc__
    drawing = errors.__doc__.replace(old, new, 1)
    assert sorted(drawn(drawing), key=str) != sorted(in_code(RefoldError), key=str)


def test_every_error_is_public_and_listed_in_order():
    assert errors.__all__ == sorted(CLASSES)


@pytest.mark.parametrize("error", CLASSES.values(), ids=CLASSES)
def test_every_error_derives_from_refolds_own_and_says_what_it_is(error):
    assert issubclass(error, RefoldError)
    assert error.__bases__ == (error.__base__,)
    assert inspect.getdoc(error)


MADE = {
    "RefoldError": ("{}",),
    "InvalidInput": ("{}",),
    "InvalidAmount": ("{}", "it must be above zero, unlike {}"),
    "InvalidIdentifier": ("refund_id", "{} "),
    "InvalidText": ("reason", "it holds {}"),
    "InvalidSetting": ("url", "it holds {}"),
    "UnknownGateway": ("{}", ["evonet"]),
    "UnreadableMessage": ("evonet", "it holds {}"),
    "UnusableLine": (7, "it holds {}"),
    "NotFound": ("{}",),
    "RefundNotFound": ("{}",),
    "PaymentNotFound": ("evonet", "{}"),
    "MessageNotFound": ("{}",),
    "Refused": ("{}",),
    "RefundConflict": ("{}", [("payment_id", "{}", "p-1")]),
    "PaymentConflict": ("{}", "100.00 HKD", "99.00 HKD"),
    "OverRefund": ("{}", 100, 40, "HKD"),
    "SelfApproval": ("{}",),
    "TooSoon": ("{}", "it holds {}", 30),
    "ResendRefused": ("{}", "it holds {}"),
    "VersionConflict": ("refund-{}", 3, 5),
    "KeyReuse": ("{}", "ab", "cd"),
    "CheckpointConflict": ("{}", 3, 5),
    "Unauthentic": ("{}",),
    "InvalidSignature": ("evonet", "it holds {}"),
    "StaleMessage": ("evonet", -301.4, 300),
    "StoreError": ("{}",),
    "StoreBusy": (5.0,),
    "StoreFull": (),
    "StoreReadOnly": ("refunds-{}.db",),
    "StoreUnavailable": ("it holds {}",),
    "RebuildOvertaken": (),
    "ViewStale": ("refunds",),
    "StoreClosed": (),
    "UnsafeDurability": ("synchronous={}",),
    "SchemaTooNew": (9, 1),
    "OutcomeUnknown": ("{}",),
    "WrongProcess": (17, 18),
    "CorruptLog": ("{}",),
    "EventCorrupt": (7, "refund-{}", "ab", "cd"),
    "EventMissing": (7, "refund-{}"),
    "EventUnreadable": ("{}", "it holds {}"),
    "RowCorrupt": ("refunds", ("{}",)),
    "IllegalMove": ("{}", "success", "received"),
}


def made(name, value):
    def filled(argument):
        if isinstance(argument, str):
            return argument.replace("{}", value)
        if isinstance(argument, list):
            return [filled(item) for item in argument]
        return tuple(map(filled, argument)) if isinstance(argument, tuple) else argument

    return CLASSES[name](*map(filled, MADE[name]))


def test_every_error_is_tried_below():
    assert set(MADE) == set(CLASSES)


@pytest.mark.parametrize("name", MADE)
def test_no_message_holds_a_full_card_number(name):
    error = made(name, PAN)
    for text in (str(error), repr(error), str(error.args)):
        assert PAN not in text
    takes_text = "{}" in str(MADE[name])
    assert ("411111******1111" in str(error)) is takes_text


@pytest.mark.parametrize("name", MADE)
def test_every_message_says_something_and_names_what_it_was_given(name):
    assert "r-17" in str(made(name, "r-17")) or "{}" not in str(MADE[name])
    assert len(str(made(name, "r-17"))) >= 4


SHOWING = sorted(
    {
        "InvalidAmount",
        "InvalidIdentifier",
        "UnknownGateway",
        "RefundNotFound",
        "PaymentNotFound",
        "RefundConflict",
    }
    | {
        "PaymentConflict",
        "OverRefund",
        "SelfApproval",
        "KeyReuse",
        "CheckpointConflict",
        "OutcomeUnknown",
        "EventUnreadable",
        "IllegalMove",
    }
)


@pytest.mark.parametrize("name", SHOWING)
def test_a_wrong_value_is_shown_escaped(name):
    class_ = CLASSES[name]
    arguments = [value if value != "{}" else "\x1b[31m\u202ered" for value in MADE[name]]
    arguments = ["\x1b[31m\u202ered" if value == "{} " else value for value in arguments]
    if name == "RefundConflict":
        arguments[1] = []
    message = str(
        class_(*[value.replace("{}", "") if isinstance(value, str) else value for value in arguments])
    )
    assert "\\x1b[31m\\u202ered" in message
    assert message.isprintable()


# ---- how a value is shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("r-1", "'r-1'"),
        (None, "None"),
        (10.0, "10.0"),
        (b"\xff", "b'\\xff'"),
        ("caf\u00e9\n\x00", "'caf\\xe9\\n\\x00'"),
        ("\ud800", "'\\ud800'"),
        ("x" * 58, f"'{'x' * 58}'"),
        ("x" * 59, f"'{'x' * 59}\u2026 (61 characters)"),
        ("x" * 10**5, f"'{'x' * 59}\u2026 (100002 characters)"),
        (int(PAN), "411111******1111"),
        ({"pan": PAN}, "{'pan': '411111******1111'}"),
        (10**5000, "(int that cannot be shown)"),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, int) else "int",
)
def test_a_value_is_shown_as(value, text):
    assert shown(value) == text


def test_a_value_too_deep_to_show_is_shown_as_such():
    value = []
    for _ in range(100_000):
        value = [value]
    assert shown(value) == "(list that cannot be shown)"
    while value:  # taken apart step by step: the interpreter would do it in one go, and deep
        value = value.pop()


def test_a_card_number_is_masked_before_the_text_is_cut():
    for before in range(60):
        assert "4111111111" not in shown("x" * before + PAN)


def test_an_error_can_be_told_by_what_the_caller_can_do():
    error = UnreadableMessage("evonet", "an object is needed")
    assert isinstance(error, errors.InvalidInput)
    assert (error.gateway, error.reason) == ("evonet", "an object is needed")
    assert not isinstance(error, errors.StoreError)
