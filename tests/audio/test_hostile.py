"""Hostile files: each has a known outcome, reads no other file, opens no connection and leaves nothing."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.audio.decode import MEMORY_BYTES
from testing.decoder_trial import Verdict, attempt
from testing.hostile import listings, others, truncated
from testing.media import flac_silence
from testing.recordings import tone

KNOWN = {"decoded", "unsupported_media", "no_audio", "bad_media", "too_long"}
DECODE_BOMB = """
import asyncio, json, resource
from pathlib import Path
from app.audio.decode import decode
from app.errors import TooLong

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    asyncio.run(decode(Path({bomb!r}), Path({folder!r}), split=True, max_seconds=1_800))
except TooLong:
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({{"child": 1024 * child, "growth": 1024 * growth}}))
"""


def run_python(*arguments: str) -> str:
    """Run Python in a process of its own. Returns what it printed."""
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def outcomes(files: dict[str, bytes], folder: Path) -> dict[str, Verdict]:
    """Decode the files, two at the same time. Returns the verdict on each."""
    verdicts: dict[str, Verdict] = {}
    left = iter(files.items())

    async def work(own: Path) -> None:
        for name, content in left:
            verdicts[name] = await attempt(content, own)
        assert files_in(own) == []

    folders = [folder / str(number) for number in range(2)]
    for each in folders:
        each.mkdir()
    await asyncio.gather(*(work(each) for each in folders))
    return verdicts


async def test_files_that_name_other_files_or_servers_open_none_of_them(tmp_path: Path) -> None:
    """They name a recording that can be decoded and a server that accepts connections."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(tone())
    os.utime(secret, (0, 0))
    assert (await attempt(tone(), tmp_path)).outcome == "decoded"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        files = list(listings(secret, server.getsockname()[1]))
        verdicts = await outcomes({name: content for name, content, _ in files}, tmp_path)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert {name: (verdict.outcome, verdict.fault) for name, verdict in verdicts.items()} == {
        name: (outcome, None) for name, _, outcome in files
    }
    assert secret.stat().st_atime == 0


async def test_each_other_hostile_file_has_its_expected_outcome(tmp_path: Path) -> None:
    files = list(others(tmp_path))
    verdicts = await outcomes({name: content for name, content, _ in files}, tmp_path)
    assert {name: (verdict.outcome, verdict.fault) for name, verdict in verdicts.items()} == {
        name: (outcome, None) for name, _, outcome in files
    }


async def test_each_container_that_is_cut_off_in_its_header_has_a_known_outcome(tmp_path: Path) -> None:
    verdicts = await outcomes(dict(truncated(tmp_path)), tmp_path)
    assert {verdict.outcome for verdict in verdicts.values()} <= KNOWN
    assert {verdict.fault for verdict in verdicts.values()} == {None}


def test_decoding_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    """It runs in a new process, because the system reports only the peak over all children that a process has had."""
    bomb = tmp_path / "bomb"
    bomb.write_bytes(flac_silence(24, announced_seconds=0))
    found = json.loads(run_python("-c", DECODE_BOMB.format(bomb=str(bomb), folder=str(tmp_path))))
    assert found["child"] < MEMORY_BYTES
    assert found["growth"] < 50_000_000
    assert files_in(tmp_path) == [bomb]
