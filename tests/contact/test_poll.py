"""Polling: when a gateway is asked, how often, and what happens when it never tells."""

import itertools
import json

import pytest

from refold.engine import Channel, Message, Money, State
from refold.engine.errors import InvalidInput, TooSoon
from refold.engine.ports import Answer
from refold.engine.testing.scripted_transport import NOT_SENT, TIMEOUT

MINUTE, HOUR, DAY = 60, 3600, 86_400


def said(status, **changes):
    """Return Evonet's answer with that status of the refund."""
    refund = {"merchantTransInfo": {"merchantTransID": "r-1"}, "status": status} | changes
    return Answer(
        200, {}, json.dumps({"result": {"code": "S0000", "message": ""}, "refund": refund}).encode()
    )


PENDING = said("refund_pending")
SUCCESS = said("refunded_full")
FAILED = said("Failed")
TROUBLE = Answer(200, {}, b'{"result":{"code":"E0001","message":""}}')


def queries(script):
    return len(script.sent) - len(script.submissions())


def worked(engine, clock, seconds, step=15):
    """Let a worker work for that long."""
    for _ in range(seconds // step):
        engine.work(once=True)
        clock.tick(step)


def asked_at(engine, clock_start, refund_id="r-1"):
    """Return the seconds after which each query was answered or failed."""
    return [
        round((entry.time - clock_start).total_seconds())
        for entry in engine.history(refund_id)
        if entry.channel == "poll" or entry.data.get("phase") == "poll"
    ]


@pytest.fixture
def start(clock):
    return clock.now


def test_a_query_goes_by_our_own_reference(engine, ask, script, clock):
    """CASES 2: there is no gateway id to ask with."""
    ask()
    script.says(post=[TIMEOUT])
    engine.submit("r-1")
    clock.tick(46)
    engine.poll("r-1")
    assert script.sent[-1].target == "/refund/r-1"


@pytest.mark.parametrize("answer", [SUCCESS, FAILED], ids=["success", "failed"])
def test_a_forced_query_of_a_settled_refund_really_asks(engine, ask, script, clock, answer):
    ask()
    script.says(post=[answer], get=[answer])
    engine.submit("r-1")
    clock.tick(HOUR)
    before = engine.refund("r-1")
    after = engine.poll("r-1")
    assert (queries(script), after.state) == (1, before.state)
    assert after.events == before.events + 1


def test_a_late_change_is_found_by_a_forced_query(engine, ask, script, clock):
    ask()
    engine.submit("r-1")
    clock.tick(DAY)
    script.says(get=[FAILED])
    assert engine.poll("r-1").attention == ("conflict",)


@pytest.mark.parametrize(("passed", "wait"), [(0, 46), (44, 2), (45, 0)])
def test_after_a_submission_its_time_out_passes_before_the_gateway_is_asked(
    engine, ask, script, clock, passed, wait
):
    """GATEWAYS: after a POST wait at least 45 s for the answer, then GET."""
    ask()
    script.says(post=[TIMEOUT])
    engine.submit("r-1")
    clock.tick(passed)
    if wait:
        with pytest.raises(TooSoon) as caught:
            engine.poll("r-1")
        assert caught.value.retry_after_s == wait
    else:
        engine.poll("r-1")
    assert queries(script) == (0 if wait else 1)


@pytest.mark.parametrize("lost", [TROUBLE, TIMEOUT, NOT_SENT], ids=["answered", "timeout", "not sent"])
@pytest.mark.parametrize("passed", [44, 45])
def test_between_two_queries_the_gateways_interval_passes_whatever_came_of_the_first(
    engine, ask, script, clock, lost, passed
):
    """GATEWAYS: GETs at least 45 s apart."""
    ask()
    script.says(post=[PENDING], get=[lost])
    engine.submit("r-1")
    clock.tick(HOUR)
    engine.poll("r-1")
    clock.tick(passed)
    if passed < 45:
        with pytest.raises(TooSoon):
            engine.poll("r-1")
    else:
        engine.poll("r-1")
    assert queries(script) == (1 if passed < 45 else 2)


def test_a_query_without_an_answer_says_nothing_about_the_refund(engine, ask, script, clock, types):
    ask()
    script.says(post=[PENDING], get=[TIMEOUT])
    engine.submit("r-1")
    clock.tick(HOUR)
    view = engine.poll("r-1")
    assert (view.state, view.attention) == (State.RECEIVED, ())
    assert types()[-1] == "refund.contact_failed"


def test_a_gateway_without_look_up_is_not_asked(make, gateways, ask, script):
    ask()
    with pytest.raises(InvalidInput, match="evonet has no look-up"):
        make(gateways(lookup_by_own_reference=False)).poll("r-1")
    assert script.sent == []


# ---- schedules


def test_in_doubt_the_gateway_is_asked_fast_and_then_slowly(engine, ask, script, clock, start):
    """Each minute for ten minutes, each ten minutes for two hours, each hour for three days: and up to a tenth more."""
    ask()
    script.says(post=[TIMEOUT], get=[TROUBLE])
    worked(engine, clock, 4 * HOUR)
    times = asked_at(engine, start)
    apart = [b - a for a, b in itertools.pairwise(times)]
    assert 45 <= times[0] <= 60
    fast = [gap for at, gap in zip(times, apart, strict=False) if at < 9 * MINUTE]
    slow = [gap for at, gap in zip(times, apart, strict=False) if 11 * MINUTE < at < 100 * MINUTE]
    hourly = [gap for at, gap in zip(times, apart, strict=False) if at > 130 * MINUTE]
    assert len(fast) >= 7
    assert all(60 <= gap <= 66 + 15 for gap in fast)
    assert all(600 <= gap <= 660 + 15 for gap in slow)
    assert all(3600 <= gap <= 3960 + 15 for gap in hourly)


def test_pending_for_days_the_gateway_is_asked_slowly_and_nothing_fails_or_closes(engine, ask, script, clock):
    """CASES 7."""
    ask()
    script.says(post=[PENDING], get=[PENDING])
    worked(engine, clock, 3 * DAY, step=10 * MINUTE)
    view = engine.refund("r-1")
    assert (view.state, view.attention) == (State.RECEIVED, ())
    assert 40 <= queries(script) <= 60


def test_an_exhausted_schedule_asks_a_person_and_goes_on_very_slowly(engine, ask, script, clock, types):
    """CASES 7: the state does not change."""
    ask()
    script.says(post=[PENDING], get=[PENDING])
    worked(engine, clock, 20 * DAY, step=HOUR)
    view = engine.refund("r-1")
    assert view.state is State.RECEIVED
    assert "polling_exhausted" in view.attention
    assert types().count("refund.polling_exhausted") == 1
    before = queries(script)
    worked(engine, clock, 10 * DAY, step=HOUR)
    assert 8 <= queries(script) - before <= 10
    script.says(get=[SUCCESS])
    worked(engine, clock, 2 * DAY, step=HOUR)
    assert (engine.refund("r-1").state, engine.refund("r-1").attention) == (State.SUCCESS, ())


def test_a_doubt_that_lasts_asks_a_person_and_is_not_sent_again_from_then_on(engine, ask, script, clock):
    ask()
    script.says(post=[TIMEOUT], get=[TROUBLE])
    worked(engine, clock, 4 * DAY, step=HOUR)
    assert engine.refund("r-1").attention == ("in_doubt", "polling_exhausted")
    unknown = Answer(200, {}, b'{"result":{"code":"C0004","message":""}}')
    script.says(get=[unknown])
    worked(engine, clock, 10 * DAY, step=HOUR)
    assert len(script.submissions()) == 1


def test_refunds_that_were_sent_together_are_not_asked_about_together(engine, ask, script, clock, start):
    for n in range(20):
        ask(f"r-{n}", payment_id=f"p-{n}", minor=100)
    script.says(post=[PENDING], get=[TIMEOUT])
    worked(engine, clock, 25 * MINUTE)
    second = {asked_at(engine, start, f"r-{n}")[1] for n in range(20)}
    assert len(second) > 3


def test_a_gateway_that_wants_to_be_left_alone_is_asked_later(engine, ask, script, clock, start):
    """CASES C2: Retry-After, in seconds or as a date."""
    ask()
    script.says(post=[TIMEOUT], get=[Answer(429, {"Retry-After": "1800"}, b""), SUCCESS])
    worked(engine, clock, HOUR)
    first, second = asked_at(engine, start)
    assert second - first >= 1800
    assert engine.refund("r-1").state is State.SUCCESS


def test_a_date_after_which_to_ask_again_is_obeyed_too(clock):
    message = Message(body=b"", received_at=clock(), headers={"Retry-After": "Sat, 21 Nov 2026 12:10:00 GMT"})
    assert message.retry_after_s() == 600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30", 30),
        ("999999999999", 86_400),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Sat, 21 Nov 99999999999999999999 12:10:00 GMT", None),
        ("Sat, 21 Nov 2026 12:10:00 +99999999999999999999", None),
        ("Sat, 31 Dec 9999 23:59:59 -2359", 86_400),
    ],
)
def test_a_wish_to_be_left_alone_is_whole_seconds_or_a_date_a_day_at_most(clock, text, seconds):
    message = Message(body=b"", received_at=clock(), headers={"retry-after": text})
    assert message.retry_after_s() == seconds


