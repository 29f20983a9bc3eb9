"""Processes that a test starts, watches and kills, forked from one that has its imports behind it.

A script of tasks calls `serve`; the test starts that script as a `Crew`. What a process tells while it works goes
through one pipe: what was written there stays, however the writer ends.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

LONGEST_WAIT_S = 120


def serve(tasks):
    """Fork a process for each task asked for on standard input, until its end; then end those still there."""
    living = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "reap" in asked:
            living.discard(asked["reap"])
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["reap"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                _work(tasks[asked["task"]], asked["arguments"])
            living.add(answer)
        print(answer, flush=True)
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _work(task, arguments):
    try:
        task(tell, **arguments)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test is told
        tell(f"error {type(error).__name__}: {error}")
        os._exit(1)
    os._exit(0)


def tell(line):
    """Write a line to the test; it is there even if this process is killed the moment after."""
    os.write(int(sys.argv[1]), f"{line}\n".encode())


class Crew:
    """The processes of a test; all of them end with it."""

    def __init__(self, script):
        """Start the script that forks the others."""
        self._pipe, theirs = os.pipe()
        os.set_blocking(self._pipe, False)
        self._rest = b""
        # Who is killed leaves no record of what it covered, and measuring makes the others much slower.
        environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
        self._server = subprocess.Popen(
            [sys.executable, str(script), str(theirs)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(theirs,),
        )
        os.close(theirs)

    def start(self, task, **arguments):
        """Start a task and return its process id."""
        return self._ask(task=task, arguments=arguments)

    def reap(self, pid):
        """Wait for a process that ends, and return its exit code: negative for a signal."""
        return self._ask(reap=pid)

    def kill(self, pid):
        """Kill a process at once, whatever it does; it may have killed itself."""
        os.kill(pid, signal.SIGKILL)
        return self.reap(pid)

    @contextmanager
    def stalled(self, pid):
        """Stop a process for the block."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _ask(self, **what):
        self._server.stdin.write(json.dumps(what) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def told(self, wait_s=0):
        """Return the lines told since the last call, waiting for the first of them."""
        select.select([self._pipe], [], [], wait_s)
        while True:
            try:
                found = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                break
            if not found:
                break
            self._rest += found
        *lines, self._rest = self._rest.split(b"\n")
        return [line.decode() for line in lines]

    def until(self, enough):
        """Collect what is told until there is enough of it."""
        lines, give_up = [], time.monotonic() + LONGEST_WAIT_S
        while not enough(lines):
            assert time.monotonic() < give_up, f"only {len(lines)} lines: {lines[-3:]}"
            lines += self.told(1)
            assert not [line for line in lines if line.startswith("error ")], lines[-3:]
        return lines

    def close(self):
        """End every process."""
        self._server.stdin.close()
        self._server.wait(LONGEST_WAIT_S)
        self._server.stdout.close()
        os.close(self._pipe)
