# ruff: noqa: INP001 - an example is a file, not a package
"""Starlette: refold's receiver mounted beside your own routes.

pip install 'refold[server]'
REFUNDS_DB=sqlite:///refunds.db EVONET_KEY=... uvicorn starlette_app:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from refold.adapters import Evonet, SigningKey
from refold.engine import Money, RefundEngine
from refold.engine.web import Metrics, create_app

metrics = Metrics()
engine = RefundEngine.open(
    os.environ["REFUNDS_DB"],
    gateways=[Evonet(keys=[SigningKey("evonet-1", os.environ["EVONET_KEY"])])],
    on_append=metrics.appended,
)


def ask(request: Request) -> JSONResponse:
    """Ask for a refund; a plain function, so Starlette runs it in a thread."""
    path, query = request.path_params, request.query_params
    asked = engine.request(
        gateway="evonet",
        payment_id=path["payment_id"],
        refund_id=path["refund_id"],
        amount=Money(int(query["minor"]), query["currency"]),
    )
    return JSONResponse(asked.to_json())


def state(request: Request) -> JSONResponse:
    """Tell how a refund stands."""
    return JSONResponse(engine.refund(request.path_params["refund_id"]).to_json())


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Close the store when the service stops."""
    yield
    engine.close()


app = Starlette(
    routes=[
        Mount("/refunds", create_app(engine, metrics=metrics)),  # POST /refunds/webhooks/evonet
        Route("/payments/{payment_id}/refunds/{refund_id}", ask, methods=["POST"]),
        Route("/state/{refund_id}", state),
    ],
    lifespan=lifespan,
)