# ---- amounts that are held


def test_an_amount_that_is_held_until_a_query_is_freed_by_the_worker(engine, ask, script, clock):
    """GATEWAYS: after E, P or I the amount stays reserved until one query has confirmed it."""
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=Money(6000, "HKD"))
    ask()
    unknown = Answer(200, {}, b'{"result":{"code":"C0004","message":""}}')
    script.says(post=[Answer(200, {}, b'{"result":{"code":"I0005","message":""}}')], get=[unknown])
    engine.work(once=True)
    assert engine.payment("evonet", "p-1").reserved_minor == 6000
    worked(engine, clock, 2 * MINUTE)
    assert engine.refund("r-1").state is State.FAILED
    assert engine.payment("evonet", "p-1").reserved_minor == 0
    before = queries(script)
    worked(engine, clock, 2 * HOUR, step=MINUTE)
    assert queries(script) == before


def test_two_unknowns_after_an_answered_submission_conclude_a_rejection(engine, ask, script, clock):
    unknown = Answer(200, {}, b'{"result":{"code":"C0004","message":""}}')
    ask()
    script.says(post=[Answer(200, {}, b'{"result":{"code":"C0009","message":""}}')], get=[unknown])
    worked(engine, clock, 10 * MINUTE)
    assert engine.refund("r-1").state is State.FAILED
    assert len(script.submissions()) == 1
    assert any(entry.data.get("cites") for entry in engine.history("r-1"))


