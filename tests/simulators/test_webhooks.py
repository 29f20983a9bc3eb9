"""Webhooks: signed as our adapters check, sent until acknowledged, with the same bytes."""

import asyncio
import json
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest

from refold.adapters.simulators import Fault, Faults
from refold.adapters.simulators.delivery import Delivery, Posting, Rules, is_loopback
from refold.adapters.simulators.easylink import EasylinkSimulator
from refold.adapters.simulators.evo import EvoSimulator
from refold.adapters.simulators.pace import Pace
from refold.engine.domain.message import Channel
from refold.engine.domain.signals import Signal

OK = {"evocloud": (200, b"SUCCESS"), "evonet": (200, b"SUCCESS"), "easylink": (200, b"success")}
NO = (500, b"later")


@pytest.mark.parametrize("name", OK)
@pytest.mark.parametrize(
    ("word", "signals"),
    [
        ("settles", ["success"]),
        ("succeeds", ["success"]),
        ("fails", ["failed"]),
        ("reverses", ["success", "failed"]),
        ("recovers", ["failed", "success"]),
        ("unknown", ["unrecognised"]),
    ],
)
def test_our_adapter_verifies_and_reads_what_comes(opened, ticking, receiver, name, word, signals):
    heard = receiver(OK[name])
    with opened(name, clock=ticking) as shop:
        gateway = shop.gateways[name]
        shop.refund(name, f"r-{word}", notify=heard.url)
        messages = [heard.message(ticking) for _ in signals]
        assert [gateway.verify(Channel.WEBHOOK, message).key_id for message in messages] == [
            "simulated"
        ] * len(signals)
        read = [gateway.read_webhook(message) for message in messages]
        assert [str(one.signal) for one in read] == signals
        assert {(one.refund_id, one.payment_id, one.amount_minor) for one in read} == {
            (f"r-{word}", "P1", 5000)
        }
        assert all(gateway.signed_at(message) is not None for message in messages)


def test_a_cancelled_payment_is_notified_as_a_cancel(opened, ticking, receiver):
    heard = receiver(OK["evocloud"])
    with opened("evocloud", clock=ticking) as shop:
        shop.refund("evocloud", "r-cancelled", notify=heard.url)
        message = heard.message(ticking)
        assert json.loads(message.body)["eventCode"] == "Cancel"
        assert shop.gateways["evocloud"].read_webhook(message).signal is Signal.SUCCESS


@pytest.mark.parametrize("name", OK)
@pytest.mark.parametrize("word", ["silent", "pending", "refused"])
def test_some_outcomes_notify_nobody(opened, receiver, name, word):
    heard = receiver(OK[name])
    with opened(name) as shop:
        shop.refund(name, f"r-{word}", notify=heard.url)
        assert shop.sims[name].notifications == ()


def test_easylink_notifies_states_2_and_3_as_a_form_of_texts_with_a_request_time(opened, ticking, receiver):
    heard = receiver(OK["easylink"])
    with opened("easylink", clock=ticking) as shop:
        shop.refund("easylink", "r-hides", notify=heard.url, payment="P2")
        shop.refund("easylink", "r-settles", notify=heard.url)
        _, headers, body = heard.received()
        fields = dict(parse_qsl(body.decode(), strict_parsing=True))
        assert headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert (fields["state"], fields["mchRefundNo"], len(fields["reqTime"])) == ("2", "r-settles", 13)
        assert [one.refund_id for one in shop.sims["easylink"].notifications] == ["r-settles"]


@pytest.mark.parametrize("name", OK)
def test_a_webhook_comes_again_with_the_same_bytes_until_it_is_acknowledged(opened, ticking, receiver, name):
    heard = receiver(NO, NO, OK[name])
    with opened(name, clock=ticking) as shop:
        shop.refund(name, "r-1", notify=heard.url)
        tries = [heard.received() for _ in range(3)]
        assert len({body for _, _, body in tries}) == 1
        assert len({headers.get("Authorization") for _, headers, _ in tries}) == 1
        shop.running.until_delivered()
        (told,) = shop.sims[name].notifications
        assert (told.attempts, told.acknowledged, heard.nothing_more) == (3, True, True)


