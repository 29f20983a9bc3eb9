"""What to do about a refund next, and when: tables, a row a situation, where neighbours differ in one cell."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from refold.engine.domain import contact
from refold.engine.domain.contact import (
    Action,
    Why,
    exhausted,
    may_send_again,
    next_contact,
    query_allowed_at,
    why_contact,
)
from refold.engine.domain.evidence import AbsenceRule
from refold.engine.domain.refund import Resolution
from refold.engine.domain.signals import BIT, Signal, State

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
NO, YES = False, True
PENDING, SUCCESS, REJECTED, CLOSED = (
    BIT[signal] for signal in (Signal.PENDING, Signal.SUCCESS, Signal.REJECTED, Signal.CLOSED)
)
RESOLVED = Resolution(State.FAILED, 0, "ann", "looked")
KEYED = {"key_retention_s": 1000}
"""Its key is safe until second 900 after the first submission: 1000 less 40 of time-out and 60 of margin."""

# ---- why


WHY = {
    "asked": ({}, Why.UNSENT),
    "sent": ({"sent": [0]}, Why.IN_DOUBT),
    "could not be sent": ({"attempts": [(0, NO)]}, Why.UNSENT),
    "one of two was sent": ({"attempts": [(0, YES), (9, NO)]}, Why.IN_DOUBT),
    "answered, by another's doing": ({"answered_at": 5}, Why.IN_DOUBT),
    "spoken of in words of no document": ({"unrecognised": True}, Why.IN_DOUBT),
    "pending": ({"sent": [0], "mask": PENDING}, Why.PENDING),
    "pending, never sent": ({"mask": PENDING}, Why.PENDING),
    "success": ({"sent": [0], "mask": SUCCESS}, Why.RECHECK),
    "success, never sent": ({"mask": SUCCESS}, Why.RECHECK),
    "closed": ({"sent": [0], "mask": CLOSED}, Why.RECHECK),
    "refused": ({"sent": [0], "mask": REJECTED}, Why.RECHECK),
    "success, decided by a person": ({"mask": SUCCESS, "resolution": RESOLVED}, None),
    "refused, to be confirmed": ({"sent": [0], "mask": REJECTED, "doubted_at": 5}, Why.HELD),
    "refused, confirmed": ({"sent": [0], "mask": REJECTED, "doubted_at": 5, "confirmed_at": 6}, Why.RECHECK),
    "refused, confirmed too early": ({"sent": [0], "mask": REJECTED, "doubted_at": 5, "confirmed_at": 5}, Why.HELD),
    "refused once of two": ({"sent": [0, 9], "mask": REJECTED, "refused_at": 10}, Why.HELD),
    "refused, held until a report": ({"sent": [0], "mask": REJECTED, "unproven": True, "doubted_at": 5}, Why.RECHECK),
    "decided by a person": ({"resolution": RESOLVED}, None),
    "sent, decided by a person": ({"sent": [0], "resolution": RESOLVED}, None),
    "pending, decided by a person": ({"mask": PENDING, "resolution": RESOLVED}, None),
    "refused, to be confirmed, decided": ({"mask": REJECTED, "doubted_at": 5, "resolution": RESOLVED}, None),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "why"), WHY.values(), ids=WHY)
def test_why_a_gateway_is_contacted(refund, changes, why):
    assert why_contact(refund(**changes)) is why


# ---- may it be sent again


AGAIN = {
    "never sent": ({}, {}, 10_000, NO),
    "could not be sent": ({"attempts": [(0, NO)], "denied": [100, 200]}, {}, 300, NO),
    "silence alone": ({"sent": [0]}, {}, 10_000, NO),
    "denied once": ({"sent": [0], "denied": [100]}, {}, 10_000, NO),
    "denied twice": ({"sent": [0], "denied": [100, 160]}, {}, 161, YES),
    "denied twice, in any order": ({"sent": [0], "denied": [160, 100]}, {}, 161, YES),
    "denied twice, too close": ({"sent": [0], "denied": [100, 159]}, {}, 10_000, NO),
    "denied three times, first and last apart": ({"sent": [0], "denied": [100, 130, 160]}, {}, 161, YES),
    "denied at the moment of sending": ({"sent": [0], "denied": [0, 60]}, {}, 10_000, NO),
    "denied right after": ({"sent": [0], "denied": [1, 61]}, {}, 10_000, YES),
    "denied before it was sent again": ({"sent": [0, 161], "denied": [100, 160]}, {}, 10_000, NO),
    "denied once since it was sent again": ({"sent": [0, 161], "denied": [100, 160, 230]}, {}, 10_000, NO),
    "denied twice since it was sent again": ({"sent": [0, 161], "denied": [100, 160, 230, 290]}, {}, 10_000, YES),
    "the second could not be sent": ({"attempts": [(0, YES), (161, NO)], "denied": [100, 160]}, {}, 10_000, YES),
    "a denial proves nothing there": ({"sent": [0], "denied": [100, 160]}, {"absence": None}, 10_000, NO),
    "three are needed": ({"sent": [0], "denied": [100, 160]}, {"absence": AbsenceRule(3, 60)}, 10_000, NO),
    "key safe, denied twice": ({"sent": [0], "denied": [100, 160]}, KEYED, 899, YES),
    "key safe, silence alone": ({"sent": [0]}, KEYED, 899, NO),
    "key unsafe, denied twice before": ({"sent": [0], "denied": [100, 160]}, KEYED, 900, NO),
    "key unsafe, denied once since": ({"sent": [0], "denied": [100, 160, 961]}, KEYED, 2000, NO),
    "key unsafe, denied twice since": ({"sent": [0], "denied": [901, 961]}, KEYED, 2000, YES),
    "key unsafe, denied at that moment": ({"sent": [0], "denied": [900, 960]}, KEYED, 2000, NO),
    "the first submission counts for the key": ({"sent": [0, 850], "denied": [851, 899]}, KEYED | {"absence": AbsenceRule(2, 40)}, 900, NO),
    "no look-up, key unknown": ({"sent": [0]}, {"lookup_by_own_reference": False}, 10, NO),
    "no look-up, key safe": ({"sent": [0]}, KEYED | {"lookup_by_own_reference": False}, 899, YES),
    "no look-up, key unsafe": ({"sent": [0]}, KEYED | {"lookup_by_own_reference": False}, 900, NO),
    "no look-up, key of the first unsafe": ({"sent": [0, 800]}, KEYED | {"lookup_by_own_reference": False}, 900, NO),
    "no look-up, key shorter than its margin": ({"sent": [0]}, {"key_retention_s": 90, "lookup_by_own_reference": False}, 0, NO),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "can", "now", "again"), AGAIN.values(), ids=AGAIN)
def test_whether_it_may_be_sent_again(refund, caps, at, changes, can, now, again):
    assert may_send_again(refund(**changes), caps(**can), at(now)) is again


# ---- the next contact: due is (no earlier than, no later than), in seconds


SEND, LOOK_UP = Action.SEND, Action.LOOK_UP


BLIND = {"lookup_by_own_reference": False}
NEXT = {
    "asked": ({}, {}, 0, SEND, (0, 0)),
    "asked, the gateway wants rest": ({"not_before": 90}, {}, 0, SEND, (90, 90)),
    "asked, the rest is over": ({"not_before": -90}, {}, 0, SEND, (0, 0)),
    "failed once to be sent": ({"unsent": 1, "unsent_at": 100}, {}, 100, SEND, (105, 105.5)),
    "failed twice": ({"unsent": 2, "unsent_at": 100}, {}, 100, SEND, (110, 111)),
    "failed ten times": ({"unsent": 10, "unsent_at": 100}, {}, 100, SEND, (2660, 2916)),
    "failed eleven times": ({"unsent": 11, "unsent_at": 100}, {}, 100, SEND, (3700, 4060)),
    "failed a thousand times": ({"unsent": 1000, "unsent_at": 100}, {}, 100, SEND, (3700, 4060)),
    "sent": ({"sent": [0]}, {}, 1, LOOK_UP, (40, 40)),
    "sent long after it was asked": ({"sent": [5000]}, {}, 5001, LOOK_UP, (5040, 5040)),
    "sent, asked about once": ({"sent": [0], "polls": 1, "polled_at": 50}, {}, 51, LOOK_UP, (110, 116)),
    "sent, asked about late": ({"sent": [0], "polls": 9, "polled_at": 600}, {}, 601, LOOK_UP, (1200, 1260)),
    "sent, asked about for hours": ({"sent": [0], "polls": 30, "polled_at": 7200}, {}, 7201, LOOK_UP, (93_600, 102_240)),
    "sent, the gateway wants rest": ({"sent": [0], "not_before": 500}, {}, 1, LOOK_UP, (500, 500)),
    "sent, interval longer than the schedule": ({"sent": [0], "polls": 1, "polled_at": 50}, {"poll_interval_s": 100}, 51, LOOK_UP, (150, 160)),
    "sent, no look-up": ({"sent": [0]}, BLIND, 1, None, None),
    "sent, no look-up, key safe": ({"sent": [0]}, BLIND | KEYED, 1, SEND, (45, 45.5)),
    "sent twice, no look-up, key safe": ({"sent": [0, 50]}, BLIND | KEYED, 51, SEND, (100, 101)),
    "sent, no look-up, key unsafe": ({"sent": [0]}, BLIND | KEYED, 900, None, None),
    "denied twice": ({"sent": [0], "polls": 2, "polled_at": 160, "denied": [100, 160]}, {}, 161, SEND, (45, 45.5)),
    "denied twice, the gateway wants rest": ({"sent": [0], "polls": 2, "polled_at": 160, "denied": [100, 160], "not_before": 300}, {}, 161, SEND, (300, 300)),
    "denied twice, and then it could not be sent": ({"sent": [0], "polls": 2, "polled_at": 160, "denied": [100, 160], "unsent": 1, "unsent_at": 200}, {}, 201, SEND, (205, 205.5)),
    "denied twice, too close": ({"sent": [0], "polls": 2, "polled_at": 159, "denied": [100, 159]}, {}, 161, LOOK_UP, (219, 225)),
    "denied twice, exhausted": ({"sent": [0], "polls": 2, "polled_at": 160, "denied": [100, 160], "exhausted": True}, {}, 161, LOOK_UP, (220, 226)),
    "denied twice, pending": ({"sent": [0], "polls": 2, "polled_at": 160, "denied": [100, 160], "mask": PENDING, "pending_at": 170}, {}, 171, LOOK_UP, (770, 830)),
    "denied twice, success": ({"sent": [0], "polls": 2, "polled_at": 160, "denied": [100, 160], "mask": SUCCESS, "endings": [170]}, {}, 171, LOOK_UP, (86_570, 95_210)),
    "denied twice, decided": ({"sent": [0], "polls": 2, "polled_at": 160, "denied": [100, 160], "resolution": RESOLVED}, {}, 161, None, None),
    "pending at once": ({"sent": [0], "mask": PENDING, "pending_at": 1}, {}, 2, LOOK_UP, (40, 40)),
    "pending later": ({"sent": [0], "mask": PENDING, "pending_at": 100}, {}, 101, LOOK_UP, (700, 760)),
    "pending, asked about": ({"sent": [0], "mask": PENDING, "pending_at": 1, "polls": 1, "polled_at": 1000}, {}, 1001, LOOK_UP, (1600, 1660)),
    "pending for long": ({"sent": [0], "mask": PENDING, "pending_at": 0, "polls": 9, "polled_at": 3600}, {}, 3601, LOOK_UP, (90_000, 98_640)),
    "pending, no look-up": ({"sent": [0], "mask": PENDING, "pending_at": 1}, BLIND | KEYED, 2, None, None),
    "never sent, spoken of": ({"unrecognised": True}, {}, 1, LOOK_UP, (0, 0)),
    "never sent, spoken of, no look-up": ({"unrecognised": True}, BLIND | KEYED, 1, None, None),
    "held": ({"sent": [0], "mask": REJECTED, "doubted_at": 1}, {}, 2, LOOK_UP, (40, 40)),
    "held, no look-up": ({"sent": [0], "mask": REJECTED, "doubted_at": 1}, BLIND | KEYED, 2, None, None),
    "settled": ({"sent": [0], "mask": SUCCESS, "endings": [5]}, {}, 6, LOOK_UP, (86_405, 95_045)),
    "settled, nobody knows when": ({"sent": [5], "mask": SUCCESS}, {}, 6, LOOK_UP, (86_405, 95_045)),
    "settled, the gateway wants rest": ({"sent": [0], "mask": SUCCESS, "endings": [5], "not_before": 100_000}, {}, 6, LOOK_UP, (100_000, 100_000)),
    "settled, asked about before": ({"sent": [0], "mask": SUCCESS, "endings": [5], "polls": 1, "polled_at": 80_000, "heard_at": 80_000}, {}, 80_001, LOOK_UP, (86_405, 95_045)),
    "settled, asked about after a day": ({"sent": [0], "mask": SUCCESS, "endings": [5], "polls": 1, "polled_at": 96_000, "heard_at": 96_000}, {}, 96_001, LOOK_UP, (604_805, 665_285)),
    "settled, asked about after a week": ({"sent": [0], "mask": SUCCESS, "endings": [5], "polls": 2, "polled_at": 666_000, "heard_at": 666_000}, {}, 666_001, None, None),
    "settled, asked about after a day, told nothing": ({"sent": [0], "mask": SUCCESS, "endings": [5], "polls": 1, "polled_at": 96_000}, {}, 96_001, LOOK_UP, (96_600, 96_660)),
    "settled, never to be asked about again": ({"sent": [0], "mask": SUCCESS, "endings": [5]}, {"recheck_s": ()}, 6, None, None),
    "settled, no look-up": ({"sent": [0], "mask": SUCCESS, "endings": [5]}, BLIND | KEYED, 6, None, None),
    "settled late by something new": ({"sent": [0], "mask": SUCCESS, "endings": [5, 100_000], "polls": 1, "polled_at": 96_000, "heard_at": 96_000}, {}, 100_001, LOOK_UP, (186_400, 195_040)),
}  # fmt: skip


def told(found):
    return None if found is None else (found.action, (found.due_at - START).total_seconds())


@pytest.mark.parametrize(("changes", "can", "now", "action", "due"), NEXT.values(), ids=NEXT)
def test_what_to_do_next_and_when(refund, caps, at, changes, can, now, action, due):
    found = told(next_contact(refund(**changes), caps(**can), at(now)))
    if action is None:
        assert found is None
    else:
        assert found[0] is action
        assert due[0] <= found[1] <= due[1]


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({}, 0),
        ({"sent": [30, 90]}, 30),
        ({"sent": [30], "mask": PENDING, "pending_at": 70}, 70),
        ({"sent": [30], "mask": REJECTED, "doubted_at": 70}, 70),
        ({"sent": [30, 60], "mask": REJECTED, "doubted_at": 70, "refused_at": 80}, 80),
        ({"unrecognised": True}, 0),
    ],
)
def test_since_when_the_question_stands(refund, caps, at, changes, since):
    assert next_contact(refund(**changes), caps(), at(100)).since == at(since)


# ---- the end of a schedule


ENDED = {
    "in doubt, asked, at its end": ({"sent": [0], "polls": 1, "polled_at": 50}, 7200, YES),
    "in doubt, asked, before its end": ({"sent": [0], "polls": 1, "polled_at": 50}, 7199, NO),
    "in doubt, never asked": ({"sent": [0]}, 7200, NO),
    "in doubt, sent again: from the first": ({"sent": [0, 7000], "polls": 1, "polled_at": 50}, 7200, YES),
    "pending, at its end": ({"sent": [0], "mask": PENDING, "pending_at": 100, "polls": 1, "polled_at": 200}, 3700, YES),
    "pending, before its end": ({"sent": [0], "mask": PENDING, "pending_at": 100, "polls": 1, "polled_at": 200}, 3699, NO),
    "pending, since an unknown moment": ({"sent": [10], "mask": PENDING, "polls": 1, "polled_at": 200}, 3610, YES),
    "unsent": ({"polls": 1, "polled_at": 50}, 10_000, NO),
    "held": ({"sent": [0], "mask": REJECTED, "doubted_at": 1, "polls": 1, "polled_at": 50}, 10_000, NO),
    "settled": ({"sent": [0], "mask": SUCCESS, "polls": 1, "polled_at": 50}, 10_000, NO),
    "decided": ({"sent": [0], "resolution": RESOLVED, "polls": 1, "polled_at": 50}, 10_000, NO),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "now", "ended"), ENDED.values(), ids=ENDED)
def test_whether_the_schedule_has_come_to_its_end(refund, caps, at, changes, now, ended):
    assert exhausted(refund(**changes), caps(), at(now)) is ended


# ---- what a gateway allows


ALLOWED = {
    "asked": ({}, 0),
    "sent": ({"sent": [0]}, 40),
    "sent twice": ({"sent": [0, 100]}, 140),
    "could not be sent": ({"attempts": [(100, NO)]}, 0),
    "asked about before it was sent again": ({"sent": [0, 100], "polled_at": 90}, 140),
    "asked about": ({"sent": [0], "polled_at": 100}, 130),
    "wants rest": ({"sent": [0], "polled_at": 100, "not_before": 500}, 500),
    "wanted rest": ({"sent": [0], "polled_at": 100, "not_before": 120}, 130),
    "settled": ({"sent": [0], "polled_at": 100, "mask": SUCCESS}, 130),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "allowed"), ALLOWED.values(), ids=ALLOWED)
def test_from_when_on_the_gateway_may_be_asked(refund, caps, at, changes, allowed):
    assert query_allowed_at(refund(**changes), caps()) == at(allowed)


# ---- planted faults: without a rule, the row about it is red


def without_key(found, can):
    return datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def red(refund, caps, at):
    """Return the rows that a decision gets wrong."""
    return lambda table, decide: {name for name, row in table.items() if not decide(row, refund, caps, at)}


def again_is_right(row, refund, caps, at):
    changes, can, now, again = row
    return may_send_again(refund(**changes), caps(**can), at(now)) is again


def next_is_right(row, refund, caps, at):
    changes, can, now, action, due = row
    found = told(next_contact(refund(**changes), caps(**can), at(now)))
    if action is None or found is None:
        return action is None and found is None
    return found[0] is action and due[0] <= found[1] <= due[1]


def why_is_right(row, refund, caps, at):
    return why_contact(refund(**row[0])) is row[1]


def allowed_is_right(row, refund, caps, at):
    return query_allowed_at(refund(**row[0]), caps()) == at(row[1])


def ended_is_right(row, refund, caps, at):
    return exhausted(refund(**row[0]), caps(), at(row[1])) is row[2]


FAULTS = {
    "silence is enough": ("may_send_again", lambda *_: True, NEXT, next_is_right, "sent"),
    "never again": ("may_send_again", lambda *_: False, NEXT, next_is_right, "denied twice"),
    "the key lasts for ever": ("_key_safe_until", without_key, AGAIN, again_is_right, "key unsafe, denied twice before"),
    "no margin": ("MARGIN_S", 0, AGAIN, again_is_right, "no look-up, key unsafe"),
    "denials need not be apart": ("seconds_between", lambda *_: 10**6, AGAIN, again_is_right, "denied twice, too close"),
    "what is open is unsent": ("why_contact", lambda _: Why.UNSENT, NEXT, next_is_right, "denied twice, success"),
    "no answer is waited for": ("_settled_at", lambda found, _: found.requested_at, ALLOWED, allowed_is_right, "sent"),
    "no rest for the gateway": ("_allowed", lambda _, due_at: due_at, NEXT, next_is_right, "asked, the gateway wants rest"),
    "no rest, when asked at once": ("_allowed", lambda _, due_at: due_at, ALLOWED, allowed_is_right, "wants rest"),
    "no backoff": ("_after_failures", lambda found: found.requested_at, NEXT, next_is_right, "failed once to be sent"),
    "no doubling": ("_backoff_s", lambda _: 5, NEXT, next_is_right, "failed twice"),
    "no spacing of submissions": ("_next_submission", lambda *_: START, NEXT, next_is_right, "sent, no look-up, key safe"),
    "no schedule": ("_next_query", lambda *_: START, NEXT, next_is_right, "sent, asked about once"),
    "spread too far": ("spread", lambda wait_s, *_: timedelta(seconds=2 * wait_s), NEXT, next_is_right, "sent, asked about once"),
    "since it was asked for": ("_since", lambda found, _: found.requested_at, ENDED, ended_is_right, "pending, before its end"),
    "outcomes are asked about at once": ("_next_recheck", lambda *_: START, NEXT, next_is_right, "settled"),
    "outcomes are asked about for ever": ("_next_recheck", lambda *_: START, NEXT, next_is_right, "settled, asked about after a week"),
    "nothing is held": ("Hold", SimpleNamespace(UNTIL_QUERY=None), WHY, why_is_right, "refused, to be confirmed"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "fault", "table", "decide", "row"), FAULTS.values(), ids=FAULTS)
def test_a_rule_that_is_gone_turns_its_row_red(red, monkeypatch, name, fault, table, decide, row):
    assert red(table, decide) == set()
    monkeypatch.setattr(contact, name, fault)
    assert row in red(table, decide)
