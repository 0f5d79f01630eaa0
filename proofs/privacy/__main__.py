"""Prints how much of what is private the redaction finds in speech: `python -m proofs.privacy [--left]`.

`heard.jsonl` has made-up sentences in eight languages, which synthetic voices spoke through a telephone codec of 8 kHz,
and what Whisper `base` wrote down for them, word by word. The rules were written with the first voice. The second one
speaks less clearly and was only measured. With `--left`, each sentence is printed in which something is left or is
redacted wrongly.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.privacy.numbers import numbers_in
from app.privacy.redaction import redact
from app.privacy.spoken import streams_of
from app.transcripts.entities import Entity
from app.transcripts.transcript import Segment, Transcript, Word

HEARD = Path(__file__).with_name("heard.jsonl")
ALL = frozenset(Entity)
WORD_SECONDS, PAUSE_SECONDS = 0.4, 1.0
WITHOUT_DIGITS = (Entity.EMAIL, Entity.DATE_OF_BIRTH, Entity.ADDRESS, Entity.NAME)
CHARACTERS_OF_WORD = 2  # in Chinese and Japanese


@dataclass(frozen=True)
class Sentence:
    """`stays` are the numbers beside what is private, such as prices. `heard` are the words of each segment."""

    id: str
    voice: str
    language: str
    said: str
    private: Sequence[tuple[Entity, str]]
    stays: Sequence[str]
    heard: Sequence[Sequence[str]]

    @classmethod
    def read(cls, line: str) -> "Sentence":
        entry: dict[str, Any] = json.loads(line)
        private = [(Entity(name), truth) for name, truth in entry.pop("private")]
        return cls(private=private, **entry)

    @property
    def digits(self) -> int:
        """How many private digits were said."""
        return sum(_digits(truth) for entity, truth in self.private if entity not in WITHOUT_DIGITS)

    @property
    def transcript(self) -> Transcript:
        segments, at = [], 0.0
        for number, texts in enumerate(self.heard):
            words = tuple(
                Word(at + WORD_SECONDS * place, at + WORD_SECONDS * (place + 1), text)
                for place, text in enumerate(texts)
            )
            end = at + WORD_SECONDS * len(words)
            text = "".join(texts).strip()
            segments.append(Segment(number, 0, "customer", at, end, text, self.language, words=words))
            at = end + PAUSE_SECONDS
        return Transcript(self.language, 1.0, at, (), tuple(segments))


@dataclass
class Tally:
    """`found` and `meant` count sentences by what is private in them. `wrong` counts what was redacted wrongly."""

    sentences: int = 0
    digits: int = 0
    leaked: int = 0
    meant: dict[Entity, int] = field(default_factory=dict)
    found: dict[Entity, int] = field(default_factory=dict)
    harmless_words: int = 0
    wrong: int = 0
    seconds: float = 0.0
    left: list[str] = field(default_factory=list)

    def add(self, sentence: Sentence) -> None:
        call = sentence.transcript
        began = time.process_time()
        result = redact(call, ALL)
        self.seconds += time.process_time() - began
        self.sentences += 1
        trouble = self._digits(sentence, result.transcript) + self._others(sentence, result.transcript.text)
        if not sentence.private:
            self.harmless_words += _words(call.text, sentence.language)
            self.wrong += len(result.removed)
            trouble += ["redacted wrongly"] * bool(result.removed)
        if trouble:
            self.left.append(f"{sentence.id} {', '.join(trouble)}: {call.text} -> {result.transcript.text}")

    def _digits(self, sentence: Sentence, redacted: Transcript) -> list[str]:
        if not sentence.digits:
            return []
        left = _heard_digits(redacted) - sum(map(_digits, sentence.stays))
        leaked = min(max(0, left), sentence.digits)
        self.digits += sentence.digits
        self.leaked += leaked
        return [f"{leaked} digits"] if leaked else []

    def _others(self, sentence: Sentence, text: str) -> list[str]:
        missed = []
        for entity in {entity for entity, _ in sentence.private}.intersection(WITHOUT_DIGITS):
            self.meant[entity] = self.meant.get(entity, 0) + 1
            if entity.label in text:
                self.found[entity] = self.found.get(entity, 0) + 1
            else:
                missed.append(entity.value)
        return missed

    def recall(self, entity: Entity) -> float:
        return self.found.get(entity, 0) / self.meant[entity]

    @property
    def recall_of_digits(self) -> float:
        return 1 - self.leaked / self.digits

    def __str__(self) -> str:
        others = "  ".join(f"{self.found.get(each, 0):2} of {self.meant.get(each, 0):2}" for each in WITHOUT_DIGITS)
        return (
            f"{self.sentences:9}  {self.digits:6}  {self.leaked:6}  {self.recall_of_digits:7.1%}  {others}  "
            f"{self.wrong} in {self.harmless_words:4}  {1000 * self.seconds / self.sentences:4.1f}"
        )


def sentences() -> list[Sentence]:
    return [Sentence.read(line) for line in HEARD.read_text(encoding="utf-8").splitlines()]


def tally_of(chosen: Iterable[Sentence]) -> Tally:
    tally = Tally()
    for sentence in chosen:
        tally.add(sentence)
    return tally


def _digits(text: str) -> int:
    return sum(map(str.isdecimal, text))


def _heard_digits(transcript: Transcript) -> int:
    """The digits of a transcript, written or in words. A single small number in words, such as "one", is none."""
    return sum(_digits_in(transcript))


def _digits_in(transcript: Transcript) -> Iterator[int]:
    for stream in streams_of(transcript):
        for number in numbers_in(stream):
            if len(number.digits) > 1 or stream.tokens[number.first].text.isdecimal():
                yield len(number.digits)


def _words(text: str, language: str) -> int:
    return len(text) // CHARACTERS_OF_WORD if language in ("zh", "ja") else len(text.split())


def main() -> None:
    spoken = sentences()
    print("voice lang  sentences  digits  leaked   recall     EMAIL  BORN      ADDRESS   NAME      wrong in words  ms")
    for voice in dict.fromkeys(each.voice for each in spoken):
        own = [each for each in spoken if each.voice == voice]
        for language in [*dict.fromkeys(each.language for each in own), "all"]:
            tally = tally_of(each for each in own if language in ("all", each.language))
            print(f"{voice:5} {language:4}", tally)
            if "--left" in sys.argv and language != "all":
                print(*(f"    {each}" for each in tally.left), sep="\n")


if __name__ == "__main__":
    main()
