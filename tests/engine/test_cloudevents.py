"""Effects as CloudEvents 1.0.2, in the JSON format.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/cloudevents.json
"""

import json
import re
from datetime import datetime, timedelta

import pytest

from refold.engine import EffectKind

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
URI_REFERENCE = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%-]+")
REQUIRED = ("id", "source", "specversion", "type")
ATTRIBUTES = {
    "id": lambda value: isinstance(value, str) and value,
    "source": lambda value: isinstance(value, str) and URI_REFERENCE.fullmatch(value),
    "specversion": lambda value: value == "1.0",
    "type": lambda value: isinstance(value, str) and re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", value),
    "datacontenttype": lambda value: isinstance(value, str) and re.fullmatch(r"[a-z]+/[a-z+.-]+", value),
    "subject": lambda value: isinstance(value, str) and value,
    "time": lambda value: isinstance(value, str) and RFC_3339.fullmatch(value),
    "data": lambda value: isinstance(value, dict),
}


def violations(event):
    """Return what a CloudEvent in the JSON format must not be; extension names are lower-case letters and digits."""
    found = [f"no {name}" for name in REQUIRED if name not in event]
    for name, value in event.items():
        if name not in ATTRIBUTES:
            fine = re.fullmatch("[a-z0-9]{1,20}", name) and isinstance(value, bool | int | str)
        else:
            fine = ATTRIBUTES[name](value)
        found += [] if fine else [f"{name}: {value}"]
    return found


def test_an_effect_is_a_cloudevent(told, deliver):
    for effect in deliver(told, kinds=EffectKind):
        event = json.loads(effect.to_json())
        assert violations(event) == []
        assert event == effect.to_cloudevent()
        assert (event["id"], event["subject"]) == (effect.key, effect.refund_id)
        assert datetime.fromisoformat(event["time"]) == effect.time


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"source": "a b"},
        {"specversion": "1.0.2"},
        {"type": "Refund"},
        {"time": "2026-01-02 03:04"},
        {"time": None},
        {"refund_id": "r-1"},
    ],
    ids=str,
)
def test_what_is_no_cloudevent_is_noticed(told, deliver, changes):
    event = deliver(told)[0].to_cloudevent()
    assert len(violations(event | changes)) == 1
    for name in REQUIRED:
        assert violations({key: value for key, value in event.items() if key != name}) == [f"no {name}"]


def test_the_names_that_receivers_depend_on_do_not_change(told, deliver):
    event = deliver(told)[-1].to_cloudevent(source="https://pay.example/refunds")
    key, time = event.pop("id"), event.pop("time")
    assert key
    assert time
    assert event == {
        "specversion": "1.0",
        "source": "https://pay.example/refunds",
        "type": "refold.refund.state_changed",
        "subject": "r-1",
        "datacontenttype": "application/json",
        "data": {
            "refund_id": "r-1",
            "gateway": "evonet",
            "payment_id": "p-1",
            "gateway_refund_id": "g-1",
            "amount": {"minor": 6000, "currency": "HKD"},
            "state": "success",
            "previous_state": "received",
            "attention": [],
            "raised": [],
            "cleared": [],
            "position": told.store.head(),
            "version": 3,
            "cause": "evidence.success",
        },
    }
    assert [str(kind) for kind in EffectKind] == ["refund.state_changed", "refund.attention_changed"]


def test_the_key_of_a_known_event_does_not_change():
    """A receiver that has seen the key must know it again after every upgrade."""
    from refold.engine.ports import StoredEvent
    from refold.engine.service.effects import Effects
    from refold.eventstore import MemoryStore

    data = (
        '{"v":1,"gateway":"evonet","refund_id":"r-1","payment_id":"p-1","amount_minor":100,"currency":"HKD"}'
    )
    event = StoredEvent(7, "refund-r-1", 1, "refund.requested", "2026-01-02T03:04:05.000006Z", data, b"")
    (effect,) = Effects(MemoryStore()).of(event)
    assert effect.key == "3487e4a7185e1df72cab72019d9f518d57c05a5d0d572d4336c4f82c67006155"


def test_no_message_no_card_number_and_no_note_goes_out(engine, ask, wire, deliver):
    ask(engine, reason="note-canary 4111111111111111")
    body = wire.answer("evonet", "r-1", "success") | {"canary": "body-canary", "pan": "4111111111111111"}
    engine.record("evonet", "poll", wire.message(body, http_status=200))
    engine.resolve("r-1", "failed", actor="ann", reason="reason-canary 4111111111111111")
    out = "".join(effect.to_json() + repr(effect) for effect in deliver(engine, kinds=EffectKind))
    assert "r-1" in out
    for canary in ("canary", "411111", "ann", "said"):
        assert canary not in out


def test_time_is_when_the_fact_reached_us(engine, ask, wire, clock, deliver):
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", at_s=90))
    clock.tick(days=1)
    assert deliver(engine)[-1].time == clock.now - timedelta(days=1) + timedelta(seconds=90)
