"""Decides which jobs and recording batches a caller may see and change: those of its tenant.

All reads and changes for clients ask it. `seen_by` says it in SQL, and `sees` for a row that has been read. Change both
together.
"""

from typing import Any

from sqlalchemy import ColumnElement
from sqlmodel import col

from app.access.callers import Caller
from app.jobs.models import Transcription


def seen_by(caller: Caller, tenant: Any = Transcription.tenant) -> ColumnElement[bool]:
    """`tenant` is the column with the tenant that owns the row."""
    return col(tenant) == caller.tenant


def sees(caller: Caller, job: Transcription) -> bool:
    return job.tenant == caller.tenant