def test_what_a_query_says_is_recorded_as_a_poll(engine, ask, script, clock):
    ask()
    script.says(post=[TIMEOUT])
    engine.submit("r-1")
    clock.tick(46)
    engine.poll("r-1")
    assert engine.history("r-1")[-1].channel == Channel.POLL


# ---- what has an outcome


@pytest.mark.parametrize(
    ("first", "later", "asked", "state", "attention"),
    [
        (SUCCESS, FAILED, 3, State.SUCCESS, ("conflict",)),
        (FAILED, SUCCESS, 3, State.SUCCESS, ("conflict",)),
        (SUCCESS, SUCCESS, 2, State.SUCCESS, ()),
    ],
    ids=["taken back", "come true after all", "as it was"],
)
def test_an_outcome_is_asked_about_again_for_the_webhook_of_a_late_change_may_be_lost(
    engine, ask, script, clock, first, later, asked, state, attention
):
    ask()
    script.says(post=[first], get=[later])
    worked(engine, clock, 20 * HOUR, step=HOUR)
    assert queries(script) == 0
    worked(engine, clock, 20 * DAY, step=6 * HOUR)
    view = engine.refund("r-1")
    assert (queries(script), view.state, view.attention) == (asked, state, attention)


def test_where_no_outcome_is_to_be_asked_about_again_none_is(make, gateways, ask, script, clock):
    engine = make(gateways(recheck_s=()))
    ask()
    worked(engine, clock, 20 * DAY, step=DAY)
    assert queries(script) == 0


def test_a_second_look_that_is_not_answered_is_taken_again(engine, ask, script, clock):
    ask()
    script.says(post=[SUCCESS], get=[TIMEOUT, TROUBLE, FAILED])
    worked(engine, clock, 2 * DAY, step=10 * MINUTE)
    assert queries(script) >= 3
    assert engine.refund("r-1").attention == ("conflict",)


def test_second_looks_that_are_never_answered_end(engine, ask, script, clock):
    ask()
    script.says(post=[SUCCESS], get=[TROUBLE])
    worked(engine, clock, 15 * DAY, step=HOUR)
    before = queries(script)
    worked(engine, clock, 30 * DAY, step=6 * HOUR)
    assert queries(script) == before
