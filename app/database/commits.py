"""Work that follows a commit, such as counting what was written. It is dropped if the transaction is rolled back."""

from collections.abc import Callable

from sqlalchemy import event
from sqlmodel.ext.asyncio.session import AsyncSession


def after_commit(session: AsyncSession, work: Callable[[], None]) -> None:
    event.listen(session.sync_session, "after_commit", lambda _: work(), once=True)
