"""A damaged or unknown event stops its own refund's money and nothing else; nothing is half stored; bodies can go."""

import sqlite3

import pytest
from structlog.testing import capture_logs

from refold.engine import Outcome, State
from refold.engine.domain.message import body_digest
from refold.engine.domain.wire import UPCASTERS
from refold.engine.errors import CorruptLog, EventCorrupt, EventUnreadable, MessageNotFound, StoreBusy
from refold.engine.ports import NewEvent, Write

TIME = "2026-11-21T12:00:00.000000Z"


@pytest.fixture
def flip():
    """Change the stored data of one event behind the store's back."""

    def flip_one(engine, position):
        path = engine.store.describe().get("file")
        if path is None:
            events = engine.store._state.events
            events[position - 1] = events[position - 1]._replace(data='{"v":1}')
            return
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TRIGGER events_keep_update")
            connection.execute("UPDATE events SET data = '{\"v\":1}' WHERE position = ?", (position,))
        connection.close()

    return flip_one


def add_raw(engine, stream, type_, data='{"v":1}', time=TIME):
    """Append an event that this refold cannot read, as a newer one could have."""
    engine.store.append(Write(stream, None, [NewEvent(type_, time, data)]))


def damaged(engine, flip):
    flip(engine, engine.history("r-1")[-1].position)
    return EventCorrupt


def unknown(engine, _):
    add_raw(engine, "refund-r-1", "evidence.telepathy")
    return EventUnreadable


def newer(engine, _):
    add_raw(engine, "refund-r-1", "evidence.success", '{"v":2}')
    return EventUnreadable


def no_time(engine, _):
    add_raw(
        engine,
        "refund-r-1",
        "evidence.pending",
        '{"v":1,"channel":"poll","code":"x","trust":"verified"}',
        "soon",
    )
    return EventUnreadable


def no_currency(engine, _):
    """An event that reads well and cannot be folded: its currency is none any more."""
    data = '{"v":1,"gateway":"evonet","refund_id":"r-9","payment_id":"p-1","amount_minor":1,"currency":"XXQ"}'
    add_raw(engine, "refund-r-9", "refund.requested", data)
    return EventUnreadable


HARM = {"damaged": damaged, "unknown": unknown, "of a newer version": newer, "without a time": no_time}


@pytest.fixture
def two(engine, ask, wire):
    """Two refunds of two payments."""
    for number in ("1", "2"):
        ask(engine, f"r-{number}", payment=f"p-{number}")
        engine.record("evonet", "poll", wire.says("evonet", f"r-{number}", "pending", payment=f"p-{number}"))
    return engine


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_money_stops_on_the_stream_that_cannot_be_read_and_on_no_other(two, ask, wire, flip, harm):
    """CASES A14, A19."""
    error = harm(two, flip)
    said = wire.says("evonet", "r-1", "success", at_s=60)
    for act in (
        lambda: ask(two, "r-1"),
        lambda: ask(two, "r-3", payment="p-1"),
        lambda: two.record("evonet", "poll", said),
        lambda: two.record("evonet", "request", wire.request("evonet", "r-1")),
        lambda: two.resolve("r-1", "failed", actor="bob", reason="x"),
        lambda: two.refund("r-1"),
        lambda: two.history("r-1"),
    ):
        with pytest.raises(error):
            act()
    assert (
        two.record("evonet", "poll", wire.says("evonet", "r-2", "success", payment="p-2")).state
        is State.SUCCESS
    )
    assert ask(two, "r-4", payment="p-2").state is State.CREATED
    assert [view.refund_id for view in two.find(payment_id="p-1")] == ["r-1"]


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_replay_sets_the_stream_aside_and_leaves_its_rows_as_they_were(two, flip, harm):
    """CASES A19."""
    error = harm(two, flip)
    before = [view.to_json() for view in two.find()], [view.to_json() for view in two.payments()]
    report = two.replay()
    assert not report.agrees
    assert [stream for stream, _ in report.set_aside] == ["refund-r-1"]
    assert report.to_json()["set_aside"][0]["error"].startswith(error.__name__)
    assert (report.refunds, report.differences) == (1, ())
    assert ([view.to_json() for view in two.find()], [view.to_json() for view in two.payments()]) == before


def test_what_reads_well_and_cannot_be_folded_is_set_aside_too(two, ask):
    """CASES A19, 38."""
    no_currency(two, None)
    assert two.replay().set_aside == (("refund-r-9", "InvalidAmount"),)
    with pytest.raises(EventUnreadable, match="folding it raised InvalidAmount"):
        two.refund("r-9")
    with pytest.raises(EventUnreadable, match="folding it raised InvalidAmount"):
        two.history("r-9")
    assert [view.refund_id for view in two.find()] == ["r-1", "r-2"]


