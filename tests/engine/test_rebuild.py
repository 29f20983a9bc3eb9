"""A rebuild: the same views as the fold makes, whatever is in the log and whoever writes meanwhile."""

import random
import sqlite3
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import LockNotAvailable
from structlog.testing import capture_logs

from refold.engine import Money, RefundEngine
from refold.engine.audit import projecting
from refold.engine.audit.projecting import Folding
from refold.engine.domain.wire import UPCASTERS
from refold.engine.errors import EventMissing, InvalidInput, RebuildOvertaken, RefoldError, StoreUnavailable
from refold.engine.ports import NewEvent, Write
from refold.engine.ports.projecting import Entered
from refold.engine.service import outlines as outlined
from refold.engine.service.outlines import outlines
from refold.engine.service.views import ATTENTION, REFUNDS, VIEWS
from refold.eventstore import outlining
from refold.eventstore import rebuilding as shared
from refold.eventstore.postgres.rebuilding import Tables

TIME = "2026-11-21T12:00:00.000000Z"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Let a few events be several parts, and no event wait for the end."""
    monkeypatch.setattr(outlining, "_EVENTS_IN_PART", 8)
    monkeypatch.setattr(outlining, "_SAMPLES", 2)


class Lite:
    """A file of SQLite."""

    def __init__(self, folder):
        self.path = folder / "refunds.db"
        self.url = f"sqlite:///{self.path}"

    def run(self, *statements):
        """Run statements that the store itself would refuse; return the rows of the last one."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as raw:
            triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                raw.execute(f"DROP TRIGGER {name}")
            found = [raw.execute(statement).fetchall() for statement in statements]
            for _, trigger in triggers:
                raw.execute(trigger)
        return found[-1]

    def tables(self):
        return {name for (name,) in self.run("SELECT name FROM sqlite_master WHERE type = 'table'")}


class Postgres:
    """A schema of a server."""

    def __init__(self, server):
        self.server = server
        self.url = server.schema()

    def run(self, *statements):
        """Run statements that the store itself would refuse; return the rows of the last one."""
        with self.server.connect(self.url) as raw:
            raw.execute("SET session_replication_role = replica")
            for statement in statements:
                cursor = raw.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def hold(self, events):
        """Put these events in the place of the log."""
        with self.server.connect(self.url) as raw, raw.transaction(), raw.cursor() as cursor:
            raw.execute("SET LOCAL session_replication_role = replica")
            raw.execute("DELETE FROM events")
            with cursor.copy("COPY events FROM STDIN") as copy:
                for each in events:
                    copy.write_row(each)
            raw.execute("UPDATE head SET position = (SELECT coalesce(max(position), 0) FROM events)")

    def tables(self):
        listed = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text = current_schema()"
        return {name for (name,) in self.run(listed)}


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """Where a store lies that uses outlines."""
    if request.param == "sqlite":
        return Lite(tmp_path)
    return Postgres(request.getfixturevalue("postgres_server"))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "memory":
        return "memory:"
    return Lite(tmp_path).url if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def engine(open_at, place):
    """An engine on each store that uses outlines."""
    return open_at(place.url)


@pytest.fixture
def postgres(open_at, postgres_server):
    """A schema of a server and an engine there, for what is so only there."""
    place = Postgres(postgres_server)
    return place, open_at(place.url)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "refunds.db"


@pytest.fixture
def lite(open_at, path):
    """An engine on SQLite, for what is so only there."""
    return open_at(f"sqlite:///{path}")


def dump(engine):
    return {view.name: [dict(row) for row in engine.store.rows(view)] for view in VIEWS}


def left_of(engine, given):
    """Return the streams that outlines leave to the fold, by category."""
    found = {}

    class Noting(Folding):
        def whole(self, upto, left):
            found.update(left)
            return super().whole(upto, left)

    engine.store.rebuild(Noting(engine.store, outlines=given))
    return found


def plain(engine, ask, wire, *names):
    """Make refunds of each plain kind: asked for, sent, held by the gateway, refunded."""
    for name in names:
        for kind in ("asked", "sent", "held", "done"):
            payment = f"p-{name}-{kind}"
            if kind == "asked":
                ask(engine, f"{name}-{kind}", payment=payment)
                continue
            engine.record("evonet", "request", wire.request("evonet", f"{name}-{kind}", payment=payment))
            if kind == "held":  # an answer that says nothing stands before the one that does
                unknown = wire.message("busy", http_status=503)
                engine.record("evonet", "api_response", unknown, refund_id=f"{name}-{kind}")
            for says in {"held": ("pending",), "done": ("pending", "success")}.get(kind, ()):
                answer = wire.says(
                    "evonet", f"{name}-{kind}", says, payment=payment, number=f"n-{name}-{kind}"
                )
                engine.record("evonet", "poll", answer)


