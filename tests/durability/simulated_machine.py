"""A machine whose disk is simulated, with a store in a file on it."""

import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import history as histories
from simulated_connection import Connection
from simulated_disk import Disk

from refold.eventstore import SqliteStore

FILE = "log.db"
EMPTY = {"": []}
"""What there is of a store before there is its file."""


class Machine:
    """A folder on a simulated disk, and the store in it."""

    def __init__(self, folder, files=(), inodes=()):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.path = self.folder / FILE
        fill(self.folder, dict(files))
        self.disk = Disk(inodes)
        self.states = []
        self.store = None

    def open(self, **options):
        self.store = SqliteStore(self.path, views=[histories.REFUNDS], timeout_s=0, **options)
        return self.store

    def state(self):
        with closing(Connection(self.disk, self.path, "ro", 0)) as connection:
            return histories.tables(connection)

    def run(self, steps, **options):
        """Run a whole history; after each call the trace is marked, and what the file says is kept."""
        self.states = [EMPTY]
        self.call(lambda: self.open(**options))
        for number, step in enumerate(steps):
            self.call(lambda step=step: step.call(self.store))
            if number in {5, 12, 18}:
                self.call(self.store.close)
                self.call(lambda: self.open(**options))
        self.call(self.store.close)

    def call(self, function):
        self.disk.mark("begin")
        function()
        self.disk.mark("done")
        waits = self.disk.fault is not None and not self.disk.failed
        self.states.append(None if waits else self.state())

    def leave(self):
        """Close the store on a disk that is well."""
        self.disk.heal()
        if self.store is not None:
            self.store.close()
        self.disk.unregister()
        shutil.rmtree(self.folder)


def fill(folder, files):
    """Make a folder hold exactly these files; they are written over, which is faster than making them anew."""
    for old in os.listdir(folder):  # noqa: PTH208 - some ten thousand times: no objects
        if old not in files:
            (folder / old).unlink()
    for name, content in files.items():
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(file, content, 0)
        os.ftruncate(file, len(content))
        os.close(file)
