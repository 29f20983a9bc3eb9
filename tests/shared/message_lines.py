"""Lines of a message log: by default the request of refund r-1."""

import json

LINE = {
    "gateway": "evonet",
    "channel": "request",
    "received_at": "2025-07-09T11:18:00+08:00",
    "payment_id": "p-1",
}
REQUEST = {
    "merchantTransInfo": {"merchantTransID": "r-1"},
    "transAmount": {"currency": "HKD", "value": "60.00"},
}
ANSWER = {
    "result": {"code": "S0000"},
    "refund": {"merchantTransInfo": {"merchantTransID": "r-1"}, "status": "refunded_full"},
}


def line(body=REQUEST, **changes):
    """Return a line; a field that is `...` is left out."""
    fields = LINE | {"body": body} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode() + b"\n"
