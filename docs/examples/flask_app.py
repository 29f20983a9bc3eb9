# ruff: noqa: INP001 - an example is a file, not a package
"""Flask, or any WSGI service: a view that calls the engine. No extra is needed.

pip install refold flask
REFUNDS_DB=sqlite:///refunds.db EVONET_KEY=... flask --app flask_app run
"""

import os

from flask import Flask, Response, jsonify, request

from refold.adapters import Evonet, SigningKey
from refold.engine import Money, RefundEngine

engine = RefundEngine.open(
    os.environ["REFUNDS_DB"],
    gateways=[Evonet(keys=[SigningKey("evonet-1", os.environ["EVONET_KEY"])])],
)
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 256 * 1024  # a larger body is 413 before it is read


@app.post("/refunds/webhooks/<gateway>")
def webhook(gateway: str) -> Response:
    """Give refold the exact bytes, and the gateway the exact answer."""
    reply = engine.receive_webhook(gateway, dict(request.headers), request.get_data())
    return Response(reply.body, reply.status, dict(reply.headers))


@app.post("/payments/<payment_id>/refunds/<refund_id>")
def ask(payment_id: str, refund_id: str) -> Response:
    """Ask for a refund."""
    amount = Money(int(request.args["minor"]), request.args["currency"])
    asked = engine.request(gateway="evonet", payment_id=payment_id, refund_id=refund_id, amount=amount)
    return jsonify(asked.to_json())


@app.get("/state/<refund_id>")
def state(refund_id: str) -> Response:
    """Tell how a refund stands."""
    return jsonify(engine.refund(refund_id).to_json())
