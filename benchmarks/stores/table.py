"""The table that is printed, with the machine and the durability it was measured at."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .measuring import Row
    from .place import Place

WIDTH = 160
MILLISECONDS = 1_000


def print_table(rows: Sequence[Row], place: Place) -> None:
    """Print the rows, what they mean, and where they were measured."""
    console = Console(width=WIDTH, highlight=False)
    table = Table(title="ours: refold · peer: eventsourcing · limit: the raw driver", title_justify="left")
    for name in ("row", "unit"):
        table.add_column(name, no_wrap=True)
    for name in ("ours", "peer", "limit", "ours/peer", "ours/limit", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    for row in rows:
        for note in row.notes:
            console.print(f"{row.name}: {note}", markup=False)
    for line in _surroundings(place):
        console.print(line, markup=False)


def _cells(row: Row) -> list[str]:
    rates = ["-" if each is None else f"{median(each):,.0f}" for each in (row.ours, row.peer, row.limit)]
    ratios = [_ratio(row.against(each)) for each in (row.peer, row.limit)]
    waits = ["", ""] if row.latency is None else [f"{MILLISECONDS * each:.2f}" for each in row.latency]
    targets = [f"{each.text}: {'met' if each.met else 'NOT MET'} {each.reached:,.2f}" for each in row.targets]
    return [row.name, row.unit, *rates, *ratios, *waits, "\n".join(targets)]


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _surroundings(place: Place) -> list[str]:
    lines = [f"durability, read back: {name}: {found}" for name, found in place.durability.items()]
    system = f"{_filesystem(place.folder)}, {platform.system()} {platform.release()}"
    lines.append(f"machine: {_cpu()}, {os.cpu_count()} cores, {system}")
    lines.append(f"load average at the end, the run's own included: {os.getloadavg()[0]:.1f}")
    versions = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    versions += [f"{name} {version(name)}" for name in ("eventsourcing", "psycopg")]
    lines.append(f"versions: {', '.join(versions)}")
    lines.append(f"command: {' '.join([Path(sys.executable).name, *sys.argv])}")
    return lines


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown CPU"


def _filesystem(folder: Path) -> str:
    mounts = Path("/proc/mounts")
    found = (Path("/"), "unknown file system")
    for line in mounts.read_text().splitlines() if mounts.exists() else []:
        _, place, kind, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) >= len(str(found[0])):
            found = (Path(place), kind)
    return found[1]
