"""Data that another program wrote: the rows are those that the fold makes, or the error is."""

import random

import pytest

from refold.engine.audit.projecting import Folding
from refold.engine.errors import InvalidInput
from refold.engine.service.outlines import outlines

ASKED = {
    "gateway": '"evonet"',
    "refund_id": '"r-1"',
    "payment_id": '"p-1"',
    "amount_minor": "5",
    "currency": '"HKD"',
}
SENT = '{"v":1,"idempotency_key":"k","message":{"digest":"d","size":1}}'


def asked(name, **changes):
    """Return the data of a request, some values of which are given as JSON; None leaves one out."""
    fields = ASKED | {"refund_id": f'"{name}"'} | changes
    return (
        '{"v":1,' + ",".join(f'"{key}":{value}' for key, value in fields.items() if value is not None) + "}"
    )


def said(rest):
    return '{"v":1,"channel":"poll","code":"c","trust":"unverified"' + rest + "}"


def both_ways(engine, dump):
    """Rebuild without outlines and with them; return the rows, the streams set aside and the error of each time."""
    seen = []
    for given_ in ((), outlines()):
        folding = Folding(engine.store, outlines=given_)
        refused = None
        try:
            engine.store.rebuild(folding)
        except InvalidInput as error:
            refused = str(error)
        seen.append((dump(engine), sorted(stream for stream, _ in folding.set_aside), refused))
    return seen


ODD_AMOUNTS = ['"5"', "5.0", "5e0", "true", "null", "[5]", '{"a":5}', "9" * 19, "9" * 40, "0", "-5", None]
ODD_TEXTS = ["5", "true", "null", '["evonet"]', '{"a":"evonet"}', None]
PLAIN_TEXTS = [
    '""',
    '"é💥"',
    r'"a\"b\\c\/d\n"',
    '"\\u0065vonet"',
    '" a "',
    r'"p\ud800"',
    r'"p\u0000x"',
    '"p\ufffd"',
]
ODD_CURRENCIES = ['"ZZZ"', '"hk"', '"hkd"', '"HKD "', '"XAU"', '"JPY"']
EARLY = "0001-01-01T00:00:00.000000Z"
TIME = "2026-11-21T12:00:00.000000Z"
ODD_TIMES = [
    "yesterday",
    "2026-11-21T12:00:00+08:00",
    "2026-11-21T12:00:00.0+08:00",
    "2026-11-21T12:00:00Z",
    "2026-11-21T12:00:00.000000",
    "20261121T120000.000000Z",
]
IMPOSSIBLE_TIMES = [
    "2026-13-01T12:00:00.000000Z",
    "2026-02-29T12:00:00.000000Z",
    "2026-11-31T12:00:00.000000Z",
    "2026-11-21T24:00:00.000000Z",
    "2026-11-21T12:00:60.000000Z",
    "2026-11-21T12:00:00.00000xZ",
    "2026-11-21t12:00:00.000000z",
]
RARE_TIMES = ["2028-02-29T23:59:59.999999Z", "2026-11-21T12:00:00.999999Z", "9999-12-31T23:59:59.999999Z"]
ODD_EVIDENCE = {
    "number": [said(',"gateway_refund_id":5')],
    "truth": [said(',"gateway_refund_id":true')],
    "null": [said(',"gateway_refund_id":null')],
    "list": [said(',"gateway_refund_id":["n"]')],
    "empty": [said(',"gateway_refund_id":""')],
    "empty-first": [said(',"gateway_refund_id":""'), said(',"gateway_refund_id":"n-2"')],
    "later": [said(""), said(',"gateway_refund_id":"n-2"'), said(',"gateway_refund_id":"n-3"')],
    "twice": [said(',"gateway_refund_id":"n-1","gateway_refund_id":"n-2"')],
    "inside": [said(',"message":{"gateway_refund_id":"n-1"}')],
    "named": [said(r',"detail":"gateway_refund_id","account":"\"gateway_refund_id\""')],
    "spaced": [said(' , "gateway_refund_id" : "n-1" ')],
    "escaped": [said(',"gateway_refund_i\\u0064":"n-1"')],
    "newer": [said(""), '{"v":2' + said("")[6:]],
    "claimed": [said(',"gateway_refund_id":"n-1","claimed":"success"')],
    "claimed-late": [
        said(""),
        said(',"claimed":"success","gateway_refund_id":"n-1"'),
        said(',"gateway_refund_id":"n-3"'),
    ],
    "half": [said(r',"gateway_refund_id":"n\ud800"')],
    "half-late": [said(""), said(r',"gateway_refund_id":"n\ud800"')],
    "adopting": [said(',"adopted_fr\\u006fm":"k-1"')],
    "adopting-late": [said(""), said(',"adopted_from":"k-2"')],
}


