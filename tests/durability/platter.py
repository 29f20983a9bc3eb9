"""What may be left on a simulated disk after a power cut: a platter replays the disk's trace.

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
"""

import itertools

from simulated_disk import numbers

SECTOR = 512


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
            inode = next(numbers)
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
