"""How fast the stores are: ours, the eventsourcing library and the raw driver, each figure from one run on one disk.

    python benchmarks/bench.py                             every row; about eight minutes on two cores
    python benchmarks/bench.py --quick                     small sizes, for trying
    python benchmarks/bench.py --only import_sqlite ...    some rows
    python benchmarks/bench.py --folder /mnt/disk          on another disk than that of the temporary folder

It prints one table and writes benchmarks/latest.json. docs/benchmarks.md says what each row is.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from stores import growing, reading, rebuilding, subscribing, writing
from stores.measuring import FULL, QUICK, Skipped
from stores.place import Place
from stores.postgres import growing as growing_postgres
from stores.postgres import reading as reading_postgres
from stores.postgres import rebuilding as rebuilding_postgres
from stores.postgres import subscribing as subscribing_postgres
from stores.postgres import writing as writing_postgres
from stores.table import print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stores.measuring import Row

    MakeRow = Callable[[Place], Row | list[Row]]

LATEST = Path(__file__).with_name("latest.json")
ROWS: Mapping[str, MakeRow] = {
    "single_append_sqlite": writing.single_append,
    "record_webhook_sqlite": writing.record_webhook,
    "concurrent_8_sqlite": partial(writing.concurrent, callers=8),
    "concurrent_32_sqlite": partial(writing.concurrent, callers=32),
    "concurrent_128_sqlite": partial(writing.concurrent, callers=128),
    "import_sqlite": writing.importing,
    "load_and_fold": reading.load_and_fold,
    "read_stream_sqlite": reading.read_stream,
    "subscription_sqlite": subscribing.subscription,
    "append_at_1e5": growing.appending,
    "append_at_1e6": growing.appending,
    "read_stream_at_1e5": growing.reading_streams,
    "read_stream_at_1e6": growing.reading_streams,
    "read_all_at_1e5": growing.reading_all,
    "read_all_at_1e6": growing.reading_all,
    "rebuild_refunds": rebuilding.rebuilding,
    "single_append_postgres": writing_postgres.single_append,
    "concurrent_8_postgres": partial(writing_postgres.concurrent, callers=8),
    "concurrent_32_postgres": partial(writing_postgres.concurrent, callers=32),
    "concurrent_128_postgres": partial(writing_postgres.concurrent, callers=128),
    "import_postgres": writing_postgres.importing,
    "read_stream_postgres": reading_postgres.read_stream,
    "read_stream_postgres_at_1e6": reading_postgres.read_stream,
    "read_all_postgres": reading_postgres.read_all,
    "read_all_postgres_at_1e6": reading_postgres.read_all,
    "subscription_postgres": subscribing_postgres.subscription,
    "append_postgres_at_1e5": growing_postgres.appending,
    "append_postgres_at_1e6": growing_postgres.appending,
    "rebuild_refunds_postgres": rebuilding_postgres.rebuilding,
    "rebuild_refunds_postgres_at_1e6": rebuilding_postgres.rebuilding,
}


def measured(names: list[str], place: Place) -> list[Row]:
    """Measure rows one after another."""
    rows: list[Row] = []
    for make in dict.fromkeys(ROWS[name] for name in names):
        own = [name for name, its in ROWS.items() if its is make]
        began = time.perf_counter()
        with place:
            try:
                made = make(place)
            except Skipped as reason:
                print(f"{', '.join(own)}: left out, {reason}", file=sys.stderr)
                continue
        rows += made if isinstance(made, list) else [made]
        print(f"{', '.join(own)}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return rows


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: to try it, not to judge by it")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"of {', '.join(ROWS)}")
    parser.add_argument(
        "--json", type=Path, default=LATEST, metavar="PATH", help="where the rows are written"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the stores are made; by default a temporary folder"
    )
    given = parser.parse_args()
    # Rendering log lines that nobody sees is no part of a store; an application sets its own level, as here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(dir=given.folder) as folder,
        closing(Place(Path(folder), QUICK if given.quick else FULL)) as place,
    ):
        rows = measured(given.only or list(ROWS), place)
        print_table(rows, place)
    print(f"{time.perf_counter() - began:.0f} s in all; written to {given.json}")
    given.json.write_text(json.dumps([row.to_json() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