def odd_streams():
    opened = {
        "plain": asked("plain"),
        "spaced": asked("spaced").replace(":", " : ").replace('{"v" : 1', '{"v":1'),
        "twice": asked("twice", currency='"USD","currency":"HKD"'),
        "escaped-name": asked("escaped-name").replace("gateway", "g\\u0061teway"),
        "other-version": asked("other-version").replace('"v":1', '"v":1.0'),
        "no-version": asked("no-version").replace('"v":1,', ""),
    }
    opened |= {f"amount-{n}": asked(f"amount-{n}", amount_minor=odd) for n, odd in enumerate(ODD_AMOUNTS)}
    opened |= {
        f"{field}-{n}": asked(f"{field}-{n}", **{field: odd})
        for field in ("gateway", "payment_id", "currency")
        for n, odd in enumerate([*ODD_TEXTS, *(PLAIN_TEXTS if field != "currency" else ())])
    }
    opened |= {f"in-{n}": asked(f"in-{n}", currency=odd) for n, odd in enumerate(ODD_CURRENCIES)}
    streams = {f"refund-{name}": [("refund.requested", data)] for name, data in opened.items()}
    for n, odd in enumerate((*ODD_TIMES, *IMPOSSIBLE_TIMES, *RARE_TIMES)):
        for name, opened_at, told_at in ((f"opened-{n}", odd, TIME), (f"latest-{n}", EARLY, odd)):
            told = ("evidence.pending", said(""), told_at)
            streams[f"refund-{name}"] = [("refund.requested", asked(name), opened_at), told]
    streams["refund-too-early"] = [("refund.requested", asked("too-early"), "0000-01-01T12:00:00.000000Z")]
    for n, odd in enumerate(ODD_TIMES):
        told = ("evidence.pending", said(""))
        streams[f"refund-between-{n}"] = [
            ("refund.requested", asked(f"between-{n}")),
            (*told, odd),
            (*told, "9999-01-01T00:00:00.000000Z"),
        ]
    streams["refund-unopened"] = [("refund.submission_started", asked("unopened"))]
    for name, evidence in ODD_EVIDENCE.items():
        told = [("evidence.pending", data) for data in evidence]
        streams[f"refund-ev-{name}"] = [
            ("refund.requested", asked(f"ev-{name}")),
            ("refund.submission_started", SENT),
        ]
        streams[f"refund-ev-{name}"] += told
    return streams


TAKEN_AS_THEY_SEEM = {
    "refund-twice",
    "refund-ev-twice",
    "refund-ev-escaped",
    "refund-ev-inside",
    "refund-ev-newer",
}
"""On SQLite: names given twice or in escapes, and events at whose data it does not look."""


def test_odd_data_makes_the_rows_that_the_fold_makes(engine, place, written, dump):
    lite = place.url.startswith("sqlite:")
    written(
        engine,
        {name: told for name, told in odd_streams().items() if not (lite and name in TAKEN_AS_THEY_SEEM)},
    )
    folded, worked_out = both_ways(engine, dump)
    assert worked_out == folded


def test_data_that_only_looks_odd_is_not_left_on_postgres(postgres, left_of, written):
    _, engine = postgres
    written(engine, odd_streams())
    left = left_of(engine, outlines())["refund"]
    assert {"refund-escaped-name", "refund-ev-escaped", "refund-ev-adopting", "refund-gateway-9"} <= set(left)
    worked = odd_streams().keys() - left
    assert worked >= {
        f"refund-{name}" for name in ("plain", "spaced", "twice", "gateway-8", "ev-later", "ev-twice")
    }


REFUSED = {
    "no JSON": {"refund-odd": [("refund.requested", '{"v":1,"gateway":')]},
    "nested too deep": {
        "refund-odd": [("refund.requested", asked("odd", reason="[" * 50_000 + "]" * 50_000))],
    },
    "two streams of one refund": {
        "refund-odd": [("refund.requested", asked("odd"))],
        "refund-odd-2": [("refund.requested", asked("odd", currency='"USD"'))],
    },
    "a key too long for an index": {
        "refund-odd": [
            ("refund.requested", asked("odd", payment_id=f'"{random.Random(1).randbytes(5000).hex()}"'))
        ]
    },
    "a sum too large": {
        f"refund-odd-{n}": [("refund.requested", asked(f"odd-{n}", amount_minor="9" * 18))] for n in range(12)
    },
    "two captures of one payment": {
        f"payment-odd-{n}": [
            ("payment.registered", asked("odd", captured_minor=n, refund_id=None, amount_minor=None))
        ]
        for n in (10, 20)
    },
}


@pytest.mark.parametrize("streams", REFUSED.values(), ids=REFUSED.keys())
def test_what_a_store_refuses_to_work_out_ends_as_the_fold_ends_it(
    engine, ask, wire, streams, plain, written, dump
):
    plain(engine, "a", "s")
    written(engine, streams)
    folded, worked_out = both_ways(engine, dump)
    assert worked_out == folded


def test_a_stream_that_postgres_does_not_know_takes_no_other_one_along(
    postgres, ask, wire, plain, left_of, written
):
    _, engine = postgres
    plain(engine, "a")
    written(engine, {"refund-a-odd": [("refund.requested", asked("odd", reason='"\\u0000"'))]})
    assert left_of(engine, outlines()) == {"payment": [], "refund": ["refund-a-odd"]}


def test_what_postgres_refuses_to_work_out_undoes_nothing_of_a_batch(postgres, ask, wire, plain, written):
    _, engine = postgres
    plain(engine, "a", "s")
    with engine.store.batch():
        ask(engine, "r-9", payment="p-9")
        written(engine, REFUSED["no JSON"])
        assert [stream for stream, _ in engine.rebuild().set_aside] == ["refund-odd"]
    assert engine.refund("r-9").state == "created"
    assert engine.replay().differences == ()
