"""Simulators of the four gateways: they speak the documented APIs, keep a ledger of the money, and fail on request."""
