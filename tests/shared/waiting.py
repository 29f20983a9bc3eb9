"""Waiting until something has come, and no longer."""

import time

DEADLINE_S = 60


def wait_until(condition):
    """Wait until a condition holds, and return what it is then."""
    end = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)
    return found
