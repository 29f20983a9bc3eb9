"""The web entry point: an ASGI application that receives webhooks, and its metrics."""
