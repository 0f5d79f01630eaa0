"""Writes traditional Chinese characters as simplified ones, so that both are compared in one form.

It exists so that one module knows the library and its tables.
"""

from collections.abc import Mapping
from functools import cache

from opencc import OpenCC

_CODES = (*range(0x3400, 0xA000), *range(0xF900, 0xFB00), *range(0x20000, 0x2A6E0))
# Characters of which the library cannot know alone how they are meant, or that it leaves as they are.
_ALSO = {"著": "着", "妳": "你"}


def simplified(text: str) -> str:
    """The text with one character for each of its characters, so that places in it stay the same.

    What a character means is not looked at. So characters that only sometimes are written alike become alike.
    """
    return text if text.isascii() else text.translate(_table())


@cache
def _table() -> Mapping[int, str]:
    converted = OpenCC("t2s").convert("\n".join(map(chr, _CODES))).split("\n")
    return {code: text for code, text in zip(_CODES, converted, strict=True) if chr(code) != text} | {
        ord(written): text for written, text in _ALSO.items()
    }
