"""A worker in a process of its own, which the tests kill: `python worker.py SETTINGS.json CONTACTS`."""

import json
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet, SigningKey
from refold.engine import Endpoint, RefundEngine


def adapters(credentials, speed, capabilities):
    """Return the adapters with the simulators' keys, hurried as much as the simulators are."""
    given = {name: dict(values) for name, values in credentials.items()}

    def keys(name):
        return [SigningKey("simulated", given[name].pop("secret"))]

    made = [
        Evocloud(keys=keys("evocloud"), **given["evocloud"]),
        Evonet(keys=keys("evonet"), **given["evonet"]),
        Easylink(keys=keys("easylink"), **given["easylink"]),
        Bbmsl(private_key_pem=given["bbmsl"].pop("private_key"), **given["bbmsl"]),
    ]
    for gateway in made:
        changes = {
            name: value if not isinstance(value, list) else tuple(value)
            for name, value in capabilities.items()
        }
        if gateway.capabilities.key_retention_s is None:
            changes.pop("key_retention_s", None)
        gateway.capabilities = replace(gateway.capabilities.hurried(speed), **changes)
    return made


def main():
    settings = json.loads(Path(sys.argv[1]).read_text())
    gateways = adapters(settings["credentials"], settings["speed"], settings["capabilities"])
    endpoints = {
        name: Endpoint(base_url=url, notify_url=settings["notify"] + name)
        for name, url in settings["urls"].items()
    }
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    told = Path(sys.argv[2]).open("a", buffering=1)  # noqa: SIM115 - open until this process ends
    with RefundEngine.open(
        settings["store"],
        gateways=gateways,
        endpoints=endpoints,
        timeout_s=30,
        on_contact=lambda contacted: told.write(
            f"{contacted.phase} {contacted.refund_id} {contacted.outcome}\n"
        ),
    ) as engine:
        print("working", flush=True)
        engine.work(stop, concurrency=settings["concurrency"])


if __name__ == "__main__":
    main()
