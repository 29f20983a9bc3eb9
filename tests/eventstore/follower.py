"""A consumer in a process of its own: `python follower.py PLACE MODE NUMBER`, where PLACE is a file or
a `postgresql://` URL; it prints what it is given.

`run` follows a subscription until its input ends, `die` kills itself inside the handler of event NUMBER, `wait` waits
for position NUMBER and says whether it came.
"""

import os
import signal
import sys
import threading
from datetime import UTC, datetime

from totals import TOTALS

from refold.engine.ports import Upsert
from refold.eventstore import SqliteStore
from refold.eventstore.postgres import PostgresStore, waiting


def main():
    place, mode, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    waiting._POLL_S = 3600  # who waits is told by the server, or not at all
    store = PostgresStore if place.startswith("postgresql:") else SqliteStore
    with_views = store(place, views=[TOTALS], timeout_s=30)
    print("ready", flush=True)
    if mode == "wait":
        print(with_views.wait_for(number, timeout_s=60), flush=True)
        return
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

    def handle(event):
        print(event.position, flush=True)
        if mode == "die" and event.position == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return [Upsert(TOTALS, (event.stream, 1))]

    member = with_views.subscribe("totals", clock=lambda: datetime.now(UTC), chunk=3, lease_s=1)
    member.run(handle, stop=stop)


if __name__ == "__main__":
    main()
