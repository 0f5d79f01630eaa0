"""`callscribe batch`, run as a user runs it, against a real service."""

import csv
import json
import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.commands import cli
from testing.hearing import FEW, missed
from testing.recordings import call, said, tone
from testing.service import Service, callscribe, environment, eventually, serving, start_callscribe
from tests.conftest import ALICE

DOUBLE = (sys.executable, "-m", "proofs.chaos.process", "--double", "--decode", "--")
HEAVY = ("app.settings", "app.service", "sqlalchemy", "asyncpg", "fastapi", "numpy", "ctranslate2", "structlog")


def batch(calls: Path, out: Path, service: Service, *options: str) -> tuple[str, ...]:
    return ("batch", str(calls), "--server", service.url, "--output-dir", str(out), *options)


def folder_of(folder: Path, recordings: dict[str, bytes]) -> Path:
    calls = folder / "calls"
    for name, content in recordings.items():
        (calls / name).parent.mkdir(parents=True, exist_ok=True)
        (calls / name).write_bytes(content)
    return calls


def report(out: Path) -> dict[str, dict[str, str]]:
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def jobs(service: Service) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = service.read("/v1/transcriptions?limit=100")["items"]
    return items


def _has_jobs(service: Service, least: int) -> bool:
    return len(jobs(service)) >= least


def hidden_files(out: Path) -> list[str]:
    return [path.name for path in out.rglob(".*")]


def test_a_folder_is_transcribed_resumed_and_its_failures_are_tried_again(service: Service, tmp_path: Path) -> None:
    odd = os.fsdecode(b"sub/it's \xe7\x94\xb5 #1?\xf1.wav")
    calls = folder_of(tmp_path, {"a.wav": call(0, 6), "a.mp3": tone(), odd: tone(), "no.wav": b"a note", "=1.wav": b""})
    out, label = tmp_path / "out", "--channel-label"
    options = batch(calls, out, service, "--channels", "split", label, "agent", label, "Miller, Anna")

    done = callscribe(*options, folder=tmp_path)

    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    *lines, summary, advice = done.stderr.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("callscribe: 1 of 5: ")
    assert any(line.endswith("no.wav: failed: unsupported_media: The file is text, not a recording") for line in lines)
    assert summary == f"callscribe: 3 of 5 transcribed, 2 failed; see {out / 'report.csv'}"
    assert "--retry-failed" in advice
    transcript = json.loads((out / "a.wav.json").read_text())
    assert missed(said(0, 6), transcript["text"]) <= FEW
    rows = report(out)
    assert {path: row["status"] for path, row in rows.items()} == {
        "'=1.wav": "failed",
        "a.mp3": "completed",
        "a.wav": "completed",
        "no.wav": "failed",
        odd.encode(errors="backslashreplace").decode(): "completed",
    }
    assert rows["a.wav"]["id"] == transcript["id"]
    assert (rows["a.wav"]["language"], float(rows["a.wav"]["duration"])) == ("en", 6.0)
    assert rows["no.wav"]["error_code"] == "unsupported_media"
    assert {path.name for path in out.rglob("*.json")} == {"a.wav.json", "a.mp3.json", f"{Path(odd).name}.json"}
    assert hidden_files(out) == [".callscribe-batch.jsonl"]

    before = len(jobs(service))
    (calls / "no.wav").write_bytes(tone())  # it is another file now, so it is transcribed without --retry-failed
    os.utime(calls / "a.mp3")  # it was only copied
    again = callscribe(*options, folder=tmp_path)
    assert again.returncode == 1
    assert "3 of 5 recordings" not in again.stderr
    assert "4 of 5 recordings have their result from an earlier run" in again.stderr
    assert len(jobs(service)) == before + 1
    last = callscribe(*options, "--retry-failed", folder=tmp_path)
    assert "1 of 1: =1.wav: failed: unsupported_media" in last.stderr
    assert report(out)["no.wav"]["status"] == "completed"

    other = callscribe(*batch(calls, out, service), folder=tmp_path)
    assert other.returncode == 2
    assert "has a batch with other options" in other.stderr


