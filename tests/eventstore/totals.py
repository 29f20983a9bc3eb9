"""A view that adds up."""

from refold.engine.ports import Column, View

TOTALS = View("totals", (Column("id", str), Column("total", int, sums=True)), ("id",))
