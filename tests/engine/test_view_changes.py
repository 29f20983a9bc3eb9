"""View changes: which columns of its row a message leaves as they were."""

from datetime import UTC, datetime, timedelta

import pytest

from refold.engine.domain.events import EVIDENCE, Recorded, RefundRequested
from refold.engine.domain.evidence import Trust
from refold.engine.domain.message import Channel
from refold.engine.domain.refund import fold
from refold.engine.service.views import REFUNDS, refund_changes

AT = datetime(2026, 1, 2, tzinfo=UTC)


def asked(payment_id):
    return RefundRequested(
        gateway="evonet", refund_id="r-1", payment_id=payment_id, amount_minor=500, currency="HKD"
    )


def said(signal, **more):
    return EVIDENCE[signal](channel=Channel.WEBHOOK, code="a=b", trust=Trust.VERIFIED, **more)


def folded(*events):
    return fold(
        Recorded(version, version, AT + timedelta(seconds=version), event)
        for version, event in enumerate(events, 1)
    )


def row_of(change):
    return dict(zip(REFUNDS.names(), change.values, strict=True))


MESSAGES = {
    "names nothing new": ("p-1", {}, {"gateway", "currency", "payment_id", "gateway_refund_id"}),
    "names the number": ("p-1", {"gateway_refund_id": "g-1"}, {"gateway", "currency", "payment_id"}),
    "names the payment": (None, {"payment_id": "p-1"}, {"gateway", "currency", "gateway_refund_id"}),
    "names both": (None, {"payment_id": "p-1", "gateway_refund_id": "g-1"}, {"gateway", "currency"}),
}


@pytest.mark.parametrize(("payment_id", "named", "left"), MESSAGES.values(), ids=MESSAGES.keys())
@pytest.mark.parametrize("signal", ["pending", "success", "unrecognised"])
def test_a_message_says_which_columns_it_leaves_and_leaves_them(payment_id, named, left, signal):
    opened = asked(payment_id)
    before, after = folded(opened), folded(opened, said(signal, **named))
    (was, *_), (becomes, *_) = refund_changes(None, before), refund_changes(before, after)
    assert was.unchanged == frozenset()
    assert becomes.unchanged == left | {"amount_minor", "requested_at", "sort_key"}
    old, new = row_of(was), row_of(becomes)
    assert [name for name in becomes.unchanged if old[name] != new[name]] == []
