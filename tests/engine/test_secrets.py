"""Keys, card numbers and verification codes go in by every path and come out by none."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from structlog.testing import capture_logs

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet, SigningKey
from refold.engine import Message, Money, RefundEngine
from refold.engine.errors import RefoldError

KEY = "whsec_Canary/Key+With=Odd&Characters 42"
PAN = "4242424242424242"
SPACED = "4242 4242 4242 4242"
CVV = "9021"
"""Four digits stand in many a digest: looked for with the name before them."""


def forms(secret):
    raw = secret.encode()
    found = {secret, raw.hex(), raw.hex().upper(), quote(secret), quote(secret, safe=""), quote_plus(secret)}
    found |= {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    return found | {json.dumps(secret)[1:-1]}


CANARIES = (
    forms(KEY)
    | forms(PAN)
    | {SPACED, f"cvv={CVV}", f'"cvv": "{CVV}"', f'"cvv2":"{CVV}"', f'\\"cvv\\": \\"{CVV}'}
)


def leaked(text):
    return sorted(canary for canary in CANARIES if canary in text)


@pytest.fixture(scope="module")
def pem():
    """A key of this run alone."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def canary(tmp_path, clock, counting, pem):
    """An engine whose keys are canaries, its file, and a place for what it says."""
    keys = [SigningKey("k", KEY)]
    gateways = [
        Evonet(keys=keys),
        Evocloud(keys=keys, sid="S1"),
        Easylink(keys=keys),
        Bbmsl(private_key_pem=pem),
    ]
    path = tmp_path / "canary.db"
    with RefundEngine.open(f"sqlite:///{path}", gateways=gateways, clock=clock, entropy=counting) as engine:
        yield engine, path


def words():
    """Return texts that hold the canaries in every form, as a gateway or a person might write them."""
    yield from sorted(forms(KEY))
    yield from (PAN, SPACED, f"card {PAN}.", f'{{"cvv": "{CVV}", "number": "{PAN}"}}', f"cvv={CVV}&x=1")
    yield f'"cvv2":"{CVV}"'


def swallow(said, call, *arguments, **named):
    """Call; keep what came back or was raised, as a log or a crash report would show it."""
    try:
        said.append(repr(call(*arguments, **named)))
    except RefoldError as error:
        while error is not None:
            said += [str(error), repr(error), repr(vars(error))]
            error = error.__cause__


def bodies(text, refund_id):
    """Return bodies that hold a text wherever an adapter looks."""
    said = {"result": {"code": "S0000", "message": text}, "note": text}
    refund = {"merchantTransInfo": {"merchantTransID": refund_id}, "status": text, "failureReason": text}
    return [
        said | {"refund": refund},
        said | {"refund": refund | {"status": "Failed"}},
        {"result": {"code": text}},
        {"eventCode": text, "refund": refund},
        {"eventCode": "Refund", "refund": refund | {"merchantTransInfo": {}}},
        {"request": text, "signature": text},
        {"code": text, "msg": text, "data": {"state": text, "errMsg": text, "mchRefundNo": refund_id}},
        text,
    ]


def feed(engine, wire, said):
    """Push every text through every path of the facade."""
    for number, text in enumerate(words()):
        refund_id = f"r-{number}"
        asked = {"refund_id": refund_id, "payment_id": "p", "gateway": "evonet", "amount": Money(1, "HKD")}
        swallow(said, engine.request, **asked, reason=text)
        headers = {"Authorization": text.strip(), "Cookie": text, "DateTime": text, "SignType": "Key-based"}
        for at_s, body in enumerate(bodies(text, refund_id)):
            message = wire.message(body, at_s=at_s + 100 * number, headers={"MsgID": text})
            for gateway in engine.gateways:
                for channel in ("request", "api_response", "poll", "webhook", "report"):
                    swallow(said, engine.record, gateway, channel, message, refund_id=refund_id)
                swallow(said, engine.receive_webhook, gateway, headers, message.body)
            swallow(
                said, engine.receive_webhook, "evonet", *wire.sign_evo("evonet", message.body, secret=KEY)
            )
        message = Message(body=b"{}", received_at=wire.clock.now, headers=headers)
        said.append(repr(message))
        swallow(said, engine.record, "evonet", "poll", message, refund_id=refund_id)
        swallow(said, engine.resolve, refund_id, "failed", actor="bob", reason=text)


