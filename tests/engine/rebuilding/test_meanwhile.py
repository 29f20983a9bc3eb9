"""A rebuild while others write, and rebuild."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from refold.engine.audit.projecting import Folding
from refold.engine.errors import StoreUnavailable
from refold.engine.service.views import REFUNDS
from refold.eventstore import outlining
from refold.eventstore import rebuilding as shared
from refold.eventstore.postgres import rebuilding, views
from refold.eventstore.postgres.rebuilding import Tables


def busy(engine, ask, wire, hkd):
    """Make all kinds of changes to views that were there, and new rows in each."""
    ask(engine, "new", payment="p-new")
    engine.record("evonet", "request", wire.request("evonet", "sent", payment="p-new"))
    engine.record("evonet", "poll", wire.says("evonet", "a-sent", "success", payment="p-a-sent"))
    engine.record("evonet", "poll", wire.says("evonet", "a-done", "failed", payment="p-a-done"))
    engine.record("evonet", "poll", wire.says("evonet", "orphan", "success"))
    ask(engine, "waiting", payment="p-b")
    engine.record("evonet", "poll", wire.says("evonet", "stays", "success"))
    engine.register_payment(gateway="evonet", payment_id="p-new", captured=hkd(30000))


@pytest.mark.parametrize("few", [0, 100], ids=["added at once", "added at the end"])
@pytest.mark.parametrize("when", ["before the fold", "after the fold", "before the outlines"])
def test_what_is_recorded_during_a_rebuild_is_in_the_new_tables(
    open_engine, ask, wire, hkd, monkeypatch, few, when, plain, dump
):
    monkeypatch.setattr(shared, "_FEW", few)
    engine = open_engine()
    plain(engine, "a", "b")
    engine.record("evonet", "poll", wire.says("evonet", "waiting", "success"))
    told, cut = Folding.whole, outlining.parts

    def whole(self, upto, left):
        if when == "before the fold" or (when == "before the outlines" and not left):
            busy(engine, ask, wire, hkd)
        yield from told(self, upto, left)
        if when == "after the fold":
            busy(engine, ask, wire, hkd)

    def parts(outline, upto, sampled):
        if when == "before the outlines" and outline.category == "payment":
            busy(engine, ask, wire, hkd)
        return cut(outline, upto, sampled)

    monkeypatch.setattr(outlining, "parts", parts)
    monkeypatch.setattr(Folding, "whole", whole)
    engine.rebuild()
    made = dump(engine)
    monkeypatch.undo()
    assert engine.replay().agrees
    assert dump(engine) == made
    assert engine.refund("a-done").state == "success"
    assert [row["key"] for row in engine.inbox()] != []


def test_a_rebuild_adds_what_comes_meanwhile_again_and_again(engine, ask, monkeypatch):
    monkeypatch.setattr(shared, "_FEW", 0)
    told = Folding.since
    rounds = []

    def since(self, after, upto):
        rounds.append((after, upto))
        if len(rounds) < 5:
            ask(engine, f"r-{len(rounds)}", payment=f"p-{len(rounds)}")
        return told(self, after, upto)

    monkeypatch.setattr(Folding, "since", since)
    monkeypatch.setattr(Folding, "whole", lambda *_: ask(engine, "r-0") and ())
    engine.rebuild()
    monkeypatch.undo()
    assert [upto for _, upto in rounds[:-1]] == [after for after, _ in rounds[1:]]
    assert len(rounds) == 5
    assert engine.replay().agrees


def test_only_one_of_two_rebuilds_ends(engine, ask, wire, monkeypatch, plain, dump):
    plain(engine, "a")
    made = dump(engine)
    told = Folding.whole

    def whole(self, upto, left):
        monkeypatch.setattr(Folding, "whole", told)
        assert engine.replay().agrees
        return told(self, upto, left)

    monkeypatch.setattr(Folding, "whole", whole)
    with pytest.raises(StoreUnavailable, match="another rebuild of the views has begun"):
        engine.rebuild()
    assert dump(engine) == made
    engine.rebuild()
    assert dump(engine) == made


def test_rebuilds_at_once_never_take_each_others_rows(engine, ask, wire, monkeypatch, plain, dump):
    """The older one is refused, and whatever it was about to fill in stays out of the newer one's tables."""
    plain(engine, "a", "b", "c")
    made = dump(engine)
    fill, cut, newer = type(engine.store)._tables, outlining.parts, []

    def parts(*given):
        newer.append("worked out")
        return cut(*given)

    def overtaken(self, number, **options):
        if newer == ["worked out"]:
            newer.append("overtakes")
            engine.rebuild()
            newer.append(dump(engine))
        return fill(self, number, **options)

    monkeypatch.setattr(outlining, "parts", parts)
    monkeypatch.setattr(type(engine.store), "_tables", overtaken)
    with pytest.raises(StoreUnavailable, match="another rebuild"):
        engine.rebuild()
    assert newer[1] == "overtakes"
    assert made in newer
    assert dump(engine) == made


