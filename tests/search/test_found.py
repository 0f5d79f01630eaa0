"""What is found of what was said, on a real PostgreSQL, in languages with and without spaces."""

import random
import time
from collections.abc import Sequence

import pytest

from app.access.callers import Caller
from app.database.connections import Database
from app.jobs.reads.listing import Wanted
from app.jobs.reads.reading import Page, Reader
from app.search.hits import LONGEST_TEXT, hits
from app.search.lexemes import MOST_BYTES, rows_of
from app.search.query import parse
from app.transcripts.transcript import Segment
from testing.rows import TESTER
from testing.said import ids, said

FOUND = [
    ("I would like a Refund, please.", "refund", ["Refund"]),
    ("I would like a refund, please.", '"a refund please"', ["a refund, please"]),
    ("Refunds are refunded by refunding.", "refund", ["Refunds", "refunded", "refunding"]),
    ("No e-mails, please.", "e-mail", ["e-mails"]),
    ("Die Kündigungen sind da.", "kündigung", ["Kündigungen"]),
    ("Где мои деньги и возвраты?", "возврат", ["возвраты"]),
    ("I want my ice cream.", '"ice cream" crea', ["ice cream"]),
    ("Don’t do it.", "don't", ["Don’t"]),
    ("Order AB-123 costs 12,50 €.", 'ab-123 "12,50"', ["AB-123", "12,50"]),
    ("Wir treffen uns im Café in der Straße.", "cafe STRASSE", ["Café", "Straße"]),
    ("Ich möchte kündigen.", "mochte kündigen", ["möchte", "kündigen"]),
    ("Cafe\u0301 au lait", "café", ["Cafe\u0301"]),
    ("ｆｕｌｌ ｗｉｄｔｈ", "full", ["ｆｕｌｌ"]),
    ("Łódź i İstanbul", "lodz istanbul", ["Łódź", "İstanbul"]),
    ("أَهْلاً وَسَهْلاً بك في المدرسة", "اهلا المدرسه", ["أَهْلاً", "المدرسة"]),
    ("شكـــرا جزيلا", "شكرا", ["شكـــرا"]),
    ("رقم ٤٨١٥١", "48151", ["٤٨١٥١"]),
    ("मुझे हिन्दी में बात करनी है", "हिन्दी", ["हिन्दी"]),
    ("我想退款，谢谢。", "退款", ["退款"]),
    ("我想退款，谢谢。", "想", ["想"]),
    ("我想退款，谢谢。", "我想退款 谢谢", ["我想退款", "谢谢"]),
    ("我 想 退款", "我想退款", ["我 想 退款"]),
    ("我的iPhone手机坏了", "iphone手机", ["iPhone手机"]),
    ("我的 iPhone 15 坏了", '坏了 "iphone 15"', ["iPhone 15", "坏了"]),
    ("注文をキャンセルしたいです。", "ｷｬﾝｾﾙ", ["キャンセル"]),
    ("注文番号は東京です", "東京", ["東京"]),
    ("สวัสดีครับ ขอคืนเงินได้ไหม", "คืนเงิน", ["คืนเงิน"]),
    ("สวัสดีครับ ขอคืนเงินได้ไหม", "ได้", ["ได้"]),
    ("น้ำประปาไม่ไหล", "น้ำ", ["น้ำ"]),
    ("환불은 언제 됩니까", "환불", ["환불"]),
    ("ຂໍເງິນຄືນ", "ເງິນ", ["ເງິນ"]),
]
MISSED = [
    ("I would like a refund.", "refunds"),
    ("I would like refunds.", '"refund"'),
    ("I would like more refunds.", '"more refund"'),
    ("A carton costs 48151.", "car"),
    ("A carton costs 48151.", "4815"),
    ("Order ABCD1234.", "abcd1"),
    ("I would like a refund.", '"refund like"'),
    ("I would like a refund.", '"would a"'),
    ("我想退款。", "款退"),
    ("退，款", "退款"),
    ("我想退款。", "我退"),
    ("客户服务", "客户户服"),
    ("мой", "мои"),
    ("かき", "がき"),
    ("ขอคืนเงิน", "เงินคืน"),
]


async def search(database: Database, query: str, caller: Caller = TESTER) -> Page:
    return await Reader(database).page(Wanted(query=parse(query)), caller)


async def found(database: Database, query: str, caller: Caller = TESTER) -> list[str]:
    return [str(item.job.id) for item in (await search(database, query, caller)).items]


