"""The transcription of files, with an engine double whose results each test chooses."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.progress import Progress

from app.audio.pcm import PcmFile
from app.cli.files import Output, Transcription
from app.cli.tally import Tally
from app.process.places import Rank
from app.speech.batching.batcher import EngineStopped
from app.speech.reports import OnFinal
from app.transcripts.formats import Format
from app.transcripts.transcript import Channel, Options, Transcript, TranscriptWarning, WarningCode
from testing.recordings import SAMPLE_CALL, tone

USUAL_RANK = Rank()
NOTHING_SAID = Transcript("en", 1.0, 1.0, (), ())


class Engine:
    """Raises the next of its errors at each call; if that is None, it returns the transcript."""

    def __init__(self, *errors: Exception | None, transcript: Transcript = NOTHING_SAID) -> None:
        self._errors = iter(errors)
        self._transcript = transcript

    @property
    def troubles(self) -> Mapping[str, str]:
        return {}

    async def transcribe(
        self,
        channels: Sequence[PcmFile],
        options: Options,
        on_progress: Callable[[float], None],
        rank: Rank = USUAL_RANK,
        on_final: OnFinal | None = None,
    ) -> Transcript:
        if error := next(self._errors):
            raise error
        return self._transcript


def work(engine: Engine, folder: Path | None = None, form: Format = Format.JSON) -> Transcription:
    return Transcription(engine, Options("base"), Output((form,), folder), 60, Progress(disable=True))


def recordings(folder: Path, *names: bytes) -> list[Path]:
    paths = [folder / name.decode(errors="surrogateescape") for name in names]
    for path in paths:
        path.write_bytes(tone())
    return paths


async def test_a_file_name_that_is_not_unicode_is_written_and_printed_with_question_marks(tmp_path: Path) -> None:
    files, printed = recordings(tmp_path, b"llamada_\xf1.wav"), list[str]()

    assert await work(Engine(None)).run(files, printed.append) == Tally()
    assert await work(Engine(None), tmp_path).run(files, printed.append) == Tally()

    assert [json.loads(text.encode())["id"] for text in printed] == ["llamada_?.wav"]
    assert json.loads(files[0].with_suffix(".json").read_bytes())["id"] == "llamada_?.wav"


async def test_a_failed_recording_is_reported_in_one_text_line_and_the_others_are_transcribed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, printed = recordings(tmp_path, b"\xf1.wav", b"\xf2.wav"), list[str]()

    tally = await work(Engine(ValueError("two\nlines"), None)).run(files, printed.append)

    assert (tally.failed, len(printed)) == (1, 1)
    assert capsys.readouterr().out == f"callscribe: {tmp_path}/?.wav: two lines\n"


async def test_a_cut_off_recording_gets_a_warning(tmp_path: Path) -> None:
    half, printed = tmp_path / "half.wav", list[str]()
    half.write_bytes(SAMPLE_CALL.read_bytes()[:461_389])

    assert await work(Engine(None)).run([half], printed.append) == Tally(warned=1)

    assert [warning["code"] for warning in json.loads(printed[0])["warnings"]] == ["truncated"]


@pytest.mark.parametrize(("form", "is_printed"), [(Format.TEXT, True), (Format.WHISPER, True), (Format.JSON, False)])
async def test_warnings_are_printed_for_formats_that_cannot_hold_them(
    form: Format, is_printed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warnings = (
        TranscriptWarning(WarningCode.MOSTLY_SILENCE, "Nobody speaks in 90% of the recording"),
        TranscriptWarning(WarningCode.WINDOW_REDECODED, "Hard to understand", 1, 3.0, 4.0),
        TranscriptWarning(WarningCode.WINDOW_DROPPED, "Nothing that could be believed was heard here", 1, 62.5, 70.0),
    )
    channels = tuple(Channel(index, label, "en", 1.0, 5.0) for index, label in enumerate(("agent", "customer")))
    warned = replace(NOTHING_SAID, channels=channels, warnings=warnings)
    [file] = recordings(tmp_path, b"call.wav")

    assert await work(Engine(None, transcript=warned), form=form).run([file], list[str]().append) == Tally(warned=1)

    printed_warnings = capsys.readouterr().out.splitlines()
    assert printed_warnings == is_printed * [
        f"callscribe: {file}: warning mostly_silence: Nobody speaks in 90% of the recording",
        f"callscribe: {file}: warning window_dropped: [01:02] customer: Nothing that could be believed was heard here",
    ]


async def test_the_run_ends_when_the_engine_stops(tmp_path: Path) -> None:
    files = recordings(tmp_path, b"one.wav", b"two.wav")

    with pytest.raises(EngineStopped):
        await work(Engine(EngineStopped(), None)).run(files, print)


async def test_the_run_ends_when_the_reader_of_the_output_has_gone(tmp_path: Path) -> None:
    def gone(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await work(Engine(None, None, None)).run(recordings(tmp_path, b"1.wav", b"2.wav", b"3.wav"), gone)
