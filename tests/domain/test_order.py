"""Evidence in any order and any number of times adds up to the same state and attention (cases 13, 14, 17)."""

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine.domain.events import Recorded
from refold.engine.domain.evidence import UNVERIFIED, Evidence, Hold
from refold.engine.domain.message import Channel
from refold.engine.domain.proof import Arrival, decide_evidence
from refold.engine.domain.refund import evolve
from refold.engine.domain.signals import Signal

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=150)

PIECES = (
    *({"signal": signal} for signal in Signal),
    {"signal": Signal.SUCCESS, "amount_minor": 9_999},
    {"signal": Signal.REJECTED, "currency": "JPY"},
    {"signal": Signal.CLOSED, "hold": Hold.UNTIL_RECONCILED},
    {"signal": Signal.FAILED, "refund_id": "r-2", "gateway_refund_id": "g-2"},
    {"signal": Signal.PENDING, "gateway_refund_id": "g-1", "payment_id": "p-1"},
    {"signal": Signal.RECOVERED, "gateway_refund_id": "g-2", "payment_id": "p-2"},
)
"""Every signal, and those that name something else than was asked, or what only the gateway names."""


def arrive(refund, piece, *, by_reference=True):
    """Return the refund after one piece of evidence; position and time stay, so that equal ends are equal."""
    arrival = Arrival(
        channel=Channel.WEBHOOK,
        time=refund.requested_at,
        verification=UNVERIFIED,
        message=None,
        refund_reference=by_reference,
    )
    for event in decide_evidence(refund, Evidence(code="x=y", **piece), arrival):
        refund = evolve(refund, Recorded(1, 1, refund.requested_at, event))
    return refund


def differing_subsets(start, arrive, most):
    """Yield each subset of the pieces, up to `most` of them, whose orders or duplicates do not all end alike.

    Walks the lattice of subsets: whatever some order of a subset can lead to is extended by each further piece.
    """
    reachable = {frozenset(): {start}}
    for size in range(1, most + 1):
        larger = {}
        for subset in map(frozenset, combinations(range(len(PIECES)), size)):
            ends = {arrive(before, PIECES[last]) for last in subset for before in reachable[subset - {last}]}
            again = {arrive(end, PIECES[index]) for end in ends for index in subset} if size < most else set()
            if len({(end.state, end.attention) for end in ends | again}) > 1:
                yield [PIECES[index] for index in sorted(subset)]
            larger[subset] = ends
        reachable = larger


@pytest.mark.parametrize(
    ("payment_id", "by_reference", "most"),
    [
        pytest.param("p-1", True, 5, id="payment asked, found by refund"),
        pytest.param(None, False, 5, id="payment not asked, found by payment"),
        pytest.param("p-1", False, 4, id="payment asked, found by payment"),
        pytest.param(None, True, 4, id="payment not asked, found by refund"),
    ],
)
def test_up_to_five_pieces_of_evidence_end_alike_in_every_order_and_repeated(
    story, payment_id, by_reference, most
):
    start = story(payment_id=payment_id).refund

    def arriving(refund, piece):
        return arrive(refund, piece, by_reference=by_reference)

    assert list(differing_subsets(start, arriving, most)) == []


def test_a_fold_that_keeps_only_the_last_word_is_found(story):
    def forgetful(refund, piece):
        return arrive(story().refund, piece)

    assert list(differing_subsets(story().refund, forgetful, most=2))


def test_every_permutation_of_any_four_signals_folds_alike(story, plain_evidence):
    start = story().refund
    for chosen in combinations(Signal, 4):
        ends = set()
        for order in permutations(chosen):
            refund = start
            for signal in order:
                refund = evolve(refund, Recorded(1, 1, start.requested_at, plain_evidence[signal]))
            ends.add((refund.mask, refund.state, refund.attention))
        assert len(ends) == 1, chosen


@PROFILE
@given(
    pieces=st.lists(st.sampled_from(PIECES), min_size=6, max_size=16),
    repeated=st.lists(st.integers(0, 5), max_size=6),
    random=st.randoms(use_true_random=False),
)
def test_long_evidence_with_duplicates_ends_alike_in_any_order(story, shown, pieces, repeated, random):
    shuffled = [*pieces, *(pieces[index] for index in repeated)]
    random.shuffle(shuffled)
    one = other = story().refund
    for piece in pieces:
        one = arrive(one, piece)
    for piece in shuffled:
        other = arrive(other, piece)
    assert shown(one) == shown(other)


@PROFILE
@given(order=st.permutations(PIECES))
def test_all_the_evidence_there_is_ends_alike_in_any_order(story, shown, order):
    refund = story().refund
    for piece in order:
        refund = arrive(refund, piece)
    assert shown(refund) == ("success", {"conflict", "contradicted", "mismatch", "unrecognised"})


def test_the_webhook_before_the_answer_ends_like_the_webhook_after_it(story, shown):
    early, late = story(), story()
    early.evidence("success", Channel.WEBHOOK)
    early.evidence("pending", Channel.API_RESPONSE)
    late.evidence("pending", Channel.API_RESPONSE)
    late.evidence("success", Channel.WEBHOOK)
    assert shown(early.refund) == shown(late.refund) == ("success", set())


def test_an_older_pending_after_success_changes_nothing_and_is_in_the_log(story, shown):
    told = story()
    told.evidence("success")
    (late,) = told.evidence("pending")
    assert shown(told.refund) == ("success", set())
    assert told.refund.version == 3
    assert late.wire == "evidence.pending"
