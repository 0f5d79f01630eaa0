"""How many analyses wait and run, and how late they are, for operators.

No statement reads more than a bounded number of rows, because operators ask every few seconds.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.analysis.models import AnalysisStatus

COUNTED = 2000  # of each status

_COUNT = f"""
    (SELECT count(*) FROM (SELECT FROM analysis WHERE status = '{{status}}' LIMIT {COUNTED}) AS counted) AS {{status}}
"""
_NUMBERS = text(f"""
    SELECT {_COUNT.format(status="pending")}, {_COUNT.format(status="in_progress")},
        extract(epoch FROM now() - (
            SELECT run_at FROM analysis WHERE status = 'pending' AND NOT is_bulk ORDER BY run_at LIMIT 1
        ))::float AS oldest_seconds
""")


@dataclass(frozen=True)
class AnalysisNumbers:
    """`by_status` counts up to COUNTED. `oldest_seconds` is how long the analysis is overdue that is overdue longest.

    An analysis that waits for its next attempt, or was asked for in bulk, is not overdue.
    """

    by_status: dict[str, int]
    oldest_seconds: float


async def analysis_numbers(session: AsyncSession) -> AnalysisNumbers:
    found = (await session.exec(_NUMBERS)).one()  # type: ignore[call-overload]
    by_status = {str(status): getattr(found, status) for status in (AnalysisStatus.PENDING, AnalysisStatus.IN_PROGRESS)}
    return AnalysisNumbers(by_status, max(0.0, found.oldest_seconds or 0.0))
