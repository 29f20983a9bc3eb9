"""What the tasks of these processes have in common: how long they wait, what they append, and their threads."""

import threading

from refold.engine.ports import NewEvent, Upsert
from refold.engine.service.views import PAYMENTS

PATIENT_S = 60
"""Longer than any writer waits for its turn here."""


def event(data):
    return NewEvent("refund.requested", "2026-01-02T03:04:05Z", data)


def counted(payment, stream, count, amount=0):
    """Return the view change that counts the events of a stream, for one payment."""
    return Upsert(PAYMENTS, ("test", f"{payment} {stream}", "HKD", None, amount, 0, count))


def together(work, names):
    """Do the work for each name in a thread, and wait for all."""
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