def test_a_refund_in_failure_that_holds_its_amount_keeps_it_when_it_is_set_aside(
    engine, ask, wire, flip, hkd
):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(6000))
    ask(engine)
    held = wire.message({"result": {"code": "I0001"}})
    assert engine.record("evonet", "api_response", held, refund_id="r-1").state is State.FAILED
    assert engine.payment("evonet", "p-1").reserved_minor == 6000
    damaged(engine, flip)
    assert engine.replay().differences == ()
    assert engine.payment("evonet", "p-1").reserved_minor == 6000


def test_reasons_and_adopted_messages_of_a_refund_set_aside_stay_as_they_were(engine, ask, wire, flip):
    engine.receive_webhook("evonet", *wire.sign_evo("evonet", b"nonsense"))
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "Weird"))
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    engine.record("evonet", "poll", wire.says("evonet", "r-2", "success"))
    ask(engine)
    damaged(engine, flip)
    assert engine.replay().differences == ()
    assert [view.refund_id for view in engine.needing_attention()] == ["r-1"]
    assert sorted(str(row["refund_id"]) for row in engine.inbox()) == ["None", "r-2"]


def test_a_refund_without_a_payment_can_be_set_aside(engine, wire, flip):
    engine.record("evonet", "request", wire.request("evonet", "r-1", payment=None))
    damaged(engine, flip)
    report = engine.replay()
    assert (report.differences, [stream for stream, _ in report.set_aside]) == ((), ["refund-r-1"])


def test_an_inbox_or_payment_that_cannot_be_read_stays_as_it_was(engine, ask, wire, hkd):
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    ask(engine, "r-1")
    engine.record("evonet", "poll", wire.says("evonet", "r-2", "success"))
    for stream in ("inbox-evonet", "payment-evonet-p-1"):
        add_raw(engine, stream, "something.unknown")
    report = engine.replay()
    assert [stream for stream, _ in report.set_aside] == ["inbox-evonet", "payment-evonet-p-1"]
    assert report.differences == ()
    assert engine.payment("evonet", "p-1").captured_minor == 10000
    with pytest.raises(EventUnreadable):
        ask(engine, "r-3")


def test_with_inbox_and_refund_unreadable_both_stay_as_they_were(engine, ask, wire):
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    ask(engine)
    for stream in ("inbox-evonet", "refund-r-1"):
        add_raw(engine, stream, "something.unknown")
    assert engine.replay().differences == ()
    assert not list(engine.inbox())


def test_a_refund_whose_row_is_gone_too_cannot_be_brought_back(two, flip):
    from refold.engine.ports import Delete
    from refold.engine.service.views import REFUNDS

    unknown(two, flip)
    two.store.append(
        Write("store-x", None, [NewEvent("store.durability_chosen", TIME, '{"v":1,"mode":"x"}')]),
        changes=[Delete(REFUNDS, ("r-1",))],
    )
    two.replay()
    assert [view.refund_id for view in two.find()] == ["r-2"]


def test_a_webhook_for_a_refund_that_cannot_be_read_is_put_aside_and_answered_200(two, wire, flip):
    """CASES A19, B8: an authentic message is never dropped and never blocks others."""
    damaged(two, flip)
    reply = two.receive_webhook("evonet", *wire.webhook("evonet", "r-1", "success"))
    assert (reply.status, reply.result) == (200, "quarantined")
    (row,) = two.inbox()
    assert row["reason"] == "recording it raised EventCorrupt"


def test_overdue_refunds_are_found_beside_one_that_cannot_be_read(two, clock, flip):
    damaged(two, flip)
    clock.tick(days=11)
    with capture_logs() as logs:
        assert two.mark_overdue() == ["r-2"]
    assert [(line["refund_id"], line["error"]) for line in logs if line["log_level"] == "error"] == [
        ("r-1", "EventCorrupt")
    ]


def test_a_state_before_the_damage_can_still_be_read(two, flip):
    position = two.history("r-1")[0].position
    damaged(two, flip)
    assert two.refund("r-1", as_of=position).state is State.CREATED


def test_a_store_that_fails_during_a_replay_is_no_damaged_stream(memory_engine, ask, monkeypatch):
    ask(memory_engine)

    read = memory_engine.store.read_stream

    def busy(stream, **options):
        if stream == "refund-r-1":
            raise StoreBusy(5)
        return read(stream, **options)

    monkeypatch.setattr(memory_engine.store, "read_stream", busy)
    with pytest.raises(StoreBusy):
        memory_engine.replay()


# ---- old events


def test_an_old_log_that_new_rules_would_refuse_is_replayed_as_it_was(engine, ask, wire, hkd, monkeypatch):
    """CASES 38: rules decide when something is asked, never when it is read."""
    ask(engine, "r-1", gateway="bbmsl")
    engine.record("bbmsl", "request", wire.request("bbmsl", "p-1"), refund_id="r-2")
    before = [view.to_json() for view in engine.find()]
    assert engine.replay().agrees
    assert [view.to_json() for view in engine.find()] == before


