"""What commands print of a store in which a row is damaged: all others, the damage, and what to do."""

import json
import sqlite3
from contextlib import closing

import pytest


@pytest.fixture
def change(store):
    def changed(statement):
        with closing(sqlite3.connect(store)) as connection, connection:
            assert connection.execute(statement).rowcount == 1

    return changed


def objects(told, name=None):
    found = json.loads(told.out)
    return found if name is None else found[name]


def test_a_list_shows_all_other_refunds_and_ends_with_5(run, store, change):
    whole = run("list", "--db", store).out.splitlines()
    change("UPDATE refunds SET currency = NULL WHERE refund_id = 'cr-1003'")
    told = run("list", "--db", store)
    assert (told.code, len(told.out.splitlines())) == (5, len(whole) - 2), "one row less, and no count"
    assert "'cr-1003' of the table refunds is damaged; `refold replay`" in told.err
    told = run("list", "--json", "--db", store)
    assert told.code == 5
    assert "cr-1003" not in [refund["refund_id"] for refund in objects(told)]
    assert len(objects(told)) == 13


def test_so_do_payments(run, store, change):
    names = [payment["payment_id"] for payment in objects(run("payments", "--json", "--db", store))]
    change(f"UPDATE payments SET refunds = NULL WHERE payment_id = '{names[3]}'")
    told = run("payments", "--db", store)
    assert told.code == 5
    assert all((name in told.out) == (name != names[3]) for name in names)
    assert "of the table payments is damaged" in told.err
    told = run("payments", "--json", "--db", store)
    assert (told.code, len(objects(told))) == (5, len(names) - 1)


def test_what_needs_a_person_is_shown_beside_a_damaged_row(run, store, change):
    whole = objects(run("attention", "--json", "--db", store))
    assert all(whole[name] for name in ("refunds", "inbox"))
    refund_id = whole["refunds"][0]["refund_id"]
    change(f"UPDATE refunds SET currency = NULL WHERE refund_id = '{refund_id}'")
    told = run("attention", "--json", "--db", store)
    assert told.code == 5
    assert objects(told) == whole | {"refunds": whole["refunds"][1:]}
    told = run("attention", "--db", store)
    assert told.code == 5
    assert "inbox: " in told.out
    assert f"'{refund_id}' of the table refunds is damaged" in told.err


def test_a_word_that_is_none_is_no_traceback(run, store, change):
    whole = objects(run("attention", "--json", "--db", store))
    refund_id, key = whole["refunds"][0]["refund_id"], whole["inbox"][0]["key"]
    change(f"UPDATE refunds SET attention = 'bored' WHERE refund_id = '{refund_id}'")
    change(f"UPDATE inbox SET kind = 'odd' WHERE key = '{key}'")
    told = run("attention", "--db", store)
    assert told.err == ""
    assert "bored: this version has no such word" in told.out
    assert "inbox: odd" in told.out


def test_doctor_counts_it(run, store, change):
    change("UPDATE refunds SET currency = NULL WHERE refund_id = 'cr-1003'")
    told = run("doctor", "--db", store)
    assert told.code == 1
    assert "1 refunds differ from the log; `refold replay` repairs them" in told.out
