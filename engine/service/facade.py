"""The facade: everything a payment service calls."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Event
from typing import TYPE_CHECKING, Literal, Self

from ..audit.projecting import refresh
from ..domain.events import RefundRequested
from ..domain.identifiers import identifier
from ..domain.message import Channel
from ..domain.signals import State
from ..errors import InvalidInput, InvalidSetting, UnknownGateway
from ..ports.transport import NoWay
from . import arguments
from .awaiting import Awaiting, Threads
from .building import Builder
from .contacting import Contactor
from .deciding import Decider
from .delivering import Delivering
from .durability import note_durability
from .importing import Importer
from .keeping import Keeper
from .noticing import Moves
from .queries import Queries
from .recording import Recorder
from .requesting import Requester
from .webhooks import WebhookReceiver
from .working import CONCURRENCY, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from ..domain.message import Message
    from ..domain.money import Money
    from ..ports import Clock, Entropy, EventStore, Gateway, Transport
    from ..transport.endpoint import Endpoint
    from .contacted import Contacted
    from .importing import IngestReport, LogLine
    from .noticing import MoveHook
    from .observing import AppendHook
    from .recording import Receipt
    from .views import PaymentView, RefundView
    from .webhooks import WebhookReply
    from .working import WorkReport


class RefundEngine(Queries, Delivering, Awaiting, AbstractContextManager["RefundEngine"]):
    """A refund engine on one store; shared by threads and tasks. Use it as a context manager, or close it."""

    def __init__(
        self,
        store: EventStore,
        gateways: Sequence[Gateway],
        *,
        clock: Clock,
        entropy: Entropy,
        transport: Transport | None = None,
        on_move: MoveHook | None = None,
        on_contact: Callable[[Contacted], None] | None = None,
        renew_views: bool = True,
    ) -> None:
        """Join a store and gateways; most callers use `open`.

        Args:
            store: where everything is kept.
            gateways: the adapters, each with its keys.
            clock: the only source of the time.
            entropy: the only source of random bytes.
            transport: the way to the gateways; without it nothing is sent.
            on_move: called with refund id, state before and state after, once a change of state is durable; what
                it raises is logged and undoes nothing.
            on_contact: called with what came of each contact with a gateway, once it is durable; likewise.
            renew_views: whether views of another version, or lost ones, are made anew now.
        """
        self.store = store
        self._threads = Threads()
        self.gateways: Mapping[str, Gateway] = arguments.adapters(gateways)
        secrets = [secret for gateway in self.gateways.values() for secret in gateway.secrets]
        keeper = self._keeper = Keeper(secrets, entropy)
        moves = Moves(on_move)
        self._recorder = Recorder(store, keeper, clock, moves)
        self._requester = Requester(store, keeper, clock, self._recorder)
        self._decider = Decider(store, keeper, clock, self._recorder)
        self._webhooks = WebhookReceiver(self._recorder, keeper, clock)
        self._clock = clock
        self._transport = transport or NoWay()
        self._contactor = Contactor(
            store,
            transport=self._transport,
            builder=Builder(store, keeper, entropy, self._transport),
            recorder=self._recorder,
            keeper=keeper,
            clock=clock,
            entropy=entropy,
            on_contact=on_contact,
        )
        self._importer = Importer(store, self._record_line, keeper, moves)
        if renew_views:
            refresh(store)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        gateways: Sequence[Gateway] | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        durability: Literal["full", "relaxed"] = "full",
        timeout_s: float = 5.0,
        create: bool = True,
        read_only: bool = False,
        endpoints: Mapping[str, Endpoint] | None = None,
        on_move: MoveHook | None = None,
        on_contact: Callable[[Contacted], None] | None = None,
        on_append: AppendHook | None = None,
        renew_views: bool | None = None,
    ) -> Self:
        """Open the store at `url` and an engine on it.

        Args:
            url: `memory:`, `sqlite:///PATH` (four slashes for an absolute path), or `postgresql://user@host/database`
                (extra `postgres`).
            gateways: adapters with their keys; by default all of them without keys (reading only, unverified).
            clock: returns the present time with an offset; by default the system's.
            entropy: returns that many random bytes; by default the system's.
            durability: "relaxed" does not wait for the disk at each commit; a power cut then loses events.
            timeout_s: how long to wait for another writer.
            create: whether a missing store is created.
            read_only: refuse every write.
            endpoints: where each gateway is, by the adapter's name; without them nothing is sent.
            on_move: called with refund id, state before and state after, once a change of state is durable.
            on_contact: called with what came of each contact with a gateway, once it is durable.
            on_append: called with each append once it is durable, such as `web.Metrics.appended`.
            renew_views: whether views of another version, or lost ones, are made anew now, after which that version
                cannot use them; by default unless it is read-only. To use one that is not raises `ViewStale`.

        Raises:
            InvalidSetting: the URL is not understood.
            StoreError: the store cannot be opened.
        """
        from .. import composition  # noqa: PLC0415 - the composition root knows this module

        store = composition.open_store(
            url,
            durability=durability,
            timeout_s=arguments.timeout(timeout_s),
            read_only=read_only,
            create=create,
            on_append=on_append,
        )
        try:
            parts = composition.parts(gateways, clock, entropy, endpoints)
            renewed = not read_only if renew_views is None else renew_views
            engine = cls(store, **parts, on_move=on_move, on_contact=on_contact, renew_views=renewed)
            if not read_only:
                note_durability(store, durability, parts["clock"])
            return engine
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Wait for the asynchronous calls that have begun, and close the store."""
        self._threads.close()
        self.store.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()

    # ---- asking for refunds

    def register_payment(self, *, gateway: str, payment_id: str, captured: Money) -> PaymentView:
        """Register what was captured of a payment, which enables the over-refund guard; the same again is fine.

        Raises:
            PaymentConflict: it is registered with another amount or currency.
        """
        self._requester.register_payment(
            self._gateway(gateway), identifier("payment_id", payment_id), arguments.money(captured)
        )
        return self.payment(gateway, payment_id)

    def request(
        self,
        *,
        gateway: str,
        payment_id: str,
        refund_id: str,
        amount: Money,
        reason: str = "",
        requested_by: str | None = None,
    ) -> RefundView:
        """Ask for a refund: it is in the log when this returns, and nothing was sent yet.

        Idempotent by `refund_id`: the same again changes nothing and returns the refund as it is.

        Args:
            gateway: the adapter's name.
            payment_id: the original transaction.
            refund_id: the merchant's own refund number, 1 to 128 printable ASCII characters.
            amount: how much to give back.
            reason: at most 500 characters.
            requested_by: who asked; that person may not decide the refund's outcome later.

        Raises:
            RefundConflict: the refund id exists with other content.
            OverRefund: more than the registered payment has left.
            InvalidInput: an argument is wrong.
        """
        adapter = self._gateway(gateway)
        money = arguments.money(amount)
        asked = RefundRequested(
            gateway=gateway,
            refund_id=identifier("refund_id", refund_id),
            payment_id=identifier("payment_id", payment_id),
            amount_minor=money.minor,
            currency=money.currency,
            requested_by=None if requested_by is None else identifier("requested_by", requested_by),
            reason=self._keeper.note("reason", reason) or None,
        )
        self._requester.request(adapter, asked)
        return self.refund(refund_id)

    # ---- talking to gateways

    def submit(self, refund_id: str) -> RefundView:
        """Send a refund to its gateway, and return it with what the gateway answered.

        The intent is durable before the first byte leaves. A refund that may have been sent already is looked up
        first, and sent again only where that is safe, as the same bytes under the same key; one that the gateway
        holds or has settled is not sent, and returned as it is.

        Raises:
            TooSoon: the gateway, or another worker, must be waited for; it says how long.
            ResendRefused: it may have been sent, and no look-up has said that the gateway does not have it.
            OverRefund: refunds sent by other ways have taken what the payment had left.
            RefundNotFound, InvalidInput: it cannot be built, there is no way to the gateway, or a batch is open.
        """
        refund = self.refund(refund_id)
        self._contactor.submit(self._gateway(refund.gateway), refund_id)
        return self.refund(refund_id)

    def poll(self, refund_id: str) -> RefundView:
        """Ask the gateway about a refund, also about a settled one, and return it with what the gateway said.

        Raises:
            TooSoon: the gateway was asked just now, or another worker is asking; it says how long to wait.
            RefundNotFound, InvalidInput: there is no way to the gateway, it has no look-up, or a batch is open.
        """
        refund = self.refund(refund_id)
        self._contactor.poll(self._gateway(refund.gateway), refund_id)
        return self.refund(refund_id)

    def work(
        self,
        stop: Event | None = None,
        *,
        once: bool = False,
        concurrency: int = CONCURRENCY,
        on_progress: Callable[[WorkReport], None] | None = None,
    ) -> WorkReport:
        """Send and look up what is due, again and again; any number of workers may do so on one store.

        Args:
            stop: set it, from another thread or a signal handler, to let the worker finish what it has begun and
                return; without it only an exception ends the work, or `once`.
            once: return as soon as nothing is due.
            concurrency: how many contacts at once with each gateway, 1 to 256.
            on_progress: called after each round, in the thread that works.

        Raises:
            InvalidSetting: there is a way to none of the gateways.
            StoreError: with `once`, the store failed; without, it is tried again.
            CorruptLog: the log cannot be followed any more.
        """
        reached = {name: gateway for name, gateway in self.gateways.items() if self._transport.reaches(name)}
        if not reached:
            raise InvalidSetting("endpoints", "none of the gateways has one, so there is nothing to work on")
        worker = Worker(
            self.store,
            reached,
            contactor=self._contactor,
            decider=self._decider,
            clock=self._clock,
            watched=self.gateways,
            concurrency=arguments.concurrency(concurrency),
            on_progress=on_progress,
        )
        return worker.run(stop or Event(), once=once)

    # ---- messages

    def record(
        self,
        gateway: str,
        channel: Channel | str,
        message: Message,
        *,
        refund_id: str | None = None,
        payment_id: str | None = None,
    ) -> Receipt:
        """Record a message you already have; recording it again changes nothing.

        Its signature is checked where the gateway's key is configured and a signature is present; otherwise the
        evidence is marked unverified.

        Args:
            gateway: the adapter's name.
            channel: `request`, `api_response`, `poll`, `webhook` or `report`.
            message: its exact bytes, headers and time.
            refund_id: our refund number, where the body does not carry it.
            payment_id: the payment, likewise.

        Raises:
            InvalidSignature: a present signature does not verify; nothing was stored.
            UnreadableMessage: it cannot be read, or names no refund; nothing was stored.
            RefundConflict: a request for a refund id that exists with other content.
        """
        adapter = self._gateway(gateway)
        way = arguments.member(Channel, "channel", channel)
        given = arguments.message(message)
        named = None if refund_id is None else identifier("refund_id", refund_id)
        paid = None if payment_id is None else identifier("payment_id", payment_id)
        verification = self._recorder.verify(adapter, way, given)
        if way is Channel.REQUEST:
            return self._requester.record_request(
                adapter, given, verification, refund_id=named, payment_id=paid
            )
        return self._recorder.record(adapter, way, given, verification, refund_id=named, payment_id=paid)

    def receive_webhook(self, gateway: str, headers: Mapping[str, str], body: bytes) -> WebhookReply:
        """Check, read and record a webhook, and say what to answer the gateway. Never raises.

        The reply is a 2xx only once the message is durable. Anyone can call a webhook's URL: without a configured
        key and a valid signature nothing is stored.
        """
        known = self.gateways.get(gateway) if isinstance(gateway, str) else None
        return self._webhooks.receive(known, headers, body)

    def ingest(
        self,
        lines: Iterable[bytes],
        *,
        on_problem: Callable[[int, str], None],
        on_progress: Callable[[int], None] | None = None,
    ) -> IngestReport:
        """Import a message log (docs/message-log.md); importing it again changes nothing.

        Args:
            lines: the raw lines, as a file opened in binary mode yields them.
            on_problem: called with the number and the reason of each line that cannot be used.
            on_progress: called with the number of bytes that became durable.

        Raises:
            InvalidInput: something that does not yield lines of bytes.
            StoreError: the store failed; the batches before are durable, importing again continues.
        """
        if not callable(on_problem) or not (on_progress is None or callable(on_progress)):
            raise InvalidInput("on_problem and on_progress must be callable")
        return self._importer.ingest(lines, on_problem=on_problem, on_progress=on_progress)

    def _record_line(self, line: LogLine) -> Receipt:
        return self.record(
            line.gateway, line.channel, line.message, refund_id=line.refund_id, payment_id=line.payment_id
        )

    # ---- people

    def resolve(self, refund_id: str, outcome: State | str, *, actor: str, reason: str) -> RefundView:
        """Record a person's decision; it stands above all evidence until a person changes it.

        Args:
            refund_id: which refund.
            outcome: `success`, `failed` or `closed`.
            actor: who decided; not the person who asked for the refund.
            reason: why, at most 500 characters.

        Raises:
            RefundNotFound, InvalidInput, SelfApproval: as they say.
        """
        decided = arguments.member(State, "outcome", outcome)
        self._decider.resolve(identifier("refund_id", refund_id), decided, actor, reason)
        return self.refund(refund_id)

    def mark_overdue(self) -> list[str]:
        """Raise `overdue` for each refund without an outcome within its gateway's window; return their ids."""
        return self._decider.mark_overdue(self.gateways)

    def _gateway(self, name: str) -> Gateway:
        found = self.gateways.get(name) if isinstance(name, str) else None
        if found is None:
            raise UnknownGateway(name, sorted(self.gateways))
        return found
