"""Streams that cannot be read or folded: their rows stay, and all others are made anew."""

import pytest
from structlog.testing import capture_logs

from refold.engine.audit.projecting import Folding
from refold.engine.errors import EventMissing
from refold.engine.ports import Delete, NewEvent, Upsert, Write
from refold.engine.service.views import INBOX, REFUNDS
from refold.eventstore import rebuilding as shared

TIME = "2026-11-21T12:00:00.000000Z"


def damage(place, stream, version, change):
    place.run(f"UPDATE events SET {change} WHERE stream = '{stream}' AND version = {version}")


def test_data_that_is_no_json_is_set_aside_and_the_rest_is_rebuilt(engine, ask, wire, place, plain, dump):
    plain(engine, "a", "b", "c")
    made = dump(engine)
    damage(place, "refund-b-asked", 1, 'data = \'{"v":1,"refund_id":\'')
    with capture_logs() as logs:
        rebuilt = engine.rebuild()
    assert [stream for stream, _ in rebuilt.set_aside] == ["refund-b-asked"]
    assert dump(engine) == made
    assert [(line["event"], line["log_level"]) for line in logs] == [("views.rebuilt", "warning")]


def test_evidence_of_a_newer_version_is_set_aside(engine, ask, wire, place, plain, dump):
    plain(engine, "a")
    made = dump(engine)
    damage(place, "refund-a-done", 3, "data = replace(data, '{\"v\":1,', '{\"v\":2,')")
    assert [stream for stream, _ in engine.rebuild().set_aside] == ["refund-a-done"]
    assert dump(engine) == made


def test_a_type_nobody_knows_is_set_aside(engine, ask, wire, place, plain):
    plain(engine, "a")
    damage(place, "refund-a-done", 3, "type = 'evidence.odd'")
    assert [stream for stream, _ in engine.rebuild().set_aside] == ["refund-a-done"]


@pytest.mark.parametrize("stream", ["refund-a-done", "payment-evonet-p-a-done"])
def test_a_stream_with_a_gap_in_its_versions_is_set_aside(engine, ask, wire, place, stream, plain, dump):
    plain(engine, "a", "b")
    made = dump(engine)
    damage(place, stream, 1, "version = 9")
    assert [name for name, _ in engine.rebuild().set_aside] == [stream]
    assert dump(engine) == made


def test_a_number_that_is_empty_is_none_whoever_makes_the_row(engine, ask):
    ask(engine, "r-1")
    data = '{"v":1,"channel":"poll","code":"c","gateway_refund_id":"","trust":"unverified"}'
    engine.store.append(Write("refund-r-1", 1, [NewEvent("evidence.pending", TIME, data)]))
    engine.rebuild()
    assert engine.replay().agrees
    assert engine.refund("r-1").gateway_refund_id is None


def test_a_log_with_a_gap_is_not_rebuilt_from(engine, ask, place, dump):
    for number in range(3):
        ask(engine, f"r-{number}", payment=f"p-{number}")
    made = dump(engine)
    place.run("DELETE FROM events WHERE position = 2")
    with pytest.raises(EventMissing):
        engine.rebuild()
    assert dump(engine) == made


@pytest.fixture
def unreadable(engine):
    """Return a function that appends to a stream what only a newer version can read."""

    return lambda stream: newer(engine, stream)


def newer(engine, stream, *changes):
    """Append what only a newer version can read, and what that one makes of it."""
    engine.store.append(Write(stream, None, [NewEvent("odd.odd", TIME, '{"v":1}')]), changes=changes)


def an_orphan_comes(engine, ask, wire, hkd):
    engine.record("evonet", "poll", wire.says("evonet", "late", "success"))


def an_orphan_is_adopted(engine, ask, wire, hkd):
    ask(engine, "early", payment="p-early")
    assert engine.refund("early").state == "success"


def an_orphan_is_adopted_by_a_refund_that_cannot_be_read(engine, ask, wire, hkd):
    an_orphan_is_adopted(engine, ask, wire, hkd)
    return "refund-early"


def an_orphan_is_adopted_as_only_a_newer_version_does(engine, ask, wire, hkd):
    ask(engine, "new", payment="p-new")
    waiting = next(engine.store.rows(INBOX))
    newer(engine, "refund-new", Delete(INBOX, (waiting["key"],)))


def a_refund_ends(engine, ask, wire, hkd):
    engine.record("evonet", "poll", wire.says("evonet", "a-sent", "success", payment="p-a-sent"))
    return "refund-a-sent"