@pytest.mark.parametrize("name", OK)
@pytest.mark.parametrize(
    "near_miss",
    [
        lambda status, word: (status, word + b"\n"),
        lambda status, word: (status, b" " + word),
        lambda status, word: (status, word.swapcase()),
        lambda status, word: (201, word),
        lambda status, word: (302, word),
        lambda status, word: (status, b""),
    ],
    ids=["newline", "blank", "case", "201", "redirect", "empty"],
)
def test_only_the_exact_word_acknowledges_and_the_attempts_end(opened, ticking, receiver, name, near_miss):
    heard = receiver(near_miss(*OK[name]))
    with opened(name, clock=ticking) as shop:
        shop.refund(name, "r-1", notify=heard.url)
        shop.running.until_delivered()
        (told,) = shop.sims[name].notifications
        assert (told.attempts, told.acknowledged) == (len(shop.sims[name].rules.retry_s), False)
    assert {heard.received()[0] for _ in range(told.attempts)} == {"/hook"}, "no redirect is followed"


def test_easylinks_retries_are_the_documented_ones():
    from refold.adapters import Easylink

    assert (
        EasylinkSimulator.rules.retry_s == Easylink.capabilities.webhook_retry_s == (0, 30, 60, 90, 120, 150)
    )
    assert EasylinkSimulator.rules.acknowledgement == Easylink.capabilities.acknowledgement
    assert EvoSimulator.rules == Rules((0, 60, 300, 900), b"SUCCESS")


class Jumping(Pace):
    """Time that goes where somebody waits for it to go."""

    def __init__(self, clock):
        super().__init__(clock, 1)
        self.clock = clock

    async def until(self, due):
        await asyncio.sleep(0)
        self.clock.at = max(self.clock.at, due)


def attempts(clock, *faults, answers, notifications=1, retry_s=(0, 30, 60)):
    """Return (seconds since the start, number) of each attempt of a delivery, without any network."""
    start, made = clock.at, []

    class Recorded(Delivery):
        async def _post(self, notification, posting):
            notification.attempts += 1
            made.append(((clock.at - start).total_seconds(), posting.body))
            return answers.pop(0) if answers else True

    async def deliver():
        chances = dict.fromkeys(faults, 1000)
        rules = Rules(retry_s, b"")
        delivery = Recorded("easylink", rules, Jumping(clock), Faults("a", chances), any_host=False)
        for number in range(notifications):
            due = start + timedelta(seconds=30 * number)
            delivery.schedule(
                f"r-{number}", "http://127.0.0.1/", due, lambda n=number: Posting({}, b"%d" % n)
            )
        await asyncio.gather(*delivery._tasks)
        return delivery.notifications

    return made, asyncio.run(deliver())


def test_each_delay_counts_from_the_attempt_before(clock):
    made, (told,) = attempts(clock, answers=[False] * 3)
    assert [at for at, _ in made] == [0, 30, 90]
    assert (told.acknowledged, told.finished) == (False, True)


def test_a_duplicated_webhook_is_delivered_twice(clock):
    made, (told,) = attempts(clock, Fault.WEBHOOK_DUPLICATED, answers=[True, True])
    assert made == [(0, b"0"), (0, b"0")]
    assert told.acknowledged


def test_a_delayed_webhook_comes_two_minutes_late(clock):
    made, _ = attempts(clock, Fault.WEBHOOK_DELAYED, answers=[True])
    assert made == [(120, b"0")]


def test_a_lost_webhook_is_never_sent_and_believed_delivered(clock):
    made, (told,) = attempts(clock, Fault.WEBHOOK_LOST, answers=[])
    assert made == []
    assert (told.acknowledged, told.finished, told.attempts) == (True, True, 0)


def test_a_reordered_webhook_is_overtaken_by_a_later_one(opened, ticking, receiver):
    """The seed is one under which the first of the two waits and the second does not."""
    heard = receiver(OK["evonet"])
    seed = next(
        str(number)
        for number in range(1000)
        if [
            Faults(str(number), {Fault.WEBHOOK_REORDERED: 500}).strikes(
                Fault.WEBHOOK_REORDERED, "evonet", "r-reverses", nth
            )
            for nth in (0, 1)
        ]
        == [True, False]
    )
    with opened(clock=ticking, faults=Faults(seed, {Fault.WEBHOOK_REORDERED: 500})) as shop:
        shop.refund("evonet", "r-reverses", notify=heard.url)
        statuses = [json.loads(heard.received()[2])["refund"]["status"] for _ in range(2)]
    assert statuses == ["Failed", "Success"]


