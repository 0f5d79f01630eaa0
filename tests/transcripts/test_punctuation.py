import pytest

from app.transcripts.punctuation import ends_clause, ends_sentence


@pytest.mark.parametrize(
    "text",
    [
        " Hello.",
        " Really?!",
        " “Yes.”",
        " (Thank you.)",
        " 'Done!' ",
        "はい。",
        "「はい。」",
        "好的！",
        "（谢谢。）",
        "धन्यवाद।",
        "شكرا؟",
        "شکریہ۔",
        "Շնորհակալություն։",
        "አመሰግናለሁ።",
        "អរគុណ។",
        " Well…",
    ],
)
def test_a_sentence_ends_at_the_mark_of_its_script(text: str) -> None:
    assert ends_sentence(text)
    assert not ends_clause(text)


@pytest.mark.parametrize(
    "text", [" well,", " first;", " namely:", "はい、", "好的，", "نعم،", "አዎ፣", " “well,”", " no –"]
)
def test_a_clause_ends_at_the_mark_of_its_script(text: str) -> None:
    assert ends_clause(text)
    assert not ends_sentence(text)


@pytest.mark.parametrize("text", ["", " ", " hello", "ขอบคุณครับ", "”", " don't", " 3.5", "」"])
def test_other_texts_end_neither(text: str) -> None:
    assert not ends_sentence(text)
    assert not ends_clause(text)
