"""The service finishes every accepted job, even if its process was killed or stopped before."""

import signal
from pathlib import Path

import asyncpg

from testing.recordings import call
from testing.service import serving


def postgres_pid(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])


async def expire_leases(folder: Path) -> None:
    """Let the leases run out, as thirty seconds without a heartbeat do."""
    database = await asyncpg.connect(host=str(folder / "postgres"), user="postgres", database="postgres")
    await database.execute("UPDATE transcription SET lease_until = now() WHERE status = 'in_progress'")
    await database.close()


async def test_accepted_jobs_survive_when_the_service_is_killed_or_stopped(workspace: Path) -> None:
    folder = workspace / "restart"
    with serving(folder) as service:
        running = service.running(service.create(call(0, 12)))
        database = postgres_pid(folder)
        service.kill()
    with serving(folder, "--no-executor") as service:
        assert service.read(running["links"]["self"])["status"] == "in_progress"
        waiting = service.create(call(0, 3))
        service.kill()
    await expire_leases(folder)
    with serving(folder) as service:
        assert postgres_pid(folder) == database
        assert service.ended(waiting)["status"] == "completed"
        recovered = service.ended(running)
        assert (recovered["status"], recovered["attempts"]) == ("completed", 2)
        interrupted = service.running(service.create(call(0, 12)))
        service.stop()
        assert '"event": "stopped"' in service.log().splitlines()[-1]
    assert not (folder / "postgres" / "postmaster.pid").exists()
    with serving(folder) as service:
        assert service.ended(waiting)["attempts"] == 1
        completed = service.ended(interrupted)
        assert (completed["status"], completed["attempts"]) == ("completed", 1)
        assert service.stored_files() == []


async def test_a_terminal_that_closes_stops_the_service_in_order(workspace: Path) -> None:
    folder = workspace / "hangup"
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under `nohup` the tests ignore it, and so would the service
    with serving(folder, "--no-executor") as service:
        service.process.send_signal(signal.SIGHUP)
        assert service.process.wait(30) == 0
        assert '"event": "stopped"' in service.log().splitlines()[-1]
    assert not (folder / "postgres" / "postmaster.pid").exists()
    signal.signal(signal.SIGHUP, before)
