"""Replay: the views again from the log alone, compared, repaired, and never a gateway called."""

import ast
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import refold.engine.audit
from refold.engine.errors import ViewStale
from refold.engine.ports import Delete, Upsert, Write
from refold.engine.service.views import ATTENTION, INBOX, PAYMENTS, REFUNDS


@pytest.fixture
def busy(engine, ask, wire, hkd):
    """An engine with something in every view."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
    ask(engine, "r-1")
    engine.record("evonet", "request", wire.request("evonet", "r-2", payment="p-2"))
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    engine.record("evonet", "poll", wire.says("evonet", "r-3", "success"))
    engine.record("evonet", "poll", wire.says("evonet", "r-4", "success"))
    ask(engine, "r-4", payment="p-4")
    engine.receive_webhook("evonet", *wire.sign_evo("evonet", b"nonsense"))
    return engine


def dump(engine):
    return [[dict(row) for row in engine.store.rows(view)] for view in (REFUNDS, ATTENTION, PAYMENTS, INBOX)]


def plant(engine, *changes):
    """Change the views behind the engine's back, with an event that means nothing to them."""
    engine.store.append(Write("store-planted", None, [planted_event()]), changes=changes)


def planted_event():
    from refold.engine.ports import NewEvent

    return NewEvent("store.durability_chosen", "2026-11-21T12:00:00.000000Z", '{"v":1,"mode":"planted"}')


def test_a_replay_of_what_nobody_touched_agrees(busy):
    before = dump(busy)
    with capture_logs() as logs:
        report = busy.replay()
    assert report.to_json() == {
        "agrees": True,
        "events": busy.store.head(),
        "refunds": 3,
        "payments": 3,
        "differences": [],
        "set_aside": [],
    }
    assert dump(busy) == before
    assert [(line["event"], line["log_level"]) for line in logs] == [("replay.done", "info")]


REFUND_ROW = ("r-1", "evonet", "p-1", 6000, "HKD", "failed", "", 0, None, 2, "t", "t", "t")
PLANTED = {
    "a wrong state": (Upsert(REFUNDS, REFUND_ROW), "refunds", ("r-1",)),
    "a missing refund": (Delete(REFUNDS, ("r-1",)), "refunds", ("r-1",)),
    "an extra refund": (Upsert(REFUNDS, ("r-9", *REFUND_ROW[1:])), "refunds", ("r-9",)),
    "a missing reason": (Delete(ATTENTION, ("in_doubt", "r-2")), "attention", ("in_doubt", "r-2")),
    "an extra reason": (Upsert(ATTENTION, ("overdue", "r-1", "t")), "attention", ("overdue", "r-1")),
    "a wrong sum": (
        Upsert(PAYMENTS, ("evonet", "p-1", "HKD", None, -6000, 0, 0)),
        "payments",
        ("evonet", "p-1", "HKD"),
    ),
    "a missing payment": (
        Delete(PAYMENTS, ("evonet", "p-1", "HKD")),
        "payments",
        ("evonet", "p-1", "HKD"),
    ),
    "an extra message": (
        Upsert(INBOX, ("k", "orphaned", "evonet", "r-1", None, None, "x", "t", None)),
        "inbox",
        ("k",),
    ),
}


