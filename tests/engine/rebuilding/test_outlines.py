"""Outlines: the same rows as the fold makes, and what they do not say is left to it."""

import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refold.engine import Money, RefundEngine
from refold.engine.audit import projecting
from refold.engine.audit.projecting import Folding
from refold.engine.domain.wire import UPCASTERS
from refold.engine.errors import RefoldError
from refold.engine.ports import NewEvent, Write
from refold.engine.ports.projecting import Entered
from refold.engine.service import outlines as outlined
from refold.engine.service.outlines import outlines

TIME = "2026-11-21T12:00:00.000000Z"


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
def test_a_rebuild_makes_the_rows_that_the_engine_made_one_by_one(wire, gateways, counting, steps, dump):
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
def test_a_rebuild_on_postgres_makes_them_from_the_same_log(postgres, wire, gateways, counting, steps, dump):
    """The log is made in memory and put into the one database: to make and fill one for each takes too long."""
    place, engine = postgres
    with RefundEngine.open("memory:", gateways=gateways, clock=wire.clock, entropy=counting) as memory:
        for step in steps:
            take(memory, wire, step)
        place.hold(memory.store.read_all())
        assert engine.rebuild().set_aside == ()
        assert dump(engine) == dump(memory)


def test_plain_refunds_are_not_folded_by_python(engine, ask, wire, hkd, plain, dump, left_of):
    plain(engine, "a", "b", "c")
    engine.register_payment(gateway="evonet", payment_id="p-a-done", captured=hkd(9000))
    made = dump(engine)
    assert left_of(engine, outlines()) == {"payment": [], "refund": []}
    assert dump(engine) == made


# ---- what an outline does not say is left to the fold


def failed(engine, ask, wire, plain):
    plain(engine, "a")
    engine.record("evonet", "poll", wire.says("evonet", "a-done", "failed", payment="p-a-done"))


def adopting(engine, ask, wire, plain):
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success"))
    ask(engine, "r-1")


def mismatching(engine, ask, wire, plain):
    ask(engine, "r-1")
    engine.record("evonet", "poll", wire.says("evonet", "r-1", "success", amount=Money(1, "HKD")))


def resolved(engine, ask, wire, plain):
    ask(engine, "r-1")
    engine.resolve("r-1", "closed", actor="clerk", reason="seen")


def without_payment(engine, ask, wire, plain):
    engine.record("evonet", "request", wire.request("evonet", "r-1", payment=None))


def two_captures(engine, ask, wire, plain):
    """Two registrations of one payment: the engine writes one, another program may have written two."""
    for minor in (10, 20):
        data = f'{{"v":1,"gateway":"evonet","payment_id":"p-1","captured_minor":{minor},"currency":"HKD"}}'
        engine.store.append(Write("payment-evonet-p-1", None, [NewEvent("payment.registered", TIME, data)]))


def newer(engine, ask, wire, plain):
    data = '{"v":2,"gateway":"evonet","refund_id":"r-1","payment_id":"p","amount_minor":10,"currency":"HKD"}'
    engine.store.append(Write("refund-r-1", 0, [NewEvent("refund.requested", TIME, data)]))


def unopened(engine, ask, wire, plain):
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
def test_what_an_outline_cannot_say_is_left_to_the_fold(engine, ask, wire, history, left, left_of, plain):
    history(engine, ask, wire, plain)
    assert left_of(engine, outlines()) == left


def test_a_type_that_is_read_through_an_upcaster_is_known_to_no_outline(engine, ask, monkeypatch, left_of):
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
def test_a_wrong_outline_makes_other_rows(engine, ask, wire, history, wrong, plain):
    """Each condition of an outline is needed, and what the fold says is how that is seen."""
    history(engine, ask, wire, plain)
    engine.store.rebuild(Folding(engine.store, outlines=wrong))
    assert not engine.replay().agrees


def test_every_condition_of_the_outlines_names_an_event_there_is():
    """A wire name that is misspelt would leave every stream to the fold, and nobody would notice."""
    known = {model.wire for model in projecting.EvidenceRecorded.__subclasses__()}
    assert set(outlined._EVIDENCE) <= known
    assert set(outlined._EVIDENCE) == {wire for wire, _ in REFUND.ranks if wire.startswith("evidence.")}
