"""What is kept of a message: a look at all of its texts together hides what a look at each hides."""

import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from refold.engine import Message
from refold.engine.domain.masking import mask_cards
from refold.engine.service.keeping import Keeper

PROFILE = settings(derandomize=True, database=None, deadline=None, max_examples=300)
SECRET = "k3y,With=Odd Characters"
KEEPER = Keeper([SECRET], bytes)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PARTS = st.sampled_from(
    [
        *(SECRET, SECRET[:3], SECRET[3:], SECRET.encode().hex()),
        *("4111111111111111", "41111111", "11111111", "cvv", "=", " 123", "-"),
        *("ok", "\u202e", "\n", "é", "\ud800"),
    ]
)
TEXTS = st.lists(PARTS, max_size=4).map("".join)


def each(texts):
    try:
        return [KEEPER.text(text) for text in texts]
    except UnicodeError as error:
        return type(error)


@PROFILE
@given(st.lists(TEXTS, max_size=4))
def test_texts_looked_at_together_read_as_each_alone(texts):
    assert list(KEEPER.texts(*texts)) == each(texts)


def test_what_stands_in_two_texts_is_no_secret_of_either():
    assert list(KEEPER.texts("41111111", "11111111", *SECRET.split(","))) == [
        "41111111",
        "11111111",
        *SECRET.split(","),
    ]


def test_plain_texts_are_returned_as_they_are():
    texts = ("application/json", "2026-01-02T03:04:05+00:00", "a1" * 32)
    assert KEEPER.texts(*texts) == texts


def test_the_headers_are_kept_as_sorted_json():
    named = {
        "X-Trace": "1",
        "MsgID": "m-1",
        "DATE": 'd"é\ud83d\u2028\x00',
        "msgid": "m-2",
        "Content-Type": "",
    }
    body, _ = KEEPER.keep(Message(body=b"", received_at=NOW, headers=named))
    kept = {"msgid": "m-2", "date": KEEPER.text(named["DATE"]), "content-type": ""}
    assert body.headers == json.dumps(kept, sort_keys=True)


@PROFILE
@given(value=st.text())
def test_any_header_reads_as_json(value):
    body, _ = KEEPER.keep(Message(body=b"", received_at=NOW, headers={"Date": value}))
    assert body.headers == json.dumps({"date": KEEPER.text(value)})


@PROFILE
@given(content=TEXTS, date=TEXTS, token=TEXTS)
def test_a_message_looked_at_as_a_whole_is_kept_as_its_parts_are(content, date, token):
    raw = content.encode(errors="surrogatepass")
    headers = {"MsgID": token, "Date": date, "Authorization": token}
    if UnicodeError in (kept := [each([text]) for text in (date, token)]):
        return
    body, reference = KEEPER.keep(Message(body=raw, received_at=NOW, headers=headers))
    alone = mask_cards(KEEPER._blanked(raw))
    assert (body.content, reference.masked) == (alone, alone != raw)
    (date,), (token,) = kept
    assert json.loads(body.headers) == {"authorization": "****", "date": date, "msgid": token}
