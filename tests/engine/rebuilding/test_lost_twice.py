"""Streams that cannot be read, and whose rows are lost or damaged as well: what is known stays, and counts once."""

import json

import pytest

from refold.engine.audit.projecting import Folding
from refold.engine.errors import ViewStale
from refold.engine.ports import NewEvent, Upsert, Write
from refold.engine.service.views import INBOX, REFUNDS
from refold.eventstore import rebuilding as shared

TIME = "2026-11-21T12:00:00.000000Z"
LOST = {
    "nothing": "SELECT 1",
    "its row": "DELETE FROM refunds",
    "all refunds": "DROP TABLE refunds",
    "the inbox": "DROP TABLE inbox",
}


def damage(place, stream, version):
    place.run(f"UPDATE events SET data = '{{' WHERE stream = '{stream}' AND version = {version}")


def a_newer_version_appends(engine, place, stream):
    engine.store.append(Write(stream, None, [NewEvent("odd.odd", TIME, '{"v":1}')]))


def its_first_event_is_damaged(engine, place, stream):
    damage(place, stream, 1)


def its_last_event_is_no_object(engine, place, stream):
    engine.store.append(Write(stream, None, [NewEvent("odd.odd", TIME, "[]")]))


def its_last_event_is_no_json(engine, place, stream):
    engine.store.append(Write(stream, None, [NewEvent("odd.odd", TIME, "{")]))


def its_first_event_is_gone(engine, place, stream):
    place.run(f"UPDATE events SET version = 9 WHERE stream = '{stream}' AND version = 1")


@pytest.fixture
def adopted(engine, ask, wire):
    """Return a function that opens a refund which has adopted the success that came before it."""

    def adopted(gateway):
        engine.record(gateway, "api_response", wire.says(gateway, "early", "success"))
        assert ask(engine, "early", gateway=gateway).state == "success"

    return adopted


@pytest.mark.parametrize("gateway", ["evonet", "bbmsl"], ids=["by its name", "by its payment"])
@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize(
    "happens",
    [
        a_newer_version_appends,
        its_first_event_is_damaged,
        its_last_event_is_no_object,
        its_last_event_is_no_json,
        its_first_event_is_gone,
    ],
)
def test_an_orphan_that_a_refund_has_adopted_is_adopted_by_no_other_one(
    engine, wire, place, adopted, gateway, lost, happens
):
    """The refund's own events say which one it was, as far as they can be read."""
    adopted(gateway)
    happens(engine, place, "refund-early")
    place.run(LOST[lost])
    assert [stream for stream, _ in engine.rebuild().set_aside] == ["refund-early"]
    assert list(engine.inbox()) == []
    engine.record(gateway, "request", wire.request(gateway, "second"), refund_id="second")
    assert engine.refund("second").state == "created"


@pytest.mark.parametrize("gateway", ["evonet", "bbmsl"], ids=["by its name", "by its payment"])
def test_where_no_event_says_what_a_refund_has_adopted_the_live_tables_do(engine, place, adopted, gateway):
    adopted(gateway)
    damage(place, "refund-early", 2)
    engine.rebuild()
    assert list(engine.inbox()) == []


@pytest.mark.parametrize("version", [3, 9, 101, 1073741824])
@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_version_of_an_event_keeps_no_rebuild_from_ending(
    engine, place, adopted, plain, dump, version, damaged
):
    """However far it lies from those of the others."""
    adopted("evonet")
    plain(engine, "a")
    made = dump(engine)
    place.run(f"UPDATE events SET version = {version} WHERE stream = 'refund-early' AND version = {damaged}")
    assert [stream for stream, _ in engine.rebuild().set_aside] == ["refund-early"]
    assert dump(engine) == made


@pytest.mark.parametrize("version", ["'x'", "x'00'"])
@pytest.mark.parametrize("damaged", [1, 2])
def test_a_version_that_is_no_number_keeps_no_rebuild_from_ending(
    lite, file, ask, wire, dump, version, damaged
):
    """SQLite takes any value."""
    lite.record("evonet", "api_response", wire.says("evonet", "early", "success"))
    ask(lite, "early")
    made = dump(lite)
    file.run(f"UPDATE events SET version = {version} WHERE stream = 'refund-early' AND version = {damaged}")
    assert [stream for stream, _ in lite.rebuild().set_aside] == ["refund-early"]
    assert dump(lite) == made


@pytest.fixture
def waits_wrongly(engine, adopted):
    """Return a function that lets the live inbox say of an adopted orphan that it waits."""

    def waits_wrongly(gateway):
        adopted(gateway)
        values = ("key", "orphaned", gateway, "early", "p-1", None, "code", TIME, "digest")
        (found,) = [each for each in engine.store.read_category("inbox") if each.type == "inbox.orphaned"]
        row = (json.loads(found.data)["key"], *values[1:])
        said = Write("other-1", None, [NewEvent("other.said", TIME, "{}")])
        engine.store.append(said, changes=[Upsert(INBOX, row)])
        assert len(list(engine.inbox())) == 1

    return waits_wrongly


