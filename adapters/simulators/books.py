"""The ledgers over HTTP, for other processes: `GET /{gateway}/ledger`, `POST /{gateway}/payments`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from ...engine.domain.identifiers import identifier
from ...engine.domain.money import Money
from ...engine.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.requests import Request

    from .assembly import Simulators


def books(sims: Simulators) -> Router:
    """Return the ASGI application that shows the ledgers and takes new payments.

    A payment is a JSON object with `payment_id`, `captured_minor` (an int) and `currency`; the answer is 201, or 400
    with `error`.
    """

    async def ledger(request: Request) -> Response:
        try:
            sim = sims[request.path_params["gateway"]]
        except InvalidInput as error:
            return _wrong(404, error)
        return JSONResponse({"gateway": sim.name, **sim.ledger.as_json()})

    async def payments(request: Request) -> Response:
        try:
            sim = sims[request.path_params["gateway"]]
        except InvalidInput as error:
            return _wrong(404, error)
        try:
            document = json.loads(await request.body())
            payment_id = identifier("payment_id", document["payment_id"])
            sim.capture(payment_id, Money(document["captured_minor"], document["currency"]))
        except InvalidInput as error:
            return _wrong(400, error)
        except (ValueError, KeyError, TypeError):
            return _wrong(400, "a JSON object with payment_id, captured_minor and currency is needed")
        return JSONResponse({"payment_id": payment_id}, 201)

    return Router(
        [
            Route("/{gateway}/ledger", ledger, methods=["GET"]),
            Route("/{gateway}/payments", payments, methods=["POST"]),
        ]
    )


def _wrong(status: int, error: InvalidInput | str) -> Response:
    return JSONResponse({"error": str(error)}, status)
