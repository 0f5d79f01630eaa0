"""Where jobs' recordings lie."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.audio.s3_store import S3AudioStore
from app.audio.s3_url import S3Url
from app.audio.store import AudioStore
from app.audio.workspace import Workspace


@pytest.fixture
def bucket_store(bucket: str, tmp_path: Path) -> Iterator[AudioStore]:
    workspace = Workspace(tmp_path / "work")
    yield S3AudioStore(S3Url(bucket, "audio"), workspace)
    workspace.close()
