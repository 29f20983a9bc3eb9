"""A damaged row of a table is shown to nobody as a refund or payment, hides no other, and a replay makes it again."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from refold.engine.audit.agreement import disagreements
from refold.engine.errors import RowCorrupt

REFUND = [
    ("amount_minor", "'x'"),
    ("amount_minor", "NULL"),
    ("currency", "NULL"),
    ("currency", "'hkd'"),
    ("gateway", "x'ff'"),
    ("attention", "x'ff'"),
    ("requested_at", "'yesterday'"),
    ("updated_at", "5"),
    ("events", "NULL"),
    ("reserved_minor", "-1"),
    ("payment_id", "x'00'"),
]
NO_TEXT = "CAST(x'ff' AS TEXT)"


@pytest.fixture
def three(tmp_path, open_at, ask, hkd):
    """An engine with three refunds that nobody has sent, each of its own payment, in a file."""
    engine = open_at(f"sqlite:///{tmp_path / 'refunds.db'}")
    for number in (1, 2, 3):
        engine.register_payment(gateway="evonet", payment_id=f"p-{number}", captured=hkd(10000))
        ask(engine, f"r-{number}", payment=f"p-{number}")
    return engine


@pytest.fixture
def change(three):
    """Change one row behind the store's back."""

    def changed(statement):
        with closing(sqlite3.connect(three.store.describe()["file"], isolation_level=None)) as connection:
            assert connection.execute(statement).rowcount == 1

    return changed


def read(found):
    """Return what was read, and the error it ended with."""
    views = []
    try:
        views.extend(found)
    except RowCorrupt as error:
        return views, error
    return views, None


@pytest.mark.parametrize(("column", "value"), REFUND)
def test_the_others_are_found_and_the_damaged_one_is_named_at_the_end(three, change, column, value):
    change(f"UPDATE refunds SET {column} = {value} WHERE refund_id = 'r-2'")
    views, error = read(three.find())
    assert [view.refund_id for view in views] == ["r-1", "r-3"]
    assert (error.view, error.key) == ("refunds", ("r-2",))
    assert "the row 'r-2' of the table refunds is damaged; `refold replay`" in str(error)
    assert three.refund("r-2").amount.minor == 6000, "what the log says of it can be read"
    assert list(disagreements(three.store)) == [("refund-r-2", None)]
    report = three.replay()
    assert [difference.key for difference in report.differences] == [("r-2",)]
    json.dumps(report.to_json())
    assert len(list(three.find())) == 3


def test_so_it_is_among_those_that_need_attention(three, change, clock):
    clock.now += timedelta(days=30)
    assert len(three.mark_overdue()) == 3
    change("UPDATE refunds SET currency = NULL WHERE refund_id = 'r-2'")
    for found in (three.needing_attention(), three.find(attention="overdue")):
        views, error = read(found)
        assert [view.refund_id for view in views] == ["r-1", "r-3"]
        assert error.key == ("r-2",)


def test_refunds_behind_a_damaged_row_are_marked_overdue(three, change, clock, logs):
    change("UPDATE refunds SET currency = NULL WHERE refund_id = 'r-2'")
    clock.now += timedelta(days=30)
    assert three.mark_overdue() == ["r-1", "r-3"]
    assert [each["refund_id"] for each in logs if each["event"] == "refund.unreadable"] == ["r-2"]
    three.replay()
    assert three.mark_overdue() == ["r-2"]


@pytest.mark.parametrize("column", ["captured_minor", "reserved_minor", "refunded_minor", "refunds"])
def test_a_damaged_payment_hides_no_other(three, change, column):
    change(f"UPDATE payments SET {column} = 'x' WHERE payment_id = 'p-2'")
    views, error = read(three.payments())
    assert [view.payment_id for view in views] == ["p-1", "p-3"]
    assert (error.view, error.key) == ("payments", ("evonet", "p-2", "HKD"))
    with pytest.raises(RowCorrupt):
        three.payment("evonet", "p-2")
    assert len(three.replay().differences) == 1
    assert three.payment("evonet", "p-2").left_minor == 4000


