"""Every fault, seen by a real client over a real socket; and what the ledger says then."""

import os
import re
import socket

import httpx
import pytest

from refold.adapters.simulators import FAULTS, Fault, Faults
from refold.engine.errors import InvalidSetting

IMPATIENT_S = 0.2
ALWAYS = 1000


def always(*faults):
    return Faults("tests", dict.fromkeys(faults, ALWAYS))


@pytest.mark.parametrize("name", ["evocloud", "evonet", "bbmsl", "easylink"])
@pytest.mark.parametrize(
    ("fault", "known"), [(Fault.TIMEOUT_BEFORE_EFFECT, False), (Fault.TIMEOUT_AFTER_EFFECT, True)]
)
def test_a_time_out_leaves_the_client_in_doubt_and_the_ledger_knows(opened, name, fault, known):
    with opened(name, faults=always(fault)) as shop:
        with pytest.raises(httpx.ReadTimeout):
            shop.refund(name, "r-1", timeout_s=IMPATIENT_S)
        assert shop.ledger(name).posts == ("r-1",)
        assert ("r-1" in shop.ledger(name).refunds) is known


def test_a_refund_timed_out_after_its_effect_is_answered_on_the_next_try_and_moves_once(opened, clock):
    with opened(faults=always(Fault.TIMEOUT_AFTER_EFFECT)) as shop:
        with pytest.raises(httpx.ReadTimeout):
            shop.refund("evonet", "r-1", timeout_s=IMPATIENT_S)
        again = shop.refund("evonet", "r-1")
        clock.advance(40)
        assert (again.signal, shop.ledger("evonet").moved("r-1")) == ("pending", 5000)
        assert shop.ledger("evonet").posts == ("r-1", "r-1")


def test_a_server_that_stops_does_not_wait_for_a_request_it_never_answers(opened):
    with opened(faults=always(Fault.TIMEOUT_AFTER_EFFECT)) as shop:
        gateway = shop.gateways["evonet"]
        built = gateway.build_refund(shop.order("evonet", "r-1"), at=shop.clock(), nonce="n")
        head = "".join(f"{name}: {value}\r\n" for name, value in built.headers.items())
        raw = socket.create_connection((shop.running.host, shop.running.port))
        request = f"POST /evonet{built.target} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(built.body)}\r\n\r\n"
        raw.sendall(request.encode() + built.body)
        while not shop.ledger("evonet").refunds:
            os.sched_yield()
    with raw:
        assert b" 200 " not in raw.recv(1000)


@pytest.mark.parametrize("name", ["evonet", "bbmsl"])
def test_a_proxys_page_comes_as_502_or_503_before_or_after_the_effect(opened, name):
    seen = set()
    with opened(name, faults=always(Fault.SERVER_ERROR_HTML)) as shop:
        for number in range(40):
            heard = shop.refund(name, f"r-{number}")
            answer = heard.response
            assert (heard.signal, answer.headers["content-type"]) == ("uncertain", "text/html")
            made = f"r-{number}" in shop.ledger(name).refunds
            seen.add((answer.status_code, "retry-after" in answer.headers, made))
    assert len(seen) == 8, "502 or 503, with Retry-After or without, before the effect or after it"


def test_the_next_try_gets_through_a_proxys_page(opened):
    with opened(faults=always(Fault.SERVER_ERROR_HTML)) as shop:
        assert [shop.refund("evonet", "r-1").signal for _ in range(2)] == ["uncertain", "pending"]
        assert [shop.poll("evonet", "r-1").signal for _ in range(2)] == ["uncertain", "pending"]


@pytest.mark.parametrize("name", ["evocloud", "evonet", "bbmsl", "easylink"])
def test_an_answer_is_cut_in_the_middle_of_its_body(opened, name):
    with opened(name, faults=always(Fault.HALF_RESPONSE)) as shop:
        with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
            shop.refund(name, "r-1")
        assert "r-1" in shop.ledger(name).refunds
        with pytest.raises(httpx.RemoteProtocolError):
            shop.poll(name, "r-1")
        assert shop.poll(name, "r-1").signal in {"pending", "success"}


def test_connections_are_really_refused_for_a_moment(opened, clock):
    with opened("evonet", "easylink", faults=always(Fault.CONNECTION_REFUSED)) as shop:
        heard = shop.refund("evonet", "r-1")
        assert (heard.signal, heard.response.headers["connection"]) == ("pending", "close")
        for name in ("evonet", "easylink"):
            with pytest.raises(httpx.ConnectError, match="refused"):
                shop.poll(name, "r-1")
        clock.advance(5)
        shop.running.until_listening()
        assert shop.poll("evonet", "r-1").signal == "pending"


def test_waiting_for_the_door_ends_where_the_clock_stands_still(opened):
    with opened(faults=always(Fault.CONNECTION_REFUSED)) as shop:
        shop.refund("evonet", "r-1")
        with pytest.raises(TimeoutError):
            shop.running.until_listening(timeout_s=0)


