"""Our adapters ask, the simulators answer, our adapters understand; and the ledger knows what moved."""

import pytest

from refold.adapters.simulators.scripts import AMOUNTS, OUTCOMES, Shown, outcome_for

SIGNED = ("evocloud", "evonet", "easylink")
# gateway, word, signal of the answer, of a query after 40 s, after 100 s, after two hours, net money at the end
CONVERSATIONS = [
    ("evocloud", "settles", "pending", "success", "success", "success", 5000),
    ("evocloud", "succeeds", "success", "success", "success", "success", 5000),
    ("evocloud", "fails", "pending", "failed", "failed", "failed", 0),
    ("evocloud", "silent", "pending", "failed", "failed", "failed", 0),
    ("evocloud", "refused", "rejected", "not_found", "not_found", "not_found", 0),
    ("evocloud", "pending", "pending", "pending", "pending", "pending", 0),
    ("evocloud", "reverses", "pending", "success", "failed", "failed", 0),
    ("evocloud", "recovers", "pending", "failed", "success", "success", 5000),
    ("evocloud", "unknown", "pending", "unrecognised", "unrecognised", "unrecognised", 0),
    ("evocloud", "errs", "uncertain", "success", "success", "success", 5000),
    ("evocloud", "cancelled", "pending", "success", "success", "success", 5000),
    ("evonet", "settles", "pending", "success", "success", "success", 5000),
    ("evonet", "succeeds", "success", "success", "success", "success", 5000),
    ("evonet", "fails", "pending", "failed", "failed", "failed", 0),
    ("evonet", "silent", "pending", "failed", "failed", "failed", 0),
    ("evonet", "refused", "rejected", "not_found", "not_found", "not_found", 0),
    ("evonet", "pending", "pending", "pending", "pending", "pending", 0),
    ("evonet", "reverses", "pending", "success", "failed", "failed", 0),
    ("evonet", "recovers", "pending", "failed", "success", "success", 5000),
    ("evonet", "unknown", "pending", "unrecognised", "unrecognised", "unrecognised", 0),
    ("evonet", "errs", "rejected", "success", "success", "success", 5000),
    ("bbmsl", "settles", "success", "success", "success", "success", 5000),
    ("bbmsl", "succeeds", "success", "success", "success", "success", 5000),
    ("bbmsl", "refused", "rejected", "not_found", "not_found", "not_found", 0),
    ("bbmsl", "pending", "uncertain", "pending", "pending", "pending", 0),
    ("bbmsl", "unknown", "unrecognised", "unrecognised", "unrecognised", "unrecognised", 0),
    ("bbmsl", "errs", "rejected", "success", "success", "success", 5000),
    ("easylink", "settles", "pending", "success", "success", "success", 5000),
    ("easylink", "succeeds", "success", "success", "success", "success", 5000),
    ("easylink", "fails", "pending", "failed", "failed", "failed", 0),
    ("easylink", "silent", "pending", "failed", "failed", "failed", 0),
    ("easylink", "refused", "rejected", "uncertain", "uncertain", "uncertain", 0),
    ("easylink", "pending", "pending", "pending", "pending", "pending", 0),
    ("easylink", "reverses", "pending", "success", "failed", "failed", 0),
    ("easylink", "recovers", "pending", "failed", "success", "success", 5000),
    ("easylink", "unknown", "pending", "unrecognised", "unrecognised", "unrecognised", 0),
    ("easylink", "errs", "uncertain", "success", "success", "success", 5000),
    ("easylink", "closes", "pending", "pending", "pending", "closed", 0),
    ("easylink", "hides", "pending", "pending", "pending", "closed", 5000),
]
ROW = ("name", "word", "answer", "soon", "later", "at_last", "moved")


@pytest.mark.parametrize(ROW, CONVERSATIONS, ids=str)
def test_each_outcome_is_told_and_moves_what_the_table_says(
    shop, clock, name, word, answer, soon, later, at_last, moved
):
    heard = [shop.refund(name, f"r-{word}").signal]
    for seconds in (40, 60, 7200):
        clock.advance(seconds)
        heard.append(shop.poll(name, f"r-{word}").signal)
    assert heard == [answer, soon, later, at_last]
    assert shop.ledger(name).moved(f"r-{word}") == moved


