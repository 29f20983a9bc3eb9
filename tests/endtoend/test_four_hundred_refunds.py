"""Four hundred refunds at four gateways under every fault, while the worker is killed three times.

At the end each refund is what the gateway's books say, or a person is asked with the true reason; no refund was paid
twice; no payment gave back more than was captured; and the log alone tells the same again.
"""

import random
import signal
from collections import Counter

import pytest

from refold.adapters.simulators import Faults
from refold.engine import Attention, Money

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

SEED = "four hundred refunds"
EACH = 100
SPEED = 60
KILLS = 3
# All durations are a sixtieth; what cannot be (an outcome is looked at again after a day) is set to seconds. The
# simulators' key expiry is shorter than any margin, so no key is ever safe: only look-ups license a second try.
CAPABILITIES = {"key_retention_s": 1, "recheck_s": [2, 6], "outcome_window_s": 20}
ENDLESS = {"pending"}
"""Outcomes of the simulators that never come."""
OUTCOMES = {
    "evocloud": ["settles"] * 6
    + ["succeeds", "fails", "refused", "reverses", "recovers", "errs", "silent", "cancelled"],
    "evonet": ["settles"] * 6
    + ["succeeds", "fails", "refused", "reverses", "recovers", "errs", "silent", "pending"],
    "easylink": ["settles"] * 6 + ["succeeds", "fails", "refused", "recovers", "silent", "unknown"],
    "bbmsl": ["settles"] * 6 + ["succeeds", "refused", "unknown", "pending"],
}
NAMES = {"evocloud": "c", "evonet": "n", "easylink": "l", "bbmsl": "b"}


def refunds():
    """Return (gateway, payment, refund id, minor units) of every refund, from the seed alone."""
    chance = random.Random(SEED)
    asked = []
    for gateway, outcomes in OUTCOMES.items():
        for n in range(EACH):
            refund_id = f"{NAMES[gateway]}{n}-{chance.choice(outcomes)}"
            payment_id = refund_id if gateway == "bbmsl" else f"{NAMES[gateway]}p{n // 2}"
            asked.append((gateway, payment_id, refund_id, 100 * chance.randint(1, 50)))
    return asked


def captured(asked):
    """Return what was captured of each payment: enough for its refunds, and for paying the largest of them twice."""
    sums = {}
    for gateway, payment_id, _, minor in asked:
        total, largest = sums.get((gateway, payment_id), (0, 0))
        sums[gateway, payment_id] = (total + minor, max(largest, minor))
    return {key: Money(total + largest, "HKD") for key, (total, largest) in sums.items()}


def disagreement(view, book):
    """Return why a refund is not yet what it is to be at the end; None where it is."""
    true = book.state if book is not None else None
    if book is not None and not (book.settled or book.outcome in ENDLESS):
        return f"the gateway is not done: {book}"
    if str(view.state) in AGREEING[true]:
        return None
    explained = {
        # Nothing tells: easylink and bbmsl cannot say that they do not have a refund.
        Attention.IN_DOUBT: true is None or true == "pending",
        # The amount that was echoed is another one: whatever it says, it proves no outcome.
        Attention.MISMATCH: true in {"success", "failed", "pending"},
        Attention.UNRECOGNISED: book is not None and book.outcome == "unknown",
        # It said success and failed: until a person decides, the money counts as moved.
        Attention.CONFLICT: book is not None and view.state == "success",
    }
    if any(explained.get(Attention(reason), False) for reason in view.attention):
        return None
    return f"{view.state} {view.attention}, in the books {book}"


AGREEING = {
    "success": {"success"},
    "failed": {"failed"},
    "closed": {"closed"},
    "pending": {"received"},
    None: {"failed"},
}
"""What a refund is to be by what the books say; None: the gateway refused it, or never had it."""


def test_every_refund_ends_as_the_books_say_and_none_is_paid_twice(world):
    asked = refunds()
    faults = Faults.all(SEED, per_mille=60)
    with world(speed=SPEED, capabilities=CAPABILITIES, seed=SEED, faults=faults) as there:
        for (gateway, payment_id), money in captured(asked).items():
            there.simulators[gateway].capture(payment_id, money)
            there.engine.register_payment(gateway=gateway, payment_id=payment_id, captured=money)
        worker = there.start_worker()
        for number, (gateway, payment_id, refund_id, minor) in enumerate(asked):
            there.engine.request(
                gateway=gateway, payment_id=payment_id, refund_id=refund_id, amount=Money(minor, "HKD")
            )
            if number in {EACH * (kill + 1) for kill in range(KILLS)}:
                there.end(worker, how=signal.SIGKILL)
                worker = there.start_worker()
        there.until(
            lambda: len(set(there.posts())) >= len(asked) * 9 // 10, 300, lambda: len(set(there.posts()))
        )

        def open_ones():
            views = {view.refund_id: view for view in there.engine.find()}
            books = {name: there.simulators[name].ledger.refunds for name in there.simulators}
            found = (
                (refund_id, disagreement(views[refund_id], books[gateway].get(refund_id)))
                for gateway, _, refund_id, _ in asked
            )
            return {refund_id: reason for refund_id, reason in found if reason is not None}

        there.until(lambda: not open_ones(), 300, lambda: told(there, open_ones()))
        assert there.end(worker, how=signal.SIGTERM) == 0
        there.running.until_delivered()
        assert open_ones() == {}
        check_money(there, asked)
        assert there.engine.replay().agrees
        report(there, asked)


def told(there, found):
    """Return what is wrong, and the timeline of the first ones."""
    lines = [f"{refund_id}: {reason}" for refund_id, reason in found.items()]
    for refund_id in list(found)[:3]:
        lines += [
            f"{entry.time:%H:%M:%S.%f} {entry.type} {entry.says}" for entry in there.engine.history(refund_id)
        ]
    return "\n".join(lines)


def check_money(there, asked):
    for gateway, _, refund_id, minor in asked:
        assert there.simulators[gateway].ledger.moved(refund_id) in {0, minor}, f"{refund_id} was paid twice"
    for (gateway, payment_id), money in captured(asked).items():
        ours = there.engine.payment(gateway, payment_id)
        moved = sum(
            there.simulators[gateway].ledger.moved(refund_id)
            for name, paid, refund_id, _ in asked
            if (name, paid) == (gateway, payment_id)
        )
        assert money.minor >= ours.reserved_minor >= moved, f"{payment_id}: {ours}, moved {moved}"


def report(there, asked):
    views = [there.engine.refund(refund_id) for _, _, refund_id, _ in asked]
    posts = Counter(there.posts())
    print(f"states {dict(Counter(str(view.state) for view in views))}")
    print(f"attention {dict(Counter(reason for view in views for reason in view.attention))}")
    print(f"{len(posts)} refunds reached a gateway, {sum(n - 1 for n in posts.values())} of them again")
    print(f"{there.engine.store.head()} events")
