"""Adapters with the keys that sign webhooks, and those signatures, made without the help of the adapters."""

import hashlib
from urllib.parse import urlencode

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet, SigningKey

SECRETS = {name: f"{name}-0123456789abcdef" for name in ("evocloud", "evonet", "easylink")}


def keyed_gateways():
    """Return all four adapters; those that sign webhooks with a key."""
    return [
        Evocloud(keys=[SigningKey("cloud-1", SECRETS["evocloud"])]),
        Evonet(keys=[SigningKey("net-1", SECRETS["evonet"])]),
        Bbmsl(),
        Easylink(keys=[SigningKey("link-1", SECRETS["easylink"])]),
    ]


def evo_signature(body, stamp, secret, msg_id):
    """Return how both EVO dialects sign a webhook with SHA256."""
    signed = b"\n".join([b"POST", stamp.encode(), secret.encode(), msg_id.encode(), body])
    return hashlib.sha256(signed).hexdigest()


def easylink_form(fields, at, secret):
    """Return the body of a notification with these fields, signed at that moment."""
    fields = fields | {"reqTime": str(int(at.timestamp() * 1000))}
    text = "".join(sorted((f"{name}={value}&" for name, value in fields.items()), key=str.lower))
    sign = hashlib.md5(f"{text}key={secret}".encode(), usedforsecurity=False).hexdigest().upper()
    return urlencode(fields | {"sign": sign}).encode()