def test_every_outcome_of_every_gateway_has_a_conversation():
    assert {row[:2] for row in CONVERSATIONS} == {
        (name, word) for name in OUTCOMES for word in OUTCOMES[name]
    }


@pytest.mark.parametrize("name", SIGNED)
def test_answers_to_requests_and_queries_are_signed_as_our_adapters_check(shop, name):
    heard = [shop.refund(name, "r-1"), shop.poll(name, "r-1")]
    assert [one.verification.key_id for one in heard] == ["simulated", "simulated"]


@pytest.mark.parametrize("name", ["evocloud", "evonet"])
def test_refusals_are_signed_too(shop, name):
    assert shop.poll(name, "r-1").verification.key_id == "simulated"


@pytest.mark.parametrize("name", ["evocloud", "evonet", "bbmsl", "easylink"])
def test_answers_name_refund_payment_amount_and_the_gateways_number(shop, name):
    shop.refund(name, "r-1", 4210)
    evidence = shop.poll(name, "r-1").evidence
    payment = "r-1" if name == "bbmsl" else "P1"
    assert (evidence.refund_id, evidence.payment_id) == ("r-1", payment)
    assert (evidence.amount_minor, evidence.currency) == (4210, "HKD")
    assert bool(evidence.gateway_refund_id) == (name != "bbmsl")


@pytest.mark.parametrize("name", ["evocloud", "evonet"])
@pytest.mark.parametrize("sign_type", ["SHA512", "HMAC-SHA256", "HMAC-SHA512"])
def test_answers_are_signed_by_the_algorithm_of_the_request(shop, name, sign_type):
    from refold.adapters import Evocloud, Evonet, SigningKey

    given = shop.sims.credentials[name]
    keys = [SigningKey("mine", given["secret"])]
    more = {"sid": given["sid"]} if name == "evocloud" else {}
    shop.gateways[name] = {"evocloud": Evocloud, "evonet": Evonet}[name](
        keys=keys, sign_type=sign_type, accepted_sign_types=[sign_type], **more
    )
    heard = shop.refund(name, "r-1")
    assert (heard.signal, heard.verification.key_id) == ("pending", "mine")


def test_the_key_itself_is_accepted_as_a_key_based_signature_and_another_one_is_not(shop):
    from refold.adapters import Evonet, SigningKey

    secret = shop.sims.credentials["evonet"]["secret"]
    for given, signal in ((secret, "pending"), ("other", "rejected")):
        shop.gateways["evonet"] = Evonet(keys=[SigningKey("mine", given)], sign_type="Key-based")
        answer = shop.send(
            "evonet",
            shop.gateways["evonet"].build_refund(
                shop.order("evonet", f"r-{given[:3]}"), at=shop.clock(), nonce="n"
            ),
        )
        assert (answer.json()["result"]["code"] == "S0000") == (signal == "pending")


@pytest.mark.parametrize(("minor", "word"), [(100 * 50 + digits, word) for digits, word in AMOUNTS.items()])
def test_the_last_two_digits_of_the_amount_choose_where_the_reference_does_not(minor, word):
    known = [name for name in OUTCOMES if word in OUTCOMES[name]]
    assert known
    assert {outcome_for(name, "order-17", minor).word for name in known} == {word}


@pytest.mark.parametrize(
    ("name", "reference", "minor", "word"),
    [
        ("evonet", "r-17", 5000, "settles"),
        ("evonet", "r-17-fails", 5000, "fails"),
        ("evonet", "r_17_Fails", 5000, "fails"),
        ("evonet", "fails", 5000, "fails"),
        ("evonet", "fails-17", 5000, "settles"),
        ("evonet", "r-failsafe", 5000, "settles"),
        ("evonet", "r-settles", 5001, "settles"),
        ("evonet", "r-closes", 5000, "settles"),
        ("bbmsl", "r-reverses", 5000, "settles"),
        ("bbmsl", "r-17", 5004, "settles"),
    ],
)
def test_the_references_last_word_chooses_first(name, reference, minor, word):
    assert outcome_for(name, reference, minor).word == word