@pytest.mark.parametrize("column", ["updated_at", "refund_id", "payment_id"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_is_no_text_hides_no_other_either(three, change, column, number):
    """Not even a row of that key can be asked for."""
    change(f"UPDATE refunds SET {column} = {NO_TEXT} WHERE refund_id = 'r-{number}'")
    expected = [f"r-{each}" for each in (1, 2, 3) if each != number]
    views, error = read(three.find())
    assert [view.refund_id for view in views] == expected
    assert error.key == ("\udcff" if column == "refund_id" else f"r-{number}",)
    with three.store.batch():
        views, error = read(three.find())
        assert ([view.refund_id for view in views], error.view) == (expected, "refunds")
    report = three.replay()
    assert len(report.differences) == (2 if column == "refund_id" else 1)
    assert "udcff" in json.dumps(report.to_json())
    assert three.replay().agrees
    assert len(list(three.find())) == 3


def test_where_rows_change_before_one_that_is_no_text_nobody_goes_on_behind_it(three, change, ask):
    """The rows are read again, from the first: one that is gone, or new, would be left out or told twice."""
    change(f"UPDATE refunds SET updated_at = {NO_TEXT} WHERE refund_id = 'r-3'")
    found = three.find()
    assert [next(found).refund_id, next(found).refund_id] == ["r-1", "r-2"]
    change("DELETE FROM refunds WHERE refund_id = 'r-1'")
    with pytest.raises(RowCorrupt):
        next(found)


@pytest.mark.parametrize(
    ("statement", "find"),
    [
        ("UPDATE refunds SET refund_id = NULL WHERE refund_id = 'r-{}'", "find"),
        ("UPDATE payments SET gateway = NULL WHERE payment_id = 'p-{}'", "payments"),
        ("UPDATE attention SET kind = NULL WHERE refund_id = 'r-{}'", "needing_attention"),
        ("UPDATE attention SET refund_id = 'r-9' WHERE refund_id = 'r-{}'", "needing_attention"),
        ("UPDATE attention SET refund_id = x'00' WHERE refund_id = 'r-{}'", "needing_attention"),
        (
            "UPDATE attention SET refund_id = CAST(x'ff' AS TEXT) WHERE refund_id = 'r-{}'",
            "needing_attention",
        ),
        ("UPDATE payments SET currency = 'ZZZ' WHERE payment_id = 'p-{}'", "payments"),
        ("UPDATE payments SET reserved_minor = -1 WHERE payment_id = 'p-{}'", "payments"),
        ("UPDATE payments SET refunded_minor = NULL WHERE payment_id = 'p-{}'", "payments"),
        ("UPDATE inbox SET key = NULL WHERE refund_id = 'early-{}'", "inbox"),
        ("UPDATE inbox SET received_at = 'yesterday' WHERE refund_id = 'early-{}'", "inbox"),
        ("UPDATE inbox SET reason = x'00' WHERE refund_id = 'early-{}'", "inbox"),
    ],
)
@pytest.mark.parametrize("number", [1, 3])
def test_a_key_or_a_cell_that_cannot_be_hides_no_other_row_and_is_told(
    three, change, wire, clock, statement, find, number
):
    for each in (1, 2, 3):
        three.record("evonet", "poll", wire.says("evonet", f"early-{each}", "success"))
    clock.now += timedelta(days=30)
    three.mark_overdue()
    change(statement.format(number))
    views, error = read(getattr(three, find)())
    kind_is_gone = "SET kind" in statement  # the refund can be told all the same
    assert (len(views), error is not None) == ((3, False) if kind_is_gone else (2, True))
    assert not three.replay().agrees
    assert len(list(getattr(three, find)())) == 3


async def _awaited(found):
    views = []
    try:
        async for view in found:
            views.append(view)  # noqa: PERF401 - what came before an error is kept
    except RowCorrupt as error:
        return views, error
    return views, None


def test_who_awaits_is_told_of_the_others_as_well(three, change):
    change("UPDATE refunds SET currency = NULL WHERE refund_id = 'r-2'")
    views, error = asyncio.run(_awaited(three.afind()))
    assert [view.refund_id for view in views] == ["r-1", "r-3"]
    assert error.key == ("r-2",)


@pytest.mark.parametrize("damage", ["'abc'", "'12x'", "x'00'", "1.5"])
def test_nothing_is_added_to_a_sum_that_is_damaged(three, change, ask, hkd, damage):
    """It would look like a sum; and what is asked for is not refused for it."""
    change(f"UPDATE payments SET reserved_minor = {damage} WHERE payment_id = 'p-2'")
    ask(three, "r-4", payment="p-2", amount=hkd(100))
    with pytest.raises(RowCorrupt):
        three.payment("evonet", "p-2")
    assert len(three.replay().differences) == 1
    assert three.payment("evonet", "p-2").left_minor == 3900


def test_the_live_row_of_a_row_that_was_lost_may_be_no_text(three, change):
    change("UPDATE refunds SET state = 'failed' WHERE refund_id = 'r-1'")
    change(f"UPDATE refunds SET gateway_refund_id = {NO_TEXT} WHERE refund_id = 'r-1'")
    (found,) = three.replay().differences
    assert (found.live["state"], found.live["gateway_refund_id"]) == ("failed", "'\\udcff'")
    assert (found.rebuilt["state"], found.rebuilt["gateway_refund_id"]) == ("created", None)


@pytest.mark.parametrize("damage", ["NULL", NO_TEXT, "x'00'"])
def test_a_message_is_not_placed_by_a_row_that_is_damaged(three, change, wire, damage):
    """It is kept for a person, and waits for no refund called None."""
    three.record("evonet", "poll", wire.says("evonet", "r-2", "pending", number="g-2"))
    change(f"UPDATE refunds SET refund_id = {damage} WHERE refund_id = 'r-2'")
    body = wire.answer("evonet", "r-2", "success", number="g-2") | {"eventCode": "Refund"}
    del body["refund"]["merchantTransInfo"]
    webhook = wire.sign_evo("evonet", json.dumps(body).encode())
    assert three.receive_webhook("evonet", *webhook).result == "quarantined"
    three.replay()
    ((kind, named, reason),) = [(row["kind"], row["refund_id"], row["reason"]) for row in three.inbox()]
    assert (kind, named, reason) == ("quarantined", None, "recording it raised RowCorrupt")
    assert three.record("evonet", "poll", wire.says("evonet", "r-2", "success")).refund_id == "r-2"


def test_a_refund_is_not_opened_beside_a_message_of_it_whose_row_is_damaged(three, change, wire, ask):
    """The message says that it was given back already; it must be adopted, not left out."""
    three.record("evonet", "poll", wire.says("evonet", "early", "success"))
    change("UPDATE inbox SET key = NULL WHERE refund_id = 'early'")
    with pytest.raises(RowCorrupt, match="table inbox"):
        ask(three, "early", payment="p-9")
    three.replay()
    assert ask(three, "early", payment="p-9").state == "success"
