"""Threads and processes append to PostgreSQL and read at once, and see one log, whatever happens to them."""

EVENTS = 100_000
MISHAPS = ("stall", "kill", "crash", "stall", "cut", "kill", "quit", "kill", "stall")
MOST = 120
"""Events a write at most: a commit takes the server so long that with fewer a run of as many events takes twice as long."""


def test_clients_of_a_server_that_crashes_see_one_log_that_only_grows(see_one_log, postgres_place):
    see_one_log(postgres_place(), EVENTS, *MISHAPS, most=MOST)
