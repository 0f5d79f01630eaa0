"""The sentences of the proof of categories, and its figures by words, which need no model."""

import json
import re
from collections import Counter
from pathlib import Path

from proofs.checks.__main__ import UTTERANCES, tallied

LANGUAGES = json.loads(UTTERANCES.read_text())
DECISION = Path("docs/decisions/0064-rules-without-a-model.md")
NAMES = {"en": "English", "es": "Spanish", "fr": "French", "de": "German", "zh": "Chinese"}


def test_each_language_has_thirty_sentences_of_three_intents_and_none() -> None:
    assert set(LANGUAGES) == set(NAMES)
    for entry in LANGUAGES.values():
        counted = Counter(each["intent"] for each in entry["utterances"])
        assert counted == {"refund": 7, "cancel": 7, "supervisor": 7, None: 9}


def test_the_decision_has_the_figures_by_words() -> None:
    rows = dict(re.findall(r"^\| (\w+) \| (.*) \|$", DECISION.read_text(), re.MULTILINE))
    for language, name in NAMES.items():
        tally = tallied(language, LANGUAGES[language], "words", None)
        found, meant = tally.right + tally.wrong, tally.right + tally.missed
        shown = [f"{tally.right / of:.0%} ({tally.right}/{of})".replace("%", " %") for of in (found, meant)]
        assert rows[name].split(" | ")[:2] == shown