@pytest.mark.parametrize("gateway", ["evonet", "bbmsl"], ids=["by its name", "by its payment"])
@pytest.mark.parametrize("read", [True, False], ids=["read", "not read"])
@pytest.mark.parametrize("few", [0, 100])
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_an_adopted_orphan_does_not_wait_though_the_inbox_cannot_be_read_and_says_so(
    engine, place, wire, waits_wrongly, monkeypatch, gateway, read, few, again
):
    """However often the inbox is taken from the live tables."""
    monkeypatch.setattr(shared, "_FEW", few)
    waits_wrongly(gateway)
    a_newer_version_appends(engine, place, f"inbox-{gateway}")
    if not read:
        its_first_event_is_damaged(engine, place, "refund-early")
    as_live, taken = Folding.as_live, []

    def takes(self, made):
        yield from as_live(self, made)
        if again and not taken:
            a_newer_version_appends(engine, place, f"inbox-{gateway}")
        taken.append(made)

    monkeypatch.setattr(Folding, "as_live", takes)
    engine.rebuild()
    assert list(engine.inbox()) == []
    engine.record(gateway, "request", wire.request(gateway, "second"), refund_id="second")
    assert engine.refund("second").state == "created"


@pytest.mark.parametrize(
    ("stream", "lost"),
    [("refund-a-done", "DELETE FROM refunds"), ("inbox-evonet", "DROP TABLE inbox")],
    ids=["a refund", "an inbox"],
)
def test_what_was_made_before_a_stream_could_not_be_read_stays_where_no_live_row_says_more(
    engine, place, wire, plain, dump, monkeypatch, stream, lost
):
    plain(engine, "a")
    engine.record("evonet", "poll", wire.says("evonet", "late", "success"))
    made, told = dump(engine), Folding.whole
    place.run(lost)

    def whole(self, upto, left):
        yield from told(self, upto, left)
        a_newer_version_appends(engine, place, stream)

    monkeypatch.setattr(Folding, "whole", whole)
    assert [name for name, _ in engine.rebuild().set_aside] == [stream]
    assert dump(engine) == made


@pytest.mark.parametrize("where", [{}, {"refund_id": "r-1"}])
def test_rows_of_a_table_that_is_lost_cannot_be_asked_for(engine, place, where):
    place.run("DROP TABLE refunds")
    with pytest.raises(ViewStale):
        list(engine.store.rows_of_any_version(REFUNDS, where=where))


def test_an_orphan_that_names_another_refund_waits_again_whoever_has_its_payment(
    engine, ask, wire, place, dump
):
    ask(engine, "r-1")
    engine.record("evonet", "poll", wire.says("evonet", "late", "success", payment="p-1"))
    made = dump(engine)
    a_newer_version_appends(engine, place, "refund-r-1")
    place.run("DELETE FROM inbox")
    assert [each.view for each in engine.replay().differences] == ["inbox"]
    assert dump(engine) == made
    engine.record("evonet", "request", wire.request("evonet", "late"))
    assert engine.refund("late").state == "success"


ODD_CELLS = {
    "events": ["1.5", "'three'", "x'03'"],
    "gateway_refund_id": ["x'6e'", "CAST(x'ff' AS TEXT)", "'n' || char(0)"],
    "currency": ["char(0)"],
}


@pytest.mark.parametrize(
    ("column", "cell"), [(column, cell) for column, cells in ODD_CELLS.items() for cell in cells]
)
def test_a_live_value_that_was_never_one_of_its_column_keeps_no_row_from_being_made(
    lite, file, ask, dump, column, cell
):
    """SQLite lets another program write anything into a cell; the rest of the row stays."""
    ask(lite, "r-1")
    ask(lite, "r-2", payment="p-2")
    made = dump(lite)["refunds"]
    a_newer_version_appends(lite, None, "refund-r-1")
    file.run(f"UPDATE refunds SET {column} = {cell} WHERE refund_id = 'r-1'")
    lite.rebuild()
    assert dump(lite)["refunds"] == [made[0] | {column: None}, made[1]]


def test_a_live_row_without_a_key_is_left_out(lite, file, wire):
    for name in ("a", "b"):
        lite.record("evonet", "poll", wire.says("evonet", name, "success"))
    a_newer_version_appends(lite, None, "inbox-evonet")
    file.run("UPDATE inbox SET key = x'00' WHERE refund_id = 'a'")
    lite.rebuild()
    assert [row["refund_id"] for row in lite.inbox()] == ["b"]


@pytest.mark.parametrize("few", [0, 100])
def test_of_an_inbox_that_is_taken_again_only_what_is_different_is_written(
    engine, place, wire, dump, monkeypatch, few
):
    """Others may have to wait for it."""
    monkeypatch.setattr(shared, "_FEW", few)
    for name in ("a", "b", "c"):
        engine.record("evonet", "poll", wire.says("evonet", name, "success"))
    a_newer_version_appends(engine, place, "inbox-evonet")
    as_live, taken = Folding.as_live, []

    def takes(self, made):
        changes = list(as_live(self, made))
        taken.append(len(changes))
        if len(taken) == 1:
            engine.record("evonet", "poll", wire.says("evonet", "d", "success"))
        return changes

    monkeypatch.setattr(Folding, "as_live", takes)
    engine.rebuild()
    assert [count for count in taken if count] == [3, 1]
    assert len(list(engine.inbox())) == 4
