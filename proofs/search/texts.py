"""Calls that nobody made, in six languages, whose words are as frequent as those of real speech (Zipf's law)."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

COMMON: Mapping[str, str] = {
    "en": "the i you to and a it that of is in for have on be my this so can we do not was with your just what "
    "me at but are if know yes okay no thank call right will all there as get one would out they from or "
    "about an up need let see now please help order account number time back like day how want good when "
    "then had been because could did he has name check email card phone address week money pay bill "
    "contract cancel delivery service problem today sorry morning ",
    "de": "ich die und das sie der ist nicht zu es in den mit ja auf da haben wir ein für so wie was dann an "
    "aber noch auch bei von hat kann mir nein bitte danke guten tag rechnung vertrag nummer kunde straße "
    "möchte können über grüße würde schön müssen größe kündigen lieferung heute morgen ",
    "ar": "في من على أن هذا إلى نعم لا مع كان شكرا لك السلام عليكم رقم الطلب اليوم كيف أريد مدرسة الحساب مشكلة ",
}
CHARACTERS: Mapping[str, tuple[str, int, int]] = {  # the most common ones, then all from the first to the last
    "zh": ("的我是一不了你在有好这个他们来吗退款订单客服谢谢想要问电话号码今天问题", 0x4E00, 0x5800),
    "ja": ("のはいにをたですがとてしまれかなもらあんそこおすけどょっうき注文番号電話今日確認", 0x4E00, 0x5300),
    "th": ("านอเกรมงดวลคยทตสหพขบปาไใโแำิีืึุู่้ครับค่ะสวัสดีขอบคุณ", 0x0E01, 0x0E2E),
}
LANGUAGES = {"en": 55, "de": 15, "zh": 12, "ja": 6, "th": 6, "ar": 6}
SYLLABLES = [first + vowel + last for first in "bdfgklmnprst" for vowel in "aeiou" for last in ("", "n", "r", "st")]
WORDS = 30_000


@dataclass(frozen=True)
class Language:
    units: Sequence[str]
    weights: Sequence[float]
    space: str


def language(code: str, chance: random.Random) -> Language:
    if code in COMMON:
        units = COMMON[code].split()
        letters = SYLLABLES if code != "ar" else [a + b for a in "بتجحدرسصعفقكلمنهوي" for b in "اويةتمن"]
        units += {"".join(chance.choices(letters, k=chance.randint(2, 4))) for _ in range(WORDS)} - set(units)
        return Language(units, _zipf(len(units)), " ")
    common, first, last = CHARACTERS[code]
    units = list(dict.fromkeys([*common, *map(chr, range(first, last))]))
    return Language(units, _zipf(len(units)), "")


def _zipf(units: int) -> list[float]:
    return list(accumulate(1 / (rank + 2.7) for rank in range(units)))


def call(spoken: Language, chance: random.Random) -> list[str]:
    """The turns of a call: 700 words at the median, which is about five minutes."""
    length = int(chance.lognormvariate(6.55, 0.6)) * (1 if spoken.space else 2)
    turns = []
    while length > 0:
        size = min(length, chance.randint(3, 30))
        turns.append(spoken.space.join(chance.choices(spoken.units, cum_weights=spoken.weights, k=size)))
        length -= size
    return turns
