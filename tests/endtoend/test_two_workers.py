"""Two workers in processes of their own, on one store: no refund is sent twice."""

import signal
from collections import Counter

import pytest

from refold.engine import Money

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time

REFUNDS = 200
CAPABILITIES = {"recheck_s": [], "outcome_window_s": 600}


def test_two_workers_send_each_of_two_hundred_refunds_once(world):
    names = ("evocloud", "evonet", "bbmsl", "easylink")
    with world(speed=60, capabilities=CAPABILITIES, seed="two workers") as there:
        asked = [(names[n % 4], f"r{n}-succeeds") for n in range(REFUNDS)]
        workers = [there.start_worker() for _ in range(2)]
        for gateway, refund_id in asked:
            there.engine.request(
                gateway=gateway, payment_id=refund_id, refund_id=refund_id, amount=Money(100, "HKD")
            )

        def states():
            return Counter(str(view.state) for view in there.engine.find())

        there.until(lambda: states() == {"success": REFUNDS}, 120, states)
        assert [there.end(worker, how=signal.SIGTERM) for worker in workers] == [0, 0]
        assert sorted(there.posts()) == sorted(asked)
        assert all(there.simulators[gateway].ledger.moved(refund_id) == 100 for gateway, refund_id in asked)
        # On a machine that is busy a request may come to nothing, and is sent when that is certain: then it was two tries.
        tried = [
            {line.split()[1] for line in there.said(worker) if line.startswith("submit ")}
            for worker in workers
        ]
        assert set.union(*tried) == {refund_id for _, refund_id in asked}
        assert min(map(len, tried)) > 0, "one of them did nothing: the test would show nothing"
