"""When a gateway is left alone: a row a moment, what came of a contact there, and what the breaker says then."""

from datetime import UTC, datetime, timedelta

import pytest

from refold.engine.service import breaker
from refold.engine.service.breaker import FAILURES, Breaker

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
WELL, ILL = True, False
FIVE_ILL = [(0, ILL, None)] * 5


def at(seconds):
    return START + timedelta(seconds=seconds)


def after(notes, **options):
    """Return a breaker that was told of contacts: (second, healthy, Retry-After), or a second at which to probe."""
    built = Breaker(**options)
    for row in notes:
        if isinstance(row, int):
            assert built.allows(at(row))
        else:
            second, healthy, retry_after_s = row
            built.note(at(second), healthy=healthy, retry_after_s=retry_after_s)
    return built


ROWS = {
    "nothing": ([], 0, True),
    "one failure": ([(0, ILL, None)], 0, True),
    "four failures": ([(0, ILL, None)] * 4, 0, True),
    "five failures": (FIVE_ILL, 0, False),
    "five failures, before the end": (FIVE_ILL, 14, False),
    "five failures, at the end": (FIVE_ILL, 15, True),
    "five failures, one healthy between": ([(0, ILL, None)] * 4 + [(0, WELL, None), (0, ILL, None)], 0, True),
    "five failures, then a healthy answer that was under way": ([*FIVE_ILL, (1, WELL, None)], 1, True),
    "five failures, then others that were under way": ([*FIVE_ILL, (1, ILL, None), (2, ILL, None)], 15, True),
    "the probe failed": ([*FIVE_ILL, 15, (16, ILL, None)], 45, False),
    "the probe failed, at the end of twice as long": ([*FIVE_ILL, 15, (16, ILL, None)], 46, True),
    "the second probe failed": ([*FIVE_ILL, 15, (15, ILL, None), 45, (45, ILL, None)], 104, False),
    "the second probe failed, at its end": ([*FIVE_ILL, 15, (15, ILL, None), 45, (45, ILL, None)], 105, True),
    "the probe succeeded": ([*FIVE_ILL, 15, (16, WELL, None)], 16, True),
    "the probe succeeded, then a failure": ([*FIVE_ILL, 15, (16, WELL, None), (17, ILL, None)], 17, True),
    "the probe succeeded, then five failures: from the beginning": ([*FIVE_ILL, 15, (16, WELL, None), *[(20, ILL, None)] * 5], 35, True),
    "wants rest": ([(0, WELL, 60)], 59, False),
    "wants rest, at its end": ([(0, WELL, 60)], 60, True),
    "wants no rest": ([(0, WELL, 0)], 0, True),
    "wants rest, ill": ([(0, ILL, 60)], 59, False),
    "wants rest, then an answer that was under way": ([(0, ILL, 60), (1, WELL, None)], 59, False),
    "wants rest, then a failure that was under way": ([(0, ILL, 60), (1, ILL, None)], 59, False),
    "wants rest twice: the longer": ([(0, ILL, 60), (1, ILL, 5)], 59, False),
    "wants rest twice, at the end of the longer": ([(0, ILL, 60), (1, ILL, 5)], 60, True),
    "five failures, the last wants a long rest": ([*FIVE_ILL[1:], (0, ILL, 100)], 99, False),
    "five failures, the last wants a short rest": ([*FIVE_ILL[1:], (0, ILL, 1)], 14, False),
    "five failures, then one under way wants a long rest": ([*FIVE_ILL, (1, ILL, 100)], 100, False),
    "the probe wants a long rest": ([*FIVE_ILL, 15, (15, ILL, 100)], 114, False),
    "the probe wants a long rest, at its end": ([*FIVE_ILL, 15, (15, ILL, 100)], 115, True),
}  # fmt: skip


@pytest.mark.parametrize(("notes", "now", "allowed"), ROWS.values(), ids=ROWS)
def test_whether_a_gateway_may_be_contacted(notes, now, allowed):
    assert after(notes).allows(at(now)) is allowed


def test_before_an_opening_everybody_may():
    built = after([(0, ILL, None)] * 4)
    assert all(built.allows(at(0)) for _ in range(20))


def test_after_an_opening_only_one_tries():
    built = after(FIVE_ILL)
    assert [built.allows(at(15)) for _ in range(3)] == [True, False, False]
    assert not built.allows(at(10_000))


@pytest.mark.parametrize(("healthy", "who"), [(WELL, [True, True]), (ILL, [False, False])])
def test_what_came_of_the_one_counts_for_everybody(healthy, who):
    built = after([*FIVE_ILL, 15, (15, healthy, None)])
    assert [built.allows(at(16)) for _ in range(2)] == who


def test_a_contact_that_was_under_way_since_before_leaves_the_one_alone():
    built = after([*FIVE_ILL, (1, ILL, None), 15])
    assert not built.allows(at(16))


def test_after_a_rest_the_gateway_wanted_everybody_may():
    built = after([(0, WELL, 60)])
    assert [built.allows(at(60)) for _ in range(3)] == [True, True, True]


def test_one_that_did_not_try_after_all_makes_room_for_another():
    built = after([*FIVE_ILL, 15])
    built.forget_probe()
    assert [built.allows(at(15)) for _ in range(2)] == [True, False]


def test_one_that_did_not_try_does_not_close_the_breaker():
    built = after(FIVE_ILL)
    built.forget_probe()
    assert not built.allows(at(14))


def test_each_probe_that_fails_doubles_the_rest_up_to_an_end():
    built, now, rests = after(FIVE_ILL), 0, []
    for _ in range(9):
        rests.append((built.open_until - at(now)).total_seconds())
        now = round((built.open_until - START).total_seconds())
        assert built.allows(at(now))
        built.note(at(now), healthy=ILL)
    assert rests == [15, 30, 60, 120, 240, 480, 600, 600, 600]


def test_first_and_longest_rest_can_be_chosen():
    built = after(FIVE_ILL, first_s=1, most_s=2)
    assert built.open_until == at(1)
    assert after([*FIVE_ILL, 15, (15, ILL, None), 30, (30, ILL, None)], first_s=1, most_s=2).open_until == at(
        32
    )


def test_a_healthy_gateway_is_not_resting():
    assert after([*FIVE_ILL, 15, (15, WELL, None)]).open_until is None


@pytest.mark.parametrize(
    ("name", "fault", "row"),
    [
        ("FAILURES", 4, "four failures"),
        ("FAILURES", 6, "five failures"),
        ("backoff_s", lambda times, **_: 15, "the probe failed"),
        ("backoff_s", lambda times, **_: 0, "five failures, before the end"),
    ],
)
def test_a_planted_fault_turns_a_row_red(monkeypatch, name, fault, row):
    monkeypatch.setattr(breaker, name, fault)
    notes, now, allowed = ROWS[row]
    assert after(notes).allows(at(now)) is not allowed


def test_the_table_is_about_five():
    assert FAILURES == 5
