"""The retry protocol, explored exhaustively: whatever crashes, stalls, is lost or late, the money moves once at most.

The decisions are those of the library (`next_contact` over the fold of real events); around them is a small world: two
workers that may die or stall at every step, a network that loses requests and answers or delivers them late, and a
gateway that keeps keys for a while only and shows a refund only some time after it has made it. Every order of what may
happen is tried. Each rule of the protocol is then taken away, and the explorer must find the way to pay twice.

One thing the protocol takes for granted, and the explorer finds it as soon as RETENTION is 4: a gateway keeps a key for
longer than a request can be under way and stay unseen after that. Those that document a retention keep keys for a day.
"""

from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

import pytest

from refold.adapters.evo_codes import CAPABILITIES
from refold.engine.domain import contact
from refold.engine.domain.contact import Action, next_contact
from refold.engine.domain.events import (
    EVIDENCE,
    ContactFailed,
    MessageRef,
    Recorded,
    RefundRequested,
    SubmissionStarted,
)
from refold.engine.domain.message import Channel
from refold.engine.domain.refund import fold
from refold.engine.domain.signals import Signal
from refold.engine.ports import AbsenceRule, Schedule, Stage

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

TICK_S = 60
LAST = 8
"""Ticks that are explored: long enough for a key to be forgotten and a refund to be sent after that."""
RETENTION = 5
"""Ticks for which the gateway keeps a key."""
LAG = 1
"""Ticks for which the gateway may not show a refund that it has made, and for which a request may be under way."""
LEASE = 2
SENDS = 2
CRASHES = 1
FAILURES = 0
"""Requests that are not sent, and queries without an answer, all in all."""
START = datetime(2026, 11, 21, tzinfo=UTC)
RULES = replace(
    CAPABILITIES,
    post_timeout_s=TICK_S,
    poll_interval_s=TICK_S,
    key_retention_s=RETENTION * TICK_S,
    absence=AbsenceRule(answers=2, apart_s=TICK_S),
    in_doubt=Schedule((Stage(1000 * TICK_S, TICK_S),), TICK_S),
)


class Variant(NamedTuple):
    """The protocol, or what is left of it."""

    intent: bool = True
    """The intent is durable before the request leaves."""
    versions: bool = True
    """An intent that was decided on an older log is refused."""
    look_up: bool = True
    """What may have been sent is looked up before it is sent again."""
    margin: bool = True
    """Nothing is sent under a key that the gateway may forget before the request arrives."""
    fresh: bool = True
    """After the key may have been forgotten, only answers given since then count."""
    silence: bool = True
    """No answer leaves the outcome unknown, instead of meaning that nothing was sent."""


PROTOCOL = Variant()


class Worker(NamedTuple):
    """Where a worker stands: idle, about to send or to ask, or waiting for what comes back.

    A lease is held from `idle` on until `lease_until`, or until it is given back; a worker that dies keeps it.
    """

    at: str = "idle"
    decided_on: int = 0
    lease_until: int = 0


IDLE = Worker()


class World(NamedTuple):
    """All that matters. `log` holds (what, when), `moved` when money moved, `flying` requests under way."""

    now: int = 0
    log: tuple = ()
    workers: tuple = (IDLE, IDLE)
    moved: tuple = ()
    flying: tuple = ()
    leased_until: int = 0
    crashes: int = 0
    failures: int = 0


def moment(tick):
    return START + timedelta(seconds=TICK_S * tick)


def evidence(signal, channel):
    return EVIDENCE[signal](channel=channel, code="x", trust="verified")


@cache
def folded(log):
    """Fold the log with the library's own events."""
    events = [
        RefundRequested(gateway="evonet", refund_id="r", payment_id="p", amount_minor=1, currency="HKD")
    ]
    times = [0]
    for number, (what, when) in enumerate(log):
        last = next((f"{n:064x}" for n in range(number - 1, -1, -1) if log[n][0] == "intent"), None)
        events.append(
            {
                "intent": lambda n=number: SubmissionStarted(
                    idempotency_key="r", message=MessageRef(digest=f"{n:064x}", size=1)
                ),
                "success": lambda: evidence(Signal.SUCCESS, Channel.API_RESPONSE),
                "found": lambda: evidence(Signal.SUCCESS, Channel.POLL),
                "not_found": lambda: evidence(Signal.NOT_FOUND, Channel.POLL),
                "timeout": lambda: ContactFailed(phase="submit", failure="timeout"),
                "not_sent": lambda d=last: ContactFailed(phase="submit", failure="not_sent", request=d),
                "no_poll": lambda: ContactFailed(phase="poll", failure="timeout"),
            }[what]()
        )
        times.append(when)
    return fold(
        Recorded(n, n, moment(when), event)
        for n, (event, when) in enumerate(zip(events, times, strict=True), 1)
    )


@cache
def decided(log, now, variant):
    """Return what the library does next, or the variant of it; None: nothing now."""
    refund = folded(log)
    if refund.attempts and not variant.look_up and refund.submitted and not refund.mask:
        last = max(when for what, when in log if what == "intent")
        return Action.SEND if now > last else None
    found = next_contact(refund, RULES, moment(now))
    return found.action if found is not None and found.due_at <= moment(now) else None


