"""The commands of operators, on the database of a service: jobs, pauses and workers of all tenants."""

import asyncio
import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from sqlmodel import col, select

from app.access.audit import AuditEntry
from app.control import workers
from app.control.models import WorkerState
from app.database.connections import Database
from app.jobs.lifecycle import Failed, Status
from app.storage.folder_store import LocalAudioStore
from testing.command_line import run_command
from testing.recordings import tone
from testing.rows import KEEP_AUDIO, claim, enqueue, fill, finish, read

BROKEN = Failed("bad_media", "The recording is broken.")


class Operator:
    """Runs commands beside the service whose database and folder these are."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.store = LocalAudioStore(folder / "audio")
        self._folder = folder

    async def runs(self, *arguments: object, given: str | None = None, **settings: str) -> "CompletedProcess[str]":
        words = [str(argument) for argument in arguments]
        address = {"DATABASE_URL": self.database.address.text, **settings}
        return await asyncio.to_thread(run_command, *words, folder=self._folder, given=given, **address)

    async def reads(self, *arguments: object) -> Any:
        done = await self.runs(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    async def job(self, **columns: Any) -> Any:
        """A waiting job with a recording."""

        async def stream() -> Any:
            yield tone()

        job = await enqueue(self.database, **columns)
        await self.store.save(str(job.id), stream(), 1_000_000)
        return job


@pytest.fixture
def operator(database: Database, tmp_path: Path) -> Operator:
    return Operator(database, tmp_path)


async def audited(database: Database) -> list[tuple[str, str, str]]:
    """What was done to which call, of which tenant. It was a user of the command line."""
    async with database.transaction() as session:
        found = (await session.exec(select(AuditEntry).order_by(col(AuditEntry.at), col(AuditEntry.id)))).all()
    assert all(entry.caller.startswith("cli") for entry in found)
    return [(entry.action, str(entry.transcription_id), entry.tenant) for entry in found]


def logged(done: "CompletedProcess[str]") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "callscribe.operator"]


async def test_jobs_of_all_tenants_are_listed_shown_retried_and_erased(database: Database, operator: Operator) -> None:
    failed = await operator.job(caller="acme:crm", external_id="crm-\x1b[31m1")
    [claimed] = await claim(database)
    await finish(database, claimed, BROKEN, KEEP_AUDIO)
    waiting = await operator.job()
    listed = await operator.reads("jobs", "list")
    assert [(job["id"], job["tenant"], job["caller"]) for job in listed] == [
        (str(waiting.id), "default", "test"),
        (str(failed.id), "acme", "acme:crm"),
    ]
    table = await operator.runs("jobs", "list", "--status", "failed")
    [head, row] = table.stdout.splitlines()
    assert head.split()[:2] == ["ID", "STATUS"]
    assert row.split()[0] == str(failed.id)
    assert row.split()[-1] == "bad_media"
    assert "\x1b" not in table.stdout
    shown = await operator.runs("jobs", "show", failed.id)
    assert "error          bad_media: The recording is broken." in shown.stdout.splitlines()

    done = await operator.runs("jobs", "retry", failed.id, waiting.id, MODEL="tiny.en")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert f"callscribe: {waiting.id}: not_failed: The transcription is pending." in done.stderr
    [line] = logged(done)
    assert (line["event"], line["retry_of"], line["by"].startswith("cli")) == (
        "transcription retried",
        str(failed.id),
        True,
    )
    [new] = [job for job in await operator.reads("jobs", "list") if job["retry_of"] == str(failed.id)]
    assert (new["tenant"], new["caller"], new["status"]) == ("acme", "acme:crm", "pending")

    kept = await operator.runs("jobs", "erase", failed.id, given="n\n")
    assert kept.returncode == 1
    assert (await read(database, failed.id)).status == Status.FAILED
    erased = await operator.runs("jobs", "erase", failed.id, waiting.id, "--yes")
    assert (erased.returncode, len(logged(erased))) == (0, 2), erased.stderr
    names = {path.name for path in operator.store.folder.glob("??/*")}
    assert names == {new["id"]}
    assert [job["id"] for job in await operator.reads("jobs", "list")] == [new["id"]]
    assert await audited(database) == [
        ("call.retried", str(failed.id), "acme"),
        ("call.erased", str(failed.id), "acme"),
        ("call.erased", str(waiting.id), "default"),
    ]


async def test_jobs_are_cancelled_and_their_recordings_kept_for_a_retry_as_the_service_does(
    database: Database, operator: Operator
) -> None:
    waiting = await operator.job()
    ids = await operator.runs("jobs", "list", "--ids")
    assert ids.stdout.splitlines() == [str(waiting.id)]
    done = await operator.runs("jobs", "cancel", waiting.id)
    assert (done.returncode, done.stdout) == (0, f"{waiting.id} is cancelled\n")
    job = await read(database, waiting.id)
    assert (job.status, job.audio_key) == (Status.CANCELLED, str(waiting.id))
    again = await operator.runs("jobs", "cancel", waiting.id)
    assert (again.returncode, "already_final" in again.stderr) == (1, True)
    assert (await operator.runs("jobs", "retry", waiting.id)).returncode == 0
    assert len(list(operator.store.folder.glob("??/*"))) == 2

    other = await operator.job()
    await operator.runs("jobs", "cancel", waiting.id, other.id, KEEP_FAILED_AUDIO_DAYS="0")
    assert (await read(database, other.id)).audio_key is None
    assert not list(operator.store.folder.glob(f"??/{other.id}"))
    assert await audited(database) == [
        ("call.cancelled", str(waiting.id), "default"),
        ("call.retried", str(waiting.id), "default"),
        ("call.cancelled", str(other.id), "default"),
    ]


async def test_failed_jobs_without_a_retry_are_listed_by_tenant(database: Database, operator: Operator) -> None:
    failed = [await enqueue(database, caller=caller) for caller in ("crm", "acme:crm", "acme:crm")]
    for job in await claim(database, 3):
        await finish(database, job, BROKEN)
    await enqueue(database, retry_of=failed[1].id)

    async def listed(*options: str) -> list[str]:
        return (await operator.runs("jobs", "list", "--status", "failed", "--ids", *options)).stdout.split()

    assert await listed("--not-retried") == [str(failed[2].id), str(failed[0].id)]
    assert await listed("--not-retried", "--tenant", "acme") == [str(failed[2].id)]
    assert await listed("--not-retried", "--tenant", "nobody") == []


async def test_ids_are_all_listed_unless_a_limit_is_given(database: Database, operator: Operator) -> None:
    await fill(database, 120, 1)
    many = [["--ids"], ["--ids", "--limit", "30"]]
    assert [len((await operator.runs("jobs", "list", *each)).stdout.split()) for each in many] == [120, 30]
    assert len((await operator.runs("jobs", "list")).stdout.splitlines()) == 21


async def test_one_waiting_call_is_a_call(operator: Operator) -> None:
    limits = ("--pending-jobs", "1", "--requests-per-minute", "2", "--audio-hours-per-day", "1.5")
    done = await operator.runs("tenants", "limit", "acme", *limits)
    assert "2 requests a minute, 1 waiting call, 1.5 hours of audio a day" in done.stdout, done.stderr


async def test_claims_and_the_intake_are_paused_and_resumed(database: Database, operator: Operator) -> None:
    await enqueue(database)
    done = await operator.runs("pause", "claims", "--reason", "new disk", "--for", "30m", "--wait")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        "The claims are paused for 30m. Running jobs end, and no other job begins.",
    )
    assert await claim(database) == []
    await operator.runs("pause", "intake")
    found = (await operator.reads("workers"))["pauses"]
    assert [(each["what"], each["reason"], each["ends_at"] is None) for each in found] == [
        ("claims", "new disk", False),
        ("intake", "no reason given", True),
    ]
    assert (await operator.runs("resume", "claims")).stdout == "The claims go on.\n"
    assert (await operator.runs("resume", "claims")).stdout == "The claims had no pause.\n"
    assert len(await claim(database)) == 1
    wrong = await operator.runs("pause", "claims", "--for", "soon")
    assert (wrong.returncode, "write seconds, minutes" in wrong.stderr) == (2, True)


async def test_workers_are_listed_by_what_they_do_and_drained_by_name_or_host(
    database: Database, operator: Operator
) -> None:
    await enqueue(database)
    await claim(database, worker="old-host:7")
    async with database.transaction() as session:
        for name in ("gpu-1:10", "gpu-2:10", "gpu-2:11"):
            await workers.begin(session, name, "1.0", ["base"])
    async with database.transaction() as session:
        await workers.seen(session, "gpu-1:10", WorkerState.WORKING, {})
        await workers.seen(session, "gpu-2:10", WorkerState.WORKING, {"far": "it cannot be reached"})
    drained = await operator.runs("drain", "gpu-1", "--no-wait", "--grace", "10m", "--reason", "kernel")
    assert (drained.returncode, drained.stdout) == (0, "gpu-1:10 drains.\n"), drained.stderr
    ambiguous = await operator.runs("drain", "gpu-2", "--no-wait")
    assert ambiguous.returncode == 2
    assert "There are several workers gpu-2. Known: gpu-2:10, gpu-2:11." in ambiguous.stderr
    found = (await operator.reads("workers"))["workers"]
    assert [(each["name"], each["state"], each["jobs"]) for each in found] == [
        ("gpu-1:10", "draining", 0),
        ("gpu-2:10", "working", 0),
        ("gpu-2:11", "working", 0),
        ("old-host:7", "older version", 1),
    ]
    assert found[1]["troubles"] == {"far": "it cannot be reached"}
    assert "\ngpu-2:10 cannot use far: it cannot be reached\n" in (await operator.runs("workers")).stdout
    assert (await operator.runs("resume", "gpu-1:10")).stdout == "gpu-1:10 claims jobs again.\n"


async def test_a_folder_without_a_database_gets_none(tmp_path: Path) -> None:
    done = await asyncio.to_thread(run_command, "jobs", "list", folder=tmp_path)
    assert done.returncode == 2
    assert f"CALLSCRIBE_DATA_DIR: {tmp_path} has no database" in done.stderr
    assert not (tmp_path / "postgres").exists()
