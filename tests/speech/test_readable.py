"""What a model writes → what people can read."""

import pytest

from app.speech.readable import readable, visible


@pytest.mark.parametrize("hidden", [0x202E, 0x2066, 0xFEFF, 0xAD, 0x7F, 0x80, 0xFFFE, 0xFFFF, 0xE000, 0xE0041])
def test_what_is_not_shown_is_taken_out_of_words(hidden: int) -> None:
    assert visible(f" Hel{chr(hidden)}lo") == " Hello"


@pytest.mark.parametrize("line_break", ["\n", "\t", "\r\n", "\x85", "\u2028", "\u2029", "\u200b"])
def test_line_breaks_become_spaces(line_break: str) -> None:
    assert readable(f"Hello{line_break}there") == "Hello there"


@pytest.mark.parametrize(
    "text",
    ["می‌خواهم", "क्‍ष", "👩‍💻 ❤️", "שלום\u200f!", "a\u200eb", "한국어、日本語。", "½\u2009€", "\U0001faea", "\u06dd"],
)
def test_what_a_script_needs_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("<|startoftranscript|><|en|><|0.00|> Hello.<|2.40|><|endoftext|>", "Hello."),
        ("language English<asr_text>Hello", "Hello"),
        ("language zh-CN<asr_text>你好", "你好"),
        ("language Chinese,English<asr_text>你好 Hello<|im_end|>", "你好 Hello"),
        ("language None<asr_text>", ""),
        ("\u200e\u200d \u2066", ""),
        ("The language English is spoken here, a < b | c > d", "The language English is spoken here, a < b | c > d"),
    ],
)
def test_marks_of_a_model_are_no_text(written: str, text: str) -> None:
    assert readable(written) == text