def test_a_wrong_key_stops_the_command_with_one_line_and_leaves_nothing(guarded: Service, tmp_path: Path) -> None:
    calls = folder_of(tmp_path, {"a.wav": tone(), "b.wav": tone()})
    refused = callscribe(*batch(calls, tmp_path / "out", guarded), folder=tmp_path, API_KEY="nonsense")
    assert refused.returncode == 2
    assert refused.stderr == (
        "callscribe: the server does not take the API key; set CALLSCRIBE_API_KEY to a valid one\n"
    )
    assert not (tmp_path / "out").exists()


def test_options_that_the_server_refuses_stop_the_command(guarded: Service, tmp_path: Path) -> None:
    calls = folder_of(tmp_path, {"a.wav": tone(), "b.wav": tone()})
    refused = callscribe(
        *batch(calls, tmp_path / "out", guarded, "--language", "Klingon"), folder=tmp_path, API_KEY=ALICE
    )
    assert refused.returncode == 2
    [line] = refused.stderr.splitlines()
    assert line.startswith("callscribe: the server refuses the options: ")
    assert "language" in line
    assert jobs(guarded) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--server", "calls.example"), "--server"),
        (("--server", "https://user:word@calls.example"), "--server"),
        (("--server", "http://127.0.0.1:1/?a=b"), "--server"),
        (("--server", "http://[::1"), "--server"),
        (("--server", "http://127.0.0.1:1", "--channel-label", "agent"), "--channels split"),
        (("--server", "http://127.0.0.1:1", "--api-key", "a b"), "CALLSCRIBE_API_KEY"),
        (("--server", "http://127.0.0.1:1", "--together", "0"), "--together"),
        ((), "--server"),
    ],
)
def test_the_error_names_what_cannot_be_used(tmp_path: Path, options: tuple[str, ...], named: str) -> None:
    (tmp_path / "calls").mkdir()
    arguments = ["batch", str(tmp_path / "calls"), "-o", str(tmp_path / "out"), *options]
    wrong = CliRunner().invoke(cli, arguments, env={"COLUMNS": "200", "CALLSCRIBE_API_KEY": ""})
    assert wrong.exit_code == 2
    assert named in wrong.output
    assert not (tmp_path / "out").exists()


def test_a_folder_without_recordings_is_refused(guarded: Service, tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    refused = callscribe(*batch(tmp_path / "calls", tmp_path / "out", guarded), folder=tmp_path, API_KEY=ALICE)
    assert (refused.returncode, refused.stderr) == (2, f"callscribe: no recording in {tmp_path / 'calls'}\n")


def test_a_second_command_is_refused_and_ctrl_c_says_how_to_resume(guarded: Service, tmp_path: Path) -> None:
    calls, out = folder_of(tmp_path, {"a.wav": tone()}), tmp_path / "out"
    options = batch(calls, out, guarded)
    first = start_callscribe(*options, folder=tmp_path, stderr=subprocess.PIPE, API_KEY=ALICE)
    eventually(lambda: len(jobs(guarded)) == 1)  # no worker runs it
    second = callscribe(*options, folder=tmp_path, API_KEY=ALICE)
    first.send_signal(signal.SIGINT)
    printed, errors = first.communicate(timeout=60)
    assert (second.returncode, second.stderr) == (2, f"callscribe: another callscribe batch is at work in {out}\n")
    assert (first.returncode, printed) == (130, "")
    assert errors == "callscribe: interrupted. To resume, run the same command again\n"


@pytest.mark.slow
def test_a_full_disk_stops_the_command_and_what_it_wrote_is_whole(service: Service, tmp_path: Path) -> None:
    calls, out = folder_of(tmp_path, {f"{number}.wav": tone() for number in range(5)}), tmp_path / "out"
    options = batch(calls, out, service, "--together", "1")
    script = 'ulimit -f 2; exec "$@"'  # no file may have more than 2 KiB
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "app.cli", *options]
    full = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert full.returncode == 1, full.stderr
    reason = full.stderr.splitlines()[-1]
    assert reason == (
        f"callscribe: the state in {out} cannot be written: File too large. To resume, run the same command again"
    )
    assert [json.loads(line) for line in (out / ".callscribe-batch.jsonl").read_text().splitlines()]

    before = len(jobs(service))
    assert callscribe(*options, folder=tmp_path).returncode == 0
    assert len(jobs(service)) - before < 5
    assert [row["status"] for row in report(out).values()] == ["completed"] * 5
    assert hidden_files(out) == [".callscribe-batch.jsonl"]


