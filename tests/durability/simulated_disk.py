"""A disk whose power can be cut and whose writes can fail, under the store's real code and SQL.

Three parts. `Disk` is a file system of SQLite (a VFS of apsw): it hands everything on to real files, keeps a trace of
what was asked of it, and fails where it is told to. `Connection` is an apsw connection that looks like one of Python's
sqlite3, so that the store can use it unchanged. `Platter` replays a trace and tells what may be left after a power cut.

What is assumed of a disk and its file system:

- What was written to a file is safe once an xSync of that file returned. Until then any part of it may be on the disk,
  in any order: each write is cut at its 512-byte sectors, or at any byte, and each piece is there or not. Bytes beside
  those written do not change (the "powersafe overwrite" that SQLite assumes of a real file system as well).
- A truncation is a write like the others.
- A file that was created or deleted is so for good once its folder was synced: by the first xSync through a newly
  opened journal or write-ahead log, as SQLite's own VFS for Unix does it, or by an xDelete that asks for it. Syncing the
  database file itself does not keep its name. Until then each name may be as it was after any of its changes.
- After an xSync that failed, what it should have made safe may be there or not for ever: a later xSync returns without
  writing it again, as Linux does it. Only writing the same bytes again makes them safe.
- The shared memory beside a write-ahead log is not part of the disk: SQLite makes it anew when the first one opens.
"""

import itertools
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import apsw

SECTOR = 512
_SYNCS_FOLDER = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_OPEN = {
    "ro": apsw.SQLITE_OPEN_READONLY,
    "rw": apsw.SQLITE_OPEN_READWRITE,
    "rwc": apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
}
_numbers = itertools.count()


# ---- what is asked of the disk


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
        self.label = f"disk-{next(_numbers)}"
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
            self.inodes[path.name] = next(_numbers)
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


# ---- sqlite3's interface


class Cursor:
    """The rows of one statement, all taken at once: no statement stays open behind the store's back."""

    def __init__(self, rows, rowcount, lastrowid, description=None):
        self._rows = iter(rows)
        self.description = description
        self.rowcount = rowcount
        self.lastrowid = lastrowid

    def __iter__(self):
        return self._rows

    def fetchone(self):
        return next(self._rows, None)

    def fetchall(self):
        return list(self._rows)

    def close(self):
        self._rows = iter(())


class Connection:
    """An apsw connection as one of sqlite3 with `isolation_level=None`; its errors are those of sqlite3."""

    text_factory = str
    isolation_level = None

    def __init__(self, disk, path, mode, timeout_s):
        self._connection = None
        with _as_sqlite3():
            self._connection = apsw.Connection(os.fspath(path), _OPEN[mode], disk.label)
            self._connection.set_busy_timeout(round(1000 * timeout_s))
            self._connection.exec_trace = self._described
        self._description = None

    def execute(self, sql, arguments=()):
        connection = self._open()
        with _as_sqlite3():
            before = connection.total_changes()
            rows = connection.execute(sql, arguments).fetchall()
            changed, row = connection.total_changes() - before, connection.last_insert_rowid()
            return Cursor(rows, changed, row, self._description)

    def _described(self, cursor, _sql, _arguments):
        # Once a statement is over, apsw does not tell its columns any more.
        self._description = [(name, *[None] * 6) for name, _ in cursor.get_description()]
        return True

    def executemany(self, sql, rows):
        connection = self._open()
        with _as_sqlite3():
            before = connection.total_changes()
            connection.executemany(sql, rows).fetchall()
            return Cursor((), connection.total_changes() - before, connection.last_insert_rowid())

    @property
    def in_transaction(self):
        return self._open().in_transaction

    @property
    def total_changes(self):
        return self._open().total_changes()

    def close(self):
        connection, self._connection = self._connection, None
        if connection is not None:
            # sqlite3 does not tell either whether the last fold of the write-ahead log worked.
            with suppress(apsw.Error):
                connection.close()

    def _open(self):
        if self._connection is None:
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
        return self._connection


_CLASSES = {
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_MISMATCH: sqlite3.IntegrityError,
    apsw.SQLITE_TOOBIG: sqlite3.DataError,
    apsw.SQLITE_MISUSE: sqlite3.InterfaceError,
}


class _as_sqlite3:  # noqa: N801 - reads as a word of the `with` statement
    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _where):
        if isinstance(error, apsw.Error):
            code = error.extendedresult
            translated = _CLASSES.get(code & 0xFF, sqlite3.OperationalError)(str(error))
            translated.sqlite_errorcode = code
            translated.sqlite_errorname = apsw.mapping_extended_result_codes.get(
                code, apsw.mapping_result_codes.get(code)
            )
            raise translated from error


# ---- what is left after a power cut


class _Write:
    """A write or truncation that the disk may not have yet."""

    __slots__ = ("certain", "data", "doomed", "offset")

    def __init__(self, offset, data):
        self.offset, self.data = offset, data
        self.certain = self.doomed = False

    def apply(self, content):
        put(content, self.offset, self.data)


