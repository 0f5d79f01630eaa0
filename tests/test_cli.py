"""The `callscribe` command."""

from pathlib import Path

import pytest
import srt  # type: ignore[import-untyped]

from tests.recordings import call
from tests.service import callscribe


def test_models_are_listed(tmp_path: Path) -> None:
    on_disk = tmp_path / "models" / "mine"
    on_disk.mkdir(parents=True)
    (on_disk / "model.bin").touch()
    listed = callscribe("models", folder=tmp_path, MODEL="base,mine")
    assert listed.returncode == 0
    facts = dict(line.split("\t") for line in listed.stdout.splitlines())
    assert facts["base"] == "bundled, default"
    assert facts["mine"] == "on disk, served"


def test_the_path_of_a_model_is_printed(tmp_path: Path) -> None:
    printed = callscribe("models", "path", "base", folder=tmp_path)
    assert printed.returncode == 0
    assert (Path(printed.stdout.strip()) / "model.bin").is_file()


def test_a_model_that_is_not_here_has_no_path(tmp_path: Path) -> None:
    refused = callscribe("models", "path", "large-v3", folder=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "callscribe: large-v3 is not on this machine; `callscribe models fetch large-v3` gets it\n"


def test_a_file_is_transcribed_without_a_server(tmp_path: Path) -> None:
    recording = tmp_path / "call.wav"
    recording.write_bytes(call(0, 8))
    done = callscribe(
        "transcribe",
        str(recording),
        "--channels",
        "split",
        "--channel-label",
        "agent",
        "--format",
        "srt",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    cues = list(srt.parse(done.stdout))
    assert cues[0].content.startswith("agent: Thank you for calling")
    assert cues[-1].content.startswith("channel_1: ")
    assert not (tmp_path / "postgres").exists()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_file_that_is_no_recording_is_named_in_one_line_and_the_others_are_done(tmp_path: Path) -> None:
    note, speech = tmp_path / "note.txt", tmp_path / "call.wav"
    note.write_text("no recording")
    speech.write_bytes(call(0, 6))
    done = callscribe("transcribe", str(note), str(speech), folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"callscribe: {note}: ")
    assert done.stderr.count("\n") == 1
    assert "green garden store" in done.stdout.casefold()


@pytest.mark.parametrize("option", [("--channels", "three"), ("--language", "xx")])
def test_an_option_that_cannot_be_is_named(tmp_path: Path, option: tuple[str, str]) -> None:
    recording = tmp_path / "call.wav"
    recording.write_bytes(call(0, 1))
    refused = callscribe("transcribe", str(recording), *option, folder=tmp_path)
    assert refused.returncode == 2
    assert option[0] in refused.stderr
    assert "Traceback" not in refused.stderr
