"""The example, the compose file and the guide for the loop do what they say, with a real service where that matters."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import PREFIX, Settings
from testing.hearing import FEW, missed
from testing.recordings import call, said
from testing.service import serving

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "migrate-from-the-loop.md").read_text()


@pytest.mark.slow
def test_the_example_prints_the_text_of_a_recording_and_why_another_one_was_refused(tmp_path: Path) -> None:
    inbox, outbox = tmp_path / "in", tmp_path / "out"
    for folder in (inbox, outbox):
        folder.mkdir()
    (tmp_path / "agent call.wav").write_bytes(call(0.0, 12.0))
    (tmp_path / "notes.wav").write_bytes(b"no recording")
    settings = {"WATCH": str(inbox), "WATCH_OUTPUT": str(outbox), "WATCH_SETTLE_SECONDS": "0.2"}
    program = [sys.executable, str(ROOT / "examples" / "folder" / "folder.py"), str(inbox), str(outbox)]
    with serving(tmp_path / "data", **settings) as service:
        done = subprocess.run(
            [*program, "agent call.wav", "notes.wav", "--option", "external_id=4711"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        [job] = service.read("/v1/transcriptions?external_id=4711")["items"]
        assert job["audio"]["source"].endswith("/in/agent call.wav")
    name, _, text = done.stdout.partition(": ")
    assert (done.returncode, name) == (1, "agent call.wav")
    assert missed(said(0.0, 12.0), text) <= FEW
    assert done.stderr.startswith("notes.wav: unsupported_media: ")


def test_the_settings_of_the_guide_exist_and_its_options_are_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    named = set(re.findall(rf"{PREFIX}(\w+)", GUIDE))
    assert {name.lower() for name in named} <= set(Settings.model_fields)
    options = re.findall(rf"`{PREFIX}WATCH_OPTIONS=(.*?)`", GUIDE)
    assert len(options) == 4
    for value in options:
        monkeypatch.setenv(f"{PREFIX}WATCH_OPTIONS", value.strip("'"))
        assert Settings().watch_options


def test_the_guide_s_way_back_moves_accepted_recordings_into_the_folder(tmp_path: Path) -> None:
    accepted = tmp_path / ".accepted" / "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e" / "2026"
    accepted.mkdir(parents=True)
    for name in ("call 1.wav", "call-2.mp3"):
        (accepted / name).write_bytes(b"recording")
    (tmp_path / "2026").mkdir()
    (tmp_path / "2026" / "call-2.mp3").write_bytes(b"a newer one")
    [commands] = re.findall(r"^cd .*?^find [^\n]*", GUIDE, re.MULTILINE | re.DOTALL)
    shell = ["sh", "-euc", commands.replace("/sftp/openai/inwav", str(tmp_path))]
    left = subprocess.run(shell, check=True, capture_output=True, text=True).stdout
    assert sorted(path.name for path in (tmp_path / "2026").iterdir()) == ["call 1.wav", "call-2.mp3"]
    assert (tmp_path / "2026" / "call-2.mp3").read_bytes() == b"a newer one"
    assert left == f"./{accepted.parent.name}/2026/call-2.mp3\n"


def test_the_commented_lines_of_the_compose_file_watch_a_folder_that_is_mounted() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    service: Any = yaml.safe_load(re.sub(r"# (CALLSCRIBE_WATCH|- /sftp)", r"\1", text))["services"]["callscribe"]
    mounts = [volume.split(":")[1] for volume in service["volumes"]]
    watched = [service["environment"][f"{PREFIX}{name}"] for name in ("WATCH", "WATCH_OUTPUT")]
    assert [str(Path(path).parent) in mounts for path in watched] == [True, True]
