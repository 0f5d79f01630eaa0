"""The marks that end sentences and clauses, in the scripts that models write; pure.

Subtitles break lines at these marks, and words get their times by them. Thai and Lao have no such marks.
"""

# Latin with its full-width forms · Chinese and Japanese · Arabic and Urdu · Devanagari and Bengali · Armenian ·
# Ethiopic · Burmese · Khmer · Tibetan
SENTENCE_MARKS = frozenset(".?!…．？！。｡؟۔।॥։።፧။។།")
CLAUSE_MARKS = frozenset(",;:—–，；：、､،؛՝፣፤၊")
CLOSING_MARKS = "\"'”’»›)]）］」』｣】》〉"
"""Quotes and brackets that may follow such a mark."""


def ends_sentence(text: str) -> bool:
    """Whether the text ends with the mark of a sentence's end, perhaps followed by closing quotes or brackets."""
    return _last_mark(text) in SENTENCE_MARKS


def ends_clause(text: str) -> bool:
    """Whether the text ends with a mark between clauses, perhaps followed by closing quotes or brackets."""
    return _last_mark(text) in CLAUSE_MARKS


def _last_mark(text: str) -> str:
    return text.rstrip().rstrip(CLOSING_MARKS)[-1:]
