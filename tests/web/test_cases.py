"""The cases of abuse a webhook receiver must get right, by their numbers, through the application itself.

Cases 9 to 12 stand in test_cases_forged.py, cases 15 to 21 in test_cases_form.py, the others here.

B1   test_b1_a_valid_webhook_is_durable_before_it_is_acknowledged
B2   test_b2_the_same_webhook_again_is_one_event_and_200; in parallel over sockets: test_wire.py
B4   test_b4_b6_a_webhook_signed_more_than_300_s_away_is_the_same_401
B5   test_b5_a_replay_within_the_tolerance_is_a_duplicate_whatever_its_time_stamp
B6   test_b4_b6_…
B8   test_b8_success_before_pending_stays_success, test_b8_a_webhook_for_an_unknown_refund_waits_as_an_orphan
B9   test_b9_every_forgery_is_the_same_401_in_status_headers_and_body, test_b9_a_refused_body_is_not_parsed
B10  test_b10_the_sender_does_not_choose_the_algorithm
B11  test_b11_a_legacy_scheme_is_refused
B12  test_b12_during_a_rotation_either_secret_passes, test_b12_a_signature_header_of_more_than_4_kib_is_401
B14  tests/engine/test_webhooks.py (every candidate is compared), tests/architecture/test_safety.py (no == on digests)
B15  test_b15_…; over sockets: test_wire.py
B16  test_b16_a_compressed_body_is_415_and_never_inflated; over sockets: test_wire.py
B18  test_b18_what_is_not_strict_json_is_quarantined
B19  test_b19_xml_is_quarantined_or_refused_and_nothing_is_fetched
B21  test_b21_an_authentic_webhook_that_differs_from_the_intent_is_never_success
B22  test_b22_a_closed_store_is_503_with_retry_after, …locked…, …full…
B23  test_b23_wrong_paths_methods_and_types_are_404_405_415, test_b23_the_host_header_changes_nothing
B25  test_b25_an_address_in_a_message_is_never_fetched
B26  test_b26_the_access_log_shows_the_route_template_only
"""

import json
import re
from pathlib import Path

import pytest

from refold.engine import State
from refold.engine.web import create_app

HERE = Path(__file__).parent
ACKNOWLEDGEMENT = {"evonet": b"SUCCESS", "evocloud": b"SUCCESS", "easylink": b"success"}

# ---- accepted


@pytest.mark.parametrize("gateway", ACKNOWLEDGEMENT)
def test_b1_a_valid_webhook_is_durable_before_it_is_acknowledged(
    open_engine, ask, wire, call, gateway, tmp_path
):
    url = f"sqlite:///{tmp_path}/refunds.db"
    engine = open_engine(url)
    ask(engine, gateway=gateway)
    answer = call(create_app(engine), *wire.webhook(gateway), path=f"/webhooks/{gateway}")
    assert (answer.status, answer.body) == (200, ACKNOWLEDGEMENT[gateway])
    assert open_engine(url).refund("r-1").state is State.SUCCESS


def test_b2_the_same_webhook_again_is_one_event_and_200(app, engine, wire, call, sample):
    answers = [call(app, *wire.webhook()) for _ in range(5)]
    assert {answer[:3] == answers[0][:3] for answer in answers} == {True}
    assert (
        engine.store.head() == engine.refund("r-1").events + 1
    )  # the payment's reservation is the other one
    assert sample("refold_webhooks_total", gateway="evonet", result="accepted") == 1
    assert sample("refold_webhooks_total", gateway="evonet", result="duplicate") == 4


@pytest.mark.parametrize("signed_s", [-301, 301, -86400, 86400], ids=lambda s: f"{s:+} s")
@pytest.mark.parametrize("gateway", ACKNOWLEDGEMENT)
def test_b4_b6_a_webhook_signed_more_than_300_s_away_is_the_same_401(
    app, engine, wire, call, refused, gateway, signed_s, sample
):
    head = engine.store.head()
    assert call(app, *wire.webhook(gateway, signed_s=signed_s), path=f"/webhooks/{gateway}")[:3] == refused
    assert engine.store.head() == head
    assert sample("refold_webhooks_total", gateway=gateway, result="unauthentic")


def test_b5_a_replay_within_the_tolerance_is_a_duplicate_whatever_its_time_stamp(app, wire, call, sample):
    assert [call(app, *wire.webhook(signed_s=seconds)).status for seconds in (-300, 0, 300)] == [200] * 3
    assert sample("refold_webhooks_total", gateway="evonet", result="duplicate") == 2


def test_b8_success_before_pending_stays_success(app, engine, wire, call):
    for says in ("success", "pending"):
        assert call(app, *wire.webhook(says=says)).status == 200
    assert engine.refund("r-1").state is State.SUCCESS
    assert [entry.type for entry in engine.history("r-1")][1:] == ["evidence.success", "evidence.pending"]


def test_b8_a_webhook_for_an_unknown_refund_waits_as_an_orphan(app, engine, ask, wire, call):
    assert call(app, *wire.webhook(refund_id="r-2")).status == 200
    assert [row["kind"] for row in engine.inbox()] == ["orphaned"]
    ask(engine, "r-2")
    assert engine.refund("r-2").state is State.SUCCESS


# ---- the store fails


def not_now(answer):
    return (answer.status, answer.header("retry-after"), answer.words) == (503, "5", "not_stored")


def test_b22_a_closed_store_is_503_with_retry_after(app, engine, wire, call):
    engine.close()
    assert not_now(call(app, *wire.webhook()))


