"""How late the deliveries are that still have to be made, for operators."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

# It steps through the index from the first delivery of one host to that of the next, as a claim does.
_OLDEST = text("""
    WITH RECURSIVE first AS (
        (SELECT host, next_attempt_at FROM delivery WHERE status = 'pending' ORDER BY host, next_attempt_at, id LIMIT 1)
        UNION ALL
        SELECT following.* FROM first CROSS JOIN LATERAL (
            SELECT host, next_attempt_at FROM delivery WHERE status = 'pending' AND host > first.host
            ORDER BY host, next_attempt_at, id LIMIT 1
        ) AS following
    )
    SELECT extract(epoch FROM now() - min(next_attempt_at))::float FROM first
""")


async def oldest_overdue_seconds(session: AsyncSession) -> float:
    """For how long the attempt is overdue that is overdue longest; 0 if none is.

    A delivery that waits for its next attempt after a failure is not overdue.
    """
    seconds: float | None = (await session.exec(_OLDEST)).scalar_one()  # type: ignore[call-overload]
    return max(0.0, seconds or 0.0)
