"""The web entry point: an ASGI application that receives webhooks, and its metrics. Needs `refold[server]`."""

try:
    from .app import create_app
    from .metrics import Metrics
    from .receiving import Limits
except ModuleNotFoundError as error:
    _missing = (error.name or "").partition(".")[0]
    if _missing not in {"starlette", "prometheus_client"}:
        raise
    raise ModuleNotFoundError(
        f"refold.engine.web needs `pip install 'refold[server]'`: {_missing} is not installed", name=_missing
    ) from None

__all__ = ["Limits", "Metrics", "create_app"]
