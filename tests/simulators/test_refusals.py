"""What the simulators refuse, and that nothing moves then."""

import json

import pytest

from refold.adapters import Bbmsl, Easylink, Evocloud, Evonet, SigningKey
from refold.engine.domain.money import Money
from refold.engine.errors import InvalidSetting

ALL = ["evocloud", "evonet", "bbmsl", "easylink"]


def code_of(name, answer):
    told = answer.json()
    return {"bbmsl": told.get("responseCode"), "easylink": told.get("code")}.get(
        name, told.get("result", {}).get("code")
    )


SIGNATURE_CODES = {"evocloud": "V0001", "evonet": "V0001", "bbmsl": "1001", "easylink": 9999}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["refund", "query"])
def test_a_wrong_key_is_refused_and_nothing_moves(shop, name, kind):
    given = shop.sims.credentials[name]
    keys = [SigningKey("other", "not the key")]
    if name == "bbmsl":
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        pem = generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        stranger = Bbmsl(merchant_id=given["merchant_id"], private_key_pem=pem)
    elif name == "easylink":
        stranger = Easylink(mch_no=given["mch_no"], app_id=given["app_id"], keys=keys)
    else:
        stranger = Evonet(keys=keys) if name == "evonet" else Evocloud(keys=keys, sid=given["sid"])
    build = stranger.build_refund if kind == "refund" else stranger.build_query
    answer = shop.send(name, build(shop.order(name, "r-1"), at=shop.clock(), nonce="n"))
    ledger = shop.ledger(name)
    assert code_of(name, answer) == SIGNATURE_CODES[name]
    assert (ledger.posts, ledger.movements, ledger.refunds, ledger.queries) == ((), (), {}, {})


@pytest.mark.parametrize("name", ALL)
def test_a_request_without_a_signature_is_refused(shop, name):
    built = shop.gateways[name].build_refund(shop.order(name, "r-1"), at=shop.clock(), nonce="n")
    headers = {key: value for key, value in built.headers.items() if key != "Authorization"}
    document = {
        key: value for key, value in json.loads(built.body).items() if key not in ("sign", "signature")
    }
    answer = shop.send(name, built, headers=headers, content=json.dumps(document).encode())
    expected = SIGNATURE_CODES | {"bbmsl": "1002"}
    assert code_of(name, answer) == expected[name]
    assert shop.ledger(name).posts == ()


@pytest.mark.parametrize("name", ALL)
def test_a_changed_byte_breaks_the_signature(shop, name):
    built = shop.gateways[name].build_refund(shop.order(name, "r-1", 5000), at=shop.clock(), nonce="n")
    answer = shop.send(name, built, content=built.body.replace(b"50", b"90"))
    assert code_of(name, answer) == SIGNATURE_CODES[name]
    assert shop.ledger(name).posts == ()


@pytest.mark.parametrize(
    ("name", "code"), [("evocloud", "B0001"), ("evonet", "B0001"), ("bbmsl", "2003"), ("easylink", 9999)]
)
def test_more_than_was_captured_is_refused(shop, name, code):
    shop.sims[name].capture("r-1" if name == "bbmsl" else "P1", Money(4999, "HKD"))
    heard = shop.refund(name, "r-1", 5000)
    assert code_of(name, heard.response) == code
    assert (shop.ledger(name).moved("r-1"), shop.ledger(name).refunds) == (0, {})


@pytest.mark.parametrize("name", ["evocloud", "evonet", "easylink"])
def test_the_sum_of_refunds_counts_and_failed_ones_do_not(shop, clock, name):
    shop.sims[name].capture("P1", Money(10000, "HKD"))
    shop.refund(name, "a-settles", 6000)
    clock.advance(40)
    shop.refund(name, "b-fails", 4000)
    clock.advance(40)
    refused = shop.refund(name, "c-settles", 4100)
    accepted = shop.refund(name, "d-settles", 4000)
    assert "c-settles" not in shop.ledger(name).refunds
    assert (refused.signal in {"rejected", "uncertain"}, accepted.signal) == (True, "pending")


@pytest.mark.parametrize(
    ("name", "signal", "code"),
    [("evocloud", "uncertain", "C0009"), ("evonet", "uncertain", "C0009"), ("easylink", "uncertain", 9999)],
)
def test_a_refund_number_that_exists_is_refused(shop, clock, name, signal, code):
    shop.refund(name, "r-1", 5000)
    clock.advance(90_000)  # beyond the retention of idempotency keys
    heard = shop.refund(name, "r-1", 5000)
    assert (heard.signal, code_of(name, heard.response)) == (signal, code)
    assert shop.ledger(name).moved("r-1") == 5000


def test_bbmsl_refunds_an_order_once_and_says_that_it_is_refunded(shop):
    shop.refund("bbmsl", "r-1", 5000)
    again = shop.refund("bbmsl", "r-1", 4000)
    assert (code_of("bbmsl", again.response), again.signal) == ("2002", "success")
    assert shop.ledger("bbmsl").moved("r-1") == 5000


def test_easylink_has_one_refund_of_a_payment_in_progress_at_a_time(shop, clock):
    shop.refund("easylink", "r-1")
    busy = shop.refund("easylink", "r-2")
    clock.advance(40)
    free = shop.refund("easylink", "r-2")
    assert (busy.signal, free.signal) == ("uncertain", "pending")
    assert busy.response.json() == {"code": 9999, "msg": "Payment order has a refund in progress"}