WAITS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.mark.parametrize("turn", [0, 3, -2, -1], ids=["the first part", "a part", "an index", "the swap"])
def test_a_rebuild_that_begins_waits_for_the_transaction_that_another_one_is_in(
    postgres, open_at, ask, wire, monkeypatch, until, turn, plain, dump
):
    """Whichever it is: no row of the older one comes into the tables of the newer one, and none is put in their place."""
    place, engine = postgres
    other = open_at(place.url)
    plain(engine, "a", "b")
    made = dump(engine)
    store = type(engine.store)
    held, outlined_, turns, newer = store._tables, store._outlined, [], []
    begun, older_ended = threading.Event(), threading.Event()

    def worked_out(self, *given):
        if self is other.store:
            begun.set()
            assert older_ended.wait(60)
        return outlined_(self, *given)

    @contextmanager
    def tables(self, number, **options):
        with held(self, number, **options) as connection:
            turns.append(self)
            if len(turns) == overtaken:
                newer.append(threading.Thread(target=other.rebuild))
                newer[0].start()
                until(lambda: place.server.ask(WAITS) == (1,) or begun.is_set())
            yield connection

    monkeypatch.setattr(store, "_tables", tables)
    monkeypatch.setattr(store, "_outlined", worked_out)
    overtaken = None
    engine.rebuild()
    overtaken = len(turns) + 1 + turn % len(turns)
    with suppress(StoreUnavailable):
        engine.rebuild()
    older_ended.set()
    newer[0].join()
    assert dump(engine) == made
    assert not [name for name in place.tables() if name.endswith("__new")]


def test_others_append_while_a_rebuild_that_begins_waits_for_another_one(
    postgres, open_at, ask, wire, plain, until
):
    place, engine = postgres
    other = open_at(place.url)
    plain(engine, "a")
    engine.rebuild()
    with place.server.connect(place.url) as raw, ThreadPoolExecutor(1) as pool:
        with raw.transaction():  # as who fills a part of the new tables
            raw.execute("SELECT FROM views WHERE name = '__new' FOR SHARE")
            begun = pool.submit(other.rebuild)
            until(lambda: place.server.ask(WAITS) == (1,))
            ask(engine, "r-9", payment="p-9")
        assert begun.result().set_aside == ()
    assert engine.replay().agrees


HELD = "SELECT count(*) FROM refunds"


def test_others_append_while_a_session_keeps_a_table_in_its_place(
    postgres, open_at, ask, plain, dump, monkeypatch, until
):
    """As a dump does, or a report in a transaction that is left open."""
    place, engine = postgres
    monkeypatch.setattr(shared, "_PAUSE_S", 0)
    plain(engine, "a", "b")
    other, tried, swap = open_at(place.url), [], Tables.can_swap

    def can_swap(*given):
        tried.append(swap(*given))
        return tried[-1]

    monkeypatch.setattr(Tables, "can_swap", staticmethod(can_swap))
    with place.server.connect(place.url) as raw, ThreadPoolExecutor(1) as pool:
        with raw.transaction():
            raw.execute(HELD)
            rebuilt = pool.submit(engine.rebuild)
            for number in range(5):
                ask(other, f"r-{number}", payment=f"p-{number}")
            assert len(dump(other)["refunds"]) == 13
            until(lambda: len(tried) >= 3)
            assert not rebuilt.done()
        assert rebuilt.result().set_aside == ()
    assert tried[:3] == [False] * 3
    assert tried[-1] is True
    assert engine.replay().agrees


def test_others_read_while_the_tables_are_compared(postgres, open_at, plain, dump, monkeypatch):
    place, engine = postgres
    plain(engine, "a")
    made, compare, seen = dump(engine), Tables.differences, []
    other = open_at(place.url, timeout_s=1)

    def differences(*given):
        seen.append(dump(other))
        return compare(*given)

    monkeypatch.setattr(Tables, "differences", staticmethod(differences))
    assert engine.replay().agrees
    assert seen == [made] * 4


