"""Delivery of webhooks: signed once, sent again with the same bytes until the receiver acknowledges."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from .faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from .faults import Faults
    from .pace import Pace

TIMEOUT_S: Final = 20
"""How long a receiver may take, in real seconds. Source: GATEWAYS (easylink); ours for the others."""
_DELAYED_S: Final = 120
_OVERTAKEN_S: Final = 90
_DUPLICATES: Final = 2


@dataclass(frozen=True, slots=True)
class Posting:
    """A webhook ready to be sent."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(slots=True, eq=False)
class Notification:
    """A webhook and what became of it.

    Attributes:
        refund_id: the merchant's number.
        url: where it goes.
        attempts: how often it was sent.
        acknowledged: the receiver said the exact word; also where the gateway only believes so (`WEBHOOK_LOST`).
        finished: it will not be sent again.
        refusal: why it is never sent; empty otherwise.
        tried: set once it was sent, or a fault keeps it back: later ones about the same refund wait for that.
    """

    refund_id: str
    url: str
    attempts: int = 0
    acknowledged: bool = False
    finished: bool = False
    refusal: str = ""
    tried: asyncio.Event = field(default_factory=asyncio.Event, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Rules:
    """A gateway's rules.

    Attributes:
        retry_s: simulated seconds before each attempt, counted from the one before.
        acknowledgement: the exact body that ends the attempts, with HTTP 200.
    """

    retry_s: tuple[int, ...]
    acknowledgement: bytes


class Delivery:
    """Delivers the webhooks of one simulator, each in a task of its own."""

    def __init__(self, gateway: str, rules: Rules, pace: Pace, faults: Faults, *, any_host: bool) -> None:
        self._gateway = gateway
        self._rules = rules
        self._pace = pace
        self._faults = faults
        self._any_host = any_host
        self._tasks: set[asyncio.Task[None]] = set()
        self._delivered = 0
        self._about: dict[str, list[Notification]] = {}
        self.notifications: list[Notification] = []

    def schedule(self, refund_id: str, url: str, due: datetime, make: Callable[[], Posting]) -> None:
        """Send what `make` returns when it is due; it is called once."""
        notification = Notification(refund_id, url)
        about = self._about.setdefault(refund_id, [])
        earlier = tuple(about)
        about.append(notification)
        self.notifications.append(notification)
        if not self._any_host and not is_loopback(url):
            notification.refusal = "simulators call this machine only; pass allow_any_webhook_host=True"
            notification.finished = True
            notification.tried.set()
            return
        task = asyncio.get_running_loop().create_task(self._deliver(notification, earlier, due, make))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until nothing is on its way."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def stop(self) -> None:
        """End all deliveries."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(
        self,
        notification: Notification,
        earlier: tuple[Notification, ...],
        due: datetime,
        make: Callable[[], Posting],
    ) -> None:
        def strikes(fault: Fault) -> bool:
            return self._faults.strikes(fault, self._gateway, notification.refund_id, len(earlier))

        await self._pace.until(due)
        for other in earlier:
            await other.tried.wait()
        posting = make()
        if strikes(Fault.WEBHOOK_LOST):
            notification.acknowledged = notification.finished = True
            notification.tried.set()
            return
        if strikes(Fault.WEBHOOK_DELAYED):
            notification.tried.set()
            await self._pace.until(self._pace.after(due, _DELAYED_S))
        if strikes(Fault.WEBHOOK_REORDERED):
            notification.tried.set()
            await self._overtaken(notification)
        for delay_s in self._rules.retry_s:
            await self._pace.until(self._pace.after(self._pace.now(), delay_s))
            first = notification.attempts < 1
            copies = _DUPLICATES if first and strikes(Fault.WEBHOOK_DUPLICATED) else 1
            for _ in range(copies):
                notification.acknowledged |= await self._post(notification, posting)
            notification.tried.set()
            if notification.acknowledged:
                break
        self._delivered += 1
        notification.finished = True

    async def _overtaken(self, notification: Notification) -> None:
        """Wait for the next webhook about the same refund, else for any other one."""
        about = self._about[notification.refund_id]
        for later in about[about.index(notification) + 1 :]:
            await later.tried.wait()
            return
        latest = self._pace.after(self._pace.now(), _OVERTAKEN_S)
        before = self._delivered
        while self._delivered == before and self._pace.now() < latest:
            await self._pace.until(min(latest, self._pace.after(self._pace.now(), 1)))

    async def _post(self, notification: Notification, posting: Posting) -> bool:
        notification.attempts += 1
        try:
            async with httpx.AsyncClient(
                timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=_tls()
            ) as client:
                answer = await client.post(
                    notification.url, content=posting.body, headers=dict(posting.headers)
                )
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        return answer.status_code == httpx.codes.OK and answer.content == self._rules.acknowledgement


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def is_loopback(url: str) -> bool:
    """Tell whether a webhook goes to this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme in {"http", "https"} and (
            host == "localhost" or ipaddress.ip_address(host).is_loopback
        )
    except ValueError:
        return False
