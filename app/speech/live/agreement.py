"""Decides which words of a growing utterance are shown: those on which two passes in a row agree; pure.

It is LocalAgreement-2 of Macháček et al., "Turning Whisper into Real-Time Transcription System" (2023). A word that is
shown stays, so that the text does not flicker.
"""

import re
from collections.abc import Sequence
from itertools import takewhile

from app.transcripts.transcript import WITHOUT_SPACES

PARTS = re.compile(rf"\s*(?:[{WITHOUT_SPACES}]|[^\s{WITHOUT_SPACES}]+)")


def parts_of(text: str) -> list[str]:
    """The words of a text with the spaces before them, or the characters of a script without spaces."""
    return PARTS.findall(text)


class Agreement:
    """The agreed words of one utterance."""

    def __init__(self) -> None:
        self._last: Sequence[str] = ()
        self._agreed: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._agreed).strip()

    def hear(self, text: str) -> bool:
        """Takes what a pass heard in the whole utterance so far. Returns whether more words are agreed on now."""
        parts, known = parts_of(text), len(self._agreed)
        pairs = zip(self._last[known:], parts[known:], strict=False)
        agreed = [new for _, new in takewhile(lambda pair: _said(pair[0]) == _said(pair[1]), pairs)]
        self._agreed += agreed
        self._last = parts
        return bool(agreed)


def _said(part: str) -> str:
    return "".join(filter(str.isalnum, part)).casefold()
