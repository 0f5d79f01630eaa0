"""The view `call_transtxt`, for programs that poll the database, and the table and triggers behind it."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.database.connections import Database
from app.deliveries import outbox
from app.deliveries.channels import Reply
from app.jobs.lifecycle import MAX_CRASHES, Failed, Status, Succeeded, Timings
from app.jobs.models import stored_transcripts
from app.transcripts.formats import Format, render
from app.transcripts.transcript import Channel, Segment, Transcript
from testing.rows import (
    KEEP_AUDIO,
    SUCCESS,
    TESTER,
    claim,
    enqueue,
    execute,
    expire_leases,
    finish,
    read,
    take_back_lost,
)
from app.jobs import changing

COLUMNS = (
    "id",
    "audio_filename",
    "audio_file_path",
    "audio_duration",
    "transcript_status",
    "transcript_text",
    "error_message",
    "notify_status",
    "created_at",
    "transcription_started_at",
    "transcription_completed_at",
    "notified_at",
    "transcription_id",
)
FINE = {"status_code": 204, "error": None}


async def row_of(database: Database, job_id: UUID) -> Mapping[str, Any]:
    async with database.engine.connect() as connection:
        found = await connection.exec_driver_sql(
            "SELECT * FROM call_transtxt WHERE transcription_id = $1", (job_id,)
        )
        return found.mappings().one()