def test_a_reordered_webhook_that_nothing_overtakes_comes_after_90_seconds(clock):
    made, _ = attempts(clock, Fault.WEBHOOK_REORDERED, answers=[True])
    assert made == [(90, b"0")]


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000/hook", True),
        ("http://localhost/hook", True),
        ("https://[::1]/hook", True),
        ("http://127.8.9.1/", True),
        ("http://example.com/hook", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://10.0.0.1/", False),
        ("ftp://127.0.0.1/", False),
        ("http://[::1/", False),
        ("no url", False),
    ],
)
def test_webhooks_go_to_this_machine_only(url, loopback):
    assert is_loopback(url) is loopback


def test_a_webhook_to_another_host_is_not_sent_and_says_so(opened):
    with opened() as shop:
        shop.refund("evonet", "r-1", notify="http://192.0.2.1/hook")
        (told,) = shop.sims["evonet"].notifications
        assert (told.attempts, "allow_any_webhook_host=True" in told.refusal) == (0, True)


def test_a_receiver_that_cannot_be_reached_is_tried_again(opened, ticking, receiver):
    closed = receiver(NO)
    closed.server.server_close()
    with opened(clock=ticking) as shop:
        shop.refund("evonet", "r-1", notify=closed.url)
        shop.running.until_delivered()
        (told,) = shop.sims["evonet"].notifications
        assert (told.attempts, told.acknowledged) == (4, False)


def test_a_server_that_stops_ends_its_deliveries(opened, receiver):
    heard = receiver(OK["evonet"])
    with opened() as shop:
        shop.refund("evonet", "r-1", notify=heard.url)
    (told,) = shop.sims["evonet"].notifications
    assert (told.finished, heard.nothing_more) == (False, True)


def test_waiting_for_webhooks_ends_where_the_clock_stands_still(opened, receiver):
    heard = receiver(OK["evonet"])
    with opened() as shop:
        shop.refund("evonet", "r-1", notify=heard.url)
        with pytest.raises(TimeoutError):
            shop.running.until_delivered(timeout_s=0)


@pytest.mark.parametrize("name", OK)
def test_the_engine_accepts_what_comes_and_its_reply_acknowledges(opened, ticking, receiver, name):
    from refold.engine import Money, RefundEngine

    heard = receiver(OK[name])
    with opened(name, clock=ticking) as shop:
        engine = RefundEngine.open("memory:", gateways=shop.sims.gateways, clock=lambda: ticking.at)
        engine.request(gateway=name, payment_id="P1", refund_id="r-1", amount=Money(5000, "HKD"))
        shop.refund(name, "r-1", notify=heard.url)
        _, headers, body = heard.received()
        reply = engine.receive_webhook(name, headers, body)
        assert (reply.status, reply.body) == OK[name]
        assert engine.refund("r-1").state == "success"


def test_easylink_gives_back_the_merchants_extended_parameter(opened, ticking, receiver):
    from refold.adapters.easylink_signing import digest, text_to_sign

    heard = receiver(OK["easylink"])
    with opened("easylink", clock=ticking) as shop:
        order = shop.order("easylink", "r-1", notify=heard.url)
        built = shop.gateways["easylink"].build_refund(order, at=ticking(), nonce="n")
        fields = json.loads(built.body) | {"extParam": "a&state=3"}
        fields["sign"] = digest(text_to_sign(fields), shop.sims.credentials["easylink"]["secret"]).hex()
        shop.send("easylink", built, content=json.dumps(fields).encode())
        message = heard.message(ticking)
        assert dict(parse_qsl(message.body.decode()))["extParam"] == "a&state=3"
        assert shop.gateways["easylink"].verify(Channel.WEBHOOK, message).key_id == "simulated"


def test_evonet_gives_back_the_metadata(opened, ticking, receiver):
    heard = receiver(OK["evonet"])
    with opened(clock=ticking) as shop:
        gateway = shop.gateways["evonet"]
        order = shop.order("evonet", "r-1", notify=heard.url)
        built = gateway.build_refund(order, at=ticking(), nonce="n")
        body = json.dumps(json.loads(built.body) | {"metadata": "order 17"}).encode()
        headers = gateway._signature.headers("POST", built.target, body, at=ticking(), nonce="n")
        answer = shop.send("evonet", built, headers=headers, content=body)
        assert answer.json()["metadata"] == json.loads(heard.received()[2])["metadata"] == "order 17"