# ---- the same as the fold

GATEWAYS = ("evonet", "evocloud", "easylink", "bbmsl")
SAYS = ("pending", "success", "failed", "closed", "not_found", "refund_unknown", "Weird")
NAMES = st.sampled_from(["r-1", "r-2", "r-3"])
PAYMENTS = st.sampled_from(["p-1", "p-2"])
STEPS = st.one_of(
    st.tuples(st.just("ask"), NAMES, PAYMENTS, st.sampled_from(GATEWAYS)),
    st.tuples(st.just("request"), NAMES, PAYMENTS, st.sampled_from(GATEWAYS)),
    st.tuples(st.just("register"), PAYMENTS, st.sampled_from(GATEWAYS), st.integers(1, 3)),
    st.tuples(
        st.just("says"),
        NAMES,
        st.sampled_from(GATEWAYS),
        st.sampled_from(SAYS),
        st.sampled_from(["api_response", "poll", "report"]),
        st.sampled_from([None, "n-1", "n-2"]),
        st.integers(-5, 5),
    ),
    st.tuples(st.just("webhook"), NAMES, st.sampled_from(["evonet", "evocloud"]), st.sampled_from(SAYS)),
    st.tuples(st.just("resolve"), NAMES, st.sampled_from(["success", "failed", "closed"])),
    st.just(("overdue",)),
)


def take(engine, wire, step):
    """Take one step; what the engine refuses is left out."""
    kind, *given = step
    try:
        if kind == "ask":
            name, payment, gateway = given
            engine.request(gateway=gateway, payment_id=payment, refund_id=name, amount=Money(6000, "HKD"))
        elif kind == "request":
            name, payment, gateway = given
            engine.record(gateway, "request", wire.request(gateway, name, payment=payment))
        elif kind == "register":
            payment, gateway, times = given
            engine.register_payment(gateway=gateway, payment_id=payment, captured=Money(6000 * times, "HKD"))
        elif kind == "says":
            name, gateway, says, channel, number, at_s = given
            engine.record(gateway, channel, wire.says(gateway, name, says, number=number, at_s=60 * at_s))
        elif kind == "webhook":
            name, gateway, says = given
            engine.receive_webhook(gateway, *wire.webhook(gateway, name, says))
        elif kind == "resolve":
            engine.resolve(given[0], given[1], actor="clerk", reason="seen")
        else:
            wire.clock.tick(days=40)
            engine.mark_overdue()
    except RefoldError:
        pass


@pytest.mark.no_cover  # counting lines would take most of its time
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_a_rebuild_makes_the_rows_that_the_engine_made_one_by_one(wire, gateways, counting, steps):
    with (
        tempfile.TemporaryDirectory() as folder,
        RefundEngine.open(
            f"sqlite:///{folder}/a.db",
            gateways=gateways,
            clock=wire.clock,
            entropy=counting,
            durability="relaxed",
        ) as engine,
    ):
        for step in steps:
            take(engine, wire, step)
        made = dump(engine)
        assert engine.rebuild().set_aside == ()
        assert dump(engine) == made
        assert engine.replay().agrees


@pytest.mark.no_cover  # counting lines would take most of its time
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_a_rebuild_on_postgres_makes_them_from_the_same_log(postgres, wire, gateways, counting, steps):
    """The log is made in memory and put into the one database: to make and fill one for each takes too long."""
    place, engine = postgres
    with RefundEngine.open("memory:", gateways=gateways, clock=wire.clock, entropy=counting) as memory:
        for step in steps:
            take(memory, wire, step)
        place.hold(memory.store.read_all())
        assert engine.rebuild().set_aside == ()
        assert dump(engine) == dump(memory)


def test_plain_refunds_are_not_folded_by_python(engine, ask, wire, hkd):
    plain(engine, ask, wire, "a", "b", "c")
    engine.register_payment(gateway="evonet", payment_id="p-a-done", captured=hkd(9000))
    made = dump(engine)
    assert left_of(engine, outlines()) == {"payment": [], "refund": []}
    assert dump(engine) == made


