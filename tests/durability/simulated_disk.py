"""A disk whose writes can fail and whose power can be cut, under the store's real code and SQL.

`Disk` is a file system of SQLite (a VFS of apsw): it hands everything on to real files, keeps a trace of what was asked
of it, and fails where it is told to. The shared memory beside a write-ahead log is not part of it: SQLite makes it anew
when the first one opens.
"""

import itertools
from pathlib import Path
from typing import NamedTuple

import apsw

_SYNCS_FOLDER = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
numbers = itertools.count()
"""Of the disks, and of the inodes on all of them."""


class Op(NamedTuple):
    """One line of the trace.

    `kind` and its `name`, `number` and `data`:
    create: the file's name and its inode; delete: its name, and 1 if the folder is synced; write: offset and bytes;
    truncate: the size; sync: 1 if the folder is synced as well; failed sync; mark: what the history wrote.
    """

    kind: str
    name: str = ""
    inode: int = 0
    number: int = 0
    data: bytes = b""


class Fault(NamedTuple):
    """Fail at the n-th write, truncation or sync; from there on for good if `sticky`; else once.

    `full`: there is no room, so only what makes a file longer is refused (and counted).
    """

    at: int
    sticky: bool = False
    full: bool = False


class Disk(apsw.VFS):
    """Real files, with a trace."""

    def __init__(self, inodes=()):
        self.label = f"disk-{next(numbers)}"
        super().__init__(self.label, "")
        self.trace = []
        self.inodes = dict(inodes)
        self.fault = None
        self.asked = 0
        self.failed = []

    def excepthook(self, *_):
        """Say nothing where SQLite goes on after an error: the tests see what becomes of it."""

    def mark(self, text):
        self.trace.append(Op("mark", text))

    def break_down(self, fault):
        self.fault, self.asked, self.failed = fault, 0, []

    def heal(self):
        self.fault = None

    def fails(self, what, *, longer):
        """Count an operation, and tell whether it is to fail."""
        if self.fault is None or (self.fault.full and not longer):
            return False
        self.asked += 1
        hit = self.asked >= self.fault.at if self.fault.sticky else self.asked == self.fault.at
        if hit:
            self.failed.append(what)
        return hit

    def xOpen(self, name, flags):  # noqa: N802 - SQLite's name
        if name is None:
            return apsw.VFSFile("", name, flags)
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        existed = path.exists()
        file = File(self, name, path.name, flags)
        if not existed:
            self.inodes[path.name] = next(numbers)
            self.trace.append(Op("create", path.name, self.inodes[path.name]))
        file.inode = self.inodes[path.name]
        return file

    def xDelete(self, filename, syncdir):  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        name = Path(filename).name
        del self.inodes[name]
        self.trace.append(Op("delete", name, number=int(syncdir)))


class File(apsw.VFSFile):
    """A real file that is never synced: nobody cuts the power of this machine."""

    def __init__(self, disk, where, name, flags):
        super().__init__("", where, flags)
        self.disk = disk
        self.name = name
        self.inode = 0
        self.syncs_folder = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _SYNCS_FOLDER)

    def excepthook(self, *_):
        """As of the disk."""

    def xWrite(self, data, offset):  # noqa: N802 - SQLite's name
        size = self.xFileSize()
        data = bytes(data)
        if self.disk.fails(f"write {self.name}", longer=offset + len(data) > size):
            # What had room is written, as by a real system; without an error of space, half of it.
            self._write(data[: max(size - offset, 0) if self.disk.fault.full else len(data) // 2], offset)
            raise _error(apsw.FullError if self.disk.fault.full else apsw.IOError, "SQLITE_IOERR_WRITE")
        self._write(data, offset)

    def _write(self, data, offset):
        if data:
            super().xWrite(data, offset)
            self.disk.trace.append(Op("write", self.name, self.inode, offset, data))

    def xTruncate(self, newsize):  # noqa: N802 - SQLite's name
        if self.disk.fails(f"truncate {self.name}", longer=False):
            raise _error(apsw.IOError, "SQLITE_IOERR_TRUNCATE")
        super().xTruncate(newsize)
        self.disk.trace.append(Op("truncate", self.name, self.inode, newsize))

    def xSync(self, flags):  # noqa: N802 - SQLite's name
        if self.disk.fails(f"sync {self.name}", longer=False):
            self.disk.trace.append(Op("failed sync", self.name, self.inode))
            raise _error(apsw.IOError, "SQLITE_IOERR_FSYNC")
        self.disk.trace.append(Op("sync", self.name, self.inode, int(self.syncs_folder)))
        self.syncs_folder = False


def _error(kind, code):
    error = kind("planted")
    error.result = apsw.SQLITE_FULL if kind is apsw.FullError else apsw.SQLITE_IOERR
    error.extendedresult = apsw.SQLITE_FULL if kind is apsw.FullError else getattr(apsw, code)
    return error
