"""Messages as the four gateways write them."""

import json
from datetime import timedelta

from keyed_gateways import SECRETS, easylink_form, evo_signature

from refold.engine import Message, Money

WORDS = {
    "evonet": {"pending": "refund_pending", "success": "refunded_full", "failed": "Failed"},
    "evocloud": {"pending": "Received", "success": "Success", "failed": "Failed"},
    "easylink": {"pending": 1, "success": 2, "failed": 3, "closed": 4},
    "bbmsl": {"pending": "PROCESSING", "success": "REFUNDED", "not_found": "OPEN"},
}
"""How each gateway says it."""


class Wire:
    """Builds what gateways send and are sent; signs without the help of the adapters."""

    def __init__(self, clock):
        self.clock = clock
        self.secrets = SECRETS

    # ---- bodies

    def answer(self, gateway, refund_id, says, *, payment="p-1", amount=None, number=None, **changes):
        """Return the body of an answer to a request or a query."""
        build = {"easylink": self._easylink, "bbmsl": self._bbmsl}.get(gateway, self._evo)
        body = build(gateway, refund_id, WORDS[gateway].get(says, says), payment, amount, number)
        return body | changes

    def _evo(self, gateway, refund_id, word, payment, amount, number):
        refund = {"merchantTransInfo": {"merchantTransID": refund_id}, "status": word}
        if amount is not None:
            refund["transAmount"] = {"currency": amount.currency, "value": amount.major}
        if number is not None:
            refund["evoTransInfo"] = {"evoTransID": number}
        body = {"result": {"code": "S0000", "message": "said"}, "refund": refund}
        if gateway == "evocloud":
            body["cancelOrRefund"] = "Refund"
        if payment is not None:
            body["payment"] = {"merchantTransInfo": {"merchantTransID": payment}, "status": "Captured"}
        return body

    def _easylink(self, gateway, refund_id, word, payment, amount, number):
        data = {"mchRefundNo": refund_id, "payOrderId": payment, "refundOrderId": number, "state": word}
        if amount is not None:
            data |= {"refundAmount": amount.minor, "currency": amount.currency}
        return {"code": 0, "msg": "SUCCESS", "data": {k: v for k, v in data.items() if v is not None}}

    def _bbmsl(self, gateway, refund_id, word, payment, amount, number):
        body = {"responseCode": "0000", "message": "SUCCESS", "order": {"status": word}}
        body["order"]["merchantReference"] = payment
        if amount is not None:
            transaction = {"type": "REFUND", "amount": f"{amount.major}", "currency": amount.currency}
            body["transaction"] = transaction
        return body

    # ---- messages

    def message(self, body, *, at_s=0, **fields):
        """Return a message received `at_s` seconds from now; `body` is an object, a text or bytes."""
        raw = body if isinstance(body, bytes | str) else json.dumps(body)
        raw = raw.encode() if isinstance(raw, str) else raw
        return Message(body=raw, received_at=self.clock.now + timedelta(seconds=at_s), **fields)

    def says(self, gateway, refund_id, says, *, at_s=0, http_status=200, **changes):
        """Return the message of an answer."""
        body = self.answer(gateway, refund_id, says, **changes)
        return self.message(body, at_s=at_s, http_status=http_status)

    def request(self, gateway, refund_id, *, payment="p-1", amount=None, at_s=0):
        """Return one of our own refund requests."""
        amount = amount or Money(6000, "HKD")
        if gateway == "easylink":
            body = {"payOrderId": payment, "mchRefundNo": refund_id, "refundAmount": amount.minor}
            return self.message(body | {"currency": amount.currency}, at_s=at_s)
        if gateway == "bbmsl":
            text = f'{{"merchantId":"m","merchantReference":"{payment}","amount":{amount.major}}}'
            return self.message({"request": text, "signature": ""}, at_s=at_s)
        target = {
            "evonet": f"/payment/{payment}/refund",
            "evocloud": f"/g2/v1/payment/mer/S1/cancelOrRefund?merchantTransID={payment}",
        }[gateway]
        body = {"merchantTransInfo": {"merchantTransID": refund_id}}
        body["transAmount"] = {"currency": amount.currency, "value": amount.major}
        return self.message(body, at_s=at_s, method="POST", target=target if payment else None)

    def webhook(self, gateway, refund_id, says, *, signed_s=0, secret=None, msg_id="m-1", **changes):
        """Return headers and body of a notification signed `signed_s` seconds from now."""
        at = self.clock.now + timedelta(seconds=signed_s)
        if gateway == "easylink":
            fields = self.answer(gateway, refund_id, says, **changes)["data"]
            return self.sign_easylink(fields, at, secret)
        body = self.answer(gateway, refund_id, says, **changes) | {"eventCode": "Refund"}
        return self.sign_evo(gateway, json.dumps(body).encode(), at, secret, msg_id=msg_id)

    def sign_evo(self, gateway, body, at=None, secret=None, *, msg_id="m-1"):
        stamp = (at or self.clock.now).isoformat()
        secret = SECRETS[gateway] if secret is None else secret
        digest = evo_signature(body, stamp, secret, msg_id)
        headers = {"DateTime": stamp, "MsgID": msg_id, "SignType": "SHA256", "Authorization": digest}
        return headers, body

    def sign_easylink(self, fields, at=None, secret=None):
        at = at or self.clock.now
        secret = SECRETS["easylink"] if secret is None else secret
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return headers, easylink_form(fields, at, secret)