def test_a_server_stops_while_its_door_is_shut(opened):
    with opened(faults=always(Fault.CONNECTION_REFUSED)) as shop:
        shop.refund("evonet", "r-1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((shop.running.host, shop.running.port))


@pytest.mark.parametrize(
    ("name", "absent"), [("evocloud", "not_found"), ("bbmsl", "not_found"), ("easylink", "uncertain")]
)
def test_a_refund_is_absent_for_a_while(opened, clock, name, absent):
    with opened(name, faults=always(Fault.ABSENT_FOR_A_WHILE)) as shop:
        shop.refund(name, "r-1")
        told = [shop.poll(name, "r-1").signal]
        for seconds in (89, 1):
            clock.advance(seconds)
            told.append(shop.poll(name, "r-1").signal)
        assert told == [absent, absent, "success"]


@pytest.mark.parametrize("name", ["evocloud", "evonet", "bbmsl", "easylink"])
def test_an_answer_shows_another_amount_than_the_one_refunded(opened, clock, name):
    with opened(name, faults=always(Fault.WRONG_AMOUNT)) as shop:
        assert shop.refund(name, "r-1", 5000).evidence.amount_minor == 500
        clock.advance(40)
        assert shop.poll(name, "r-1").evidence.amount_minor == 5000
        assert shop.ledger(name).moved("r-1") == 5000


@pytest.mark.parametrize("name", ["evocloud", "evonet", "easylink"])
def test_a_success_becomes_a_failure_later_and_the_money_comes_back(opened, clock, name):
    with opened(name, faults=always(Fault.LATE_FAILURE)) as shop:
        shop.refund(name, "r-1")
        told = []
        for seconds in (40, 60):
            clock.advance(seconds)
            told.append((shop.poll(name, "r-1").signal, shop.ledger(name).moved("r-1")))
        assert told == [("success", 5000), ("failed", 0)]
        assert [movement.kind for movement in shop.ledger(name).movements] == ["refunded", "reversed"]


def test_bbmsl_documents_no_late_failure_so_it_has_none(opened, clock):
    with opened("bbmsl", faults=always(Fault.LATE_FAILURE)) as shop:
        shop.refund("bbmsl", "r-1")
        clock.advance(100_000)
        assert shop.poll("bbmsl", "r-1").signal == "success"


# ---- paying twice


@pytest.mark.parametrize("name", ["evocloud", "evonet"])
@pytest.mark.parametrize(
    ("fault", "after_s", "moved"),
    [(True, 6, 10000), (True, 4, 5000), (False, 6, 5000), (False, 90_000, 5000)],
    ids=["key forgotten", "key still kept", "key kept a day", "key forgotten, number still taken"],
)
def test_the_same_request_again_pays_twice_only_once_key_and_number_are_forgotten(
    opened, clock, name, fault, after_s, moved
):
    with opened(name, faults=always(Fault.KEY_EXPIRY) if fault else Faults.none()) as shop:
        shop.refund(name, "r-1")
        clock.advance(after_s)
        shop.refund(name, "r-1")
        clock.advance(40)
        assert shop.ledger(name).moved("r-1") == moved
        assert shop.ledger(name).posts == ("r-1", "r-1")


@pytest.mark.parametrize("name", ["evocloud", "evonet"])
def test_an_idempotency_key_is_answered_with_the_same_bytes(opened, clock, name):
    with opened(name) as shop:
        first = shop.refund(name, "r-1").response
        clock.advance(40)
        again = shop.refund(name, "r-1")
        assert again.response.content == first.content
        assert again.verification.key_id == "simulated"


# ---- determinism


def struck(faults, gateway="evonet"):
    return [
        (fault, refund, nth)
        for fault in Fault
        for refund in ("r-1", "r-2", "r-3")
        for nth in range(20)
        if faults.strikes(fault, gateway, refund, nth)
    ]


def test_the_seed_decides_which_faults_strike():
    assert struck(Faults.all("a", 300)) == struck(Faults.all("a", 300))
    assert struck(Faults.all("a", 300)) != struck(Faults.all("b", 300))
    assert struck(Faults.all("a", 300)) != struck(Faults.all("a", 300), "easylink")


def test_a_higher_chance_strikes_all_that_a_lower_one_does_and_more():
    few, many = struck(Faults.all("a", 100)), struck(Faults.all("a", 500))
    assert set(few) < set(many)
    assert few


def test_no_faults_never_strike():
    assert struck(Faults.none()) == []


def test_connection_faults_never_strike_the_same_thing_twice_in_a_row():
    faults = Faults.all("a", ALWAYS)
    for fault in (Fault.TIMEOUT_BEFORE_EFFECT, Fault.HALF_RESPONSE, Fault.SERVER_ERROR_HTML):
        assert [faults.strikes(fault, "evonet", "r-1", nth) for nth in range(4)] == [True, False, True, False]


def test_two_runs_with_one_seed_tell_and_move_the_same(opened):
    def told(seed):
        with opened(
            "evonet", seed=seed, faults=Faults(seed, {Fault.SERVER_ERROR_HTML: 500, Fault.WRONG_AMOUNT: 500})
        ) as shop:
            answers = [shop.refund("evonet", f"r-{number}").response for number in range(12)]
            return [(one.status_code, one.content) for one in answers], shop.ledger("evonet").as_json()

    assert told("a") == told("a")
    assert told("a") != told("b")


@pytest.mark.parametrize(
    "chances",
    [
        {"nonsense": 1},
        {Fault.HALF_RESPONSE: 1001},
        {Fault.HALF_RESPONSE: -1},
        {Fault.HALF_RESPONSE: 1.0},
        {Fault.HALF_RESPONSE: True},
    ],
    ids=str,
)
def test_chances_that_are_none_are_refused(chances):
    with pytest.raises(InvalidSetting):
        Faults.named("a", chances)


def test_every_fault_has_one_row_of_one_sentence():
    assert [row.fault for row in FAULTS] == list(Fault)
    assert all(re.fullmatch(r"[A-Z0-9][^.]*\.", row.says) for row in FAULTS)
