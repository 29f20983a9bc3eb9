"""Run in a mount namespace of its own: a store on a file system of 1 MiB that is full, and then read-only."""

import subprocess
import sys
from pathlib import Path

from refold.engine.errors import StoreFull, StoreReadOnly
from refold.engine.ports import Body, NewEvent, Write
from refold.eventstore import SqliteStore

folder = Path(sys.argv[1])


def mount(*options):
    subprocess.run(["mount", *options, str(folder)], check=True)


def append(store, number, size=20_000):
    event = NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'"{number}"')
    body = Body(f"{number:064}", b"salt", "{}", b"x" * size)
    return store.append(Write("refund-a", None, [event]), key=f"k{number}", bodies=[body])


def refused(store, number, error):
    before = list(store.read_all())
    for _ in range(2):
        try:
            append(store, number)
        except error:
            assert list(store.read_all()) == before
            assert store.settle(f"k{number}") is None
        else:
            raise AssertionError(number)


mount("-t", "tmpfs", "-o", "size=1m", "none")
ballast = folder / "ballast"
ballast.write_bytes(bytes(300_000))
store = SqliteStore(folder / "log.db")
acknowledged = 0
try:
    while True:
        append(store, acknowledged)
        acknowledged += 1
except StoreFull:
    refused(store, acknowledged, StoreFull)
print("full after", acknowledged)
assert store.head() == acknowledged
store.checkpoint()
assert [store.body(f"{number:064}").salt for number in range(acknowledged)] == [b"salt"] * acknowledged
ballast.unlink()
assert append(store, acknowledged, 2_000).first == acknowledged + 1
print("goes on once there is room")
store.close()

mount("-o", "remount,ro")
try:
    SqliteStore(folder / "log.db")
except StoreReadOnly:
    print("read-only")
reader = SqliteStore(folder / "log.db", read_only=True)
assert reader.head() == acknowledged + 1
assert len(list(reader.read_all())) == acknowledged + 1
reader.close()
print("read")
