"""What the receiver itself costs for each webhook: verify, parse, decide, append to a store in memory, answer.

    python benchmarks/receiver.py              3,000 webhooks of each gateway
    python benchmarks/receiver.py 500          another number

Each webhook is the first one of a refund that was asked for before. The first figure is the plain function
`engine.receive_webhook`, the second the ASGI application called one request after another in one event loop, without
sockets, with its hand-over to a thread and back. Beside them stands a limit no receiver can beat, measured in the same
run over the same bodies: hashing the bytes once as the gateway does, and parsing them with the standard library. The
figures are the best of three rounds, each on a new engine; nothing waits for a disk.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import structlog

from refold.adapters import Easylink, Evocloud, Evonet, SigningKey
from refold.engine import Money, RefundEngine
from refold.engine.web import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp

    Hook = tuple[Mapping[str, str], bytes]

COUNT = 3_000
ROUNDS = 3
START = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "benchmark-0123456789abcdef"  # noqa: S105 - of this benchmark only
GATEWAYS = {"evocloud": Evocloud, "evonet": Evonet, "easylink": Easylink}
MICROSECONDS = 1_000_000
OK = 200


def evo(refund_id: str, gateway: str) -> Hook:
    """Return a signed webhook of EVO Cloud or Evonet."""
    names = {"merchantTransID": refund_id, "merchantTransTime": "2026-01-01T00:00:00+08:00"}
    status = {"evonet": "refunded_full", "evocloud": "Success"}[gateway]
    refund = {
        "merchantTransInfo": names,
        "status": status,
        "transAmount": {"currency": "HKD", "value": "12.34"},
    }
    refund["evoTransInfo"] = {"evoTransID": f"pay_{refund_id}", "evoTransTime": "2026-01-01T00:00:00Z"}
    body: dict[str, object] = {"result": {"code": "S0000", "message": "Success"}, "refund": refund}
    raw = json.dumps(body | {"cancelOrRefund": "Refund", "eventCode": "Refund"}).encode()
    stamp = START.isoformat()
    signed = b"\n".join([b"POST", stamp.encode(), SECRET.encode(), b"m-1", raw])
    headers = {"content-type": "application/json", "datetime": stamp, "msgid": "m-1", "signtype": "SHA256"}
    return headers | {"authorization": hashlib.sha256(signed).hexdigest()}, raw


def easylink(refund_id: str, _: str) -> Hook:
    """Return a signed webhook of Easylink."""
    fields = {
        "mchRefundNo": refund_id,
        "payOrderId": f"p-{refund_id}",
        "refundAmount": "1234",
        "currency": "HKD",
    }
    fields |= {"state": "2", "mchNo": "M1", "reqTime": str(int(START.timestamp() * 1000))}
    text = "".join(sorted((f"{name}={value}&" for name, value in fields.items()), key=str.lower))
    sign = hashlib.md5(f"{text}key={SECRET}".encode(), usedforsecurity=False).hexdigest().upper()
    return {"content-type": "application/x-www-form-urlencoded"}, urlencode(fields | {"sign": sign}).encode()


def engine_for(gateway: str, count: int) -> RefundEngine:
    """Return an engine in which so many refunds were asked for."""
    adapter = GATEWAYS[gateway](keys=[SigningKey("k-1", SECRET)])
    engine = RefundEngine.open("memory:", gateways=[adapter], clock=lambda: START)
    for number in range(count):
        engine.request(
            gateway=gateway,
            payment_id=f"p-r-{number}",
            refund_id=f"r-{number}",
            amount=Money(1234, "HKD"),
        )
    return engine


# ---- measuring


def floor(gateway: str, hooks: Sequence[Hook]) -> float:
    """Return the seconds that hashing and parsing the bodies take and nothing else."""
    began = time.perf_counter()
    for _, body in hooks:
        if gateway == "easylink":
            hashlib.md5(body, usedforsecurity=False).hexdigest()
            dict(parse_qsl(body.decode()))
        else:
            hashlib.sha256(body).hexdigest()
            json.loads(body)
    return time.perf_counter() - began


def function(gateway: str, hooks: Sequence[Hook]) -> float:
    """Return the seconds that `receive_webhook` takes."""
    with engine_for(gateway, len(hooks)) as engine:
        began = time.perf_counter()
        replies = [engine.receive_webhook(gateway, headers, body) for headers, body in hooks]
        taken = time.perf_counter() - began
        check(engine, [reply.status for reply in replies])
    return taken


def application(gateway: str, hooks: Sequence[Hook]) -> float:
    """Return the seconds that the ASGI application takes."""
    with engine_for(gateway, len(hooks)) as engine:
        taken, statuses = asyncio.run(requests(create_app(engine), gateway, hooks))
        check(engine, statuses)
    return taken


async def requests(app: ASGIApp, gateway: str, hooks: Sequence[Hook]) -> tuple[float, list[int]]:
    """Call an application for each webhook; return seconds and statuses."""
    statuses: list[int] = []

    async def send(message: Any) -> None:  # noqa: ANN401 - whatever ASGI sends
        if "status" in message:
            statuses.append(message["status"])

    began = time.perf_counter()
    for headers, body in hooks:

        async def receive(body: bytes = body) -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/webhooks/{gateway}",
            "root_path": "",
            "headers": raw,
        }
        await app(scope, receive, send)
    return time.perf_counter() - began, statuses


def check(engine: RefundEngine, statuses: list[int]) -> None:
    """End the run where a webhook was not recorded: a figure of refusals is none."""
    done = sum(1 for _ in engine.find(state="success"))
    if set(statuses) != {OK} or done != len(statuses):
        raise SystemExit(f"{done} of {len(statuses)} recorded; statuses {sorted(set(statuses))}")


def best(measure: Callable[[str, Sequence[Hook]], float], gateway: str, hooks: Sequence[Hook]) -> float:
    """Return the least microseconds a webhook over all rounds."""
    return min(measure(gateway, hooks) for _ in range(ROUNDS)) / len(hooks) * MICROSECONDS


def _drop(*_: object) -> str:
    raise structlog.DropEvent


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", nargs="?", type=int, default=COUNT, help="number of webhooks")
    count = parser.parse_args().count
    structlog.configure(processors=[_drop])
    print(f"{count:,} webhooks, store in memory, one core; x: times the raw limit")
    print("gateway    bytes   raw limit              function                    ASGI")
    for gateway in GATEWAYS:
        build = easylink if gateway == "easylink" else evo
        hooks = [build(f"r-{number}", gateway) for number in range(count)]
        raw, plain, asgi = (best(measure, gateway, hooks) for measure in (floor, function, application))
        size = sum(len(body) for _, body in hooks) // count
        figures = "".join(
            f"  {us:>6.0f} µs {MICROSECONDS / us:>6,.0f}/s {us / raw:>4.0f}x" for us in (plain, asgi)
        )
        print(f"{gateway:<10}{size:>6}  {raw:>7.1f} µs{figures}")


if __name__ == "__main__":
    main()
