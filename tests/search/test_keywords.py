"""Keywords are the words of a call that say what it is about, in every language that can be cut into words."""

import pytest

from app.search.keywords import MOST_KEYWORDS, keywords


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("I'd like a refund for my Invoice 4711, don't cancel!", "en", ["cancel", "invoice", "refund"]),
        ("My card is [CREDIT_DEBIT_NUMBER], my phone [PHONE].", "en", ["card", "phone"]),
        ("Okay, hello, die Kündigung über die Straße", "de", ["kündigung", "straße"]),
        ("我想要取消我的订单ABC", "zh", ["abc", "取消", "订单"]),
        ("今日は返金をキャンセルの確認お願いします", "ja", ["キャンセル", "返金"]),
        ("मुझे रिफंड", "hi", ["मुझे", "रिफंड"]),
        ("ขอคืนเงิน", "th", []),
        ("unknown languages have words too", "xx", ["languages", "unknown", "words"]),
    ],
)
def test_the_words_of_a_language(text: str, language: str, expected: list[str]) -> None:
    assert keywords([(text, language)]) == expected


def test_a_long_call_keeps_its_most_frequent_words() -> None:
    many = " ".join(f"{first}{second}word" for first in "bcdfghjklm" for second in "abcdefghijklmnop")
    found = keywords([(many, "en"), ("refund refund", "en")])
    assert (len(found), "refund" in found) == (MOST_KEYWORDS, True)