def test_a_table_that_is_used_again_at_the_last_moment_is_tried_again(
    postgres, ask, plain, dump, monkeypatch
):
    """What was added by then stays in the new table, and is added once."""
    place, engine = postgres
    monkeypatch.setattr(shared, "_PAUSE_S", 0)
    plain(engine, "a", "b")
    whole, swap, tried = Folding.whole, Tables.swap, []

    def more(self, upto, left):
        yield from whole(self, upto, left)
        ask(engine, "r-9", payment="p-9")

    def swaps(*given):
        if len(tried) < 2:
            with place.server.connect(place.url) as raw, raw.transaction():
                raw.execute(HELD)
                tried.append(swap(*given))
        else:
            tried.append(swap(*given))
        return tried[-1]

    monkeypatch.setattr(Folding, "whole", more)
    monkeypatch.setattr(Tables, "swap", staticmethod(swaps))
    folding = Folding(engine.store)
    assert engine.store.rebuild(folding) == []
    assert (tried, folding.refunds) == ([False, False, True], 9)
    monkeypatch.undo()
    assert engine.replay().agrees


def test_a_rebuild_gives_up_where_a_table_stays_in_use(postgres, ask, plain, dump, monkeypatch):
    place, engine = postgres
    monkeypatch.setattr(shared, "_PAUSE_S", 0)
    monkeypatch.setattr(shared, "_PATIENCE_S", 0.5)
    plain(engine, "a")
    made = dump(engine)
    with place.server.connect(place.url) as raw, raw.transaction():
        raw.execute(HELD)
        with pytest.raises(StoreUnavailable, match="the tables of views were never free"):
            engine.rebuild()
        assert dump(engine) == made
        ask(engine, "r-9", payment="p-9")
    assert not [name for name in place.tables() if name.endswith("__new")]
    engine.rebuild()
    assert engine.replay().agrees


def test_a_deadlock_with_another_session_is_one_more_reason_to_try_again(postgres, plain, monkeypatch):
    """It reads the tables one by one, and the server looks for deadlocks early."""
    _, engine = postgres
    monkeypatch.setattr(shared, "_PAUSE_S", 0)
    plain(engine, "a")
    run, seized = views.run, []

    def runs(connection, shape, *parts):
        if shape is rebuilding._SEIZE:
            seized.append(shape)
            if len(seized) in {1, 3}:  # while it asks whether it may, and when it does
                connection.execute("DO $$ BEGIN RAISE deadlock_detected; END $$")
        run(connection, shape, *parts)

    monkeypatch.setattr(views, "run", runs)
    engine.rebuild()
    assert len(seized) == 5
    assert engine.replay().agrees


def test_a_batch_waits_as_long_as_before_after_a_rebuild_in_it(postgres, plain):
    _, engine = postgres
    plain(engine, "a")
    with engine.store.batch():
        engine.rebuild()
        (taken,) = engine.store._writer.owned().execute("SHOW statement_timeout").fetchone()
    assert taken == "0"


def test_others_append_while_a_part_is_worked_out(postgres, open_at, ask, wire, monkeypatch, plain):
    place, engine = postgres
    other = open_at(place.url)
    plain(engine, "a", "b")
    held, asked_ = type(engine.store)._tables, []

    @contextmanager
    def tables(self, number, *, lasting=False, **options):
        with held(self, number, lasting=lasting, **options) as connection:
            yield connection
            if not lasting:
                for each in (engine, other):
                    asked_.append(f"r-{len(asked_)}")
                    ask(each, asked_[-1], payment=asked_[-1])

    monkeypatch.setattr(type(engine.store), "_tables", tables)
    engine.rebuild()
    monkeypatch.undo()
    assert len(asked_) > 10
    assert engine.replay().agrees
    assert {row["refund_id"] for row in engine.store.rows(REFUNDS)} >= set(asked_)


def test_many_rebuilds_at_once_end_and_leave_the_views_right(engine, ask, wire, plain, dump):
    plain(engine, *"abcdefgh")
    made = dump(engine)
    ended = []

    def rebuilding():
        for _ in range(5):
            try:
                engine.rebuild()
                ended.append(True)
            except StoreUnavailable as error:
                ended.append("another rebuild" in str(error))

    threads = [threading.Thread(target=rebuilding) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [True] * 15
    assert dump(engine) == made
