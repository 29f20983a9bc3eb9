"""Events: names, versions and bytes are pinned here in full, because old logs must be readable for ever (case 38)."""

import json
import operator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from refold.engine.domain import events
from refold.engine.domain import wire as wires
from refold.engine.domain.events import (
    EVENTS,
    EVIDENCE,
    Event,
    EvidenceRecorded,
    PollingExhausted,
    Recorded,
    RefundRequested,
    RefundResolved,
)
from refold.engine.domain.refund import fold
from refold.engine.domain.signals import Signal
from refold.engine.domain.wire import BY_WIRE, UPCASTERS, from_wire, time_of, time_text, to_wire
from refold.engine.errors import EventUnreadable, InvalidText

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=300)

# ---- pinned: a change here is a change of every log ever written

NAMES = {
    "RefundRequested": ("refund.requested", 1),
    "SubmissionStarted": ("refund.submission_started", 1),
    "ContactFailed": ("refund.contact_failed", 1),
    "PollingExhausted": ("refund.polling_exhausted", 1),
    "OutcomeOverdue": ("refund.overdue", 1),
    "RefundResolved": ("refund.resolved", 1),
    "EvidenceRejected": ("evidence.rejected", 1),
    "EvidencePending": ("evidence.pending", 1),
    "EvidenceClosed": ("evidence.closed", 1),
    "EvidenceFailed": ("evidence.failed", 1),
    "EvidenceSuccess": ("evidence.success", 1),
    "EvidenceReversed": ("evidence.reversed", 1),
    "EvidenceRecovered": ("evidence.recovered", 1),
    "EvidenceUncertain": ("evidence.uncertain", 1),
    "EvidenceNotFound": ("evidence.not_found", 1),
    "EvidenceUnrecognised": ("evidence.unrecognised", 1),
    "EvidenceMismatched": ("evidence.mismatched", 1),
    "PaymentRegistered": ("payment.registered", 1),
    "RefundReserved": ("payment.refund_reserved", 1),
    "MessageOrphaned": ("inbox.orphaned", 1),
    "MessageQuarantined": ("inbox.quarantined", 1),
    "DurabilityChosen": ("store.durability_chosen", 1),
}

