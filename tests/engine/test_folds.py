"""A refund that was loaded before is what folding its whole stream again would give, whatever happened since."""

import sqlite3
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain.events import EVIDENCE, RefundRequested
from refold.engine.domain.evidence import Trust
from refold.engine.domain.message import Channel
from refold.engine.domain.refund import fold
from refold.engine.errors import EventCorrupt, EventUnreadable
from refold.engine.ports import StoredEvent, Write
from refold.engine.service import folds
from refold.engine.service.folds import Folds, load_refund
from refold.engine.service.journal import decoded, encoded
from refold.eventstore import SqliteStore
from refold.eventstore.codec import event_digest

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=200)
AT = datetime(2026, 1, 2, tzinfo=UTC)
ASKED = RefundRequested(gateway="evonet", refund_id="r-1", payment_id="p-1", amount_minor=500, currency="HKD")
STREAM = "refund-r-1"


def evidence(signal, code="a=b"):
    return EVIDENCE[signal](channel=Channel.POLL, code=code, trust=Trust.VERIFIED)


def stored(*events):
    """Return them as a store would, each with its digest."""
    fields = [
        (version, STREAM, version, *new) for version, new in enumerate(encoded([ASKED, *events], AT), 1)
    ]
    return [StoredEvent(*each, event_digest(*each)) for each in fields]


LOGS = st.lists(st.sampled_from(["pending", "failed", "success", "rejected", "closed"]), max_size=4)


@PROFILE
@given(st.lists(LOGS, max_size=5), st.integers(1, 4))
def test_a_kept_fold_never_changes_what_a_log_adds_up_to(logs, longest):
    """The logs of one stream one after the other: longer, shorter, or another one from some event on."""
    kept = Folds()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "_LONGEST", longest)
        for log in logs:
            events = stored(*map(evidence, log))
            refund = kept.fold(STREAM, iter(events))
            assert refund == fold(decoded(events))
            assert refund.attention == fold(decoded(events)).attention
        assert kept.fold(STREAM, iter(())) is None


def test_the_digests_alone_tell_whether_a_fold_counts():
    """Planted: an event that says something else under the digest of the one before; only the store can find it."""
    kept, events = Folds(), stored(evidence("pending"))
    before = kept.fold(STREAM, iter(events))
    other = stored(evidence("failed"))[1]._replace(digest=events[1].digest)
    assert kept.fold(STREAM, iter([events[0], other])) == before


def test_what_was_folded_is_not_decoded_again():
    kept, events = Folds(), stored(evidence("pending"))
    kept.fold(STREAM, iter(events))
    unreadable = [event._replace(data="") for event in events]
    assert kept.fold(STREAM, iter(unreadable)).version == 2
    newer = stored(evidence("pending"), evidence("success"))
    assert kept.fold(STREAM, iter([*unreadable, newer[2]])).state == "success"


def test_only_so_many_folds_are_kept(monkeypatch):
    monkeypatch.setattr(folds, "_MOST", 2)
    kept = Folds()
    for name in ("refund-a", "refund-b", "refund-c"):
        kept.fold(name, iter(stored()))
    assert list(kept._kept) == ["refund-b", "refund-c"]


# ---- in a file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "refunds.db"


@pytest.fixture
def store(path):
    with_store = SqliteStore(path)
    with_store.append(Write(STREAM, 0, encoded([ASKED, evidence("pending")], AT)))
    yield with_store
    with_store.close()


def test_what_another_process_appended_is_seen(store, path):
    assert load_refund(store, "r-1").state == "received"
    other = SqliteStore(path)
    other.append(Write(STREAM, 2, encoded([evidence("success")], AT)))
    other.close()
    assert (load_refund(store, "r-1").state, load_refund(store, "r-1").version) == ("success", 3)


def tamper(path, sql, *values):
    connection = sqlite3.connect(path)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(sql, values)
    connection.commit()
    connection.close()


def test_damage_to_an_event_that_was_folded_before_is_found(store, path):
    load_refund(store, "r-1")
    tamper(path, "UPDATE events SET data = replace(data, 'a=b', 'a=c') WHERE version = 2")
    with pytest.raises(EventCorrupt):
        load_refund(store, "r-1")


def test_an_event_that_was_rewritten_with_its_digest_is_read_again(store, path):
    load_refund(store, "r-1")
    *fields, _ = stored(evidence("failed"))[1]
    tamper(
        path,
        "UPDATE events SET type = ?, time = ?, data = ?, digest = ? WHERE version = 2",
        *fields[3:],
        event_digest(*fields),
    )
    assert load_refund(store, "r-1").state == "failed"


def test_an_event_nobody_can_read_does_not_become_part_of_a_fold(store):
    load_refund(store, "r-1")
    (bad,) = encoded([evidence("success")], AT)
    store.append(Write(STREAM, 2, [bad._replace(data='{"v":1}')]))
    for _ in range(2):
        with pytest.raises(EventUnreadable):
            load_refund(store, "r-1")