def steps(world, variant):
    """Yield every world that may come next."""
    if world.now < LAST and (world.log or world.workers != (IDLE, IDLE) or world.crashes):
        now = world.now + 1
        late = [sent for sent in world.flying if now - sent > LAG]
        rest = tuple(sent for sent in world.flying if now - sent <= LAG)
        yield arrived(world._replace(now=now, flying=rest), len(late))
    for sent in set(world.flying):
        rest = list(world.flying)
        rest.remove(sent)
        yield arrived(world._replace(flying=tuple(rest)), 1)
    for index, worker in enumerate(world.workers):
        other = world.workers[1 - index]
        for changed, after in acts(world, worker, variant):
            # Workers are alike: which of them is where makes no difference.
            yield changed._replace(workers=tuple(sorted((after, other))))


def arrived(world, times):
    """Let requests reach the gateway: the money moves unless it still knows the key."""
    for _ in range(times):
        if not any(world.now - when < RETENTION for when in world.moved):
            world = world._replace(moved=(*world.moved, world.now))
    return world


def acts(world, worker, variant):
    """Yield what one worker may do next: the world after it, and where the worker stands then."""
    if worker.at == "idle":
        yield from begins(world, variant)
        return
    if world.crashes < CRASHES:
        yield world._replace(crashes=world.crashes + 1), IDLE  # it dies; its lease ends by itself
    yield from {"to_send": prepares, "sending": sends, "waiting": hears, "to_ask": asks}[worker.at](
        world, worker, variant
    )


def begins(world, variant):
    if world.leased_until > world.now:
        return
    action = decided(world.log, world.now, variant)
    if action is not None:
        until = world.now + LEASE
        at = "to_send" if action is Action.SEND else "to_ask"
        yield world._replace(leased_until=until), Worker(at, len(world.log), until)


def prepares(world, worker, variant):
    if variant.versions and len(world.log) != worker.decided_on:
        yield freed(world, worker), IDLE
    elif variant.intent:
        if sum(what == "intent" for what, _ in world.log) < SENDS:
            yield noted(world, "intent"), worker._replace(at="sending")
    else:
        yield world, worker._replace(at="sending")


def sends(world, worker, variant):
    if variant.versions and world.now >= worker.lease_until:
        yield noted(freed(world, worker), "not_sent"), IDLE
        return
    if world.failures < FAILURES:
        yield noted(freed(world, worker), "not_sent")._replace(failures=world.failures + 1), IDLE
    if len(world.flying) < SENDS:
        yield world._replace(flying=(*world.flying, world.now)), worker._replace(at="waiting")
    yield world, worker._replace(at="waiting")  # the request is lost


def hears(world, worker, variant):
    if world.moved:
        yield noted(freed(world, worker), "success"), IDLE
    yield noted(freed(world, worker), "timeout" if variant.silence else "not_sent"), IDLE


def asks(world, worker, _variant):
    if world.failures < FAILURES:
        yield noted(freed(world, worker), "no_poll")._replace(failures=world.failures + 1), IDLE
    if world.moved:
        yield noted(freed(world, worker), "found"), IDLE
    if not any(world.now - when > LAG for when in world.moved):
        yield noted(freed(world, worker), "not_found"), IDLE


def freed(world, worker):
    """Give the lease back, unless it has ended and is another's by now."""
    return world._replace(leased_until=0) if world.leased_until == worker.lease_until else world


def noted(world, what):
    return world._replace(log=(*world.log, (what, world.now)))


def settled(world):
    """Tell whether nothing can pay any more: the log knows the outcome, and nobody and nothing is under way."""
    known = any(what in {"success", "found"} for what, _ in world.log)
    return known and not world.flying and all(worker.at in {"idle", "to_ask"} for worker in world.workers)


def explored(variant=PROTOCOL, most=1_500_000):
    """Return how many worlds there are, and the first in which the money moved twice."""
    folded.cache_clear()
    decided.cache_clear()
    seen, todo = {World()}, deque([World()])
    while todo:
        for following in steps(todo.popleft(), variant):
            if len(following.moved) > 1:
                return len(seen), following
            if following not in seen and not settled(following):
                seen.add(following)
                todo.append(following)
        assert len(seen) <= most, "the model has grown too large to be explored"
    return len(seen), None


@pytest.fixture(autouse=True)
def margin_of_one_tick(monkeypatch):
    monkeypatch.setattr(contact, "MARGIN_S", TICK_S)


def test_the_protocol_never_pays_twice():
    worlds, paid_twice = explored()
    print(f"{worlds} worlds explored")
    assert paid_twice is None
    assert worlds > 10_000


@pytest.mark.parametrize("missing", Variant._fields)
def test_without_any_one_of_its_rules_it_pays_twice(missing, monkeypatch):
    if missing == "margin":
        monkeypatch.setattr(contact, "MARGIN_S", -TICK_S)
    if missing == "fresh":
        monkeypatch.setattr(contact, "_key_safe_until", lambda *_: None)
    worlds, paid_twice = explored(PROTOCOL._replace(**{missing: False}))
    print(f"without {missing}: paid twice after {worlds} worlds: {paid_twice}")
    assert paid_twice is not None
