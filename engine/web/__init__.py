"""The web entry point: an ASGI application that receives webhooks, and its metrics. Needs `refold[server]`."""

from .app import create_app
from .metrics import Metrics
from .receiving import Limits

__all__ = ["Limits", "Metrics", "create_app"]
