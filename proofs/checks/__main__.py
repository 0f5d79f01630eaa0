"""Prints how well categories find intents, by words and by meaning: `python -m proofs.checks`.

`utterances.json` has 30 made-up sentences in each of five languages, each with one of three intents or none. The
definitions beside them are what a manager would write first.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.analysis.embedding import SentenceModel
from app.analysis.rules import meaning
from app.analysis.rules.applying import apply
from app.analysis.rules.call import Call
from app.analysis.rules.definitions import Category, Definitions
from app.transcripts.transcript import Channel, Segment, Transcript

UTTERANCES = Path(__file__).with_name("utterances.json")


@dataclass
class Tally:
    right: int = 0
    wrong: int = 0
    missed: int = 0
    not_sure: list[bool] = field(default_factory=list)  # whether it was meant

    def __str__(self) -> str:
        found, meant = self.right + self.wrong, self.right + self.missed
        precision = f"{self.right / found:4.0%}" if found else "   –"
        recall = f"{self.right / meant:4.0%}" if meant else "   –"
        unsure = f"{sum(self.not_sure)} of {len(self.not_sure)}"
        return (
            f"precision {precision} ({self.right}/{found})  recall {recall} ({self.right}/{meant})  not sure {unsure}"
        )


def said(language: str, utterances: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str | None, Call]]:
    """Each sentence as a call of its own, with what it means."""
    for utterance in utterances:
        segment = Segment(0, 0, "customer", 0.0, 5.0, utterance["text"], language)
        channel = Channel(0, "customer", language, 1.0, 5.0)
        yield utterance["intent"], Call.of(Transcript(language, 1.0, 5.0, (channel,), (segment,)), {})


def defined(phrases: Mapping[str, Mapping[str, list[str]]], by: str) -> Definitions:
    return Definitions(
        {intent: Category.model_validate({"any_of": each[by], "by": by}) for intent, each in phrases.items()}
    )


def tallied(language: str, entry: Mapping[str, Any], by: str, model: SentenceModel | None) -> Tally:
    tally, definitions = Tally(), defined(entry["definitions"], by)
    for meant, call in said(language, entry["utterances"]):
        found = {category.name: category.sure for category in apply(call, definitions, model).categories}
        for intent in definitions.categories:
            is_meant, sure = meant == intent, found.get(intent)
            tally.right += bool(sure and is_meant)
            tally.wrong += bool(sure and not is_meant)
            tally.missed += bool(is_meant and not sure)
            if sure is False:
                tally.not_sure.append(is_meant)
    return tally


def distribution(model: SentenceModel, languages: Mapping[str, Any]) -> None:
    """The scores of sentences that mean an intent, and of those that do not."""
    for language, entry in languages.items():
        scores: dict[bool, list[float]] = {True: [], False: []}
        for intent, phrases in entry["definitions"].items():
            speech = list(model.of_speech([each["text"] for each in entry["utterances"]]))
            rows = meaning.scores(model, speech, phrases["meaning"], language)
            for each, row in zip(entry["utterances"], rows, strict=True):
                scores[each["intent"] == intent].append(max(row))
        for meant, each in scores.items():
            each.sort()
            quantiles = [each[round(part * (len(each) - 1))] for part in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1)]
            print(f"{language} {'said    ' if meant else 'not said'}", *(f"{score:.3f}" for score in quantiles))


def main() -> None:
    languages = json.loads(UTTERANCES.read_text())
    model = SentenceModel()
    began = time.perf_counter()
    model.of_speech(["Hello."])
    print(f"loading {time.perf_counter() - began:.2f} s")
    texts = [each["text"] for entry in languages.values() for each in entry["utterances"]]
    began = time.process_time()
    model.of_speech(texts)
    print(f"meaning {(time.process_time() - began) / len(texts) * 1000:.1f} ms of one core for a sentence")
    print("quantiles 0 10 25 50 75 90 95 100 %")
    distribution(model, languages)
    for by in ("words", "meaning"):
        for language, entry in languages.items():
            print(f"{by:8}{language}", tallied(language, entry, by, model))


if __name__ == "__main__":
    main()
