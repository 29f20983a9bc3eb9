"""Streams that cannot be read or folded: their rows stay, and all others are made anew."""

import pytest
from structlog.testing import capture_logs

from refold.engine.errors import EventMissing
from refold.engine.ports import NewEvent, Write

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
