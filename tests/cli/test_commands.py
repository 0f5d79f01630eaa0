"""The `callscribe` command, run as a user runs it."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import srt  # type: ignore[import-untyped]
import webvtt

from testing.command_line import run_command
from testing.hearing import FEW, missed
from testing.recordings import SAMPLE_CALL, call, said, tone
from testing.service import callscribe, eventually, start_callscribe

SLOW_TO_IMPORT = ("sqlalchemy", "sqlmodel", "asyncpg", "fastapi", "numpy", "ctranslate2")


def test_commands_load_neither_engine_nor_database_before_they_need_them() -> None:
    program = f"import sys, app.cli.commands; print([name for name in {SLOW_TO_IMPORT} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_models_are_listed(tmp_path: Path) -> None:
    on_disk = tmp_path / "models" / "mine"
    on_disk.mkdir(parents=True)
    (on_disk / "model.bin").touch()
    listed = run_command("models", folder=tmp_path, MODEL="base,mine")
    assert listed.returncode == 0
    facts = dict(line.split("\t") for line in listed.stdout.splitlines())
    assert facts["base"] == "bundled, default"
    assert facts["mine"] == "on disk, served"


def test_the_path_of_a_model_is_printed(tmp_path: Path) -> None:
    printed = run_command("models", "path", "base", folder=tmp_path)
    assert printed.returncode == 0
    assert (Path(printed.stdout.strip()) / "model.bin").is_file()


def test_the_path_of_a_model_that_is_not_on_the_machine_is_refused_with_advice(tmp_path: Path) -> None:
    refused = run_command("models", "path", "large-v3", folder=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "callscribe: large-v3 is not on this machine; `callscribe models fetch large-v3` gets it\n"


def test_a_file_is_transcribed_without_a_server(tmp_path: Path) -> None:
    recording = tmp_path / "call.wav"
    recording.write_bytes(call(0, 12.5))
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
    for name, speaker in (("agent", "agent"), ("channel_1", "customer")):
        shown = [cue.content.removeprefix(f"{name}: ") for cue in cues if cue.content.startswith(f"{name}: ")]
        assert missed(said(0, 12.5, speaker), " ".join(shown)) <= FEW
    assert not (tmp_path / "postgres").exists()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_file_that_is_no_recording_is_reported_and_the_others_are_transcribed(tmp_path: Path) -> None:
    note, speech, out = tmp_path / "note.txt", tmp_path / "call.wav", tmp_path / "out"
    note.write_text("no recording")
    speech.write_bytes(call(0, 6))
    done = callscribe("transcribe", str(note), str(speech), "-o", str(out), "-f", "json", folder=tmp_path)
    assert done.returncode == 1
    reason, summary = done.stderr.splitlines()
    assert reason == f"callscribe: {note}: The file is text, not a recording"
    assert summary == f"callscribe: 1 of 2 transcribed, in {out}"
    assert [path.name for path in out.iterdir()] == ["call.json"]
    transcript = json.loads((out / "call.json").read_text())
    assert missed(said(0, 6), transcript["text"]) <= FEW
    assert transcript["talk"]["channels"][0]["share"] == 1.0


def test_a_folder_is_transcribed_into_a_file_for_each_format(tmp_path: Path) -> None:
    calls, out = tmp_path / "calls", tmp_path / "out" / "new"
    calls.mkdir()
    (calls / "call.01.wav").write_bytes(call(0, 6))
    (calls / "second.WAV").write_bytes(call(6, 12.5))
    (calls / "notes.txt").write_text("no recording")
    (calls / "older").mkdir()
    (calls / "older" / "third.wav").write_bytes(call(0, 6))
    done = callscribe(
        "transcribe",
        str(calls),
        *("--output-dir", str(out), "--format", "all", "--channels", "split", "--word-timestamps", "--language", "en"),
        folder=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "")
    *warnings, summary = done.stderr.splitlines()
    assert {
        f"callscribe: {calls / 'call.01.wav'}: warning no_speech: channel_1: Nobody speaks on the channel",
        f"callscribe: {calls / 'second.WAV'}: warning no_speech: channel_0: Nobody speaks on the channel",
    } <= set(warnings)
    assert summary == f"callscribe: 2 of 2 transcribed, in {out}"
    assert {path.name for path in out.iterdir()} == {
        f"{stem}.{ending}"
        for stem in ("call.01", "second")
        for ending in ("txt", "srt", "vtt", "tsv", "json", "whisper.json")
    }
    result = json.loads((out / "call.01.whisper.json").read_text())
    assert (set(result), result["language"]) == ({"text", "segments", "language"}, "en")
    words = [word["word"] for segment in result["segments"] for word in segment["words"]]
    assert all(word.startswith(" ") for word in words)
    assert missed(said(0, 6), "".join(words)) <= FEW
    assert webvtt.read(str(out / "call.01.vtt")).captions[0].voice == "channel_0"
    assert missed(said(6, 12.5), (out / "second.txt").read_text()) <= FEW


def test_the_terminal_shows_a_progress_bar_while_standard_output_gets_the_transcript(tmp_path: Path) -> None:
    recording = tmp_path / "call.wav"
    recording.write_bytes(call(0, 6))
    terminal, other_end = pty.openpty()
    started = start_callscribe("transcribe", str(recording), folder=tmp_path, stderr=other_end)
    os.close(other_end)
    printed, _ = started.communicate(timeout=300)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert started.returncode == 0
    assert missed(said(0, 6), printed) <= FEW
    assert "call.wav" in shown
    assert missed(said(0, 6), shown) > 1 - FEW


def test_the_command_accepts_a_file_name_that_is_not_unicode_and_ends_quietly_when_its_pipe_is_closed(
    tmp_path: Path,
) -> None:
    recording = tmp_path / os.fsdecode(b"llamada_\xf1.wav")
    recording.write_bytes(call(0, 6))
    printed = callscribe("transcribe", str(recording), "-f", "json", folder=tmp_path)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert json.loads(printed.stdout)["id"] == "llamada_?.wav"

    started = start_callscribe("transcribe", str(recording), folder=tmp_path, stderr=subprocess.PIPE)
    assert started.stdout is not None
    started.stdout.close()
    started.stdout = None
    _, errors = started.communicate(timeout=300)
    assert (started.returncode, errors) == (128 + signal.SIGPIPE, "")


def test_ctrl_c_ends_the_command_and_leaves_nothing_behind(tmp_path: Path) -> None:
    recording, out = tmp_path / "call.wav", tmp_path / "out"
    recording.write_bytes(call(0, 57))
    started = start_callscribe("transcribe", str(recording), "-o", str(out), folder=tmp_path, stderr=subprocess.PIPE)
    eventually(lambda: any((tmp_path / "temporary").glob("callscribe-*/*.pcm")))
    started.send_signal(signal.SIGINT)
    printed, errors = started.communicate(timeout=300)
    assert (started.returncode, printed, errors) == (130, "", "")
    assert list(out.iterdir()) == list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--channels", "three"), "--channels"),
        (("--language", "xx"), "--language"),
        (("--task", "summarise"), "--task"),
        (("--task", "translate", "--model", "tiny.en"), "--task"),
        (("--task", "translate", "--model", "large-v3-turbo"), "--task"),
        (("--channel-label", "agent", "--channel-label", "agent"), "--channel-label"),
        (("--format", "pdf"), "--format"),
        (("--format", "all"), "--output-dir"),
        (("--format", "srt", "--format", "vtt"), "--output-dir"),
        (("--format", "srt", "{file}.other.wav"), "--output-dir"),
        (("--skip-existing",), "--output-dir"),
        (("--channel-label", "agent"), "--channels split"),
        (("--output-dir", "{file}"), "--output-dir"),
    ],
)
def test_the_error_names_an_invalid_option(tmp_path: Path, options: tuple[str, ...], named: str) -> None:
    recording = tmp_path / "call.wav"
    recording.write_bytes(call(0, 1))
    (tmp_path / "call.wav.other.wav").write_bytes(call(0, 1))
    filled = [option.format(file=recording) for option in options]
    refused = run_command("transcribe", str(recording), *filled, folder=tmp_path)
    assert refused.returncode == 2
    assert named in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--encoding", "ulaw"), "did you mean mulaw?"),
        (("--format", "docx"), "--format' / '-f': 'docx' is not one of"),
        (("--sample-rate", "10"), "must be greater than or equal to 4000"),
        (("--language", "xx"), "'xx' is not a language of the model base"),
        (("--language", "Klingon"), "'Klingon' is no language"),
        (("--channels", "split", "--channel-label", "Ann", "--channel-label", "Ann"), "two channels are called 'Ann'"),
    ],
)
def test_the_error_names_an_invalid_value_in_plain_words(tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    refused = run_command("transcribe", str(SAMPLE_CALL), *options, folder=tmp_path)
    said_in_one_line = " ".join(refused.stderr.replace("│", " ").split())
    assert (refused.returncode, reason in said_in_one_line) == (2, True), refused.stderr
    assert "Value error" not in refused.stderr


def test_raw_sound_that_no_option_describes_is_reported_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "call.raw").write_bytes(bytes(range(256)) * 20)
    refused = callscribe("transcribe", str(tmp_path / "call.raw"), folder=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.endswith("the option --encoding has to say what it holds\n")


def test_a_secret_from_a_new_database_comes_with_a_warning(tmp_path: Path) -> None:
    first, again = (run_command("webhooks", "secret", folder=tmp_path) for _ in range(2))
    assert first.stdout.startswith("whsec_")
    assert first.stderr.startswith(f"callscribe: warning: {tmp_path} has no database yet")
    assert (again.stdout, again.stderr) == (first.stdout, "")


def test_finished_recordings_are_skipped_and_strict_reports_warnings(tmp_path: Path) -> None:
    speech, silence, out = tmp_path / "speech.wav", tmp_path / "silence.wav", tmp_path / "out"
    speech.write_bytes(call(0, 6))
    silence.write_bytes(tone())
    out.mkdir()
    (out / "speech.txt").write_text("done before")
    done = callscribe(
        "transcribe", str(speech), str(silence), "-o", str(out), "--skip-existing", "--strict", folder=tmp_path
    )
    assert done.returncode == 3
    skipped, warning, summary = done.stderr.splitlines()
    assert skipped == "callscribe: 1 skipped, because their transcripts exist"
    assert warning.startswith(f"callscribe: {silence}: warning no_speech: ")
    assert summary == f"callscribe: 1 of 1 transcribed, in {out}"
    assert (out / "speech.txt").read_text() == "done before"


def test_a_prompt_and_hotwords_reach_the_model_and_printed_transcripts_have_names(tmp_path: Path) -> None:
    (tmp_path / "one.wav").write_bytes(SAMPLE_CALL.read_bytes())
    (tmp_path / "two.wav").write_bytes(tone())
    files = [str(tmp_path / name) for name in ("one.wav", "two.wav")]
    done = callscribe("transcribe", *files, "--prompt", "Ana.", "--hotwords", "GreenGarden", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"==> {files[0]} <==\n")
    assert f"\n==> {files[1]} <==\n" in done.stdout
    assert "GreenGarden" in done.stdout
    assert "Ana." in done.stdout


def test_transcripts_that_would_be_written_over_one_another_are_refused(tmp_path: Path) -> None:
    for name in ("one/call.wav", "two/call.mp3"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(call(0, 1))
    folders = [str(tmp_path / name) for name in ("one", "two")]
    refused = run_command("transcribe", *folders, "-o", str(tmp_path / "out"), folder=tmp_path)
    assert refused.returncode == 2
    assert "written over one another" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["empty", "missing.wav"])
def test_a_path_without_recordings_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    refused = run_command("transcribe", str(tmp_path / path), folder=tmp_path)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
