"""If a client names candidates, every language that is detected is one of them. The engine runs the real `base`."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from app.speech.candidates import among, changes, own_language, sure_languages
from app.speech.engine import Engine
from app.speech.whisper.adapter import Whisper
from app.speech.whisper.encoded import Encoded
from app.transcripts.transcript import Options
from testing.hearing import FEW, FOX, ignore, missed
from testing.speech_samples import sample, samples
from tests.speech.conftest import Record, silence, speech

FOUND = {"en": 0.1, "es": 0.3, "fr": 0.6}


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ((), FOUND),
        (("en", "es"), {"en": 0.25, "es": 0.75}),
        (("es", "pl"), {"es": 1.0, "pl": 0.0}),
        (("fr",), {"fr": 1.0}),
        (("pl", "de"), {}),
    ],
)
def test_the_probabilities_of_the_candidates_add_up_to_one(
    candidates: Sequence[str], expected: Mapping[str, float]
) -> None:
    assert among(candidates, FOUND) == pytest.approx(expected)


@pytest.mark.parametrize(("language", "name", "taken_for"), [("it", "ciao_mondo", "ro"), ("pl", "pangrama", "en")])
async def test_a_language_that_is_taken_for_another_one_is_detected_among_candidates(
    engine: Engine, record: Record, language: str, name: str, taken_for: str
) -> None:
    call, asked = record(speech(sample(language, name))), Options("base", languages=("de", language))

    free, limited = await asyncio.gather(
        engine.transcribe([call], Options("base"), ignore), engine.transcribe([call], asked, ignore)
    )

    assert free.language == taken_for
    assert limited.language == language
    assert {segment.language for segment in limited.segments} == {language}


async def test_a_call_in_a_third_language_comes_out_in_a_candidate(engine: Engine, record: Record) -> None:
    french = [speech(sample("fr", name)) for name in ("comptage", "pangrama", "comptage", "pangrama")]
    channels = [record(*french), record(silence(2), speech(sample("pt", "contagem")))]
    options = Options("base", channels="split", languages=("en", "es"))

    transcript = await engine.transcribe(channels, options, ignore)

    assert transcript.segments
    assert {segment.language for segment in transcript.segments} <= {"en", "es"}
    assert {channel.language for channel in transcript.channels} <= {"en", "es"}
    assert transcript.language in ("en", "es")


async def test_a_call_that_changes_between_candidates_is_recognized_in_both(engine: Engine, record: Record) -> None:
    english, spanish = ([speech(each) for each in samples(language)] * 2 for language in ("en", "es"))
    call = record(silence(1), *english, silence(1), *spanish)

    transcript = await engine.transcribe([call], Options("base", languages=("es", "en")), ignore)

    assert {segment.language for segment in transcript.segments} == {"en", "es"}
    assert missed(FOX.text, transcript.text) <= FEW


async def test_the_first_candidate_is_taken_if_the_model_finds_none_of_them(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sure_of_german(whisper: Whisper, encoded: Encoded, rows: Sequence[int]) -> list[dict[str, float]]:
        return [{"de": 1.0} for _ in rows]

    monkeypatch.setattr(Whisper, "detect_languages", sure_of_german)
    call = record(speech(FOX), speech(FOX), speech(FOX))

    transcript = await engine.transcribe([call], Options("base", languages=("en", "fr")), ignore)

    assert {segment.language for segment in transcript.segments} == {"en"}
    assert (transcript.language, transcript.language_probability) == ("en", None)


@pytest.mark.parametrize(
    ("possible", "seconds", "expected"),
    [
        ({"en": 0.95, "fr": 0.05}, 5.0, "en"),
        ({"en": 0.95, "fr": 0.05}, 4.9, None),
        ({"en": 0.89, "fr": 0.11}, 18.0, None),
        ({}, 18.0, None),
    ],
)
def test_only_a_long_and_clear_window_has_a_language_of_its_own(
    possible: Mapping[str, float], seconds: float, expected: str | None
) -> None:
    assert own_language(possible, seconds) == expected


async def test_a_language_is_detected_once_for_each_window_and_never_if_the_client_names_it(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    detected: list[object] = []  # what the encoder made of each window
    detect = Whisper.detect_languages

    def counted(whisper: Whisper, encoded: Encoded, rows: Sequence[int]) -> list[dict[str, float]]:
        detected.extend(encoded.views[row] for row in rows)
        return detect(whisper, encoded, rows)

    monkeypatch.setattr(Whisper, "detect_languages", counted)
    call = record(speech(FOX), silence(1), speech(FOX), silence(1), speech(FOX))

    transcript = await engine.transcribe([call], Options("base"), ignore)

    assert transcript.language == "en"
    count = len(detected)
    assert count == len({id(view) for view in detected}) >= 1

    named = await engine.transcribe([call], Options("base", language="en"), ignore)

    assert named.text == transcript.text
    assert len(detected) == count


ENGLISH, FRENCH = {"en": 0.95, "fr": 0.02}, {"en": 0.02, "fr": 0.95}
DOUBTFUL = {"en": 0.1, "fr": 0.9}


@pytest.mark.parametrize(
    ("stretches", "before", "known", "expected"),
    [
        ([ENGLISH, FRENCH, FRENCH], "en", {"en", "fr"}, [(1, "fr")]),
        ([ENGLISH, FRENCH, ENGLISH], "en", {"en", "fr"}, [(1, "fr"), (2, "en")]),
        ([FRENCH, FRENCH], "en", {"fr"}, [(0, "fr")]),
        ([ENGLISH, ENGLISH], "fr", {"en"}, [(0, "en")]),
        ([ENGLISH, DOUBTFUL], "en", {"en", "fr"}, []),
        ([ENGLISH, FRENCH], "en", {"en", "es"}, []),
        ([ENGLISH, {}], "en", {"en", "fr"}, []),
    ],
)
def test_the_language_changes_only_to_a_known_one_that_is_far_likelier(
    stretches: Sequence[Mapping[str, float]], before: str, known: set[str], expected: Sequence[tuple[int, str]]
) -> None:
    assert changes(stretches, before, known) == expected


def test_a_language_is_sure_if_it_is_clear_in_one_stretch() -> None:
    assert sure_languages([ENGLISH, DOUBTFUL, {"es": 0.89}]) == {"en", "fr"}


async def test_a_change_of_the_language_inside_a_window_is_written_in_both_languages(
    engine: Engine, record: Record
) -> None:
    french, pause = sample("fr", "pangrama"), silence(0.5)
    counting = speech(sample("fr", "comptage"))
    call = record(speech(FOX), pause, speech(FOX), pause, speech(french), pause, counting)
    progress: list[float] = []

    transcript = await engine.transcribe([call], Options("base"), progress.append)

    english = " ".join(segment.text for segment in transcript.segments if segment.language == "en")
    rest = " ".join(segment.text for segment in transcript.segments if segment.language == "fr")
    assert missed(FOX.text, english) <= FEW
    assert missed(french.text, rest) <= FEW
    assert "fox" not in rest
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
