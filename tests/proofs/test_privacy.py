"""How much of what is private the redaction finds in speech."""

from collections import Counter

from app.transcripts.entities import Entity
from proofs.privacy.__main__ import sentences, tally_of

SPOKEN = sentences()
FIRST = [each for each in SPOKEN if each.voice == "one"]
LANGUAGES = {"en", "es", "fr", "de", "it", "pt", "zh", "ja"}


def test_each_language_has_many_sentences_with_and_without_private_digits() -> None:
    counted = Counter(each.language for each in FIRST)
    assert set(counted) == LANGUAGES
    assert min(counted.values()) >= 35
    assert len(FIRST) >= 200
    for language in LANGUAGES:
        own = [each for each in FIRST if each.language == language]
        assert sum(each.digits for each in own) >= 190
        assert sum(not each.private for each in own) >= 9


def test_hardly_a_spoken_digit_or_address_is_left_and_nothing_harmless_is_taken_out() -> None:
    tally = tally_of(FIRST)
    assert tally.recall_of_digits >= 0.99
    assert tally.recall(Entity.EMAIL) >= 0.95
    assert tally.wrong == 0


def test_a_voice_that_the_rules_were_not_made_for_is_redacted_almost_as_well() -> None:
    tally = tally_of(each for each in SPOKEN if each.voice == "two")
    assert tally.recall_of_digits >= 0.97
    assert tally.wrong == 0
