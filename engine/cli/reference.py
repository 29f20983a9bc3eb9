"""`refold diagram`, `refold gateways`: what refold knows, whatever the store holds."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ..audit import diagram as lifecycle
from ..composition import all_gateways
from ..errors import UnknownGateway
from .gateway_tables import capability_rows, code_rows, markdown, to_json
from .session import AsJson, session
from .tables import Column, cell, table

if TYPE_CHECKING:
    from ..ports import Gateway
    from .output import Output


class DiagramFormat(StrEnum):
    """How the lifecycle is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"


class PageFormat(StrEnum):
    """How the gateways' tables are printed."""

    TEXT = "text"
    MARKDOWN = "markdown"


def diagram(
    context: typer.Context,
    form: Annotated[DiagramFormat, typer.Option("--format", help="How to draw it.")] = DiagramFormat.TEXT,
) -> None:
    """Draw the lifecycle of a refund, from the machine itself."""
    drawn = lifecycle.mermaid() if form is DiagramFormat.MERMAID else lifecycle.text()
    session(context).output.verbatim(drawn)


def gateways(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Only this gateway.", show_default=False)] = None,
    form: Annotated[PageFormat, typer.Option("--format", help="How to print them.")] = PageFormat.TEXT,
    as_json: AsJson = False,
) -> None:
    """Show what each gateway can do, and what each of its codes means."""
    known = all_gateways()
    chosen = [gateway for gateway in known if name in {None, gateway.name}]
    if not chosen:
        raise UnknownGateway(name, [gateway.name for gateway in known])
    output = session(context).output
    if as_json:
        output.json_array(map(to_json, chosen))
    elif form is PageFormat.MARKDOWN:
        output.verbatim(markdown(chosen))
    else:
        for gateway in chosen:
            _show(gateway, output)


def _show(gateway: Gateway, output: Output) -> None:
    output.say(gateway.name, "bold")
    output.say()
    capabilities = [(cell(what), cell(answer)) for what, answer in capability_rows(gateway.capabilities)]
    output.show(
        table(
            (Column("what"), Column("as documented, else our choice", wraps=True)),
            capabilities,
            output.out.width,
        )
    )
    output.say()
    heads = ("field", "value", "signal", "channels", "note", "source")
    columns = [
        Column(
            head, wraps=head in {"channels", "note", "source"}, leaves={"source": 1, "note": 2}.get(head, 0)
        )
        for head in heads
    ]
    rows = [[cell(each) for each in row] for row in code_rows(gateway.codes)]
    output.show(table(columns, rows, output.out.width))
    output.say()