def test_an_upcaster_that_breaks_sets_its_stream_aside(engine, ask, monkeypatch):
    """CASES A19."""
    ask(engine)
    add_raw(engine, "refund-r-1", "evidence.success", '{"v":0}')
    monkeypatch.setitem(UPCASTERS, ("evidence.success", 0), lambda data: 1 // 0)
    with pytest.raises(CorruptLog):
        engine.refund("r-1")
    assert [stream for stream, _ in engine.replay().set_aside] == ["refund-r-1"]


def test_an_amount_in_a_currency_that_is_none_any_more_can_still_be_told(engine, ask):
    """CASES 38."""
    ask(engine)
    data = '{"v":1,"channel":"poll","code":"x","amount_minor":5,"currency":"XXQ","trust":"verified"}'
    add_raw(engine, "refund-r-1", "evidence.pending", data)
    assert engine.history("r-1")[-1].says == "x, 5 minor units of XXQ, verified"


TOLD = {
    "contact failed": (
        "refund.contact_failed",
        '{"v":1,"phase":"poll","failure":"timeout","detail":"after 30 s"}',
        "poll failed: timeout after 30 s",
    ),
    "polling exhausted": ("refund.polling_exhausted", '{"v":1,"polls":9}', "9 queries brought no outcome"),
    "what is no event of a refund": (
        "store.durability_chosen",
        '{"v":1,"mode":"full"}',
        "store.durability_chosen",
    ),
    "a conclusion": (
        "evidence.rejected",
        '{"v":1,"channel":"poll","code":"not_found x2","trust":"verified","cites":[3,4]}',
        "not_found x2, concluded from its events 3, 4, verified",
    ),
}


@pytest.mark.parametrize(("type_", "data", "sentence"), TOLD.values(), ids=TOLD.keys())
def test_the_history_tells_every_kind_of_event(engine, ask, type_, data, sentence):
    ask(engine)
    add_raw(engine, "refund-r-1", type_, data)
    assert engine.history("r-1")[-1].says == sentence


# ---- all or nothing


def test_when_a_view_cannot_be_changed_the_event_is_not_stored_either(engine, ask, wire, monkeypatch):
    """CASES A20: there is no moment between append and projection."""
    ask(engine)
    events, rows = engine.store.head(), list(engine.find())

    from refold.engine.ports import Upsert
    from refold.engine.service.views import REFUNDS

    row = engine.store.row(REFUNDS, ("r-1",))
    broken = Upsert(REFUNDS, (*list(row.values())[:5], "success"))
    monkeypatch.setattr("refold.engine.service.recording.refund_changes", lambda *_: [broken])
    with pytest.raises(Exception):  # noqa: B017 - whichever: what counts is what was stored
        engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    monkeypatch.undo()
    assert (engine.store.head(), list(engine.find())) == (events, rows)
    assert engine.record("evonet", "poll", wire.says("evonet", "r-1", "success")).outcome is Outcome.RECORDED


# ---- erasure


def test_erasing_every_body_breaks_no_digest_and_no_state(engine, ask, wire):
    """CASES 40, C22."""
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    engine.receive_webhook("evonet", *wire.sign_evo("evonet", b"nonsense"))
    before = [view.to_json() for view in engine.find()]
    digests = [entry.data["message"]["digest"] for entry in engine.history("r-1") if "message" in entry.data]
    digests += [row["digest"] for row in engine.inbox()]
    for digest in digests:
        assert engine.store.erase_body(digest)
        with pytest.raises(MessageNotFound):
            engine.store.body(digest)
    assert len(list(engine.store.read_all())) == engine.store.head()
    assert engine.replay().agrees
    assert [view.to_json() for view in engine.find()] == before


def test_a_kept_body_is_what_its_event_says(engine, ask, wire):
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    reference = engine.history("r-1")[-1].data["message"]
    body = engine.store.body(reference["digest"])
    assert body_digest(body.salt, body.headers, body.content) == reference["digest"]
    assert (len(body.content), reference["masked"]) == (reference["size"], False)


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_an_import_reports_the_lines_of_a_damaged_refund_and_records_the_others(two, wire, flip, harm):
    harm(two, flip)
    lines = [
        b'{"gateway":"evonet","channel":"poll","received_at":"2026-03-02T13:00:00Z","http_status":502,"body":"","refund_id":"%s"}'
        % refund_id
        for refund_id in (b"r-1", b"r-2")
    ]
    problems = []
    report = two.ingest(lines, on_problem=lambda number, reason: problems.append(number))
    assert (problems, report.unusable, report.damaged, report.recorded) == ([1], 1, 1, 1)
