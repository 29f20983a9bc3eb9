"""How long one waits: schedules and their hurried forms, doubled waits and spread ones."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain.capabilities import Capabilities
from refold.engine.domain.evidence import AbsenceRule
from refold.engine.domain.schedule import Schedule, Stage, backoff_s, seconds_between, spread

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=300)
START = datetime(2026, 11, 21, 12, tzinfo=UTC)
STEPS = Schedule((Stage(600, 60), Stage(7200, 600)), 86_400)


@pytest.mark.parametrize(
    ("age", "wait"), [(0, 60), (599, 60), (600, 600), (7199, 600), (7200, 86_400), (10**9, 86_400)]
)
def test_the_longer_the_question_has_stood_the_rarer_it_is_asked(age, wait):
    assert STEPS.wait_s(age) == wait


@pytest.mark.parametrize(("schedule", "end"), [(STEPS, 7200), (Schedule((), 60), 0)])
def test_when_a_schedule_ends(schedule, end):
    assert schedule.exhausted_s == end


@pytest.mark.parametrize(
    ("speed", "stages", "afterwards"),
    [(1, [(600, 60), (7200, 600)], 86_400), (60, [(10, 1), (120, 10)], 1440), (10**6, [(1, 1), (1, 1)], 1)],
)
def test_a_hurried_schedule_keeps_a_second(speed, stages, afterwards):
    assert STEPS.hurried(speed) == Schedule(tuple(Stage(*stage) for stage in stages), afterwards)


@pytest.mark.parametrize(
    ("earlier", "later", "seconds"),
    [(0, 0, 0), (0, 0.999999, 0), (0, 1, 1), (0, 61.5, 61), (1, 0, 0), (1, 0.5, 0)],
)
def test_seconds_between_two_moments(at, earlier, later, seconds):
    assert seconds_between(at(earlier), at(later)) == seconds


def test_moments_of_two_zones_are_compared_as_moments():
    there = START.astimezone(tz=None)
    assert seconds_between(START, there + timedelta(seconds=5)) == 5


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(0, 5), (1, 5), (2, 10), (3, 20), (10, 2560), (11, 3600), (64, 3600), (10**9, 3600)],
)
def test_each_failure_doubles_the_wait_up_to_an_end(failures, wait):
    assert backoff_s(failures, first_s=5, most_s=3600) == wait


@PROFILE
@given(wait_s=st.integers(0, 10**7), refund_id=st.text(max_size=20), number=st.integers(0, 10**6))
def test_a_wait_is_lengthened_by_up_to_a_tenth_and_always_alike(wait_s, refund_id, number):
    wait = spread(wait_s, refund_id, number)
    assert timedelta(seconds=wait_s) <= wait <= timedelta(seconds=wait_s) * 11 / 10
    assert wait == spread(wait_s, refund_id, number)


def test_waits_differ_by_refund_and_by_number():
    assert len({spread(60, f"r-{n}", 1) for n in range(100)}) > 90
    assert len({spread(60, "r-1", n) for n in range(100)}) > 90


def test_the_wait_is_the_same_in_every_version():
    """A worker of the next release must not come earlier than one of this release planned."""
    assert spread(60, "r-1", 1) == timedelta(milliseconds=61_200)


def test_hurried_capabilities_are_divided_in_every_duration_and_nothing_else(caps):
    full = caps(key_retention_s=1000, webhook_retry_s=(5, 60, 3600))
    quick = full.hurried(10)
    assert (quick.post_timeout_s, quick.poll_interval_s, quick.outcome_window_s) == (4, 3, 100)
    assert (quick.key_retention_s, quick.absence, quick.webhook_retry_s) == (
        100,
        AbsenceRule(2, 6),
        (0, 6, 360),
    )
    assert quick.in_doubt == full.in_doubt.hurried(10)
    assert quick.pending == full.pending.hurried(10)
    assert quick.recheck_s == (8640, 60_480)
    changed = {
        name for name in Capabilities.__dataclass_fields__ if getattr(full, name) != getattr(quick, name)
    }
    assert changed == {
        "post_timeout_s", "poll_interval_s", "outcome_window_s", "key_retention_s",
        "absence", "webhook_retry_s", "in_doubt", "pending", "recheck_s",
    }  # fmt: skip
    assert full.hurried(1) == full


def test_hurried_capabilities_keep_a_second_and_what_is_unknown(caps):
    quick = caps().hurried(10**9)
    assert (quick.post_timeout_s, quick.poll_interval_s, quick.key_retention_s) == (1, 1, None)
    assert caps(absence=None).hurried(10).absence is None
