"""What the processes of these tests do: `writer`s that are killed, `client`s that record what they do and see."""

import clients
import processes
import writers

import refold.eventstore.postgres  # noqa: F401 - loaded here, before the forks, and not by each of them

if __name__ == "__main__":
    processes.serve({"writer": writers.writer, "client": clients.client})