def a_refund_needs_a_person_no_longer(engine, ask, wire, hkd):
    engine.resolve("a-held", "closed", actor="ops", reason="seen")
    return "refund-a-held"


def a_refund_opens(engine, ask, wire, hkd):
    ask(engine, "new", payment="p-a-done")
    return "refund-new"


def a_payment_is_registered(engine, ask, wire, hkd):
    engine.register_payment(gateway="evonet", payment_id="p-a-done", captured=hkd(30000))
    return "payment-evonet-p-a-done"


def a_value_is_taken_away(engine, ask, wire, hkd):
    row = engine.store.row(REFUNDS, ("a-done",))
    assert row["gateway_refund_id"] is not None
    values = tuple((row | {"gateway_refund_id": None}).values())
    newer(engine, "refund-a-done", Delete(REFUNDS, ("a-done",)), Upsert(REFUNDS, values))


def a_value_of_an_orphan_is_taken_away(engine, ask, wire, hkd):
    waiting = dict(next(engine.store.rows(INBOX)))
    assert waiting["reason"] is not None
    values = tuple((waiting | {"reason": None}).values())
    newer(engine, "inbox-evonet", Delete(INBOX, (waiting["key"],)), Upsert(INBOX, values))


def an_orphan_is_dismissed(engine, ask, wire, hkd):
    waiting = next(engine.store.rows(INBOX))
    newer(engine, "inbox-evonet", Delete(INBOX, (waiting["key"],)))


@pytest.mark.parametrize("few", [0, 100], ids=["added at once", "added at the end"])
@pytest.mark.parametrize("after", ["whole", "as_live"], ids=["of what is read", "of what is not read"])
@pytest.mark.parametrize(
    "happens",
    [
        an_orphan_comes,
        an_orphan_is_adopted,
        an_orphan_is_adopted_by_a_refund_that_cannot_be_read,
        an_orphan_is_adopted_as_only_a_newer_version_does,
        a_refund_ends,
        a_refund_needs_a_person_no_longer,
        a_refund_opens,
        a_payment_is_registered,
        a_value_is_taken_away,
        a_value_of_an_orphan_is_taken_away,
        an_orphan_is_dismissed,
    ],
)
def test_what_is_appended_meanwhile_to_a_stream_that_cannot_be_read_is_not_lost(
    engine, ask, wire, hkd, plain, dump, unreadable, monkeypatch, happens, after, few
):
    """A newer version writes it after the first rows, or it was damaged before: its rows stay as they stand at the end."""
    monkeypatch.setattr(shared, "_FEW", few)
    plain(engine, "a")
    engine.record("evonet", "poll", wire.says("evonet", "early", "success", payment="p-early"))
    engine.record("evonet", "poll", wire.says("evonet", "stays", "success"))
    unreadable("inbox-evonet")
    told, live = getattr(Folding, after), []

    def tells(self, *asked):
        yield from told(self, *asked)
        if not live:
            damaged = happens(engine, ask, wire, hkd)
            if damaged is not None:
                unreadable(damaged)
            live.append(dump(engine))

    monkeypatch.setattr(Folding, after, tells)
    rebuilt = engine.rebuild()
    aside = [stream for stream, _ in rebuilt.set_aside]
    assert "inbox-evonet" in aside
    assert len(set(aside)) == len(aside)
    assert [dump(engine)] == live
    monkeypatch.setattr(Folding, after, told)
    assert not engine.replay().differences
    assert [dump(engine)] == live


@pytest.mark.parametrize("few", [0, 100], ids=["added at once", "added at the end"])
@pytest.mark.parametrize("gateway", ["evonet", "bbmsl"], ids=["by its name", "by its payment"])
def test_an_orphan_that_a_refund_has_adopted_meanwhile_waits_no_longer_though_that_one_cannot_be_read(
    engine, ask, wire, dump, unreadable, monkeypatch, gateway, few
):
    """The inbox can be read, and says that it came; only the live table knows that it is gone."""
    monkeypatch.setattr(shared, "_FEW", few)
    engine.record(gateway, "api_response", wire.says(gateway, "early", "success"))
    engine.record("evonet", "poll", wire.says("evonet", "stays", "success", payment="p-early"))
    told, live = Folding.whole, []

    def whole(self, upto, left):
        yield from told(self, upto, left)
        payment = "p-early" if gateway == "evonet" else "p-1"
        assert ask(engine, "early", gateway=gateway, payment=payment).state == "success"
        unreadable("refund-early")
        live.append(dump(engine))

    monkeypatch.setattr(Folding, "whole", whole)
    engine.rebuild()
    assert [dump(engine)] == live
    assert [row["refund_id"] for row in engine.inbox()] == ["stays"]