def ask_for(engine, wire, said):
    """Ask for card numbers where ids and choices belong: they come back in error messages."""
    for text in (PAN, SPACED):
        message = wire.message("")
        swallow(said, engine.find, state=text)
        swallow(said, engine.find, attention=text)
        swallow(said, engine.find, limit=text)
        swallow(said, engine.record, text, "poll", message)
        swallow(said, engine.record, "evonet", text, message)
        swallow(said, engine.record, "evonet", "poll", text)
        swallow(said, engine.refund, f"{text} {text}")
        swallow(said, engine.register_payment, gateway=text, payment_id="p", captured=Money(1, "HKD"))
        swallow(said, engine.resolve, "r-0", text, actor="bob", reason="x")
        swallow(said, Money.parse, text + "x", "HKD")


def ingest_all(engine, said):
    lines = []
    for text in words():
        usual = {"gateway": "evonet", "channel": "poll", "received_at": "2026-11-21T12:00:00Z", "body": text}
        lines += [
            usual | {name: text} for name in ("gateway", "channel", "received_at", "body", "http_status")
        ]
        lines += [usual | {"headers": {"authorization": text}, "refund_id": "r-0"}, {"x": text}]
    report = engine.ingest(
        [json.dumps(line).encode() for line in lines], on_problem=lambda *problem: said.append(repr(problem))
    )
    said.append(repr(report))


def read_all(engine, said):
    for view in engine.find():
        said += [repr(view), json.dumps(view.to_json())]
        said += [json.dumps(entry.to_json()) for entry in engine.history(view.refund_id)]
    said += [repr(dict(row)) for row in engine.inbox()]
    said += [repr(engine.replay()), repr(engine), repr(vars(engine)), repr(list(engine.gateways.values()))]


def test_no_key_card_number_or_code_comes_out_anywhere(canary, wire, monkeypatch):
    """CASES D1."""
    engine, path = canary
    said = []
    with capture_logs() as logs:
        feed(engine, wire, said)
        ask_for(engine, wire, said)
        ingest_all(engine, said)
        for method in ("read_poll", "read_webhook", "verify", "read_request"):
            monkeypatch.setattr(engine.gateways["evocloud"], method, lambda *_: {}[f"{KEY} {PAN}"])
            swallow(said, engine.record, "evocloud", "poll", wire.message(PAN), refund_id="r-0")
        read_all(engine, said)
    engine.close()
    assert len(said) > 1000
    assert len(logs) > 1000
    assert leaked("\n".join(said)) == []
    assert leaked(repr(logs)) == []
    for file in path.parent.iterdir():
        assert leaked(file.read_bytes().decode("latin-1")) == []


def test_a_private_key_in_a_message_is_blanked_however_it_is_written(canary, wire, pem):
    """CASES D1."""
    engine, path = canary
    bodies = [pem, json.dumps({"m": pem}), quote(pem), base64.b64encode(pem.encode()).decode()]
    for at_s, body in enumerate(bodies):
        engine.record("bbmsl", "poll", wire.message(body, at_s=at_s), refund_id="r-1")
    engine.close()
    stored = path.read_bytes().decode("latin-1")
    middle = pem.splitlines()[10]
    assert middle not in stored
    assert base64.b64encode(pem.encode()).decode()[200:260] not in stored


def test_a_card_number_is_kept_as_its_first_six_and_last_four(canary, wire):
    engine, _ = canary
    engine.request(
        gateway="evonet", payment_id="p", refund_id="r-1", amount=Money(1, "HKD"), reason=f"card {PAN}"
    )
    assert engine.history("r-1")[0].data["reason"] == "card 424242******4242"
    engine.record("evonet", "poll", wire.message(PAN), refund_id="r-1")
    body = engine.store.body(engine.history("r-1")[-1].data["message"]["digest"])
    assert body.content == b"424242******4242"
    assert engine.history("r-1")[-1].data["message"]["masked"]


def test_a_signature_is_kept_and_a_token_is_not(canary, wire):
    engine, _ = canary
    kept = []
    for at_s, authorization in enumerate(("ab" * 32, "AB" * 64, "Bearer token", "0123456789abcdef" * 2)):
        message = wire.message(
            "", at_s=at_s, headers={"authorization": authorization, "X-Other": "x", "MsgID": "m"}
        )
        engine.record("bbmsl", "poll", message, refund_id="r-1")
    for row in engine.inbox():
        headers = json.loads(engine.store.body(row["digest"]).headers)
        assert headers.keys() == {"authorization", "msgid"}
        kept.append(headers["authorization"])
    assert sorted(kept) == ["****", "****", "AB" * 64, "ab" * 32]


def test_a_test_that_looks_for_canaries_finds_one_that_is_planted(tmp_path):
    (tmp_path / "x").write_bytes(b"..." + KEY.encode().hex().encode() + b"...")
    assert leaked((tmp_path / "x").read_bytes().decode("latin-1")) == [KEY.encode().hex()]
