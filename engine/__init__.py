"""refold's engine: `RefundEngine` and the words it speaks."""

from .audit.history import HistoryEntry
from .audit.replay import ReplayReport
from .domain.attention import Attention
from .domain.message import Channel, Message
from .domain.money import Money
from .domain.signals import Signal, State
from .errors import RefoldError
from .opening import open_configured
from .service.contacted import Contacted
from .service.delivering import Delivered
from .service.effects import Effect, EffectKind
from .service.facade import RefundEngine
from .service.importing import IngestReport
from .service.recording import Outcome, Receipt
from .service.views import PaymentView, RefundView
from .service.webhooks import WebhookReply
from .service.working import WorkReport
from .transport.endpoint import Endpoint

__all__ = [
    "Attention",
    "Channel",
    "Contacted",
    "Delivered",
    "Effect",
    "EffectKind",
    "Endpoint",
    "HistoryEntry",
    "IngestReport",
    "Message",
    "Money",
    "Outcome",
    "PaymentView",
    "Receipt",
    "RefoldError",
    "RefundEngine",
    "RefundView",
    "ReplayReport",
    "Signal",
    "State",
    "WebhookReply",
    "WorkReport",
    "open_configured",
]
