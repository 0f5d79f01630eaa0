"""The service, with a bucket as its store."""

from pathlib import Path

import pytest

from testing.forms import refused
from testing.hearing import FEW, missed
from testing.recordings import call, said
from testing.s3_server import s3_serving
from testing.service import serving


def test_recordings_stay_in_the_bucket_until_their_job_ends(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_serving() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.create_bucket("calls")
        folder = workspace / "s3"
        with serving(folder, STORE_URL="s3://calls/audio") as service:
            job = service.create(call(0, 6.2))
            assert not (folder / "audio").exists()
            assert service.ended(job)["status"] == "completed"
            heard = service.client.get(f"{job['links']['transcript']}?format=text").text
            assert missed(said(0, 6.2), heard) <= FEW
            assert server.files("calls") == []
            server.kill()
            refused(service.post(call(0, 3)), 503, "unavailable")
            readiness = service.client.get("/readyz")
            assert readiness.status_code == 503
            [reason] = readiness.json()["reasons"]
            assert reason.startswith("storage: the bucket cannot be used: no ")
        assert [path.name for path in (folder / "work").iterdir()] == [".lock"]
