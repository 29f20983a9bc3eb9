"""Every fault at once: a patient client learns the truth, and the ledger is the same in every run."""

import httpx
import pytest

from refold.adapters.simulators import Fault, Faults

WORDS = ("settles", "succeeds", "fails", "reverses", "1")


def patiently(shop, clock, action):
    """Ask until an answer can be read; the clock moves on between the tries, as a client's does."""
    for _ in range(8):
        try:
            heard = action()
        except httpx.TransportError:
            heard = None
        if heard is not None and heard.signal != "uncertain":
            return heard.signal
        clock.advance(46)
        shop.running.until_listening()
    raise AssertionError("nobody answers")


@pytest.mark.parametrize("name", ["evocloud", "evonet", "bbmsl"])
@pytest.mark.parametrize("seed", ["a", "b"])
def test_a_patient_client_learns_the_truth(opened, clock, name, seed):
    # Without the fault that pays twice on purpose: a client that repeats its requests would do so here.
    chances = {fault: 300 for fault in Fault if fault is not Fault.KEY_EXPIRY}
    with opened(name, faults=Faults(seed, chances)) as shop:
        for word in WORDS:
            patiently(shop, clock, lambda word=word: shop.refund(name, f"r-{word}", timeout_s=0.15))
        clock.advance(200)
        shop.running.until_listening()
        for word in WORDS:
            heard = patiently(shop, clock, lambda word=word: shop.poll(name, f"r-{word}"))
            told = shop.ledger(name).refunds[f"r-{word}"]
            assert (heard, told.settled) == (told.shown, True)
            assert shop.ledger(name).moved(f"r-{word}") == (5000 if told.state == "success" else 0)


def test_thousands_of_refunds_are_one_look_at_the_books_each(clock):
    """The ledger keeps what is due in order, so its work does not grow with what is already done."""
    from refold.adapters.simulators.ledger import Ledger, Record
    from refold.adapters.simulators.pace import Pace
    from refold.adapters.simulators.scripts import outcome_for
    from refold.engine.domain.money import Money

    ledger = Ledger(Pace(clock, 1))
    ledger.capture("P1", Money(10**9, "HKD"))
    for number in range(5000):
        outcome = outcome_for("evonet", "r-reverses", 100)
        ledger.add(Record(f"r-{number}", "P1", Money(100, "HKD"), "1", clock(), outcome))
    clock.advance(40)
    assert sum(movement.amount_minor for movement in ledger.movements) == 500_000
    clock.advance(60)
    assert {movement.kind for movement in ledger.movements[5000:]} == {"reversed"}
    assert ledger.available_minor("P1") == 10**9
