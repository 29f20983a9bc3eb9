"""The retry protocol, explored exhaustively: whatever crashes, stalls, is lost or late, the money moves once at most.

The decisions are those of the library (`next_contact` over the fold of real events); around them is a small world: two
workers that may die or stall at every step, a network that loses requests and answers or delivers them late, and a
gateway that keeps keys for a while only and shows a refund only some time after it has made it. Every order of what may
happen is tried. Each rule of the protocol is then taken away, and the explorer must find the way to pay twice.
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

TICK_S = 60
LAST = 13
"""Ticks that are explored."""
RETENTION = 6
"""Ticks for which the gateway keeps a key."""
LAG = 1
"""Ticks for which the gateway may not show a refund that it has made, and for which a request may be under way."""
LEASE = 2
WORKERS = 2
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


class Worker(NamedTuple):
    """Where a worker stands: idle, about to send or ask, or waiting for what comes back."""

    at: str = "idle"
    decided_on: int = 0
    lease_until: int = 0


class World(NamedTuple):
    """All that matters. `log` holds (what, when); `moved` when money moved; `flying` requests under way."""

    now: int = 0
    log: tuple = ()
    workers: tuple = (Worker(),) * WORKERS
    moved: tuple = ()
    flying: tuple = ()
    crashes: int = 1
    lease: tuple = ()
    """Worker and end."""


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
    if world.now < LAST:
        now = world.now + 1
        landed = tuple(sent for sent in world.flying if now - sent > LAG)
        yield arrived(
            world._replace(now=now, flying=tuple(s for s in world.flying if s not in landed)), len(landed)
        )
    for sent in set(world.flying):
        rest = list(world.flying)
        rest.remove(sent)
        yield arrived(world._replace(flying=tuple(rest)), 1)
    for index, worker in enumerate(world.workers):
        for changed, after in acts(world, index, worker, variant):
            yield changed._replace(workers=(*world.workers[:index], after, *world.workers[index + 1 :]))


def arrived(world, times):
    """Let requests reach the gateway: the money moves unless it still knows the key."""
    for _ in range(times):
        if not any(world.now - when < RETENTION for when in world.moved):
            world = world._replace(moved=(*world.moved, world.now))
    return world


def acts(world, index, worker, variant):
    """Yield what one worker may do next: the world after it, and where the worker stands then."""
    now, log = world.now, world.log
    idle = Worker()
    held = world.lease and world.lease[1] > now
    freed = world if not world.lease or world.lease[0] != index else world._replace(lease=())
    if worker.at != "idle" and world.crashes:
        yield world._replace(crashes=world.crashes - 1), idle  # it dies, and so its lease ends by itself
    if worker.at == "idle" and not held:
        action = decided(log, now, variant)
        if action is not None:
            at = "to_send" if action is Action.SEND else "to_ask"
            leased = world._replace(lease=(index, now + LEASE))
            yield leased, Worker(at, len(log), now + LEASE)
    elif worker.at == "to_send":
        if variant.versions and len(log) != worker.decided_on:
            yield freed, idle
        elif variant.intent:
            yield world._replace(log=(*log, ("intent", now))), worker._replace(at="sending")
        else:
            yield world, worker._replace(at="sending")
    elif worker.at == "sending":
        if now >= worker.lease_until and variant.versions:
            yield noted(freed, "not_sent"), idle
            return
        yield noted(freed, "not_sent"), idle
        yield world._replace(flying=(*world.flying, now)), worker._replace(at="waiting")
        yield world, worker._replace(at="waiting")  # the request is lost
    elif worker.at == "waiting":
        if world.moved:
            yield noted(freed, "success"), idle
        yield noted(freed, "timeout" if variant.silence else "not_sent"), idle
    elif worker.at == "to_ask":
        yield noted(freed, "no_poll"), idle
        if any(now - when >= LAG for when in world.moved):
            yield noted(freed, "found"), idle
        if not any(now - when > LAG for when in world.moved):
            yield noted(freed, "not_found"), idle


def noted(world, what):
    return world._replace(log=(*world.log, (what, world.now)))


def explored(variant, most=2_000_000):
    """Return how many worlds there are, and the first in which the money moved twice."""
    seen, todo = {World()}, deque([World()])
    while todo:
        world = todo.popleft()
        for following in steps(world, variant):
            if len(following.moved) > 1:
                return len(seen), following
            if following not in seen and worthwhile(following):
                seen.add(following)
                todo.append(following)
        assert len(seen) <= most, "the model has grown too large to be explored"
    return len(seen), None


def worthwhile(world):
    """Leave out what cannot pay twice any more: it is settled, and nobody is at it."""
    sends = sum(what == "intent" for what, _ in world.log)
    return sends <= 3 and sum(what in {"no_poll", "not_sent"} for what, _ in world.log) <= 1


def test_the_protocol_never_pays_twice(monkeypatch):
    monkeypatch.setattr(contact, "MARGIN_S", TICK_S)
    folded.cache_clear()
    decided.cache_clear()
    worlds, paid_twice = explored(Variant())
    print(f"{worlds} worlds explored")
    assert paid_twice is None
    assert worlds > 10_000
