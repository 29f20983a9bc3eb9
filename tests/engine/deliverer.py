"""A delivery in a process of its own, which dies: `python deliverer.py URL NUMBER` kills itself inside that effect."""

import os
import signal
import sys

from refold.engine import RefundEngine


def main():
    url, number = sys.argv[1], int(sys.argv[2])
    given = []

    def handle(effect):
        print(effect.key, flush=True)
        given.append(effect)
        if len(given) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    with RefundEngine.open(url) as engine:
        engine.deliver("ledger", handle, start="beginning", once=True)


if __name__ == "__main__":
    main()
