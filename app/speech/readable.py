"""Takes out of a model's text what nobody can read: characters that are not shown, and the marks of the model; pure."""

import re
from unicodedata import category

# Persian, Hindi and emoji need the two joiners. The other three only say on which side of an Arabic or Hebrew word its
# punctuation stands. They cannot turn the text around them, as the other marks of direction can.
KEPT = "\u200c\u200d\u200e\u200f\u061c"
SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # of Arabic and others
ZERO_WIDTH_SPACE = "\u200b"  # parts words in Khmer, Lao and Burmese
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # of Unicode; characters newer than Python stay
# `<|en|>`, `<|0.00|>` and `<|endoftext|>` are tokens of Whisper and Qwen. Qwen3-ASR writes `language English<asr_text>`
# before its text, which vLLM takes out (its `qwen3_asr.py`) and other servers may not.
MARKS = re.compile(r"<\|[^<>|]{1,40}\|>|(?:\blanguage [\w, ()-]{1,60}?)?<asr_text>")


def readable(text: str) -> str:
    """A text of another model without marks, with one space between its words. Empty if nothing of it can be seen."""
    found = " ".join(MARKS.sub(" ", visible(text)).split())
    return found if found.strip(f" {KEPT}") else ""


def visible(text: str) -> str:
    """The text without control characters, invisible ones, halves of characters, and code points that are none.

    PostgreSQL and UTF-8 cannot hold some of them, and others show a text in another order than it has. Line breaks and
    tabs become spaces.
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    is_hidden = category(character) in HIDDEN or _is_noncharacter(ord(character))
    if not is_hidden or character in KEPT + SIGNS:
        return character
    return " " if character.isspace() or character == ZERO_WIDTH_SPACE else ""


def _is_noncharacter(code: int) -> bool:
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
