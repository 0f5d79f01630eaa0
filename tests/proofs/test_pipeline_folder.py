"""The short form of `make pipeline ONLY=folder`."""

from pathlib import Path

import pytest

from proofs.pipeline.folder import folder


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_recordings_that_arrive_by_sftp_while_processes_are_killed_are_transcribed_once_and_whole(
    workspace: Path,
) -> None:
    figures = await folder(workspace / "pipeline-folder", files=24, kills=3, every_seconds=3.0)
    assert [str(figure) for figure in figures if not figure.kept] == []
