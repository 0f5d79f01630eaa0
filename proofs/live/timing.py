"""How late the words of a live call are, measured against the words of a transcript with their times. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from proofs.live.calls import Played, Told


@dataclass(frozen=True)
class Spoken:
    """A word of the reference. Times are seconds from the start of the call."""

    channel: int
    start: float
    end: float
    token: str


@dataclass
class Delays:
    """In seconds. `words` has a delay for each word of the reference that was shown; `missing` counts the others.

    `without_partials` counts utterances that were shown only when they were over: `first_partials` has none of them.
    """

    first_partials: list[float] = field(default_factory=list)
    words: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)
    missing: int = 0
    without_partials: int = 0

    def add(self, other: "Delays") -> None:
        self.first_partials += other.first_partials
        self.words += other.words
        self.finals += other.finals
        self.missing += other.missing
        self.without_partials += other.without_partials


@dataclass
class _Utterance:
    partials: list[Told] = field(default_factory=list)
    final: Told | None = None

    @property
    def tokens(self) -> Sequence[str]:
        return tokens(self.final.event["text"]) if self.final else []

    def shown(self) -> Sequence[float]:
        """When each word of the final text could be read for the first time, in a partial or in the final text."""
        assert self.final is not None
        at = [self.final.at] * len(self.tokens)
        for partial in reversed(self.partials):
            for block in _common(tokens(partial.event["text"]), self.tokens):
                for place in range(block.b, block.b + block.size):
                    at[place] = partial.at
        return at


def tokens(text: str) -> list[str]:
    """A token for each word, so that places in the text stay."""
    return ["".join(filter(str.isalnum, word.lower())) for word in text.split()]


def spoken_words(transcript: dict[str, Any]) -> list[Spoken]:
    """The words of a transcript that has times for words."""
    return [
        Spoken(segment["channel"], word["start"], word["end"], token)
        for segment in transcript["segments"]
        for word in segment["words"]
        for token in tokens(word["word"])
    ]


def delays(played: Played, reference: Sequence[Spoken]) -> Delays:
    """A word counts if the final text has it too. An utterance begins with its first such word.

    It ends where the service says that the voice ended: the times of last words in a transcript are too early by up to
    two seconds, because a model ends a drawn-out word too soon.
    """
    found = Delays()
    for channel in {word.channel for word in reference}:
        words = [word for word in reference if word.channel == channel]
        utterances = [each for each in _utterances(played, channel) if each.tokens]
        places = [(each, place) for each in utterances for place in range(len(each.tokens))]
        heard = [token for each in utterances for token in each.tokens]
        matched: dict[int, list[tuple[int, Spoken]]] = {}
        for block in _common([word.token for word in words], heard):
            for offset in range(block.size):
                utterance, place = places[block.b + offset]
                matched.setdefault(utterances.index(utterance), []).append((place, words[block.a + offset]))
        found.missing += len(words) - sum(map(len, matched.values()))
        for number, pairs in matched.items():
            _add(found, utterances[number], pairs)
    return found


def _add(found: Delays, utterance: _Utterance, pairs: Sequence[tuple[int, Spoken]]) -> None:
    assert utterance.final is not None
    shown = utterance.shown()
    found.words += [shown[place] - word.end for place, word in pairs]
    found.finals.append(utterance.final.at - utterance.final.event["end"])
    if utterance.partials:
        found.first_partials.append(utterance.partials[0].at - pairs[0][1].start)
    else:
        found.without_partials += 1


def _utterances(played: Played, channel: int) -> Sequence[_Utterance]:
    by_number: dict[int, _Utterance] = {}
    for told in played.told:
        if told.event.get("channel") != channel:
            continue
        if told.event["type"] == "partial" and told.event["text"]:
            by_number.setdefault(told.event["utterance"], _Utterance()).partials.append(told)
        if told.event["type"] == "transcript":
            by_number.setdefault(told.event["utterance"], _Utterance()).final = told
    return [by_number[number] for number in sorted(by_number)]


def _common(first: Sequence[str], second: Sequence[str]) -> Iterator[Any]:
    yield from SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