def test_rows_that_only_the_live_tables_tell_are_taken_over_before_others_have_to_wait(
    engine, plain, unreadable, monkeypatch
):
    """Once, as long as nothing more is appended to their streams."""
    monkeypatch.setattr(shared, "_FEW", 0)
    plain(engine, "a")
    told, as_live, taken = Folding.whole, Folding.as_live, []

    def whole(self, upto, left):
        yield from told(self, upto, left)
        unreadable("refund-a-sent")
        unreadable("refund-a-done")

    def takes(self, made):
        changes = list(as_live(self, made))
        taken.append({change.view.name for change in changes})
        return changes

    monkeypatch.setattr(Folding, "whole", whole)
    monkeypatch.setattr(Folding, "as_live", takes)
    engine.rebuild()
    assert taken == [set(), {"refunds", "attention", "payments"}, set()]


@pytest.mark.parametrize("few", [0, 100])
def test_rows_of_what_could_not_be_read_from_the_beginning_are_taken_over_before_that_too(
    engine, plain, unreadable, monkeypatch, dump, few
):
    """Their number does not say how long others have to wait; and they are taken once."""
    monkeypatch.setattr(shared, "_FEW", few)
    for name in "abc":
        plain(engine, name)
    unreadable("refund-a-done")
    unreadable("refund-b-sent")
    as_live, taken, before = Folding.as_live, [], dump(engine)

    def takes(self, made):
        changes = list(as_live(self, made))
        taken.append(sum(change.view.name == "refunds" for change in changes))
        return changes

    monkeypatch.setattr(Folding, "as_live", takes)
    engine.rebuild()
    assert taken == [2, 0]
    assert dump(engine) == before


@pytest.mark.parametrize("column", ["reserved_minor", "amount_minor", "attention", "state"])
def test_a_row_of_an_older_table_that_lacks_a_column_is_kept_without_it(
    engine, place, plain, dump, unreadable, column
):
    plain(engine, "a")
    unreadable("refund-a-done")
    rows = dump(engine)["refunds"]
    place.run(
        "UPDATE views SET definition = 'older' WHERE name = 'refunds'",
        f"ALTER TABLE refunds DROP COLUMN {column}",
    )
    engine.rebuild()
    kept = [row | {column: None} if row["refund_id"] == "a-done" else row for row in rows]
    assert dump(engine)["refunds"] == kept
    assert "None" not in [row["kind"] for row in dump(engine)["attention"]]


def test_an_amount_that_nobody_can_have_refunded_ends_no_rebuild(
    engine, place, plain, dump, unreadable, monkeypatch
):
    """A damaged row of a refund that is damaged, too: the smallest number of all has no opposite."""
    plain(engine, "a")
    unreadable("refund-a-done")
    place.run(f"UPDATE refunds SET reserved_minor = {-(2**63)} WHERE refund_id = 'a-done'")
    as_live = Folding.as_live

    def takes_and_changes(self, made):
        late = dict(self._late)
        yield from as_live(self, made)
        self._late |= late  # so that what was taken over is taken back, and over again

    monkeypatch.setattr(Folding, "as_live", takes_and_changes)
    engine.rebuild()
    assert [row["reserved_minor"] for row in dump(engine)["refunds"] if row["refund_id"] == "a-done"] == [
        -(2**63)
    ]
    assert all(row["reserved_minor"] >= 0 for row in dump(engine)["payments"])


def test_a_stream_that_cannot_be_read_is_taken_over_again_where_the_swap_must_wait(
    engine, wire, plain, dump, unreadable, monkeypatch
):
    """What was taken over the first time is taken back, once."""
    plain(engine, "a")
    told, swap, live = Folding.whole, engine.store._new.swap, []

    def whole(self, upto, left):
        yield from told(self, upto, left)
        engine.record("evonet", "poll", wire.says("evonet", "a-sent", "success", payment="p-a-sent"))
        unreadable("refund-a-sent")
        live.append(dump(engine))

    def refused(connection, views):
        monkeypatch.undo()
        return False

    monkeypatch.setattr(Folding, "whole", whole)
    monkeypatch.setattr(shared, "_PAUSE_S", 0)
    monkeypatch.setattr(type(engine.store._new), "swap", staticmethod(refused))
    engine.rebuild()
    assert type(engine.store._new).swap is swap
    assert dump(engine) == live[0]
