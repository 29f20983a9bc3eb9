"""How fast a message log is imported, and whether memory stays the same when the log grows.

    python benchmarks/ingest.py                    10,000 and 100,000 messages, each in a process of its own
    python benchmarks/ingest.py 5000 50000         other sizes
    python benchmarks/ingest.py --profile 10000    where the time goes (cProfile), in this process

The messages are made up: requests, answers, queries and webhooks of all four gateways, four a refund, written to a
file and imported into a fresh SQLite file with commits that wait for the disk. Memory is the peak resident set of the
importing process, the interpreter and all libraries included.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from refold.engine import RefundEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (10_000, 100_000)
START = datetime(2026, 1, 1, tzinfo=UTC)
GATEWAYS = ("evonet", "evocloud", "easylink", "bbmsl")
CHANNELS = ("request", "api_response", "poll", "webhook")


def messages(count: int) -> Iterator[bytes]:
    """Yield the lines of a log; the four messages of a refund lie 400 lines apart, as many refunds run at once."""
    apart = 100
    for number in range(count):
        block, within = divmod(number, apart * len(CHANNELS))
        step, refund = divmod(within, apart)
        yield _line(block * apart + refund, CHANNELS[step], START + timedelta(seconds=number))


def _line(refund: int, channel: str, at: datetime) -> bytes:
    gateway = GATEWAYS[refund % len(GATEWAYS)]
    build = {"easylink": _easylink, "bbmsl": _bbmsl}.get(gateway, _evo)
    # BBMSL documents no webhook: its fourth message is a report.
    named = "report" if gateway == "bbmsl" and channel == "webhook" else channel
    fields = {
        "gateway": gateway,
        "channel": named,
        "received_at": at.isoformat(),
        "body": build(f"r-{refund}", channel, gateway),
        "payment_id": f"p-{refund}",
        "http_status": 200,
    }
    return json.dumps(fields).encode() + b"\n"


def _evo(refund_id: str, channel: str, gateway: str) -> dict[str, object]:
    names = {"merchantTransID": refund_id, "merchantTransTime": "2026-01-01T00:00:00+08:00"}
    money = {"currency": "HKD", "value": "12.34"}
    if channel == "request":
        return {"merchantTransInfo": names, "transAmount": money, "initiatingReason": "returned goods"}
    pending, done = ("refund_pending", "refunded_full") if gateway == "evonet" else ("Received", "Success")
    status = pending if channel == "api_response" else done
    refund = {"merchantTransInfo": names, "status": status, "transAmount": money}
    refund["evoTransInfo"] = {"evoTransID": f"pay_{refund_id}", "evoTransTime": "2026-01-01T00:00:00Z"}
    body: dict[str, object] = {"result": {"code": "S0000", "message": "Success"}, "refund": refund}
    return body | {"cancelOrRefund": "Refund", "eventCode": "Refund"}


def _easylink(refund_id: str, channel: str, _: str) -> dict[str, object]:
    data = {"mchRefundNo": refund_id, "refundAmount": 1234, "currency": "HKD", "mchNo": "M1"}
    if channel == "request":
        return data | {"payOrderId": f"p{refund_id[1:]}", "refundReason": "returned goods"}
    data |= {"refundOrderId": f"R{refund_id}", "state": 1 if channel == "api_response" else 2}
    return data if channel == "webhook" else {"code": 0, "msg": "SUCCESS", "data": data}


def _bbmsl(refund_id: str, channel: str, _: str) -> dict[str, object]:
    if channel == "request":
        text = f'{{"merchantId":"1","merchantReference":"p{refund_id[1:]}","amount":12.34}}'
        return {"request": text, "signature": ""}
    status = "PROCESSING" if channel == "api_response" else "REFUNDED"
    order = {"id": 1, "merchantReference": f"p{refund_id[1:]}", "currency": "HKD", "status": status}
    return {"responseCode": "0000", "message": "SUCCESS", "order": order}


# ---- measuring


def write_log(path: Path, count: int) -> None:
    """Write a log of so many messages."""
    with path.open("wb") as file:
        file.writelines(messages(count))


def ingest(log: Path, store: Path) -> tuple[float, str]:
    """Import a log; return seconds and what became of its lines."""
    structlog.configure(processors=[_drop])
    with RefundEngine.open(f"sqlite:///{store}") as engine, log.open("rb") as file:
        began = time.perf_counter()
        report = engine.ingest(file, on_problem=_stop)
        return time.perf_counter() - began, ", ".join(
            f"{count} {name}" for name, count in report.to_json().items() if count
        )


def _drop(*_: object) -> str:
    raise structlog.DropEvent


def _stop(number: int, reason: str) -> None:
    raise SystemExit(f"line {number}: {reason}")


def measure(count: int) -> None:
    """Import a log of so many messages in a process of its own and print the result."""
    with tempfile.TemporaryDirectory() as folder:
        log, store = Path(folder, "messages.jsonl"), Path(folder, "refunds.db")
        write_log(log, count)
        child = [sys.executable, __file__, "--child", str(log), str(store)]
        done = subprocess.run(child, capture_output=True, text=True, check=False)  # noqa: S603 - this very file
        if done.returncode:
            raise SystemExit(done.stderr or done.stdout)
        seconds, peak_kib, said = done.stdout.strip().split("|")
        rate, size = count / float(seconds), store.stat().st_size
    print(
        f"{count:>9,} messages  {rate:>7,.0f} a second  {int(peak_kib) / 1024:>6.0f} MiB peak memory"
        f"  {size / 2**20:>6.0f} MiB stored  ({said})"
    )


def profile(count: int) -> None:
    """Import a log in this process and print the functions that took most time."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "messages.jsonl")
        write_log(log, count)
        profiler = cProfile.Profile()
        profiler.runcall(ingest, log, Path(folder, "refunds.db"))
    pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of messages")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    parser.add_argument("--child", nargs=2, metavar=("LOG", "STORE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        seconds, said = ingest(*map(Path, given.child))
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, said, sep="|")
        return
    for count in given.sizes:
        (profile if given.profile else measure)(count)


if __name__ == "__main__":
    main()