@pytest.mark.parametrize(("spoken", "query", "marked"), FOUND)
async def test_a_call_is_found_and_its_words_are_marked(
    database: Database, spoken: str, query: str, marked: Sequence[str]
) -> None:
    call = await said(database, "Hi!", spoken)
    page = await search(database, query)
    assert [item.job.id for item in page.items] == [call.id]
    assert page.hits is not None
    [hit] = page.hits[call.id].shown
    assert [hit.text[start:end] for start, end in hit.marks] == marked
    assert await found(database, f"{query} elsewhere") == []


def test_a_long_turn_has_a_place_for_each_part_of_it_that_has_the_words() -> None:
    texts = [f"Sentence number {number} is about nothing at all." for number in range(40)]
    texts[1] = texts[20] = texts[21] = "I want a refund."
    segments = [Segment(at, 0, "agent", 5.0 * at, 5.0 * at + 4.5, text, "en") for at, text in enumerate(texts)]
    refund = hits(segments, parse("refund"))
    assert refund.count == 2
    assert [hit.start for hit in refund.shown] == [5.0, 100.0]
    for hit, times in zip(refund.shown, (1, 2), strict=True):
        assert [hit.text[start:end] for start, end in hit.marks] == ["refund"] * times
        assert len(hit.text) <= LONGEST_TEXT


def test_one_segment_may_be_longer_than_a_place() -> None:
    text = "word " * 200 + "refund " + "word " * 200
    [hit] = hits([Segment(0, 0, "agent", 1.0, 29.0, text.strip(), "en")], parse("refund")).shown
    assert hit.start == 1.0
    assert hit.text[slice(*hit.marks[0])] == "refund"


@pytest.mark.parametrize(("spoken", "query"), MISSED)
async def test_a_call_without_the_words_is_not_found(database: Database, spoken: str, query: str) -> None:
    await said(database, spoken, "Hi!")
    assert await found(database, query) == []


async def test_a_phrase_does_not_reach_into_the_next_turn_but_words_may_be_in_any(database: Database) -> None:
    call = await said(database, "I want a", "refund now")
    assert await found(database, "want refund") == ids([call])
    assert await found(database, '"a refund"') == []


async def test_a_call_of_hours_is_found_by_all_of_its_words_and_phrases(database: Database) -> None:
    """`the` is said thousands of times, of which PostgreSQL keeps 255 positions in a row of the table."""
    turns = [f"the number {number} and the end of the turn" for number in range(6000)]
    turns[2999] = "the parcel was " + "the thing " * 500 + "never seen again"
    call = await said(database, "opening", *turns, "我想退款" * 3000 + "客服")
    assert len(rows_of(turns, "default")) > 20
    for query in (
        '"the number 5999 and the end"',
        'opening "the thing never seen"',
        '"the parcel was the thing" 5998 客服',
        "想退款客服",
    ):
        assert await found(database, query) == ids([call]), query
    for query in ('"the end of number"', '"parcel was never"', "款客服退", '"turn the number"'):
        assert await found(database, query) == [], query


async def test_a_call_with_too_many_words_for_postgresql_is_written_and_found(database: Database) -> None:
    turns = [" ".join(f"w{number}x{word}" for word in range(1000)) for number in range(80)]
    [whole, *_] = rows_of(turns, "default")
    assert len(whole) > MOST_BYTES // 2
    call = await said(database, *turns)
    assert await found(database, '"w3x7 w3x8"') == ids([call])
    assert await found(database, '"w3x7 w3x9"') == []


def test_hours_without_a_word_that_occurs_twice_take_seconds() -> None:
    """Time of the processor, because other tests use this machine too."""
    chance = random.Random(20)
    text = "".join(chr(chance.randrange(0x4E00, 0x9FA5)) for _ in range(120_000))
    started = time.process_time()
    [whole, *_] = rows_of([text], "default")
    assert time.process_time() - started < 10
    assert len(whole.split()) > 80_000


async def test_other_tenants_find_nothing(database: Database) -> None:
    await said(database, "I want a refund.")
    theirs = await said(database, "I want a refund.", caller="acme:crm")
    assert await found(database, "refund", Caller("manager", "acme")) == ids([theirs])


@pytest.mark.parametrize(
    "query", ["'; DROP TABLE x; --", "a & b | !c <-> d", "\\'", "refunds:*", "((((", '"""b', "*", "+aaaa", "@default"]
)
async def test_operators_of_postgresql_mean_nothing(database: Database, query: str) -> None:
    await said(database, "I want a refund.")
    try:
        assert await found(database, query) == []
    except ValueError as error:
        assert str(error) == "must have a letter or a digit"  # noqa: PT017
