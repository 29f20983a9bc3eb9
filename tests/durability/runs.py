"""Processes of clients at work on one store, what happens to them, and what they recorded."""

import signal
from contextlib import closing
from pathlib import Path

import clients
import history_checker
import processes

from refold.engine.composition import open_store


class Run:
    """Clients at work on one store, and what they recorded."""

    def __init__(self, place, folder, **options):
        """Make the store; the options are those of each client."""
        self.place, self.folder, self.options = place, folder, options
        open_store(place.url).close()
        self.crew = processes.Crew(Path(__file__).with_name("workload.py"))
        self.names, self.living, self.head, self.ended = [], {}, 0, 0

    def start(self, target, **options):
        """Start a process of clients that end when the log has `target` events."""
        name = f"p{len(self.names)}"
        self.names.append(name)
        (self.folder / name).touch()  # it may be killed before it records anything
        self.living[name] = self.crew.start(
            "client",
            url=self.place.url,
            path=str(self.folder / name),
            name=name,
            target=target,
            **self.options,
            **options,
        )

    def listen(self, wait_s):
        """Take in what the clients tell; tell whether they told anything."""
        lines = self.crew.told(wait_s)
        for line in lines:
            word, _, rest = line.partition(" ")
            assert word != "error", rest
            if word == "end":
                self.ended += 1
            else:
                self.head = max(self.head, int(word))
        return bool(lines)

    def until(self, holds):
        """Listen until something holds."""
        silent = 0
        while not holds():
            silent = 0 if self.listen(1) else silent + 1
            assert silent < processes.LONGEST_WAIT_S, f"nobody tells anything at position {self.head}"

    def kill(self, name, target):
        """Kill a process in the middle of what it does, and start one that finishes it."""
        assert self.crew.kill(self.living.pop(name)) == -signal.SIGKILL
        self.start(target, heir_of=str(self.folder / name))

    def stall(self, name):
        """Stop a process until the others have gone on, or wait for it."""
        with self.crew.stalled(self.living[name]):
            before = self.head
            while self.head < before + 2_000 and self.listen(0.3):
                pass

    def end(self):
        """Wait for all clients, and return what they recorded and the log."""
        self.until(lambda: self.ended == len(self.living))
        self.place.forget_clients()
        assert [self.crew.reap(pid) for pid in self.living.values()] == [0] * len(self.living)
        records = [line for name in self.names for line in clients.recorded(self.folder / name)]
        with closing(open_store(self.place.url)) as store:
            return history_checker.history_of(records, store.read_all())

    def suffer(self, mishap, name, target):
        """Let something happen: to a process, or to the server."""
        if mishap == "stall":
            self.stall(name)
        elif mishap == "kill":
            self.kill(name, target)
        else:
            getattr(self.place, mishap)()
