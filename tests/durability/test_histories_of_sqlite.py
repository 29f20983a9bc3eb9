"""Threads and processes append to SQLite and read at once, and see one log, whatever happens to them."""


def test_clients_that_are_killed_and_stalled_see_one_log_that_only_grows(see_one_log, sqlite_place):
    see_one_log(sqlite_place(), 200_000, "stall", "kill", "stall", "kill", "kill", "stall")