# ---- what an outline does not say is left to the fold


def failed(engine, ask, wire):
    plain(engine, ask, wire, "a")
    engine.record("evonet", "poll", wire.says("evonet", "a-done", "failed", payment="p-a-done"))


def adopting(engine, ask, wire):
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    ask(engine, "r-1")


def mismatching(engine, ask, wire):
    ask(engine, "r-1")
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", amount=Money(1, "HKD")))


def resolved(engine, ask, wire):
    ask(engine, "r-1")
    engine.resolve("r-1", "closed", actor="clerk", reason="seen")


def without_payment(engine, ask, wire):
    engine.record("evonet", "request", wire.request("evonet", "r-1", payment=None))


def two_captures(engine, ask, wire):
    """Two registrations of one payment: the engine writes one, another program may have written two."""
    for minor in (10, 20):
        data = f'{{"v":1,"gateway":"evonet","payment_id":"p-1","captured_minor":{minor},"currency":"HKD"}}'
        engine.store.append(Write("payment-evonet-p-1", None, [NewEvent("payment.registered", TIME, data)]))


def newer(engine, ask, wire):
    data = '{"v":2,"gateway":"evonet","refund_id":"r-1","payment_id":"p","amount_minor":10,"currency":"HKD"}'
    engine.store.append(Write("refund-r-1", 0, [NewEvent("refund.requested", TIME, data)]))


def unopened(engine, ask, wire):
    engine.store.append(Write("refund-r-1", 0, [NewEvent("refund.submission_started", TIME, '{"v":1}')]))


