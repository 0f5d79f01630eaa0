"""The reports of changes in a watched folder."""

import asyncio
import os
from contextlib import closing
from pathlib import Path

import pytest

from app.intake.folder import alarm
from app.intake.folder.alarm import Alarm


async def test_a_name_that_is_not_utf8_does_not_end_the_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm, "RESTART_SECONDS", 0.05)
    reported = []
    with closing(Alarm()) as watched:
        watched.watch([tmp_path])
        for name in (b"a.wav", b"\xff.wav", b"b.wav", b"\xfe.wav", b"c.wav"):
            rung = asyncio.create_task(watched.rung())
            while not rung.done():  # the library begins to watch at some moment
                (tmp_path / os.fsdecode(name)).write_bytes(os.urandom(4))
                await asyncio.wait({rung}, timeout=0.2)
            reported.append(name)
    assert reported == [b"a.wav", b"\xff.wav", b"b.wav", b"\xfe.wav", b"c.wav"]