@pytest.mark.parametrize(
    ("name", "signal", "polled"),
    [
        ("evocloud", "rejected", "not_found"),
        ("evonet", "rejected", "not_found"),
        ("bbmsl", "rejected", "uncertain"),
        ("easylink", "uncertain", "uncertain"),
    ],
)
def test_an_unknown_payment_is_not_found_where_only_known_ones_count(opened, name, signal, polled):
    with opened(name, any_payment_minor=None) as shop:
        assert (shop.refund(name, "r-1").signal, shop.poll(name, "r-1").signal) == (signal, polled)
        assert shop.ledger(name).movements == ()


@pytest.mark.parametrize("name", ALL)
def test_another_currency_than_the_captured_one_is_refused(shop, name):
    shop.sims[name].capture("r-1" if name == "bbmsl" else "P1", Money(9000, "USD"))
    shop.refund(name, "r-1", 5000)
    assert shop.ledger(name).refunds == {}


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_path_is_refused_and_counted_nowhere(shop, name):
    from refold.engine.domain.message import HttpRequest

    answer = shop.send(name, HttpRequest(method="POST", target="/nowhere", headers={}, body=b"{}"))
    assert code_of(name, answer) in {"V0003", "1003", 9999}
    assert shop.ledger(name).posts == ()


@pytest.mark.parametrize("name", ALL)
def test_a_body_that_is_no_json_is_refused(shop, name):
    built = shop.gateways[name].build_refund(shop.order(name, "r-1"), at=shop.clock(), nonce="n")
    headers = dict(built.headers)
    if name.startswith("evo"):
        headers |= shop.gateways[name]._signature.headers(
            "POST", built.target, b"{", at=shop.clock(), nonce="n"
        )
    assert code_of(name, shop.send(name, built, headers=headers, content=b"{")) in {"V0002", "1002", 11}


def test_another_merchants_number_is_refused(shop):
    given = shop.sims.credentials["easylink"]
    keys = [SigningKey("k", given["secret"])]
    shop.gateways["easylink"] = Easylink(mch_no="M0", app_id=given["app_id"], keys=keys)
    assert shop.refund("easylink", "r-1").response.json()["code"] == 11


def test_an_idempotency_key_that_stands_for_another_request_is_refused(shop):
    gateway = shop.gateways["evonet"]
    first = gateway.build_refund(shop.order("evonet", "r-1"), at=shop.clock(), nonce="n")
    other = gateway.build_refund(shop.order("evonet", "r-2"), at=shop.clock(), nonce="n")
    shop.send("evonet", first)
    headers = dict(other.headers) | {"Idempotency-Key": "r-1"}
    assert code_of("evonet", shop.send("evonet", other, headers=headers)) == "V0002"


@pytest.mark.parametrize(
    "settings",
    [
        {"speed": 0},
        {"speed": 1_000_001},
        {"speed": True},
        {"names": ("stripe",)},
        {"names": ()},
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_are_named(clock, settings):
    from refold.adapters.simulators import simulators

    with pytest.raises(InvalidSetting):
        simulators(**{"clock": clock, **settings})


def test_a_captured_amount_is_not_changed_behind_the_merchants_back(shop):
    shop.sims["evonet"].capture("P1", Money(100, "HKD"))
    shop.sims["evonet"].capture("P1", Money(100, "HKD"))
    with pytest.raises(InvalidSetting, match="use another payment id"):
        shop.sims["evonet"].capture("P1", Money(200, "HKD"))


def resigned(shop, name, change):
    """Send a refund request whose fields were changed before it was signed."""
    from refold.adapters.bbmsl_signing import MerchantKey
    from refold.adapters.easylink_signing import digest, text_to_sign

    gateway, given = shop.gateways[name], shop.sims.credentials[name]
    built = gateway.build_refund(shop.order(name, "r-1"), at=shop.clock(), nonce="n")
    document, headers = json.loads(built.body), dict(built.headers)
    if name == "bbmsl":
        request = json.dumps(json.loads(document["request"]) | change)
        document = {"request": request, "signature": MerchantKey(given["private_key"]).sign(request)}
    else:
        document |= change
    if name == "easylink":
        document["sign"] = digest(text_to_sign(document), given["secret"]).hex()
    body = json.dumps(document).encode()
    if name.startswith("evo"):
        headers = gateway._signature.headers("POST", built.target, body, at=shop.clock(), nonce="n")
    return code_of(name, shop.send(name, built, headers=headers, content=body))


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("evonet", {"transAmount": None}, "V0002"),
        ("evonet", {"transAmount": {"currency": "HKD", "value": 50}}, "V0002"),
        ("evonet", {"transAmount": {"currency": "HKD", "value": "1.234"}}, "V0002"),
        ("evonet", {"merchantTransInfo": {"merchantTransID": "a b", "merchantTransTime": "x"}}, "V0002"),
        ("evonet", {"merchantTransInfo": []}, "V0002"),
        ("evocloud", {"transAmount": []}, "V0002"),
        ("easylink", {"refundAmount": "1.5"}, 11),
        ("easylink", {"refundAmount": 0}, 11),
        ("easylink", {"currency": "XXX"}, 11),
        ("easylink", {"mchRefundNo": ""}, 11),
        ("easylink", {"payOrderId": ""}, 11),
        ("easylink", {"refundReason": ""}, 11),
        ("easylink", {"version": ""}, 11),
        ("bbmsl", {"amount": True}, "1002"),
        ("bbmsl", {"amount": "50"}, "1002"),
        ("bbmsl", {"merchantId": "1"}, "1002"),
        ("bbmsl", {"merchantReference": ""}, "1002"),
        ("bbmsl", {"amount": 50}, "0000"),
    ],
)
def test_fields_that_cannot_be_used_are_refused_as_parameters(shop, name, change, code):
    assert resigned(shop, name, change) == code
    assert bool(shop.ledger(name).refunds) == (code == "0000")