def put(content, offset, data):
    """Write into a file; `data` None cuts it at the offset, or makes it that long."""
    if data is None:
        del content[offset:]
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is not None:
        content[offset : offset + len(data)] = data


class Platter:
    """What is on the disk for certain, and what may be, after each operation of a trace.

    `lies`: the disk reports each sync as done and does nothing.
    """

    def __init__(self, *, lies=False):
        self._lies = lies
        self._safe = {}
        self._unsafe = {}
        self._names = {}
        self._changes = {}

    def load(self, files):
        """Begin with these files, all of them safe."""
        for name, content in files.items():
            inode = next(_numbers)
            self._safe[inode], self._unsafe[inode], self._names[name] = bytearray(content), [], inode
        return dict(self._names)

    def running(self):
        """Return the files, as every process sees them, and their inodes: a new one may go on with them."""
        inodes = {name: changes[-1] for name, changes in self._changes.items()}
        now = {name: inode for name, inode in {**self._names, **inodes}.items() if inode is not None}
        return self.survivors(EVERYTHING)[0], now

    def feed(self, op):
        match op.kind:
            case "create":
                self._safe[op.inode], self._unsafe[op.inode] = bytearray(), []
                self._changes.setdefault(op.name, []).append(op.inode)
            case "delete":
                self._changes.setdefault(op.name, []).append(None)
                if op.number:
                    self._sync_folder()
            case "write":
                self._unsafe[op.inode].append(_Write(op.number, op.data))
            case "truncate":
                self._unsafe[op.inode].append(_Write(op.number, None))
            case "failed sync":
                for write in self._unsafe[op.inode]:
                    write.doomed = not write.certain
            case "sync" if not self._lies:
                self._sync(op.inode)
                if op.number:
                    self._sync_folder()

    def _sync(self, inode):
        unsafe = self._unsafe[inode]
        for write in unsafe:
            write.certain = not write.doomed
        while unsafe and unsafe[0].certain:
            unsafe.pop(0).apply(self._safe[inode])

    def _sync_folder(self):
        if not self._lies:
            for name, inodes in self._changes.items():
                self._names[name] = inodes[-1]
            self._changes.clear()

    def survivors(self, choose):
        """Return the files that are left, and what was chosen to be."""
        chosen = []
        files = {}
        for name in sorted({*self._names, *self._changes}):
            changes = self._changes.get(name, ())
            kept = choose.names(len(changes))
            chosen.append((name, kept))
            inode = changes[kept - 1] if kept else self._names.get(name)
            if inode is None:
                continue
            content = bytearray(self._safe[inode])
            for number, write in enumerate(self._unsafe[inode]):
                if write.certain:
                    write.apply(content)
                    continue
                for start, end in choose.parts(number, write):
                    chosen.append((number, start, end))
                    put(content, write.offset + start, write.data and write.data[start:end])
            files[name] = content
        return files, tuple(chosen)


class Choice:
    """What survives of the unsynced writes, drawn anew each time in one of several manners."""

    def __init__(self, random):
        self._random = random
        self._manner = random.choice(
            (self._nothing, self._all, *[self._some, self._sectors] * 3, self._until)
        )
        self._odds = random.random()
        self._torn_anywhere = random.random() < 0.2
        self._end = random.randrange(24)

    def names(self, changes):
        """Return how many changes of a name happened."""
        return self._random.randint(0, changes)

    def parts(self, number, write):
        """Return which parts of a write are there."""
        size = 1 if write.data is None else len(write.data)
        return self._manner(number, write.offset, size, write.data is not None)

    def _nothing(self, *_):
        return ()

    def _all(self, _number, _offset, size, _torn):
        return ((0, size),)

    def _some(self, _number, _offset, size, _torn):
        return ((0, size),) if self._random.random() < self._odds else ()

    def _until(self, number, offset, size, torn):
        """Everything up to one write, which is torn."""
        if number < self._end:
            return ((0, size),)
        if number > self._end or not torn:
            return ()
        edge = self._random.randrange(size)
        return ((0, edge if self._torn_anywhere else max(0, edge - (offset + edge) % SECTOR)),)

    def _sectors(self, _number, offset, size, torn):
        if not torn:
            return self._some(0, offset, size, torn)
        first = SECTOR - offset % SECTOR
        edges = [0, *range(first, size, SECTOR), size]
        if self._torn_anywhere:
            edges = sorted({0, size, *(self._random.randrange(size) for _ in range(4))})
        pairs = itertools.pairwise(edges)
        return [(start, end) for start, end in pairs if self._random.random() < self._odds]


NOTHING = type("Nothing", (), {"names": lambda _self, _count: 0, "parts": lambda *_: ()})()
"""Only what is safe."""
EVERYTHING = type(
    "Everything",
    (),
    {
        "names": lambda _self, count: count,
        "parts": lambda _self, _number, write: ((0, 1 if write.data is None else len(write.data)),),
    },
)()
"""What a process finds that starts after another one was killed."""