def test_a_full_refund_at_evonet_has_a_word_of_its_own(shop, clock):
    shop.sims["evonet"].capture("P9", shop.order("evonet", "x", 5000).amount)
    shop.refund("evonet", "r-1", 5000, payment="P9")
    clock.advance(40)
    assert shop.poll("evonet", "r-1").evidence.code == "refund.status=refunded_full"


def test_easylink_goes_through_generated_and_in_progress(shop, clock):
    told = [shop.refund("easylink", "r-1").evidence.code]
    for seconds in (10, 30):
        clock.advance(seconds)
        told.append(shop.poll("easylink", "r-1").evidence.code)
    assert told == ["state=0", "state=1", "state=2"]


def test_an_evocloud_refund_without_an_amount_gives_back_what_is_left(shop):
    import json

    from refold.engine.domain.message import HttpRequest

    gateway = shop.gateways["evocloud"]
    shop.sims["evocloud"].capture("P9", shop.order("evocloud", "x", 7000).amount)
    shop.refund("evocloud", "r-1", 3000, payment="P9")
    built = gateway.build_refund(shop.order("evocloud", "r-2", payment="P9"), at=shop.clock(), nonce="n")
    body = json.dumps({k: v for k, v in json.loads(built.body).items() if k != "transAmount"}).encode()
    headers = gateway._signature.headers("POST", built.target, body, at=shop.clock(), nonce="n")
    shop.send("evocloud", HttpRequest(method="POST", target=built.target, headers=headers, body=body))
    assert shop.ledger("evocloud").refunds["r-2"].amount_minor == 4000


def test_easylink_reads_forms_as_well_and_finds_a_refund_by_its_own_number(shop):
    from urllib.parse import urlencode

    from refold.adapters.easylink_signing import digest, text_to_sign

    number = shop.refund("easylink", "r-1").evidence.gateway_refund_id
    given = shop.sims.credentials["easylink"]
    fields = {"mchNo": given["mch_no"], "appId": given["app_id"], "refundOrderId": number}
    fields |= {"reqTime": "1772452800000", "version": "1.0", "signType": "MD5"}
    fields["sign"] = digest(text_to_sign(fields), given["secret"]).hex()
    built = shop.gateways["easylink"].build_query(shop.order("easylink", "r-1"), at=shop.clock(), nonce="n")
    answer = shop.send(
        "easylink",
        built,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        content=urlencode(fields).encode(),
    )
    assert answer.json()["data"]["mchRefundNo"] == "r-1"


def test_every_shown_state_has_a_word_at_every_gateway_that_can_show_it():
    from refold.adapters.simulators.bbmsl import _STATUSES
    from refold.adapters.simulators.easylink import _STATES
    from refold.adapters.simulators.evocloud import EvocloudSimulator
    from refold.adapters.simulators.evonet import EvonetSimulator

    words = {"evocloud": EvocloudSimulator.words, "evonet": EvonetSimulator.words}
    words |= {"bbmsl": _STATUSES, "easylink": _STATES}
    shown = {
        name: {stage.shown for outcome in known.values() for stage in outcome.stages}
        for name, known in OUTCOMES.items()
    }
    assert all(shown[name] <= set(words[name]) for name in OUTCOMES)
    assert Shown.CLOSED in shown["easylink"]


@pytest.mark.parametrize("name", ["evocloud", "evonet"])
@pytest.mark.parametrize("reference", ["a/b", "a%2Fb", "a+b&c=d", "a?b#c", "~a;b,c", "[a]", 'a"b\\c'])
def test_any_reference_survives_the_way_through_paths_and_queries(shop, name, reference):
    asked = shop.refund(name, reference, payment=f"P{reference}")
    found = shop.poll(name, reference)
    assert (asked.signal, found.signal, found.evidence.refund_id) == ("pending", "pending", reference)
    assert shop.ledger(name).refunds[reference].payment_id == f"P{reference}"
