"""The engine on a PostgreSQL store: opened by a URL, and then nobody can tell."""

import subprocess
import sys

import pytest

from refold.engine import RefundEngine
from refold.engine.errors import InvalidSetting
from refold.engine.ports import NewEvent, Upsert, Write
from refold.engine.service.views import ATTENTION, INBOX, PAYMENTS, REFUNDS


@pytest.fixture
def live(ask, wire, hkd):
    """Let a payment and some refunds happen to an engine."""

    def happen(engine):
        engine.register_payment(gateway="evonet", payment_id="p-1", captured=hkd(10000))
        ask(engine, "r-1")
        engine.record("evonet", "request", wire.request("evonet", "r-2", payment="p-2"))
        engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
        engine.record("evonet", "poll", wire.says("evonet", "r-4", "success"))
        ask(engine, "r-4", payment="p-4")
        engine.receive_webhook("evonet", *wire.webhook("evonet", "r-2", "failed"))
        engine.receive_webhook("evonet", *wire.sign_evo("evonet", b"nonsense"))
        engine.resolve("r-2", "success", actor="ann", reason="the bank says so")

    return happen


def tables(engine):
    return [[dict(row) for row in engine.store.rows(view)] for view in (REFUNDS, ATTENTION, PAYMENTS, INBOX)]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "POSTGRESQL"])
def test_refunds_come_out_as_on_the_memory_store(postgres_url, open_at, open_memory, live, scheme):
    engine = open_at(postgres_url.replace("postgresql", scheme), entropy=bytes)
    memory = open_memory(entropy=bytes)
    live(engine)
    live(memory)
    assert tables(engine) == tables(memory)
    assert [event[:6] for event in engine.store.read_all()] == [
        event[:6] for event in memory.store.read_all()
    ]
    assert engine.refund("r-2").state == memory.refund("r-2").state == "success"


def test_replay_finds_a_wrong_row_and_repairs_it(postgres_url, open_at, live):
    engine = open_at(postgres_url)
    live(engine)
    before = tables(engine)
    assert engine.replay().agrees
    planted = NewEvent("refund.requested", "2026-01-01T00:00:00Z", "{}")
    wrong = Upsert(PAYMENTS, ("evonet", "p-1", "HKD", None, 1, 0, 0))
    engine.store.append(Write("store-planted", None, [planted]), changes=[wrong])
    assert tables(engine) != before
    assert not engine.replay().agrees
    assert tables(engine) == before


def test_another_process_goes_on_with_the_same_refunds(postgres_url, open_at, live):
    first = open_at(postgres_url)
    live(first)
    second = open_at(postgres_url)
    assert second.refund("r-1") == first.refund("r-1")
    assert tables(second) == tables(first)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "refold.eventstore.postgres", None)
    with pytest.raises(
        InvalidSetting, match=r"postgresql:// needs `pip install 'refold\[postgres\]'`"
    ) as caught:
        RefundEngine.open("postgresql://me:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2@[x/db", "sqlite://[", "[", "http://me:hunter2@[x", "sqlite:///%ff.db"]
)
def test_what_is_no_url_at_all_is_told_in_one_sentence(url):
    with pytest.raises(
        InvalidSetting, match=r"^store URL: .*; use memory:, sqlite:///PATH or postg"
    ) as caught:
        RefundEngine.open(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        " sqlite:///a.db",
        "sqlite:///a\n.db",
        "sqlite:///a.db\t",
        "postgresql://me:hunter2@h\n/db",
        "memory:\n",
    ],
)
def test_a_url_of_several_lines_names_no_other_place(url):
    with pytest.raises(InvalidSetting, match="blanks around it, or a line's end") as caught:
        RefundEngine.open(url)
    assert "hunter2" not in str(caught.value)


def test_psycopg_is_loaded_only_where_a_postgresql_store_is_opened():
    program = (
        "import sys; from refold.engine import RefundEngine; RefundEngine.open('memory:').close();"
        " print([name for name in sys.modules if name.startswith('psycopg')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "[]\n"
