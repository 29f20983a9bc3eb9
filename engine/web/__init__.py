"""The web entry point: an ASGI application that receives webhooks, and its metrics. Needs `refold[server]`."""

try:
    from .app import create_app
    from .metrics import Metrics
    from .receiving import Limits
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"starlette", "prometheus_client"}:
        raise
    raise ModuleNotFoundError(
        f"refold.engine.web needs `pip install 'refold[server]'`: {error.name} is not installed",
        name=error.name,
    ) from None

__all__ = ["Limits", "Metrics", "create_app"]
