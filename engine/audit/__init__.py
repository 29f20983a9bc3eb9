"""Audit: the timeline of a refund, its state at an earlier moment, and replay. Knows the store and no gateway."""
