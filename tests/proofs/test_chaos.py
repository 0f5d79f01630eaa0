"""The short form of `python -m proofs.chaos.webhooks kill`."""

import pytest

from app.database.connections import Database
from proofs.chaos.webhooks import kill
from tests.conftest import clone


@pytest.mark.slow
async def test_killed_senders_lose_no_event_and_send_no_event_with_a_second_id(postgres: str, template: str) -> None:
    async with clone(postgres, template) as address:
        database = Database(address)
        verdict = await kill(database, address, events=30, kills=3, seed=1, wait_for_leases=False)
        await database.close()
    assert (verdict.undelivered, verdict.ids, verdict.bodies) == (0, 1, 1)