@pytest.mark.parametrize(
    ("history", "left"),
    [
        (failed, {"payment": [], "refund": ["refund-a-done"]}),
        (adopting, {"payment": [], "refund": ["refund-r-1"]}),
        (mismatching, {"payment": [], "refund": ["refund-r-1"]}),
        (resolved, {"payment": [], "refund": ["refund-r-1"]}),
        (without_payment, {"payment": [], "refund": ["refund-r-1"]}),
        (two_captures, {"payment": ["payment-evonet-p-1"], "refund": []}),
        (newer, {"payment": [], "refund": ["refund-r-1"]}),
        (unopened, {"payment": [], "refund": ["refund-r-1"]}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_an_outline_cannot_say_is_left_to_the_fold(engine, ask, wire, history, left):
    history(engine, ask, wire)
    assert left_of(engine, outlines()) == left


def test_a_type_that_is_read_through_an_upcaster_is_known_to_no_outline(engine, ask, monkeypatch):
    ask(engine, "r-1")
    monkeypatch.setitem(UPCASTERS, ("refund.requested", 0), dict)
    assert left_of(engine, outlines())["refund"] == ["refund-r-1"]


REFUND = next(outline for outline in outlines() if outline.category == "refund")
PAYMENT = next(outline for outline in outlines() if outline.category == "payment")
KNOWING = REFUND._replace(ranks=(*REFUND.ranks, *((f"evidence.{each}", 3) for each in ("failed", "closed"))))
WRONG = {
    "a failure known as success": (failed, [KNOWING]),
    "adoptions overlooked": (adopting, [REFUND._replace(apart=None)]),
    "adoptions looked for in another field": (
        adopting,
        [REFUND._replace(apart=Entered("cites", REFUND.apart.types))],
    ),
    "two captures added": (two_captures, [PAYMENT._replace(once=None)]),
    "any version read": (newer, [REFUND._replace(start="{")]),
}


@pytest.mark.parametrize(("history", "wrong"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_outline_makes_other_rows(engine, ask, wire, history, wrong):
    """Each condition of an outline is needed, and what the fold says is how that is seen."""
    history(engine, ask, wire)
    engine.store.rebuild(Folding(engine.store, outlines=wrong))
    assert not engine.replay().agrees


# ---- data that another program wrote

ASKED = {
    "gateway": '"evonet"',
    "refund_id": '"r-1"',
    "payment_id": '"p-1"',
    "amount_minor": "5",
    "currency": '"HKD"',
}
SENT = '{"v":1,"idempotency_key":"k","message":{"digest":"d","size":1}}'


def asked(name, **changes):
    """Return the data of a request, some values of which are given as JSON; None leaves one out."""
    fields = ASKED | {"refund_id": f'"{name}"'} | changes
    return (
        '{"v":1,' + ",".join(f'"{key}":{value}' for key, value in fields.items() if value is not None) + "}"
    )


def said(rest):
    return '{"v":1,"channel":"poll","code":"c","trust":"unverified"' + rest + "}"


def written(engine, streams):
    """Append streams of (type, data) as they are."""
    for name, events in streams.items():
        engine.store.append(Write(name, 0, [NewEvent(type_, TIME, data) for type_, data in events]))


def both_ways(engine):
    """Rebuild without outlines and with them; return the rows, the streams set aside and the error of each time."""
    seen = []
    for given_ in ((), outlines()):
        folding = Folding(engine.store, outlines=given_)
        refused = None
        try:
            engine.store.rebuild(folding)
        except InvalidInput as error:
            refused = str(error)
        seen.append((dump(engine), sorted(stream for stream, _ in folding.set_aside), refused))
    return seen


ODD_AMOUNTS = ['"5"', "5.0", "5e0", "true", "null", "[5]", '{"a":5}', "9" * 19, "9" * 40, "0", "-5", None]
ODD_TEXTS = ["5", "true", "null", '["evonet"]', '{"a":"evonet"}', None]
PLAIN_TEXTS = ['""', '"é💥"', r'"a\"b\\c\/d\n"', '"\\u0065vonet"', '" a "']
ODD_EVIDENCE = {
    "number": [said(',"gateway_refund_id":5')],
    "truth": [said(',"gateway_refund_id":true')],
    "null": [said(',"gateway_refund_id":null')],
    "list": [said(',"gateway_refund_id":["n"]')],
    "empty": [said(',"gateway_refund_id":""')],
    "empty-first": [said(',"gateway_refund_id":""'), said(',"gateway_refund_id":"n-2"')],
    "later": [said(""), said(',"gateway_refund_id":"n-2"'), said(',"gateway_refund_id":"n-3"')],
    "twice": [said(',"gateway_refund_id":"n-1","gateway_refund_id":"n-2"')],
    "inside": [said(',"message":{"gateway_refund_id":"n-1"}')],
    "named": [said(r',"detail":"gateway_refund_id","account":"\"gateway_refund_id\""')],
    "spaced": [said(' , "gateway_refund_id" : "n-1" ')],
    "escaped": [said(',"gateway_refund_i\\u0064":"n-1"')],
    "newer": [said(""), '{"v":2' + said("")[6:]],
    "adopting": [said(',"adopted_fr\\u006fm":"k-1"')],
    "adopting-late": [said(""), said(',"adopted_from":"k-2"')],
}


def odd_streams():
    opened = {
        "plain": asked("plain"),
        "spaced": asked("spaced").replace(":", " : ").replace('{"v" : 1', '{"v":1'),
        "twice": asked("twice", currency='"USD","currency":"HKD"'),
        "escaped-name": asked("escaped-name").replace("gateway", "g\\u0061teway"),
        "other-version": asked("other-version").replace('"v":1', '"v":1.0'),
        "no-version": asked("no-version").replace('"v":1,', ""),
    }
    opened |= {f"amount-{n}": asked(f"amount-{n}", amount_minor=odd) for n, odd in enumerate(ODD_AMOUNTS)}
    opened |= {
        f"{field}-{n}": asked(f"{field}-{n}", **{field: odd})
        for field in ("gateway", "payment_id", "currency")
        for n, odd in enumerate([*ODD_TEXTS, *(PLAIN_TEXTS if field != "currency" else ())])
    }
    streams = {f"refund-{name}": [("refund.requested", data)] for name, data in opened.items()}
    streams["refund-unopened"] = [("refund.submission_started", asked("unopened"))]
    for name, evidence in ODD_EVIDENCE.items():
        told = [("evidence.pending", data) for data in evidence]
        streams[f"refund-ev-{name}"] = [
            ("refund.requested", asked(f"ev-{name}")),
            ("refund.submission_started", SENT),
        ]
        streams[f"refund-ev-{name}"] += told
    return streams


TAKEN_AS_THEY_SEEM = {
    "refund-twice",
    "refund-ev-twice",
    "refund-ev-escaped",
    "refund-ev-inside",
    "refund-ev-newer",
}
"""On SQLite: names given twice or in escapes, and events at whose data it does not look."""


def test_odd_data_makes_the_rows_that_the_fold_makes(engine, place):
    lite = isinstance(place, Lite)
    written(
        engine,
        {name: told for name, told in odd_streams().items() if not (lite and name in TAKEN_AS_THEY_SEEM)},
    )
    folded, worked_out = both_ways(engine)
    assert worked_out == folded


def test_data_that_only_looks_odd_is_not_left_on_postgres(postgres):
    _, engine = postgres
    written(engine, odd_streams())
    left = left_of(engine, outlines())["refund"]
    assert {"refund-escaped-name", "refund-ev-escaped", "refund-ev-adopting", "refund-gateway-9"} <= set(left)
    worked = odd_streams().keys() - left
    assert worked >= {
        f"refund-{name}" for name in ("plain", "spaced", "twice", "gateway-8", "ev-later", "ev-twice")
    }


REFUSED = {
    "no JSON": {"refund-odd": [("refund.requested", '{"v":1,"gateway":')]},
    "nested too deep": {
        "refund-odd": [("refund.requested", asked("odd", reason="[" * 50_000 + "]" * 50_000))],
    },
    "two streams of one refund": {
        "refund-odd": [("refund.requested", asked("odd"))],
        "refund-odd-2": [("refund.requested", asked("odd", currency='"USD"'))],
    },
    "a key too long for an index": {
        "refund-odd": [
            ("refund.requested", asked("odd", payment_id=f'"{random.Random(1).randbytes(5000).hex()}"'))
        ]
    },
    "a sum too large": {
        f"refund-odd-{n}": [("refund.requested", asked(f"odd-{n}", amount_minor="9" * 18))] for n in range(12)
    },
    "two captures of one payment": {
        f"payment-odd-{n}": [
            ("payment.registered", asked("odd", captured_minor=n, refund_id=None, amount_minor=None))
        ]
        for n in (10, 20)
    },
}


@pytest.mark.parametrize("streams", REFUSED.values(), ids=REFUSED.keys())
def test_what_a_store_refuses_to_work_out_ends_as_the_fold_ends_it(engine, ask, wire, streams):
    plain(engine, ask, wire, "a", "s")
    written(engine, streams)
    folded, worked_out = both_ways(engine)
    assert worked_out == folded


def test_a_stream_that_postgres_does_not_know_takes_no_other_one_along(postgres, ask, wire):
    _, engine = postgres
    plain(engine, ask, wire, "a")
    written(engine, {"refund-a-odd": [("refund.requested", asked("odd", reason='"\\u0000"'))]})
    assert left_of(engine, outlines()) == {"payment": [], "refund": ["refund-a-odd"]}


def test_what_postgres_refuses_to_work_out_undoes_nothing_of_a_batch(postgres, ask, wire):
    _, engine = postgres
    plain(engine, ask, wire, "a", "s")
    with engine.store.batch():
        ask(engine, "r-9", payment="p-9")
        written(engine, REFUSED["no JSON"])
        assert [stream for stream, _ in engine.rebuild().set_aside] == ["refund-odd"]
    assert engine.refund("r-9").state == "created"
    assert engine.replay().differences == ()


# ---- while others write


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
    open_engine, ask, wire, hkd, monkeypatch, few, when
):
    monkeypatch.setattr(shared, "_FEW", few)
    engine = open_engine()
    plain(engine, ask, wire, "a", "b")
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


def test_only_one_of_two_rebuilds_ends(engine, ask, wire, monkeypatch):
    plain(engine, ask, wire, "a")
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


def test_rebuilds_at_once_never_take_each_others_rows(engine, ask, wire, monkeypatch):
    """The older one is refused, and whatever it was about to fill in stays out of the newer one's tables."""
    plain(engine, ask, wire, "a", "b", "c")
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
    postgres, open_at, ask, wire, monkeypatch, until, turn
):
    """Whichever it is: no row of the older one comes into the tables of the newer one, and none is put in their place."""
    place, engine = postgres
    other = open_at(place.url)
    plain(engine, ask, wire, "a", "b")
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


def test_nobody_appends_while_a_lost_table_is_made_again(postgres, monkeypatch):
    place, engine = postgres
    place.run("DROP TABLE attention")
    begin = Tables.begin
    refused = []

    def begins(*given):
        begun = begin(*given)
        with pytest.raises(LockNotAvailable):
            place.run("SELECT FROM head FOR UPDATE NOWAIT")
        refused.append(begun.lost)
        return begun

    monkeypatch.setattr(Tables, "begin", staticmethod(begins))
    engine.rebuild()
    assert refused == [(ATTENTION,)]


def test_others_append_while_a_part_is_worked_out(postgres, open_at, ask, wire, monkeypatch):
    place, engine = postgres
    other = open_at(place.url)
    plain(engine, ask, wire, "a", "b")
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


def test_many_rebuilds_at_once_end_and_leave_the_views_right(engine, ask, wire):
    plain(engine, ask, wire, *"abcdefgh")
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


def test_a_rebuild_leaves_the_writer_as_it_was(lite, ask, wire, monkeypatch):
    plain(lite, ask, wire, "a")
    meanwhile = []

    def whole(*_):
        meanwhile.append(lite.store.describe()["synchronous"])
        return ()

    with monkeypatch.context() as patched:
        patched.setattr(Folding, "whole", whole)
        lite.rebuild()
    assert meanwhile == ["FULL"]
    writer = lite.store._writer
    assert lite.store.describe()["synchronous"] == "FULL"
    assert "part" not in [name for _, name, _ in writer._connection.execute("PRAGMA database_list")]
    assert writer._connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    assert writer._connection.execute("PRAGMA legacy_alter_table").fetchone() == (0,)


def test_an_interrupt_in_a_rebuild_never_lets_a_later_commit_go_without_the_disk(
    lite, ask, wire, monkeypatch
):
    plain(lite, ask, wire, "a")
    writer = lite.store._writer
    commit, seen = type(writer)._commit, []

    def interrupted(self, connection, *, lasting=True):
        if not lasting and connection.in_transaction and len(seen) == 2:
            seen.append("interrupt")
            raise KeyboardInterrupt
        seen.append((lasting, connection.execute("PRAGMA synchronous").fetchone()[0]))
        commit(self, connection, lasting=lasting)

    monkeypatch.setattr(type(writer), "_commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lite.rebuild()
    ask(lite, "r-1")
    with lite.store.batch():
        ask(lite, "r-2")
    assert "interrupt" in seen
    full = [synchronous for each in seen if each != "interrupt" for lasting, synchronous in [each] if lasting]
    assert full
    assert set(full) == {2}


OLDER = "UPDATE views SET definition = 'of an older version' WHERE name = 'refunds'"


@pytest.fixture
def stale(engine, ask, wire, place):
    """A store with refunds, whose views are of an older version; give the rows they are to have."""
    plain(engine, ask, wire, *"abcdef")
    rows = dump(engine)
    engine.close()
    place.run(OLDER)
    return rows


def test_all_that_open_a_stale_store_at_once_find_its_views_made_anew(stale, place, open_at):
    """The last one to begin makes them, and the others wait for it."""
    for _ in range(3):
        place.run(OLDER)
        gate = threading.Barrier(4)

        def opened(gate=gate):
            gate.wait()
            return dump(open_at(place.url, timeout_s=60))

        with ThreadPoolExecutor(4) as pool:
            assert [each.result() for each in [pool.submit(opened) for _ in range(4)]] == [stale] * 4


def test_who_is_overtaken_while_it_opens_a_store_waits_for_the_other(stale, place, open_at, monkeypatch):
    plainly, others = projecting.rebuild, []

    def overtaken(store):
        monkeypatch.setattr(projecting, "rebuild", plainly)
        others.append(pool.submit(open_at, place.url))
        raise RebuildOvertaken

    monkeypatch.setattr(projecting, "rebuild", overtaken)
    with ThreadPoolExecutor(1) as pool:
        assert dump(open_at(place.url)) == stale
        (other,) = others
        assert dump(other.result()) == stale


def test_who_waits_for_another_does_not_wait_for_ever(stale, place, open_at, monkeypatch):
    def overtaken(store):
        raise RebuildOvertaken

    monkeypatch.setattr(projecting, "rebuild", overtaken)
    monkeypatch.setattr(projecting, "_LOOKS", 3)
    with pytest.raises(RebuildOvertaken):
        open_at(place.url)


def test_a_rebuild_in_a_batch_that_is_undone_leaves_the_store_as_stale_as_it_was(
    engine, ask, wire, place, open_at
):
    plain(engine, ask, wire, "a")
    place.run(OLDER)
    engine.store._stale = True

    def undone():
        with engine.store.batch():
            engine.rebuild()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        undone()
    assert engine.store.views_stale is True
    engine.rebuild()
    assert engine.store.views_stale is False


def test_what_others_have_made_of_a_view_stands_after_a_rebuild(lite, ask, wire, path):
    plain(lite, ask, wire, "a")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("CREATE VIEW report AS SELECT state, count(*) AS number FROM refunds GROUP BY state")
    lite.rebuild()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT sum(number) FROM report").fetchone() == (4,)


def test_a_rebuild_inside_a_batch_knows_what_the_batch_has_done(open_engine, ask, wire):
    engine = open_engine()
    plain(engine, ask, wire, "a")
    with engine.store.batch():
        ask(engine, "r-9", payment="p-9")
        engine.rebuild()
    assert engine.replay().agrees
    assert engine.refund("r-9").state == "created"


def test_a_rebuild_that_is_interrupted_leaves_the_views_and_no_table(engine, ask, wire, place, monkeypatch):
    plain(engine, ask, wire, "a")
    made = dump(engine)
    monkeypatch.setattr(Folding, "whole", lambda *_: iter([1 // 0]))
    with pytest.raises(ZeroDivisionError):
        engine.rebuild()
    assert dump(engine) == made
    assert not [name for name in place.tables() if name.endswith("__new")]


# ---- what cannot be read


def damage(place, stream, version, change):
    place.run(f"UPDATE events SET {change} WHERE stream = '{stream}' AND version = {version}")


def test_data_that_is_no_json_is_set_aside_and_the_rest_is_rebuilt(engine, ask, wire, place):
    plain(engine, ask, wire, "a", "b", "c")
    made = dump(engine)
    damage(place, "refund-b-asked", 1, 'data = \'{"v":1,"refund_id":\'')
    with capture_logs() as logs:
        rebuilt = engine.rebuild()
    assert [stream for stream, _ in rebuilt.set_aside] == ["refund-b-asked"]
    assert dump(engine) == made
    assert [(line["event"], line["log_level"]) for line in logs] == [("views.rebuilt", "warning")]


def test_evidence_of_a_newer_version_is_set_aside(engine, ask, wire, place):
    plain(engine, ask, wire, "a")
    made = dump(engine)
    damage(place, "refund-a-done", 3, "data = replace(data, '{\"v\":1,', '{\"v\":2,')")
    assert [stream for stream, _ in engine.rebuild().set_aside] == ["refund-a-done"]
    assert dump(engine) == made


def test_a_type_nobody_knows_is_set_aside(engine, ask, wire, place):
    plain(engine, ask, wire, "a")
    damage(place, "refund-a-done", 3, "type = 'evidence.odd'")
    assert [stream for stream, _ in engine.rebuild().set_aside] == ["refund-a-done"]


@pytest.mark.parametrize("stream", ["refund-a-done", "payment-evonet-p-a-done"])
def test_a_stream_with_a_gap_in_its_versions_is_set_aside(engine, ask, wire, place, stream):
    plain(engine, ask, wire, "a", "b")
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


def test_a_log_with_a_gap_is_not_rebuilt_from(engine, ask, place):
    for number in range(3):
        ask(engine, f"r-{number}", payment=f"p-{number}")
    made = dump(engine)
    place.run("DELETE FROM events WHERE position = 2")
    with pytest.raises(EventMissing):
        engine.rebuild()
    assert dump(engine) == made


def test_views_of_another_version_are_rebuilt_when_an_engine_opens_the_store(open_at, place, ask, wire):
    with closing(open_at(place.url)) as engine:
        plain(engine, ask, wire, "a")
        made = dump(engine)
    place.run("UPDATE views SET definition = 'older' WHERE name = 'refunds'", "DELETE FROM refunds")
    with capture_logs() as logs:
        engine = open_at(place.url)
    assert [line["event"] for line in logs] == ["views.rebuilt"]
    assert dump(engine) == made


def test_every_condition_of_the_outlines_names_an_event_there_is():
    """A wire name that is misspelt would leave every stream to the fold, and nobody would notice."""
    known = {model.wire for model in projecting.EvidenceRecorded.__subclasses__()}
    assert set(outlined._EVIDENCE) <= known
    assert set(outlined._EVIDENCE) == {wire for wire, _ in REFUND.ranks if wire.startswith("evidence.")}
