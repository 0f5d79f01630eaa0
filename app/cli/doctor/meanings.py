"""Checks whether categories by meaning can work: the extra `checks` is there, and its weights are right and load."""

import time
from contextlib import suppress

from sqlalchemy import text

from app.analysis import embedding
from app.analysis.rules.meaning import MeaningUnavailable
from app.cli.doctor.findings import Finding, failed, fine
from app.cli.doctor.surroundings import Surroundings
from app.database.connections import DATABASE_TROUBLE
from app.process.threads import in_daemon_thread
from app.wording import of_count

BY_MEANING = text("""SELECT count(*) FROM category WHERE definition::text LIKE '%"by": "meaning"%'""")
SENTENCE = "I want my money back."


async def meanings(at: Surroundings) -> list[Finding]:
    if not embedding.is_installed():
        needing = await _categories(at)
        if needing == 0:
            return []
        what = of_count(needing, "category compares meanings", "categories compare meanings")
        return [failed(f"{what}, and the library {embedding.LIBRARY} is not installed", embedding.INSTALL)]
    began = time.monotonic()
    try:
        await in_daemon_thread(lambda: embedding.SentenceModel().of_speech([SENTENCE]), "meanings")
    except MeaningUnavailable as error:
        return [failed(str(error), embedding.INSTALL)]
    seconds = time.monotonic() - began
    return [fine(f"the weights are right, and load in {seconds:.1f} s", seconds=round(seconds, 2))]


async def _categories(at: Surroundings) -> int:
    """How many categories compare meanings. 0 if there is no database, or it has no such table yet."""
    with suppress(*DATABASE_TROUBLE):
        if at.database is not None:
            async with at.database.transaction() as session:
                return int((await session.exec(BY_MEANING)).scalar_one())  # type: ignore[call-overload]
    return 0
