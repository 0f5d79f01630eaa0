"""`callscribe doctor` on places for recordings and transcripts that are away, refuse, or are not what they seem."""

from pathlib import Path

import pytest

from app.database.connections import Database
from app.storage.folder_store import MARKER, LocalAudioStore
from testing.ports import free_ports
from testing.rows import enqueue
from testing.s3_server import S3Server
from tests.cli.doctor.conftest import Diagnosis


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


async def test_a_folder_that_works_keeps_nothing_of_the_trial(diagnosed: Diagnosis, folder: Path) -> None:
    LocalAudioStore(folder / "audio")
    [finding] = await diagnosed("audio store")
    assert (finding.status, finding.text) == ("ok", f"{folder / 'audio'} was written, read and deleted from")
    assert [path.name for path in (folder / "audio").rglob("*") if path.is_file()] == [MARKER]


async def test_a_folder_that_is_new_is_not_marked(diagnosed: Diagnosis, folder: Path) -> None:
    [finding] = await diagnosed("audio store")
    assert finding.status == "ok"
    assert not (folder / "audio").exists()


async def test_a_disk_that_is_not_mounted(diagnosed: Diagnosis, folder: Path, address: str) -> None:
    (folder / "audio").mkdir()
    database = Database(address)
    await enqueue(database)
    await database.close()
    [finding] = await diagnosed("audio store", DATABASE_URL=address)
    assert finding.status == "failed"
    assert finding.text.endswith("its disk is not mounted")
    assert not (folder / "audio" / MARKER).exists()


async def test_a_folder_that_is_a_file(diagnosed: Diagnosis, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [finding] = await diagnosed("audio store", STORE_URL=str(tmp_path / "file" / "audio"))
    assert finding.status == "failed"
    assert "may not be written" in finding.text


async def test_a_bucket_that_works_keeps_nothing_of_the_trial(
    diagnosed: Diagnosis, bucket: str, s3_server: S3Server
) -> None:
    [finding] = await diagnosed("audio store", STORE_URL=f"s3://{bucket}/audio")
    assert (finding.status, finding.text) == ("ok", "s3://calls/audio was written, read and deleted from")
    assert s3_server.files(bucket) == []


async def test_a_bucket_that_is_missing(diagnosed: Diagnosis, bucket: str) -> None:
    [finding] = await diagnosed("audio store", STORE_URL="s3://missing-bucket/audio")
    assert (finding.status, finding.text) == ("failed", "s3://missing-bucket/audio: NoSuchBucket")
    assert finding.advice == "Make the bucket, or correct its name."


async def test_a_bucket_that_denies_access(
    diagnosed: Diagnosis, bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, dict(s3_server.environment("stranger")))
    [finding] = await diagnosed("audio store", STORE_URL="s3://calls")
    assert (finding.status, finding.text) == ("failed", "s3://calls: AccessDenied")
    assert "permissions" in finding.advice


async def test_a_secret_key_that_is_wrong(
    diagnosed: Diagnosis, bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, dict(s3_server.environment(secret="wrong-secret")))
    [finding] = await diagnosed("audio store", STORE_URL="s3://calls")
    assert (finding.status, finding.text) == ("failed", "s3://calls: SignatureDoesNotMatch")
    assert finding.advice == "Correct AWS_SECRET_ACCESS_KEY."


async def test_a_server_of_buckets_that_cannot_be_reached(
    diagnosed: Diagnosis, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = free_ports(1)
    use(monkeypatch, dict(s3_server.environment(port=port)))
    [finding] = await diagnosed("audio store", STORE_URL="s3://calls")
    assert finding.status == "failed"
    assert finding.text == f"s3://calls: its server 127.0.0.1:{port} cannot be reached: nothing listens there"


async def test_outputs_of_a_bucket_are_asked_for_and_not_written(
    diagnosed: Diagnosis, bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    [fine] = await diagnosed("outputs", OUTPUT_BUCKETS=bucket)
    assert fine.status == "ok"
    use(monkeypatch, dict(s3_server.environment("stranger")))
    [denied] = await diagnosed("outputs")
    assert denied.status == "warning"
    assert "AccessDenied" in denied.text
    [missing] = await diagnosed("source buckets", SOURCE_BUCKETS="no-such-bucket")
    assert missing.status in ("failed", "warning")
    assert s3_server.files(bucket) == []


async def test_a_folder_of_outputs(diagnosed: Diagnosis, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    [finding] = await diagnosed("outputs", OUTPUT_URL=f"{tmp_path / 'out'}/{{file_stem}}")
    assert finding.status == "ok"
    assert not list((tmp_path / "out").iterdir())