DIGEST = "ab" * 32
KEY = "cd" * 32
GOLDEN = [
    (
        "refund.requested",
        '{"v":1,"gateway":"evonet","refund_id":"r-1","payment_id":"p-1","amount_minor":10000,"currency":"HKD","account":"S024116","requested_by":"ann","reason":"goods returned","recorded_at":"2026-11-21T12:00:00.123456Z"}',
    ),
    ("refund.requested", '{"v":1,"gateway":"bbmsl","refund_id":"r-2","amount_minor":1,"currency":"JPY"}'),
    (
        "refund.submission_started",
        '{"v":1,"idempotency_key":"r-1","signed_at":"2026-11-21T12:00:00Z","nonce":"0af1","target":"/payment/p-1/refund","trust":"verified","key_id":"main","message":{"digest":"DIGEST","size":512,"masked":true},"recorded_at":"2026-11-21T12:00:00.123456Z"}',
    ),
    ("refund.contact_failed", '{"v":1,"phase":"submit","failure":"timeout","detail":"read timed out"}'),
    (
        "refund.contact_failed",
        '{"v":1,"phase":"poll","failure":"http_error","detail":"bad gateway","http_status":502,"request":"DIGEST"}',
    ),
    ("refund.polling_exhausted", '{"v":1,"polls":9}'),
    ("refund.overdue", '{"v":1,"due_at":"2026-11-21T12:00:00.123456Z"}'),
    (
        "refund.resolved",
        '{"v":1,"outcome":"success","actor":"ben","reason":"seen on the statement","seen_mask":12}',
    ),
    ("evidence.rejected", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    (
        "evidence.pending",
        '{"v":1,"channel":"webhook","code":"refund.status=Success","claimed":"success","amount_minor":10000,"currency":"HKD","account":"S024116","payment_id":"p-1","payment_alias":"1076","gateway_refund_id":"evo-1","gateway_time":"2026-11-21T11:59:59Z","detail":"Refund accepted 退款","hold":"until_query","unanswered":true,"http_status":200,"retry_after_s":30,"trust":"verified","key_id":"main","message":{"digest":"DIGEST","size":512,"masked":true},"cites":[4,7],"adopted_from":"KEY","recorded_at":"2026-11-21T12:00:00.123456Z"}',
    ),
    ("evidence.closed", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    ("evidence.failed", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    ("evidence.success", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    ("evidence.reversed", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    ("evidence.recovered", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    ("evidence.uncertain", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    ("evidence.not_found", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    ("evidence.unrecognised", '{"v":1,"channel":"poll","code":"state=2","trust":"unverified"}'),
    (
        "evidence.mismatched",
        '{"v":1,"claimed":"success","fields":[{"field":"amount_minor","expected":"10000","seen":"1000"}]}',
    ),
    (
        "payment.registered",
        '{"v":1,"gateway":"evonet","payment_id":"p-1","captured_minor":10000,"currency":"HKD"}',
    ),
    (
        "payment.refund_reserved",
        '{"v":1,"gateway":"evonet","payment_id":"p-1","refund_id":"r-1","amount_minor":10000,"currency":"HKD"}',
    ),
    (
        "inbox.orphaned",
        '{"v":1,"key":"KEY","gateway":"evonet","refund_id":"r-1","stated_refund_id":"r-1","signal":"unrecognised","claims":"success","evidence":{"channel":"poll","code":"state=2","trust":"unverified"}}',
    ),
    (
        "inbox.quarantined",
        '{"v":1,"key":"KEY","gateway":"evonet","channel":"webhook","reason":"not_strict_json","trust":"verified","key_id":"main","message":{"digest":"DIGEST","size":512,"masked":true}}',
    ),
    ("store.durability_chosen", '{"v":1,"mode":"relaxed"}'),
]
"""One line a type at least, with every field somewhere; DIGEST and KEY stand for 64 digits."""
ROWS = [(wire, data.replace("DIGEST", DIGEST).replace("KEY", KEY)) for wire, data in GOLDEN]


def test_the_wire_names_and_versions_are_as_ever():
    assert {model.__name__: (model.wire, model.version) for model in EVENTS} == NAMES


def test_every_class_of_event_is_listed_and_every_signal_has_one():
    def leaves(model):
        below = model.__subclasses__()
        return {leaf for each in below for leaf in leaves(each)} if below else {model}

    assert {model for model in leaves(Event) if model.__module__ == events.__name__} == set(EVENTS)
    assert len(BY_WIRE) == len(EVENTS)
    assert set(EVIDENCE) == set(Signal)
    assert all(model.wire == f"evidence.{signal}" for signal, model in EVIDENCE.items())


def test_the_golden_lines_hold_every_type_and_every_field():
    shown = {wire: set() for wire in BY_WIRE}
    for wire, data in ROWS:
        shown[wire] |= set(json.loads(data)) - {"v"}
    for wire, model in BY_WIRE.items():
        if not issubclass(model, EvidenceRecorded) or wire == "evidence.pending":
            assert shown[wire] == set(model.model_fields), wire


@pytest.mark.parametrize(("wire", "data"), ROWS, ids=map(operator.itemgetter(0), ROWS))
def test_what_was_ever_written_reads_back_and_is_written_alike(wire, data):
    event = from_wire(wire, data)
    assert type(event) is BY_WIRE[wire]
    assert to_wire(event) == data
    assert data.startswith('{"v":1,')


@pytest.mark.parametrize(("wire", "data"), ROWS, ids=map(operator.itemgetter(0), ROWS))
def test_the_order_of_keys_and_blanks_do_not_matter_to_a_reader(wire, data):
    fields = json.loads(data)
    reordered = json.dumps(dict(reversed(fields.items())), indent=1)
    assert from_wire(wire, reordered) == from_wire(wire, data)


@pytest.mark.parametrize(("wire", "data"), ROWS, ids=map(operator.itemgetter(0), ROWS))
def test_an_event_is_frozen(wire, data):
    event = from_wire(wire, data)
    name = next(iter(type(event).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(event, name, "x")


@pytest.mark.parametrize(("wire", "data"), ROWS, ids=map(operator.itemgetter(0), ROWS))
def test_a_field_that_this_version_does_not_have_is_not_passed_over(wire, data):
    with pytest.raises(EventUnreadable, match="its data does not fit"):
        from_wire(wire, data[:-1] + ',"surplus":1}')


@pytest.mark.parametrize(
    ("wire", "data", "reason"),
    [
        ("refund.renamed", '{"v":1}', "no model has this wire name; was it written by a newer refold"),
        ("refund.polling_exhausted", '{"v":2,"polls":1}', "version 2 is unknown, this refold reads up to 1"),
        ("refund.polling_exhausted", '{"v":0,"polls":1}', "version 0 is unknown"),
        ("refund.polling_exhausted", '{"v":-1,"polls":1}', "version -1 is unknown"),
        ("refund.polling_exhausted", '{"polls":1}', "carries no version"),
        ("refund.polling_exhausted", '{"v":"1","polls":1}', "carries no version"),
        ("refund.polling_exhausted", '{"v":true,"polls":1}', "carries no version"),
        ("refund.polling_exhausted", '{"v":1.0,"polls":1}', "carries no version"),
        ("refund.polling_exhausted", "[1]", "carries no version"),
        ("refund.polling_exhausted", '{"v":1}', "does not fit: ValidationError"),
        ("refund.polling_exhausted", '{"v":1,', "does not fit: ValidationError"),
        ("refund.polling_exhausted", "", "does not fit: NotStrictJson"),
        ("refund.polling_exhausted", "garbage", "does not fit: NotStrictJson"),
        ("refund.polling_exhausted", '{"v":1,"polls":1}{', "does not fit"),
        ("refund.polling_exhausted", '{"v":1,"polls":"1"}', "does not fit: ValidationError"),
        ("refund.polling_exhausted", '{"v":1,"polls":1.0}', "does not fit: ValidationError"),
        ("refund.polling_exhausted", '{"v":1,"polls":true}', "does not fit: ValidationError"),
        ("refund.polling_exhausted", '{"v":1,"polls":-1}', "does not fit: ValidationError"),
        ("refund.polling_exhausted", '{"polls":1,"v":1,"polls":2}', "does not fit: NotStrictJson"),
        ("refund.polling_exhausted", '{"v":1,"polls":1}\ud800', "does not fit"),
        ("refund.overdue", '{"v":1,"due_at":"2026-11-21T12:00:00"}', "does not fit: ValidationError"),
        ("store.durability_chosen", '{"v":1,"mode":"\\ud800"}', "does not fit: ValidationError"),
    ],
)
def test_what_cannot_be_read_is_said_to_be_unreadable(wire, data, reason):
    with pytest.raises(EventUnreadable, match=reason) as caught:
        from_wire(wire, data)
    assert caught.value.event_type == wire


AMOUNTS = ["0", "-1", "10.0", "1e2", '"10"', "true", "null", str(2**63), "[1]"]


@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize(
    ("wire", "field", "rest"),
    [
        ("refund.requested", "amount_minor", '"gateway":"g","refund_id":"r","currency":"HKD"'),
        ("payment.registered", "captured_minor", '"gateway":"g","payment_id":"p","currency":"HKD"'),
        (
            "payment.refund_reserved",
            "amount_minor",
            '"gateway":"g","payment_id":"p","refund_id":"r","currency":"HKD"',
        ),
    ],
)
def test_an_amount_in_the_log_is_a_whole_number_of_minor_units_whichever_way_it_is_read(
    wire, field, rest, amount
):
    for data in (f'{{"v":1,{rest},"{field}":{amount}}}', f'{{{rest},"{field}":{amount},"v":1}}'):
        with pytest.raises(EventUnreadable, match="does not fit"):
            from_wire(wire, data)


@pytest.mark.parametrize("amount", ["-1", "10.0", '"10"', "true"])
def test_the_amount_in_evidence_is_a_whole_number_too(amount):
    data = f'{{"v":1,"channel":"poll","code":"x=y","trust":"unverified","amount_minor":{amount}}}'
    with pytest.raises(EventUnreadable, match="does not fit"):
        from_wire("evidence.success", data)


@pytest.mark.parametrize("mask", [-1, 128, "1", 1.0, True])
def test_a_decision_has_seen_a_mask_that_exists(mask):
    with pytest.raises(ValidationError):
        RefundResolved(outcome="success", actor="ann", reason="because", seen_mask=mask)


@pytest.mark.parametrize("outcome", ["created", "received", "refunded", None])
def test_a_decision_is_for_an_outcome(outcome):
    with pytest.raises(ValidationError):
        RefundResolved(outcome=outcome, actor="ann", reason="because", seen_mask=0)


# ---- old versions


def from_units(data):
    """As if amounts had once been kept in whole units of the currency."""
    return {"amount_minor": data.pop("amount") * 100, **data}


def test_an_older_version_is_read_through_its_upcasters(monkeypatch):
    monkeypatch.setitem(UPCASTERS, ("refund.requested", -1), lambda data: {"amount": data.pop("sum"), **data})
    monkeypatch.setitem(UPCASTERS, ("refund.requested", 0), from_units)
    asked = RefundRequested(gateway="evonet", refund_id="r-1", amount_minor=500, currency="HKD")
    same = '"gateway":"evonet","refund_id":"r-1","currency":"HKD"'
    assert from_wire("refund.requested", f'{{"v":0,{same},"amount":5}}') == asked
    assert from_wire("refund.requested", f'{{"v":-1,{same},"sum":5}}') == asked
    assert from_wire("refund.requested", to_wire(asked)) == asked


def test_the_next_version_is_written_and_the_present_one_still_read(monkeypatch):
    class PollingEnded(PollingExhausted):
        version = 2
        because: str

    monkeypatch.setitem(wires._MODELS, PollingEnded.wire, wires._read_by(PollingEnded))
    monkeypatch.setitem(UPCASTERS, (PollingEnded.wire, 1), lambda data: {**data, "because": "not kept then"})
    old = from_wire("refund.polling_exhausted", '{"v":1,"polls":9}')
    assert old == PollingEnded(polls=9, because="not kept then")
    new = '{"v":2,"polls":9,"because":"the schedule ended"}'
    assert to_wire(from_wire("refund.polling_exhausted", new)) == new


@pytest.mark.parametrize("error", [KeyError, TypeError, ZeroDivisionError, RecursionError])
def test_an_upcaster_that_breaks_makes_the_event_unreadable(monkeypatch, error):
    def breaks(data):
        raise error

    monkeypatch.setitem(UPCASTERS, ("refund.overdue", 0), breaks)
    with pytest.raises(EventUnreadable, match=f"its upcaster from version 0: {error.__name__}"):
        from_wire("refund.overdue", '{"v":0}')


def test_an_upcaster_that_returns_no_data_makes_the_event_unreadable(monkeypatch):
    monkeypatch.setitem(UPCASTERS, ("refund.overdue", 0), lambda data: None)
    with pytest.raises(EventUnreadable, match="does not fit"):
        from_wire("refund.overdue", '{"v":0}')


def test_old_events_that_new_rules_forbid_still_fold():
    lines = [
        (
            "refund.requested",
            '{"v":1,"gateway":"gone","refund_id":"has blanks","amount_minor":1,"currency":"HKD","requested_by":"ann"}',
        ),
        (
            "evidence.success",
            '{"v":1,"channel":"webhook","code":"","trust":"unverified","currency":"nonsense"}',
        ),
        (
            "refund.requested",
            '{"v":1,"gateway":"gone","refund_id":"again","amount_minor":2,"currency":"JPY"}',
        ),
        ("refund.resolved", '{"v":1,"outcome":"failed","actor":"ann","reason":"","seen_mask":0}'),
        ("evidence.rejected", '{"v":1,"channel":"report","code":"x=y","trust":"verified"}'),
    ]
    history = [Recorded(n, n, NOW, from_wire(*line)) for n, line in enumerate(lines, start=1)]
    refund = fold(history)
    assert (refund.refund_id, str(refund.amount), refund.version) == ("has blanks", "0.01 HKD", 5)
    assert (refund.state, refund.attention) == ("failed", {"conflict"})
    assert refund.resolution.actor == refund.requested_by == "ann"


def test_a_stream_that_another_event_opens_is_unreadable():
    with pytest.raises(EventUnreadable, match="it opens a refund's stream at position 7"):
        fold([Recorded(7, 1, NOW, from_wire("refund.polling_exhausted", '{"v":1,"polls":1}'))])


# ---- any text, any moment


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOW, "2026-11-21T12:00:00.000000Z"),
        (NOW.replace(year=987), "0987-11-21T12:00:00.000000Z"),
        (datetime(2026, 11, 21, 12, 0, 0, 7, timezone(timedelta(hours=8))), "2026-11-21T04:00:00.000007Z"),
    ],
)
def test_a_moment_is_written_as(moment, text):
    assert time_text(moment) == text


def test_a_moment_that_utc_does_not_have_is_refused():
    with pytest.raises(InvalidText, match=r"0001-01-01T00:00:00\+08:00 is in no year"):
        time_text(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=8))))


@PROFILE
@given(st.sampled_from(ROWS), st.data())
def test_a_damaged_line_reads_as_some_event_or_is_unreadable(row, data):
    wire, text = row
    where = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 3))
    damaged = text[:where] + data.draw(st.text(max_size=3)) + text[where + cut :]
    try:
        event = from_wire(wire, damaged)
    except EventUnreadable:
        return
    assert from_wire(wire, to_wire(event)) == event


@PROFILE
@given(st.sampled_from(sorted(BY_WIRE)) | st.text(), st.text())
def test_any_text_reads_as_an_event_or_is_unreadable(wire, text):
    with pytest.raises(EventUnreadable):
        from_wire(wire, text)


@PROFILE
@given(st.datetimes(timezones=st.timezones() | st.just(timezone(timedelta(hours=8)))))
def test_a_moment_is_kept_in_utc_to_the_microsecond(moment):
    try:
        text = time_text(moment)
    except InvalidText:  # the first and last day there are
        assert moment.year in {1, 9999}
        return
    # in UTC: by PEP 495 no other zone's time in a fold or a gap equals anything
    assert time_of(text) == moment.astimezone(UTC)
    assert len(text) == 27
    assert text.endswith("Z")