def test_the_terminal_shows_a_bar_with_the_time_that_is_left(service: Service, tmp_path: Path) -> None:
    calls = folder_of(tmp_path, {"a.wav": tone(), "no.wav": b"a note"})
    terminal, other_end = pty.openpty()
    started = start_callscribe(*batch(calls, tmp_path / "out", service), folder=tmp_path, stderr=other_end)
    os.close(other_end)
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:  # the command has closed its end
        pass
    os.close(terminal)
    started.communicate(timeout=60)
    assert started.returncode == 1
    text = shown.decode()
    assert "2/2" in text
    assert "left:" in text
    assert "no.wav: failed: unsupported_media" in text
    assert "a.wav: completed" not in text


def test_the_command_loads_neither_engine_nor_database_nor_settings() -> None:
    program = f"import sys, app.cli.batch.command; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_a_command_that_is_interrupted_and_killed_transcribes_nothing_twice(tmp_path: Path) -> None:
    recordings = {f"{number // 4}/{number % 4}.wav": tone(0.2 + number / 100) for number in range(24)}
    calls, out = folder_of(tmp_path, recordings), tmp_path / "out"
    with serving(tmp_path / "service", program=DOUBLE) as service:
        options = batch(calls, out, service, "--prompt", "sleep 0.3", "--together", "4")
        for how in [signal.SIGINT, signal.SIGKILL, signal.SIGKILL, signal.SIGINT]:
            before = len(jobs(service))
            started = start_callscribe(*options, folder=tmp_path, stderr=subprocess.DEVNULL)
            eventually(partial(_has_jobs, service, before + 2))
            started.send_signal(how)
            started.communicate(timeout=60)
            assert started.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
        state = (json.loads(line) for line in (out / ".callscribe-batch.jsonl").read_text().splitlines()[1:])
        last = {entry["path"]: entry["status"] for entry in state}
        gone = next(path for path, status in last.items() if status == "posted")
        (calls / gone).unlink()
        done = callscribe(*options, folder=tmp_path)
        made = jobs(service)
    assert done.returncode == 0, done.stderr
    assert sorted(job["external_id"] for job in made) == sorted(recordings)
    rows = report(out)
    assert {row["id"] for row in rows.values()} == {job["id"] for job in made}
    assert {path: json.loads((out / row["output"]).read_text())["id"] for path, row in rows.items()} == {
        job["external_id"]: job["id"] for job in made
    }


@pytest.mark.slow
def test_a_server_that_restarts_or_has_lost_its_database_fails_no_recording(tmp_path: Path) -> None:
    recordings = {f"{number}.wav": tone(0.2 + number / 100) for number in range(6)}
    calls, out = folder_of(tmp_path, recordings), tmp_path / "out"
    with serving(tmp_path / "old", program=DOUBLE) as service:
        options = batch(calls, out, service, "--prompt", "sleep 0.3")
        started = start_callscribe(*options, folder=tmp_path, stderr=subprocess.PIPE)
        eventually(lambda: (out / "0.wav.json").exists())
        service.kill()
        port = str(service.port)
    with serving(tmp_path / "new", program=DOUBLE, port=port) as service:
        _, errors = started.communicate(timeout=60)
        made = {job["external_id"] for job in jobs(service)}
    assert started.returncode == 0, errors
    assert "callscribe: the server cannot be reached: " in errors
    assert "callscribe: the server answers again" in errors
    done_before = set(recordings) - made
    assert "0.wav" in done_before
    assert made
    assert [row["status"] for row in report(out).values()] == ["completed"] * 6
