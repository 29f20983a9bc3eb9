"""The domain, pure: money, signals, the lifecycle, events, refund and payment. No I/O, clock, ids or logs."""
