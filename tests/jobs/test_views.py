"""What clients see of jobs that other versions of the service have stored."""

import pytest

from app.database.connections import Database
from app.jobs.views import TranscriptionOut
from app.transcripts.transcript import Options
from testing.rows import OPTIONS, enqueue


@pytest.mark.parametrize("missing", sorted(OPTIONS.keys() - {"model"}))
async def test_a_job_that_is_older_than_an_option_shows_its_default(database: Database, missing: str) -> None:
    job = await enqueue(database)
    shown = TranscriptionOut.of(job)
    job.options = {name: value for name, value in OPTIONS.items() if name != missing}
    assert TranscriptionOut.of(job) == shown


async def test_an_option_that_only_a_newer_version_knows_is_not_shown(database: Database) -> None:
    job = await enqueue(database)
    job.options = OPTIONS | {"from_the_future": True}
    assert "from_the_future" not in TranscriptionOut.of(job).options.model_dump()


async def test_an_option_that_no_client_sends_is_not_shown(database: Database) -> None:
    job = await enqueue(database, options=Options("base", reports_text=True))
    assert job.options["reports_text"] is True
    assert "reports_text" not in TranscriptionOut.of(job).options.model_dump()
