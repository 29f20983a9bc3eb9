"""The domain, pure: money, signals and evidence, the lifecycle, events, refund and payment. No I/O, clock, ids or logs."""
