"""Processes that have awaited calls of an engine end by themselves, and their children are refused."""

import asyncio
import os
import subprocess
import sys

import pytest

from refold.engine.errors import (
    WrongProcess,
)

EXITS = """
import asyncio, sys
from refold.engine import Money, RefundEngine

async def main():
    engine = RefundEngine.open(sys.argv[1])
    await engine.arequest(gateway="evonet", payment_id="p", refund_id="r", amount=Money(1, "HKD"))
    asyncio.create_task(engine.arefund("r"))
    print((await engine.arefund("r")).state)

asyncio.run(main())
"""


def test_a_process_that_awaited_ends_by_itself_though_nobody_closed_the_engine(url):
    done = subprocess.run([sys.executable, "-c", EXITS, url], capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"created\n", b"", 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_is_refused_and_does_not_wait_for_threads_that_are_not_there(engine, ask):
    ask(engine)
    asyncio.run(engine.arefund("r-1"))
    child = os.fork()
    if not child:
        try:
            engine.close()
            asyncio.run(engine.arefund("r-1"))
        except WrongProcess:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(engine.arefund("r-1")).state == "created"