@pytest.mark.parametrize(("change", "view", "key"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_difference_is_reported_and_repaired(busy, change, view, key):
    before = dump(busy)
    plant(busy, change)
    assert dump(busy) != before
    report = busy.replay()
    assert not report.agrees
    assert [(found.view, found.key) for found in report.differences] == [(view, key)]
    assert dump(busy) == before
    assert busy.replay().agrees


def test_a_replay_with_differences_is_a_warning(busy):
    plant(busy, Delete(REFUNDS, ("r-1",)))
    with capture_logs() as logs:
        busy.replay()
    assert [line["log_level"] for line in logs] == ["warning"]


def test_a_difference_shows_both_rows(busy):
    plant(busy, Delete(REFUNDS, ("r-1",)))
    (difference,) = busy.replay().to_json()["differences"]
    assert difference["live"] is None
    assert difference["rebuilt"]["state"] == "success"


def test_views_that_are_stale_are_replayed_when_the_engine_opens(open_at, ask, wire, tmp_path):
    import sqlite3

    path = tmp_path / "stale.db"
    engine = open_at(f"sqlite:///{path}")
    ask(engine)
    engine.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE views SET definition = 'older' WHERE name = 'refunds'")
        connection.execute("DELETE FROM refunds")
    connection.close()
    again = open_at(f"sqlite:///{path}")
    assert [view.refund_id for view in again.find()] == ["r-1"]
    assert again.replay().agrees


@pytest.mark.parametrize("view", [REFUNDS, ATTENTION, PAYMENTS, INBOX], ids=lambda view: view.name)
def test_a_view_whose_table_was_dropped_is_replayed(open_at, ask, wire, tmp_path, view):
    import sqlite3

    url = f"sqlite:///{tmp_path / 'dropped.db'}"
    engine = open_at(url)
    ask(engine)
    engine.record("evonet", "poll", wire.says("evonet", "r-9", "success"))
    engine.record("evonet", "request", wire.request("evonet", "r-2", payment="p-2"))
    before = dump(engine)
    assert all(before)

    def drop():
        with sqlite3.connect(tmp_path / "dropped.db") as connection:
            connection.execute(f"DROP TABLE {view.name}")
        connection.close()

    drop()
    assert {found.view for found in engine.replay().differences} == {view.name}
    assert dump(engine) == before
    drop()
    engine.close()
    with pytest.raises(ViewStale, match=f"the view {view.name} is lost"):
        dump(open_at(url, read_only=True))
    again = open_at(url)
    assert dump(again) == before
    assert again.replay().agrees
    assert dump(open_at(url, read_only=True)) == before


def test_an_engine_that_cannot_be_made_leaves_no_store_open(open_at, tmp_path, monkeypatch):
    monkeypatch.setattr("refold.engine.service.facade.Keeper", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        open_at(f"sqlite:///{tmp_path / 'x.db'}")


# ---- replay and gateways


class Untouchable:
    """An adapter that no one may ask anything once it is armed."""

    def __init__(self, adapter):
        self.__dict__.update(_adapter=adapter, armed=False)

    def __getattr__(self, name):
        if self.armed:
            raise AssertionError(f"replay asked a gateway for {name}")
        return getattr(self._adapter, name)


def test_a_replay_asks_no_gateway_anything(open_engine, gateways, ask, wire):
    guarded = [Untouchable(gateway) for gateway in gateways]
    engine = open_engine(gateways=guarded)
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    ask(engine)
    for gateway in guarded:
        gateway.armed = True
    assert engine.replay().agrees
    assert engine.history("r-1")
    assert engine.refund("r-1", as_of=engine.store.head())
    with pytest.raises(AssertionError, match="replay asked"):
        engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))


AUDIT = Path(refold.engine.audit.__file__).parent
GATEWAY_WORDS = {"gateways", "Gateway", "adapters", "verify", "signed_at"}
GATEWAY_WORDS |= {"read_request", "read_response", "read_poll", "read_webhook", "build_refund", "build_query"}
FROM_SERVICE = {"journal", "outlines", "views"}


def spoken(tree):
    """Return every name, attribute and imported module a source mentions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", sorted(AUDIT.glob("*.py")), ids=lambda path: path.name)
def test_no_audit_module_has_a_word_for_a_gateway(path):
    assert not GATEWAY_WORDS & set(spoken(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", sorted(AUDIT.glob("*.py")), ids=lambda path: path.name)
def test_audit_knows_of_the_service_only_how_events_and_views_are_written(path):
    imported = {
        (node.module or "").removeprefix("service.")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("service")
    }
    assert imported <= FROM_SERVICE


def test_a_gateway_word_would_be_found():
    assert "gateways" in set(spoken(ast.parse("engine.gateways['x'].read_poll(m)")))
