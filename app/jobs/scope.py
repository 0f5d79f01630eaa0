"""Decides which jobs and recording batches a caller may see and change: those of its tenant.

All reads and changes for clients ask it. `seen_by` says it in SQL, and `sees` for a row that has been read. Change both
together. An operator at the command line is no caller (None), and sees all.
"""

from typing import Any

from sqlalchemy import ColumnElement, true
from sqlmodel import col

from app.access.callers import Caller
from app.jobs.models import Transcription


def seen_by(caller: Caller | None, tenant: Any = Transcription.tenant) -> ColumnElement[bool]:
    """`tenant` is the column with the tenant that owns the row."""
    return true() if caller is None else col(tenant) == caller.tenant


def sees(caller: Caller | None, job: Transcription) -> bool:
    return caller is None or job.tenant == caller.tenant
