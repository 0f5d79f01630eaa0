"""Which files of a folder count as recordings, and what their transcripts are called."""

import os
from pathlib import Path

import pytest

from app.cli.batch.listing import output_name, recordings_below
from app.transcripts.formats import Format


def unexpected(path: str, error: OSError) -> None:
    raise AssertionError(path)


def test_recordings_of_the_folder_and_its_sub_folders_are_listed(tmp_path: Path) -> None:
    names = ["b.wav", "a.MP3", "sub/a.wav", "sub/deep/c.ulaw", os.fsdecode(b"sub/\xf1.wav"), "电话 #1?.wav"]
    others = ["notes.txt", "._b.wav", ".cache/d.wav", "out/e.wav", "b.wav.json"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)

    found = recordings_below(tmp_path, tmp_path / "out", unexpected)

    assert sorted(found) == sorted(names)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_sub_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    reported: list[str] = []
    assert recordings_below(tmp_path, tmp_path / "out", lambda path, error: reported.append(path)) == []
    assert reported == ["closed"]


def test_a_folder_that_vanishes_is_reported(tmp_path: Path) -> None:
    reported: list[str] = []
    assert recordings_below(tmp_path / "gone", tmp_path, lambda path, error: reported.append(path)) == []
    assert reported == [""]


def test_names_of_transcripts_do_not_collide_and_fit() -> None:
    long = "电" * 84
    paths = ["a.wav", "a.mp3", "sub/a.wav", "a.json.wav", f"{long}.wav", f"{long}.mp3"]
    names = [output_name(path, Format.WHISPER) for path in paths]
    assert names[:3] == ["a.wav.whisper.json", "a.mp3.whisper.json", "sub/a.wav.whisper.json"]
    assert len(set(names)) == len(names)
    assert all(len(os.fsencode(name)) <= 240 for name in names)