def test_b22_a_store_that_another_process_keeps_locked_is_503_and_the_next_try_200(
    open_engine, ask, wire, call, tmp_path
):
    url = f"sqlite:///{tmp_path}/refunds.db"
    engine, other = open_engine(url, timeout_s=0.05), open_engine(url)
    ask(engine)
    app = create_app(engine)
    with other.store.batch():
        ask(other, "r-2")
        assert not_now(call(app, *wire.webhook()))
    assert call(app, *wire.webhook()).status == 200


def test_b22_a_full_store_is_503_and_after_room_is_made_200(open_engine, ask, wire, call, tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/refunds.db")
    ask(engine)
    app = create_app(engine)
    connection = engine.store._store._writer._connection  # of the SQLite store inside the observed one
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    assert not_now(call(app, *wire.webhook(note="x" * 60_000)))
    connection.execute("PRAGMA max_page_count = 1000000")
    assert call(app, *wire.webhook(note="x" * 60_000)).status == 200


# ---- wrong paths, and what must not matter


WRONG = [
    ("POST", "/webhooks/paypal", {}, 404),
    ("POST", "/webhooks/bbmsl", {}, 404),
    ("POST", "/webhooks/", {}, 404),
    ("POST", "/webhooks/evonet/", {}, 404),
    ("POST", "/webhooks/evonet/x", {}, 404),
    ("POST", "//webhooks/evonet", {}, 404),
    ("POST", "/webhooks/../metrics", {}, 404),
    ("POST", "/", {}, 404),
    ("GET", "/webhooks/evonet", {}, 405),
    ("PUT", "/webhooks/evonet", {}, 405),
    ("TRACE", "/webhooks/evonet", {}, 405),
    ("POST", "/healthz", {}, 405),
    ("DELETE", "/metrics", {}, 405),
    ("POST", "/webhooks/evonet", {"content-type": "application/xml"}, 415),
    ("POST", "/webhooks/evonet", {"content-type": "multipart/form-data; boundary=x"}, 415),
    ("POST", "/webhooks/evonet", {"content-type": "application/jsonx"}, 415),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), WRONG)
def test_b23_wrong_paths_methods_and_types_are_404_405_415(app, call, method, path, headers, status):
    answer = call(app, headers, method=method, path=path)
    assert (answer.status, bool(answer.header("allow"))) == (status, status == 405)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "text/plain", "", None]
)
def test_b23_the_types_that_gateways_send_are_taken(app, wire, call, kind):
    headers, body = wire.webhook()
    headers.pop("content-type")
    assert call(app, headers if kind is None else headers | {"content-type": kind}, body).status == 200


@pytest.mark.parametrize("path", ["/webhooks/evonet", "/webhooks/evonet/", "/nowhere", "/healthz"])
def test_b23_the_host_header_changes_nothing(app, call, path):
    hosts = ["x", "evil.example", "", "a b\r\nset-cookie: x", b"\xff"]
    answers = [call(app, {"host": host}, path=path)[:3] for host in hosts]
    assert {answer == answers[0] for answer in answers} == {True}


def test_b25_an_address_in_a_message_is_never_fetched(app, engine, wire, call, no_network):
    address = {"certUrl": "http://169.254.169.254/", "next": "file:///etc/passwd", "webhook": "http://[::1]/"}
    assert call(app, *wire.webhook(**address)).status == 200
    assert engine.refund("r-1").state is State.SUCCESS


CANARY = "whsec-canary"


@pytest.mark.parametrize(
    "path", [f"/webhooks/{CANARY}", f"/{CANARY}", "/webhooks/evonet", f"/webhooks/evonet/{CANARY}"]
)
def test_b26_the_access_log_shows_the_route_template_only(app, call, logs, path):
    call(app, {"cookie": CANARY}, CANARY.encode(), path=path, query_string=f"secret={CANARY}".encode())
    assert next(entry["route"] for entry in logs if entry["event"] == "request.answered") in {
        "/webhooks/{gateway}",
        "none",
    }
    assert CANARY not in repr(logs)


def test_b26_a_known_gateway_is_named_in_the_access_log(app, call, logs):
    call(app)
    assert logs[-1] == {
        "event": "request.answered",
        "level": "info",
        "method": "POST",
        "route": "/webhooks/{gateway}",
        "status": 401,
        "gateway": "evonet",
    }


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nowhere", "/webhooks/evonet"])
def test_every_answer_says_nosniff_and_no_store(app, call, path):
    for method in ("GET", "POST"):
        answer = call(app, method=method, path=path)
        assert (answer.header("x-content-type-options"), answer.header("cache-control")) == (
            "nosniff",
            "no-store",
        )


def test_nothing_of_a_body_stands_in_an_answer(app, call):
    assert CANARY.encode() not in json.dumps(str(call(app, body=CANARY.encode()))).encode()


def test_the_table_of_cases_names_tests_that_exist():
    named = re.findall(r"\btest_b[0-9]\w+(?![\w.…])", __doc__)
    assert len(named) > 15
    known = re.findall(
        r"^def (test_b\w+)", "".join(file.read_text() for file in HERE.glob("test_cases*.py")), re.MULTILINE
    )
    assert [name for name in named if not any(each.startswith(name) for each in known)] == []
    numbers = set(re.findall(r"^B[0-9]+", __doc__, re.MULTILINE))
    assert numbers == {
        f"B{n}" for n in (1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 14, 15, 16, 18, 19, 21, 22, 23, 25, 26)
    }
