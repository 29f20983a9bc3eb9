# ruff: noqa: INP001 - an example is a file, not a package
"""FastAPI: refold's receiver mounted beside your own routes.

pip install 'refold[server]' fastapi uvicorn
REFUNDS_DB=sqlite:///refunds.db EVONET_KEY=... uvicorn fastapi_app:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from refold.adapters import Evonet, SigningKey
from refold.engine import Money, RefundEngine
from refold.engine.errors import InvalidInput, NotFound, RefoldError, Refused
from refold.engine.web import Metrics, create_app

metrics = Metrics()
engine = RefundEngine.open(
    os.environ["REFUNDS_DB"],
    gateways=[Evonet(keys=[SigningKey("evonet-1", os.environ["EVONET_KEY"])])],
    on_append=metrics.appended,
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the store when the service stops."""
    yield
    engine.close()


app = FastAPI(lifespan=lifespan)
app.mount("/refunds", create_app(engine, metrics=metrics))  # POST /refunds/webhooks/evonet


STATUSES = {NotFound: 404, Refused: 409, InvalidInput: 422}


@app.exception_handler(RefoldError)
def told(_: Request, error: RefoldError) -> JSONResponse:
    """Answer what refold refuses with its own words; anything else of its errors is for a later try."""
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 503)
    return JSONResponse({"error": str(error)}, status)


@app.post("/payments/{payment_id}/refunds/{refund_id}")
def ask(payment_id: str, refund_id: str, minor: int, currency: str) -> dict[str, object]:
    """Ask for a refund; a plain function, so FastAPI runs it in a thread."""
    asked = engine.request(
        gateway="evonet", payment_id=payment_id, refund_id=refund_id, amount=Money(minor, currency)
    )
    return asked.to_json()


@app.get("/state/{refund_id}")
def state(refund_id: str) -> dict[str, object]:
    """Tell how a refund stands."""
    return engine.refund(refund_id).to_json()
