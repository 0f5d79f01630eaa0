"""Analyses of completed calls, without rules and without a language model."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.analysis.models import Analysis
from app.database.connections import Database

MODEL = "qwen2.5-14b-instruct"
NOW_ENDED = {"status": "completed", "attempts": 1, "model": MODEL, "prompt_version": "3f1c9a0b77d2", "language": "en"}


async def analysed(database: Database, job_id: UUID, **columns: Any) -> None:
    """Adds an analysis with these columns. Unless they say otherwise, a language model has judged the call."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {**NOW_ENDED, "tenant": "default", "wants_judgement": True, "run_at": now} | columns
    ended = {"completed_at": now} if values["status"] in ("completed", "failed") else {}
    async with database.transaction() as session:
        session.add(Analysis(transcription_id=job_id, created_at=now, **ended | values))
