"""Run in a mount namespace of its own: a backup to a file system of 1 MiB, where there is no room for it."""

import subprocess
import sys
from pathlib import Path

from refold.engine.domain.message import body_digest
from refold.engine.errors import StoreUnavailable
from refold.engine.ports import Body, NewEvent, Write
from refold.eventstore import SqliteStore

small = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True)
store = SqliteStore(small.with_name("elsewhere.db"))
event = NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")
content = bytes(2_000_000)
store.append(
    Write("refund-a", 0, [event]), bodies=[Body(body_digest(b"s", "{}", content), b"s", "{}", content)]
)
try:
    store.backup(small / "copy.db")
except StoreUnavailable as error:
    print("no room" if "there is no room for a backup of" in str(error) else error)
print(sorted(file.name for file in small.iterdir()))
print(store.append(Write("refund-a", 1, [event])).last, store.backup(small.with_name("copy.db")).events)
store.close()
