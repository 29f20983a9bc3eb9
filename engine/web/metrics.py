"""Metrics: counters and gauges in a registry of their own, so that two applications in one process do not mix."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..domain.attention import Attention
from ..domain.wire import BY_WIRE
from ..errors import InvalidSetting
from ..service.views import ATTENTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from ..ports import EventStore
    from ..service.contacted import Contacted
    from ..service.observing import Append
    from ..service.working import WorkReport
    from .flight import InFlight

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MOST_COUNTED: Final = 10_000
"""Refunds counted for one kind of attention; the gauge says so many where there are more."""
_PHASES: Final = frozenset({"submit", "poll"})
_OUTCOME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_MOST_OUTCOMES: Final = 50
_OTHER: Final = "other"
_LATENCIES_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REFUND_REASONS: Final = [kind for kind in Attention if kind is not Attention.OVER_REFUNDED]
"""What the view has rows of; over-refunding is a payment's."""


class Metrics:
    """Counts what a process does. Every label takes few values, whatever strangers send: the rest is `other`.

    Attributes:
        registry: the prometheus-client registry, for metrics of the caller's own beside these.
    """

    def __init__(self, gateways: Iterable[str] = ()) -> None:
        """Know these gateways by name; `create_app` adds those of its engine."""
        self.registry = CollectorRegistry(auto_describe=False)
        self._gateways = set(gateways)
        self._outcomes: set[str] = set()
        self._lock = threading.Lock()
        self._watched = False
        self._last: int | None = None
        self._events = Counter(
            "refold_events", "Events this process appended.", ["type"], registry=self.registry
        )
        self._webhooks = Counter(
            "refold_webhooks",
            "Webhooks answered, by result.",
            ["gateway", "result"],
            registry=self.registry,
        )
        self._contacts = Counter(
            "refold_contacts",
            "Requests to gateways, by outcome.",
            ["phase", "gateway", "outcome"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "refold_append_seconds",
            "Time from an append's begin until it is durable.",
            buckets=_LATENCIES_S,
            registry=self.registry,
        )

        self._waiting = Gauge(
            "refold_work_waiting",
            "Refunds that this process's worker still has to do something about.",
            registry=self.registry,
        )
        self._late = Gauge(
            "refold_work_late_seconds", "How late the most overdue of them is.", registry=self.registry
        )

    # ---- what is counted

    def appended(self, append: Append) -> None:
        """Count an append: pass this as `RefundEngine.open(..., on_append=metrics.appended)`."""
        for name in append.types:
            self._events.labels(name if name in BY_WIRE else _OTHER).inc()
        if append.seconds is not None:
            self._latency.observe(append.seconds)
        with self._lock:
            self._last = max(append.last, self._last or 0)

    def contact(self, phase: str, gateway: str, outcome: str) -> None:
        """Count a request to a gateway.

        Args:
            phase: `submit` or `poll`.
            gateway: the adapter's name.
            outcome: lower-case words joined by `_`; at most 50 different ones are told apart.
        """
        named = phase if phase in _PHASES else _OTHER
        self._contacts.labels(named, self._gateway(gateway), self._outcome(outcome)).inc()

    def contacted(self, told: Contacted) -> None:
        """Count a contact: pass this as `RefundEngine.open(..., on_contact=metrics.contacted)`."""
        self.contact(told.phase, told.gateway, told.outcome)

    def worked(self, report: WorkReport) -> None:
        """Show a worker's progress: pass this as `engine.work(on_progress=metrics.worked)`."""
        self._waiting.set(report.waiting)
        self._late.set(report.late_s)

    def webhook(self, gateway: str, result: str) -> None:
        """Count an answered webhook; `result` is one of refold's own words."""
        self._webhooks.labels(self._gateway(gateway), result).inc()

    def _gateway(self, name: str) -> str:
        return name if name in self._gateways else _OTHER

    def _outcome(self, name: str) -> str:
        with self._lock:
            if name not in self._outcomes:
                if len(self._outcomes) >= _MOST_OUTCOMES or not _OUTCOME.fullmatch(name):
                    return _OTHER
                self._outcomes.add(name)
        return name

    # ---- what is asked for when somebody looks

    def watch(self, store: EventStore, in_flight: InFlight, gateways: Iterable[str]) -> None:
        """Show the state of a store and of the webhooks under way too; `create_app` calls this.

        Raises:
            InvalidSetting: these metrics are those of another application.
        """
        if self._watched:
            raise InvalidSetting("metrics", "they belong to another application; make one Metrics for each")
        self._watched = True
        self._gateways |= set(gateways)
        self.registry.register(_Watch(store, in_flight, lambda: self._last))

    def page(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)


class _Watch(Collector):
    """Asks the store when it is looked at; a store that fails is `refold_store_up 0` and no error."""

    def __init__(self, store: EventStore, in_flight: InFlight, last: Callable[[], int | None]) -> None:
        self._store = store
        self._in_flight = in_flight
        self._last = last
        self._attention: tuple[int, dict[str, int]] = (-1, {})

    def describe(self) -> Iterator[Metric]:
        """Describe nothing beforehand: registering asks the store nothing."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield what is true now."""
        yield _gauge("refold_webhooks_in_flight", "Webhooks being read or recorded.", len(self._in_flight))
        yield _gauge(
            "refold_webhook_oldest_in_flight_seconds",
            "Age of the oldest of them; 0 where there is none.",
            self._in_flight.oldest_s(),
        )
        last = self._last()
        try:
            head = self._store.head()
            attention = self._counted(head)
            followed = self._store.subscriptions()
        except Exception:  # noqa: BLE001 - whatever it raises, the store does not answer
            yield _gauge("refold_store_up", "Whether the store answers.", 0)
            return
        yield _gauge("refold_store_up", "Whether the store answers.", 1)
        yield _gauge("refold_log_position", "Position of the log's last event.", head)
        if last is not None:
            yield _gauge(
                "refold_log_lag_events",
                "Events that other processes appended after this one's last.",
                max(head - last, 0),
            )
        text = f"Refunds a person should look at, at most {MOST_COUNTED}."
        yield _gauges("refold_attention", text, "kind", attention)
        for field, name, text in _OF_SUBSCRIPTIONS:
            yield _gauges(name, text, "subscription", {each.name: getattr(each, field) for each in followed})

    def _counted(self, head: int) -> dict[str, int]:
        """Count the rows of each kind, once for every position of the log: only an append changes them."""
        known, counts = self._attention
        if known != head:
            counts = {
                str(kind): sum(
                    1 for _ in self._store.rows(ATTENTION, where={"kind": str(kind)}, limit=MOST_COUNTED)
                )
                for kind in _REFUND_REASONS
            }
            self._attention = (head, counts)
        return counts


_OF_SUBSCRIPTIONS: Final = (
    ("checkpoint", "refold_subscription_checkpoint", "Position up to which a subscription is done."),
    ("lag", "refold_subscription_lag_events", "Events of the log that a subscription has before it."),
    ("dead_letters", "refold_subscription_dead_letters", "Events that a subscription has set aside."),
)
"""What `Progress` tells of a subscription, and its gauge."""


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for labelled, value in values.items():
        family.add_metric([labelled], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
