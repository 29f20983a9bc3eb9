"""A clock that the tests of engines set."""

from datetime import UTC, datetime, timedelta


class StandingClock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self):
        return self.now

    def tick(self, seconds=0, **passed):
        self.now += timedelta(seconds=seconds, **passed)
