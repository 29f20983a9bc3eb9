"""Run as a process: commits key "k" to a store, and is killed when that lies in the write-ahead log, before anybody is told."""

import os
import signal
import sys

import apsw


class Disk(apsw.VFS):
    def __init__(self):
        super().__init__("mortal", "")

    def xOpen(self, name, flags):  # noqa: N802 - SQLite's name
        return File("", name, flags)


class File(apsw.VFSFile):
    def xSync(self, flags):  # noqa: N802 - SQLite's name; it commits by this, and by nothing later
        os.kill(os.getpid(), signal.SIGKILL)


disk = Disk()
connection = apsw.Connection(sys.argv[1], vfs="mortal")
connection.execute("PRAGMA synchronous = FULL")
connection.execute("INSERT INTO keys (key, digest, first, last) SELECT 'k', digest, first, last FROM keys")
